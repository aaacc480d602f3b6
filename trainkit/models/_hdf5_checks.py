"""What an HDF5 file of weights may hold: numbers that are in it, and no more of them than its bytes can be."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import h5py

from trainkit.errors import ModelError
from trainkit.files import offset_in_zip

WEIGHTS_MEMBER = "model.weights.h5"
_SMALL_BYTES = 2**24  # what is below it cannot fill anything
_MAX_EXPANSION = 20  # Keras stores weights uncompressed, and they hardly compress
_MAX_ENTRIES = 25_000  # groups and arrays; the largest network of keras.applications has 8,000
_NUMBERS = "fiubS"  # kinds of NumPy; a text of a fixed length lies in the file as numbers do
_HEAP, _HEAP_HEADER = b"GCOL\x01\0\0\0", 16  # bytes; sizes have 8 in every file that h5py writes
_MAX_HEAP_BYTES = 2**26
_CHUNK_BYTES = 2**24
_MAX_OPAQUE_BYTES = 2  # of an element: bfloat16, which HDF5 does not know


def may_grow_to(stored_bytes: int) -> int:
    """Return how many bytes may come out of so many that are stored."""
    return max(_SMALL_BYTES, _MAX_EXPANSION * stored_bytes)


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading that a stranger may have written.

    Raises:
        ModelError: it is not safe to load; see `check_hdf5`.
    """
    if h5py.is_hdf5(path):  # a look at its first bytes; what is none may be of any length
        with path.open("rb") as raw:
            _check_heaps(path, raw)
    with h5py.File(path, "r") as file:
        check_hdf5(path, file)
        yield file


def check_hdf5(path: Path, file: h5py.File) -> None:
    """Raise if an HDF5 file leads out of itself, or its arrays are larger than its bytes can be; reads no array.

    Args:
        path: for the message.
        file: opened for reading.

    Raises:
        ModelError: names the entry.
    """
    total, most = 0, may_grow_to(file.id.get_filesize())
    for name, entry in _datasets(path, file):
        _check_array(path, name, entry)
        total += entry.nbytes
        if total > most:
            raise _grows(path, name, total)


def check_stored_weights(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise if the weights in a `.keras` archive, whose members were looked at, are not safe; see `check_hdf5`.

    Raises:
        ModelError: names the entry.
    """
    if WEIGHTS_MEMBER in archive.namelist():
        with _seekable(path, archive, WEIGHTS_MEMBER) as member:
            _check_heaps(path, member)
            with h5py.File(member, "r") as file:
                check_hdf5(path, file)


def _check_heaps(path: Path, raw: IO[bytes]) -> None:
    """Raise if a global heap, in which texts of any length lie, has an entry that ends where it begins.

    The HDF5 library would look at that entry for ever. Layout: the HDF5 file format specification, version 3, III.E.
    """
    for start in _find(raw, _HEAP):
        raw.seek(start + len(_HEAP))
        size = int.from_bytes(raw.read(8), "little")
        entries = raw.read(min(size, _MAX_HEAP_BYTES) - _HEAP_HEADER)
        place = 0
        while place + _HEAP_HEADER <= len(entries):
            number, _, _, length = struct.unpack_from("<HHIQ", entries, place)
            taken = length if number == 0 else _HEAP_HEADER + (length + 7) // 8 * 8  # 0: what is free
            if taken == 0:
                raise ModelError(f"{path} is damaged: an entry of its heap has no length. Save or download it again.")
            place += taken
    raw.seek(0)


def _find(raw: IO[bytes], signature: bytes) -> Iterator[int]:
    """Yield where in a file some bytes stand."""
    base, before = 0, b""
    while True:
        raw.seek(base)
        data = raw.read(_CHUNK_BYTES)
        if not data:
            return
        window = before + data
        place = window.find(signature)
        while place >= 0:
            yield base - len(before) + place
            place = window.find(signature, place + 1)
        base += len(data)
        before = window[-len(signature) + 1 :]


def _datasets(path: Path, file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield each array once, however many names it has; a group may be reached by way of itself."""
    groups: list[Any] = [file]
    seen = {h5py.h5o.get_info(file.id).addr}
    while groups:
        group = groups.pop()
        for name in group:
            key = name.encode("utf-8", "surrogateescape")  # as h5py decoded it
            if group.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
                raise _leads_out(path, name)
            info = h5py.h5o.get_info(group.id, key)  # opens nothing, which takes the most time
            if info.type not in (h5py.h5o.TYPE_GROUP, h5py.h5o.TYPE_DATASET):
                raise ModelError(f"{path}: {name!r} is neither a group nor weights: it is not safe to load.")
            if info.addr in seen:
                continue
            seen.add(info.addr)
            if len(seen) > _MAX_ENTRIES:
                raise ModelError(f"{path} has more than {_MAX_ENTRIES} groups and weights: it is not safe to load.")
            if info.type == h5py.h5o.TYPE_DATASET:
                yield name, group[name]
            else:
                groups.append(group[name])


def _check_array(path: Path, name: str, entry: h5py.Dataset) -> None:
    layout = entry.id.get_create_plist()
    if layout.get_external_count() or layout.get_layout() == h5py.h5d.VIRTUAL:
        raise _leads_out(path, name)
    kind, size = entry.dtype.kind, entry.dtype.itemsize
    opaque = kind == "V" and entry.dtype.fields is None and size <= _MAX_OPAQUE_BYTES
    if kind not in _NUMBERS and not opaque:
        raise ModelError(f"{path}: the weights {name!r} are no numbers ({entry.dtype!s:.80}): it is not safe to load.")
    if entry.nbytes > may_grow_to(entry.id.get_storage_size()):
        raise _grows(path, name, entry.nbytes)


def _leads_out(path: Path, name: str) -> ModelError:
    return ModelError(f"{path}: the weights {name!r} are a link out of the file: it is not safe to load.")


def _grows(path: Path, name: str, size: int) -> ModelError:
    return ModelError(f"{path}: the weights {name!r} would grow to {size} bytes: not safe to load.")


@contextmanager
def _seekable(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[Any]:
    """Open a member so that HDF5 can go to and fro in it; one that was compressed is unpacked once, on the disk."""
    info = archive.getinfo(name)
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:  # the bit says: encrypted
        with path.open("rb") as file:
            yield _Window(file, offset_in_zip(path, info), info.file_size)
        return
    with archive.open(info) as member, TemporaryFile() as unpacked:
        shutil.copyfileobj(member, unpacked)
        yield unpacked


class _Window(io.RawIOBase):
    """A part of a file, as a file; zipfile's own goes back only by reading from the beginning."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._position = file, start, size, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as `io` has it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the part goes."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._start + self._position)
        found = self._file.read(max(0, min(len(view), self._size - self._position)))
        view[: len(found)] = found
        self._position += len(found)
        return len(found)

    def tell(self) -> int:
        """Return where it is."""
        return self._position

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True
