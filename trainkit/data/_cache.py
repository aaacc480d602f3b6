"""Pixels on disk: decoded and resized once, and from then on mapped into memory, of which they take none of their own.

A file is named by a key that says everything its pixels depend on, and holds the pixels as they are, then a checksum of
each block of them: a file that was cut off, or damaged by a crash or a disk, is written anew. All of them may be
deleted at any time.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO

import numpy as np

from trainkit._progress import counting_chunks, doing
from trainkit.data._cores import all_cores
from trainkit.errors import OutputError, UsageError
from trainkit.files import replacing

if sys.platform != "win32":
    import fcntl

FOLDER_VARIABLE, LIMIT_VARIABLE = "TRAINKIT_CACHE", "TRAINKIT_CACHE_GB"
_LIMIT_GB = 30.0  # four times 50,000 photographs of 224x224
_SUFFIX = ".pixels"
BLOCK = 16  # images that are read, checked and written together
_ABANDONED_SECONDS = 60.0

Read = Callable[[int, np.ndarray], None]  # (first, out): fills `out` with the images from the number `first` on
Blocks = Iterator[tuple[int, np.ndarray]]  # the images from a number on, which BLOCK divides; in any order


def cache_folder() -> Path:
    """Return where the files are: `TRAINKIT_CACHE`, else `trainkit` in the user's folder for such things."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "trainkit"


def read_blocks(read: Read, pixels: np.ndarray) -> None:
    """Fill an array in memory, on all cores."""
    _on_all_cores(lambda first: read(first, pixels[first : first + BLOCK]), len(pixels))


def map_pixels(
    key: str, shape: tuple[int, ...], read: Read, elsewhere: Callable[[], Blocks] | None = None
) -> np.ndarray:
    """Return the pixels of a key from its file, which is written first where there is none, or a damaged one.

    Args:
        key: a file name's letters; everything that the pixels depend on must be in it.
        shape: of the result, images first; there is at least one.
        read: gives the images, from several threads at once.
        elsewhere: begins to give them in its place, where others decode them.

    Returns:
        uint8, read-only, mapped into memory. The file is not deleted by trainkit as long as somebody has it mapped.

    Raises:
        OutputError: the file cannot be written; nothing is left of it.
    """
    folder = cache_folder()
    path = folder / f"{key}{_SUFFIX}"
    found = _open(path, shape)
    return _write(path, shape, read, elsewhere) if found is None else found


def _open(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Map a file that is whole, and note that it was used; `None` where there is no such file."""
    try:
        with path.open("rb") as file:
            _lock(file, exclusive=False)
            if os.fstat(file.fileno()).st_size != _file_bytes(shape):
                return None
            pixels = _map(file, shape)
            file.seek(pixels.nbytes)
            sums = np.frombuffer(file.read(), "<u8")
    except OSError:
        return None
    with suppress(OSError):  # a file of somebody else, which can be read all the same
        os.utime(path)
    return pixels if _is_whole(pixels, sums) else None


def _map(file: IO[bytes], shape: tuple[int, ...]) -> np.ndarray:
    """Map the pixels at the head of a file; what was locked stays so until the array is gone.

    The mapping holds a duplicate of the file's descriptor, and a lock belongs to all duplicates.
    """
    return np.memmap(file, np.uint8, "r", shape=shape)


def _is_whole(pixels: np.ndarray, sums: np.ndarray) -> bool:
    with all_cores() as pool, doing("Checking the cached pixels"):
        found = pool.map(lambda first: _checksum(pixels[first : first + BLOCK]), range(0, len(pixels), BLOCK))
        return all(one == int(other) for one, other in zip(found, sums, strict=True))


def _checksum(block: np.ndarray) -> int:
    """Add the bytes up as whole numbers of eight, modulo 2^64.

    A CRC would take a tenth of the time that decoding takes, this takes a hundredth, and no damage is so well made that
    the sum stays.
    """
    flat = np.asarray(block).reshape(-1)
    whole = len(flat) // 8 * 8
    return (int(flat[:whole].view("<u8").sum(dtype=np.uint64)) + int(flat[whole:].sum(dtype=np.uint64))) % 2**64


def _write(path: Path, shape: tuple[int, ...], read: Read, elsewhere: Callable[[], Blocks] | None) -> np.ndarray:
    folder, size = path.parent, _file_bytes(shape)
    with _explaining(folder, size):
        folder.mkdir(parents=True, exist_ok=True)
        _make_room(folder, size)
    with replacing(path) as temporary, _explaining(folder, size), temporary.open("xb+") as file:
        _lock(file, exclusive=False)
        _write_blocks(file, shape, read, elsewhere)
        return _map(file, shape)


def _write_blocks(file: IO[bytes], shape: tuple[int, ...], read: Read, elsewhere: Callable[[], Blocks] | None) -> None:
    image_bytes = int(np.prod(shape[1:]))
    sums = np.empty(-(-shape[0] // BLOCK), "<u8")
    writing = Lock()

    def write(first: int, images: np.ndarray) -> None:
        for start in range(0, len(images), BLOCK):
            sums[(first + start) // BLOCK] = _checksum(images[start : start + BLOCK])
        with writing:
            file.seek(first * image_bytes)
            file.write(images.data)

    def read_and_write(first: int) -> None:
        block = np.empty((min(BLOCK, shape[0] - first), *shape[1:]), np.uint8)
        read(first, block)
        write(first, block)

    if elsewhere is None:
        _on_all_cores(read_and_write, shape[0])
    else:
        for first, images in elsewhere():
            write(first, images)
    file.seek(shape[0] * image_bytes)
    file.write(sums.tobytes())
    file.flush()


def _on_all_cores(work: Callable[[int], None], count: int) -> None:
    """Call `work` with the number of each block's first image."""
    with all_cores() as pool:
        worked = pool.map(work, range(0, count, BLOCK))
        for _ in counting_chunks(count, BLOCK, "Decoding the images"):
            next(worked)


def _file_bytes(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) + 8 * -(-shape[0] // BLOCK)


@contextmanager
def _explaining(folder: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _no_room(folder, size, error.strerror or str(error)) from error


def _no_room(folder: Path, size: int, reason: str) -> OutputError:
    return OutputError(
        f"Cannot keep {size / 1e6:,.1f} MB of pixels in {folder}: {reason}. Free the space, or name another folder in "
        f"the environment variable {FOLDER_VARIABLE}."
    )


def _make_room(folder: Path, needed: int) -> None:
    """Delete the files that were not used for the longest time until one of `needed` bytes fits; none that is in use.

    Raises:
        OutputError: the disk has no room for it.
    """
    limit = _limit_bytes()
    entries = _list(folder)
    total = sum(entry.size for entry in entries)
    for entry in sorted(entries, key=lambda entry: entry.used):
        abandoned = entry.path.name.startswith(".") and abs(time.time() - entry.used) > _ABANDONED_SECONDS
        crowded = total + needed > limit or shutil.disk_usage(folder).free < needed
        if (abandoned or crowded) and _delete_unless_used(entry.path):
            total -= entry.size
    if (free := shutil.disk_usage(folder).free) < needed:
        raise _no_room(folder, needed, f"{free / 1e6:,.1f} MB are free")


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size: int
    used: float  # seconds since 1970; of a file that is being written, when it was last written to


def _list(folder: Path) -> list[_Entry]:
    entries = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process may tidy up as well
            if path.suffix == _SUFFIX:
                status = path.stat()
                entries.append(_Entry(path, status.st_size, status.st_mtime))
    return entries


def _delete_unless_used(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if not _lock(file, exclusive=True):
                return False
            path.unlink()
    except OSError:
        return False
    return True


def _lock(file: IO[bytes], *, exclusive: bool) -> bool:
    """Lock a file until it is closed, and tell whether that was possible; never wait.

    Windows needs no lock: it deletes no file that is open. Some file systems have none: there a file may be deleted
    while it is mapped, and stays readable until it is not.
    """
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _limit_bytes() -> float:
    """Return how much all files together may have, the largest one excepted."""
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        return 1e9 * float(text or _LIMIT_GB)
    except ValueError as error:
        raise UsageError(f"{LIMIT_VARIABLE} must be a number of gigabytes. Received: {text}") from error
