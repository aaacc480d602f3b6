"""Paths, and addresses of stores of objects: `s3://bucket/folder`, `gs://bucket/folder`, through pyarrow."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainkit.deploy.python._values import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from trainkit.errors import DataError, OutputError, UsageError
from trainkit.files import replacing
from trainkit.runs._predictions import import_pyarrow

_STORES = ("s3", "gs")


def is_remote(place: str) -> bool:
    """Whether a place is the address of a store of objects, and no path.

    Raises:
        UsageError: it is the address of something else.
    """
    if is_address(place) and place.partition("://")[0] not in _STORES:
        raise UsageError(f"Expected a path, s3://BUCKET/... or gs://BUCKET/... Received: {place}")
    return is_address(place)


def is_address(place: str) -> bool:
    """Whether a place is the address of anything, and no path."""
    scheme, separator, _ = place.partition("://")
    return bool(separator) and "/" not in scheme


def absolute(place: str) -> str:
    """Return a path that does not depend on where one stands; an address as it is."""
    return place if is_remote(place) else str(Path(place).absolute())


def join(folder: str, name: str) -> str:
    """Return the place of a name in a folder; what stands behind `?` in an address stays at its end."""
    if not is_remote(folder):
        return str(Path(folder, name))
    address, mark, options = folder.partition("?")
    return f"{address.rstrip('/')}/{name}{mark}{options}"


@lru_cache(maxsize=64)
def _connection(store: str, options: str) -> Any:
    """Return pyarrow's file system of a bucket; opened once in a process."""
    import_pyarrow()
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(f"{store}{options}")[0]


def _open(place: str) -> tuple[Any, str]:
    """Return a file system of pyarrow, and the path in it."""
    address, mark, options = place.partition("?")
    scheme, _, path = address.partition("://")
    return _connection(f"{scheme}://{path.partition('/')[0]}", mark + options), path.rstrip("/")


def list_names(folder: str, ending: str) -> list[str]:
    """Return the names of the files in a folder that end so, sorted; none where there is no such folder."""
    if not is_remote(folder):
        return sorted(path.name for path in Path(folder).glob(f"[!.]*{ending}"))
    return sorted(name for name in _names_in(folder, recursive=False) if name.endswith(ending))


def _names_in(folder: str, *, recursive: bool) -> list[str]:
    """Return the names of the files in a folder of a store, relative to it."""
    from pyarrow.fs import FileSelector, FileType

    system, path = _open(folder)
    try:
        found = system.get_file_info(FileSelector(path, allow_not_found=True, recursive=recursive))
    except OSError as error:
        raise DataError(f"Cannot list {folder}: {error}") from error
    return [one.path[len(path) :].lstrip("/") for one in found if one.type == FileType.File]


def list_images(folder: str) -> list[str]:
    """Return the addresses of the images and videos in a folder of a store and its subfolders, by name.

    Raises:
        DataError: there is none.
    """
    names = [
        name
        for name in _names_in(folder, recursive=True)
        if name.lower().endswith(IMAGE_SUFFIXES + VIDEO_SUFFIXES) and not name.rpartition("/")[2].startswith(".")
    ]
    if not names:
        raise DataError(f"No images in {folder}. Expected files that end in {', '.join(IMAGE_SUFFIXES)}.")
    return [join(folder, name) for name in sorted(names)]


def read_bytes(place: str) -> bytes:
    """Return what is in a file of a store.

    Raises:
        DataError: it cannot be read.
    """
    try:
        system, path = _open(place)
        with system.open_input_stream(path) as stream:
            return bytes(stream.read())
    except OSError as error:
        raise DataError(f"Cannot read {place}: {error}") from error


@contextmanager
def local_copy(place: str) -> Iterator[str]:
    """Give the path of a file for a place: its own, or that of a copy that is gone afterwards.

    Raises:
        DataError: it cannot be read.
    """
    if not is_remote(place):
        yield place
        return
    data = read_bytes(place)
    suffix = Path(place.partition("?")[0]).suffix
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"copy{suffix}")
        path.write_bytes(data)
        yield str(path)


def read_schema(place: str) -> Any:
    """Return pyarrow's schema of a Parquet file.

    Raises:
        OutputError: it cannot be read.
    """
    arrow = import_pyarrow()
    try:
        if not is_remote(place):
            return arrow.parquet.read_schema(place)
        system, path = _open(place)
        return arrow.parquet.read_schema(path, filesystem=system)
    except (OSError, arrow.ArrowInvalid) as error:
        raise OutputError(f"{place} is damaged ({error}). Delete it, or name another folder.") from error


def write_table(table: Any, place: str) -> None:
    """Write a table as Parquet, whole or not at all: a store shows an object only once it is there whole.

    Raises:
        OutputError: it cannot be written.
    """
    arrow = import_pyarrow()
    if not is_remote(place):
        with replacing(Path(place)) as temporary:
            arrow.parquet.write_table(table, temporary)
        return
    buffer = arrow.BufferOutputStream()
    arrow.parquet.write_table(table, buffer)
    try:
        system, path = _open(place)
        with system.open_output_stream(path) as stream:
            stream.write(buffer.getvalue())
    except OSError as error:
        raise OutputError(f"Cannot write {place}: {error}") from error


def is_there(place: str) -> bool:
    """Whether a path is there on this machine; of an address nobody is asked."""
    return is_address(place) or os.path.lexists(place)
