"""What is to be classified, as a list: a row is a place in it, and its paths are read only when they are needed."""

from __future__ import annotations

import csv
import os
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from trainkit._progress import doing
from trainkit.bundles._inputs import LIST_SUFFIXES
from trainkit.cluster import _places
from trainkit.cluster._places import absolute, is_address, is_remote
from trainkit.deploy.python._media import list_files
from trainkit.deploy.python._values import IMAGE_SUFFIXES
from trainkit.errors import BundleError, DataError, UsageError
from trainkit.runs._predictions import import_pyarrow

_COLUMNS = ("path", "file", "image", "filename", "filepath", "image_path")
_STRIDE = 1024  # of so many lines, where one begins is kept
_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\0": "a binary file"}


class PathList(Protocol):
    """Paths in an order."""

    def __len__(self) -> int: ...

    def read(self, first: int, count: int) -> list[str]:
        """Return `count` absolute paths or addresses from a place on, counted from 0."""


@dataclass(frozen=True, slots=True)
class PathsInMemory:
    """Paths that are there anyway."""

    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, first: int, count: int) -> list[str]:
        """Return `count` paths from a place on."""
        return list(self.paths[first : first + count])


@dataclass(slots=True)
class PathsInFile:
    """The lines of a text file, empty ones left out. However many there are, they take no memory."""

    path: Path
    base: Path
    count: int = 0
    starts: array[int] = field(default_factory=lambda: array("Q"))  # where each 1,024th line begins

    def __post_init__(self) -> None:
        with self.path.open("rb") as file:
            position = _after_mark(file.read(3))
            file.seek(position)
            for line in file:
                if line.strip():
                    if self.count % _STRIDE == 0:
                        self.starts.append(position)
                    self.count += 1
                position += len(line)

    def __len__(self) -> int:
        return self.count

    def read(self, first: int, count: int) -> list[str]:
        """Return `count` paths from a place on."""
        with self.path.open("rb") as file:
            file.seek(self.starts[first // _STRIDE])
            lines = (line for line in file if line.strip())
            chosen = islice(lines, first % _STRIDE, first % _STRIDE + count)
            return [_resolve(os.fsdecode(line.rstrip(b"\r\n")), self.base) for line in chosen]


@dataclass(frozen=True, slots=True)
class JoinedPaths:
    """Several lists, one behind the other."""

    lists: Sequence[PathList]

    def __len__(self) -> int:
        return sum(map(len, self.lists))

    def read(self, first: int, count: int) -> list[str]:
        """Return `count` paths from a place on."""
        found: list[str] = []
        for one in self.lists:
            here = min(count - len(found), max(0, len(one) - first))
            if here > 0:
                found += one.read(first, here)
            first = max(0, first - len(one))
        return found


def list_paths(inputs: Sequence[str]) -> PathList:
    """Return what inputs name: the images of a folder in the order of their names, the paths in a list, an image.

    Raises:
        DataError: a folder has no images, or a list no paths.
        UsageError: there is no such folder or list.
    """
    with doing("Listing the images"):
        lists = [_list_one(one) for one in inputs]
    return lists[0] if len(lists) == 1 else JoinedPaths(lists)


def _list_one(source: str) -> PathList:
    if is_remote(source):
        return PathsInMemory(_list_remote(source))
    if os.path.isdir(source):
        try:
            return PathsInMemory(list_files(absolute(source)))
        except BundleError as error:
            raise DataError(str(error)) from error
    if not source.lower().endswith(LIST_SUFFIXES):
        return PathsInMemory([absolute(source)])
    if not os.path.isfile(source):
        raise DataError(f"No such list: {source}. Expected a text file with a path a line, a folder, or images.")
    return _read_list(Path(source))


def _list_remote(source: str) -> list[str]:
    address = source.partition("?")[0].lower()
    if address.endswith(LIST_SUFFIXES):
        raise UsageError(f"A list is read from a path. Copy it to this machine. Received: {source}")
    return [source] if address.endswith(IMAGE_SUFFIXES) else _places.list_images(source)


def _read_list(path: Path) -> PathList:
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            _check_encoding(path)
            found: PathList = _read_table(path, list(_cells(path, "\t" if suffix == ".tsv" else ",")))
        elif suffix == ".parquet":
            found = _read_table(path, _parquet_cells(path))
        else:
            found = _read_lines(path)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}") from error
    except csv.Error as error:  # an odd quotation mark would take all rows behind it for one cell
        raise DataError(f"{path} is no table: {error}. Look for a cell that begins with a quotation mark.") from error
    if not len(found):
        raise DataError(f"There is no path in {path}. Expected a path a line.")
    return found


def _check_encoding(path: Path) -> bytes:
    """Return how a list begins; raise where it is no text in UTF-8."""
    with path.open("rb") as file:
        head = file.read(4096)
    for mark, kind in _ENCODINGS.items():
        if head.startswith(mark) or (mark == b"\0" and mark in head):
            raise DataError(f"{path} is {kind}. Expected text in UTF-8, a path a line.")
    return head


def _read_lines(path: Path) -> PathsInFile:
    head = _check_encoding(path)
    first = next((line for line in head[_after_mark(head) :].splitlines() if line.strip()), b"")
    return PathsInFile(path, _find_base(path, os.fsdecode(first)))


def _after_mark(head: bytes) -> int:
    return 3 if head.startswith(b"\xef\xbb\xbf") else 0


def _find_base(path: Path, first: str) -> Path:
    """Return the folder from which the relative paths of a list go: its own, or the current one.

    Raises:
        DataError: both have the first one.
    """
    own, current = path.parent.absolute(), Path.cwd()
    if is_address(first) or Path(first).is_absolute() or own.resolve() == current:
        return own
    here = [folder for folder in (own, current) if os.path.isfile(folder / first)]
    if len(here) == 2 and not (own / first).samefile(current / first):
        raise DataError(f"{path}: {first} may be {own / first} or {current / first}. Write absolute paths.")
    return here[0] if here else own


_UNTIDY = re.compile(r"//|/\.?(?:/|\Z)", re.DOTALL)  # what pathlib leaves out


def _resolve(text: str, base: Path) -> str:
    """Return a path as pathlib has it, which takes ten times as long; what kind of address is said of its row."""
    if is_address(text):
        return text
    joined = os.path.join(base, text)  # noqa: PTH118
    return joined if os.sep == "/" and not _UNTIDY.search(joined) else str(base / text)


def _read_table(path: Path, cells: list[str]) -> PathsInMemory:
    if not any(cells):
        return PathsInMemory([])
    base = _find_base(path, next(filter(None, cells)))
    return PathsInMemory([_resolve(cell, base) if cell else "" for cell in cells])


def _cells(path: Path, separator: str) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
        rows = csv.reader(file, delimiter=separator, strict=True)
        column = _column(path, next(rows, []))
        yield from (row[column] if column < len(row) else "" for row in rows if row)


def _column(path: Path, header: Sequence[str]) -> int:
    names = [name.strip().lower() for name in header]
    found = [number for number, name in enumerate(names) if name in _COLUMNS]
    if len(found) != 1:
        raise DataError(
            f"{path} must have one column of {', '.join(f'`{name}`' for name in _COLUMNS)}. Received: "
            f"{', '.join(header)[:200] or 'nothing'}"
        )
    return found[0]


def _parquet_cells(path: Path) -> list[str]:
    arrow = import_pyarrow()
    try:
        schema = arrow.parquet.read_schema(path)
        name = schema.names[_column(path, schema.names)]
        _check_is_text(path, name, schema.field(name).type)
        cells = arrow.parquet.read_table(path, columns=[name]).column(0).to_pylist()
    except arrow.ArrowInvalid as error:
        raise DataError(f"{path} is no Parquet file: {error}") from error
    return [cell or "" for cell in cells]


def _check_is_text(path: Path, name: str, kind: Any) -> None:
    """Raise unless a column of a Parquet file holds text, as it is or by numbers."""
    arrow = import_pyarrow()
    kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
    if not (arrow.types.is_string(kind) or arrow.types.is_large_string(kind) or arrow.types.is_string_view(kind)):
        raise DataError(f"The column `{name}` of {path} must hold paths as text. Received: {kind}")
