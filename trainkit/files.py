"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from trainkit.errors import OutputError

if sys.platform != "win32":
    import fcntl

_TEMPORARY = re.compile(r"\.([0-9a-f]{8})([0-9a-f]{4})[0-9a-f]{4}(\..{1,31})?")  # whose it is, and a number of its own
_PROCESS = secrets.token_hex(2)  # in a container, the next process may have the number of the one that was killed
_ABANDONED_SECONDS = 86400.0  # where nothing else tells
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and rename it to `path` when the block ends well.

    The temporary name keeps the suffix, because many writers choose the format by it, and is short, because the
    name of `path` may be as long as a name can be.

    Raises:
        OutputError: the folder cannot be written.
    """
    temporary = path.parent / f".{os.getpid() % 2**32:08x}{_PROCESS}{secrets.token_hex(2)}{path.suffix[:32]}"
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # where it could not be made, it cannot be removed
            temporary.unlink()


def remove_leftovers(folder: Path) -> None:
    """Remove what `replacing` leaves behind below a folder where its process was killed; never what one writes."""
    for path in folder.rglob(".*"):
        found = _TEMPORARY.fullmatch(path.name)
        if found and path.is_file() and not _is_being_written(path, int(found[1], 16), found[2]):
            with suppress(OSError):
                path.unlink()


def _is_being_written(path: Path, process: int, token: str) -> bool:
    """Whether the process that began a file still runs; a number may be another one's by now, but not for a day."""
    if process == os.getpid():
        return token == _PROCESS
    return _runs(process) and not _is_old(path)


def _runs(process: int) -> bool:
    if sys.platform == "win32":  # which would end it
        return True
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _is_old(path: Path) -> bool:
    try:
        newest = max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
    except OSError:  # somebody removes it just now
        return False
    return abs(time.time() - newest) > _ABANDONED_SECONDS


@contextmanager
def building(parent: Path) -> Iterator[Path]:
    """Give a new folder in `parent` for what the block builds and renames; otherwise nothing stays of it.

    What was left in `parent` by processes that were killed is removed first. Each folder is locked as long as its
    process lives; where a file system has no locks, a day tells.

    Raises:
        OSError: it cannot be made.
    """
    for path in parent.glob(".new-*"):
        with suppress(OSError), _holding(path) as held:
            if held or (held is None and _is_old(path)):
                shutil.rmtree(path)
    with ExitStack() as stack:
        path = _new_folder(parent, stack)
        try:
            path.chmod(0o755)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _new_folder(parent: Path, stack: ExitStack) -> Path:
    while True:
        path = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
        with suppress(FileNotFoundError):  # between the two, another process may have taken it for one that was left
            held = stack.enter_context(_holding(path))
            if held is not False and path.exists():
                return path


@contextmanager
def _holding(folder: Path) -> Iterator[bool | None]:
    """Lock a folder; gives whether that was possible, or `None` where there are no locks."""
    if sys.platform == "win32":
        yield None
        return
    descriptor, held = os.open(folder, os.O_RDONLY), None
    try:
        with suppress(OSError):
            held = _locked(descriptor)
        yield held
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder, where the system keeps such things, for files that nobody keeps.

    Raises:
        OutputError: they cannot be written there. It names TMPDIR.
    """
    try:
        folder = Path(tempfile.mkdtemp())
    except OSError as error:
        raise _no_scratch(tempfile.tempdir or "the folder for temporary files", error) from error
    try:
        yield folder
    except OSError as error:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        ours = not names or any(name.startswith(str(folder)) for name in names)
        if ours and (error.errno in _FULL or "No space left" in str(error)):
            raise _no_scratch(folder.parent, error) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # Windows deletes no file that is mapped


def _no_scratch(folder: Path | str, error: OSError) -> OutputError:
    return OutputError(
        f"Cannot write temporary files in {folder}: {error.strerror or error}. Free the space, or name another folder "
        "in the environment variable TMPDIR."
    )


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` whole or not at all, and onto the disk before the name is given to it."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented JSON in raw UTF-8, whole or not at all."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Turn an `OSError` into a sentence that names the path and the reason."""
    return OutputError(
        f"Cannot write {path}: {error.strerror or error}. Free the space or choose a place you may write to."
    )


def make_folder(path: Path) -> None:
    """Make `path` and its parents where they are missing, and see that files can be written there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise cannot_write(path, error) from error


def check_writable(path: Path) -> None:
    """Raise unless a folder can be made at `path`, or is there, and files can be written to it; leaves nothing behind.

    Raises:
        OutputError: says why not.
    """
    nearest = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise cannot_write(path, error) from error


def check_new(path: Path) -> None:
    """Raise unless a file can be written at `path` without anything being lost.

    Raises:
        OutputError: there is one already, or its folder is missing or cannot be written.
    """
    if os.path.lexists(path):
        raise OutputError(f"{path} exists already, and nothing is overwritten. Name another file.")
    if not path.parent.is_dir():
        raise OutputError(f"Cannot write {path}: there is no folder {path.parent}. Make it, or name another one.")
    check_writable(path.parent)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def offset_in_zip(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where a member's bytes begin: behind its local header, whose last two numbers are lengths of texts."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        low, high, more_low, more_high = file.read(4)
    return info.header_offset + 30 + low + 256 * high + more_low + 256 * more_high
