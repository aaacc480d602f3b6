"""Files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trainkit.errors import OutputError

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}(\..{1,31})?")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and rename it to `path` when the block ends well.

    The temporary name keeps the suffix, because many writers choose the format by it, and is short, because the
    name of `path` may be as long as a name can be.

    Raises:
        OutputError: the folder cannot be written.
    """
    temporary = path.parent / f".{secrets.token_hex(8)}{path.suffix[:32]}"
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # where it could not be made, it cannot be removed
            temporary.unlink()


def remove_leftovers(folder: Path) -> None:
    """Remove what `replacing` leaves behind below a folder where its process was killed."""
    for path in folder.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            with suppress(OSError):
                path.unlink()


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
