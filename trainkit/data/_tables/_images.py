"""Where the images of a table lie: its cells name them with and without folders, suffixes and the right slashes."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from trainkit.data._tables._sheets import Sheet, naming
from trainkit.errors import DataError

_IMAGE_SUFFIXES = (
    ".jpg .jpeg .jpe .jfif .png .bmp .dib .ppm .pgm .pbm .pnm .tif .tiff .webp .gif .heic .heif .avif .jp2"
)
SUFFIXES = frozenset(_IMAGE_SUFFIXES.split())
_ADDRESS = re.compile(r"\w+://")
_FILE_ADDRESS = re.compile(r"file:/", re.IGNORECASE)
_ABSOLUTE = re.compile(r"[A-Za-z]:[\\/]|[\\/]")
_TRIED = 20  # rows that tell whether a column names images
_NEIGHBOURS = 200  # folders that are looked into for images that are missing


class ImageFinder:
    """Finds files by the cells of a table, and keeps what it has seen of the folders.

    Args:
        folder: that the paths begin in.
        below: whether paths of another machine are looked for below that folder.
    """

    def __init__(self, folder: Path, *, below: bool = False) -> None:
        self.folder = folder
        self.away: list[str] = []  # the first parts of the paths of another machine, once one was found without them
        self.below = below
        self._stems: dict[Path, dict[str, list[str]]] = {}

    def find(self, cell: str) -> list[Path]:
        """Return the file that a cell names; none where it is missing, several where it has no suffix and all fit."""
        if _FILE_ADDRESS.match(cell):
            cell = _path_of_address(cell)
        if os.path.isfile(self.folder / cell):  # before all else: a backslash may be part of a name
            return [self.folder / cell]
        if found := self._look_for(self.folder / cell.replace("\\", "/")):
            return found
        return self._find_below(cell) if self.below and _ABSOLUTE.match(cell) else []

    def names_images(self, cells: Sequence[str]) -> bool:
        """Tell whether any of the first cells of a column names a file."""
        return any(self.find(cell) for cell in cells[:_TRIED] if cell)

    def warnings(self, path: Path) -> list[str]:
        """Say where the images of a table were found, if it was not where the table says."""
        if not self.away:
            return []
        return [f"{path}: its paths begin with {'/'.join(self.away)}, for which {self.folder} was taken."]

    def _look_for(self, path: Path) -> list[Path]:
        if os.path.isfile(path):
            return [path]
        if path.suffix.lower() in SUFFIXES:  # `cat.jpg` is no short name of `cat.jpg.png`
            return []
        return [path.parent / name for name in self.called(path)]

    def called(self, path: Path) -> list[str]:
        """Return the names of the images that are called so, and then have a suffix."""
        return self._by_stem(path.parent).get(path.name, [])

    def _by_stem(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._stems:
            found: dict[str, list[str]] = {}
            for path in sorted(folder.iterdir()) if os.path.isdir(folder) else []:
                if path.suffix.lower() in SUFFIXES:
                    found.setdefault(path.stem, []).append(path.name)
            self._stems[folder] = found
        return self._stems[folder]

    def _find_below(self, cell: str) -> list[Path]:
        """Look for a path of another machine: the parts that are left away are the same for all of a table."""
        parts = re.split(r"[\\/]+", cell)
        if self.away:
            tail = parts[len(self.away) :]
            return self._look_for(self.folder.joinpath(*tail)) if parts[: len(self.away)] == self.away else []
        for count in range(1, len(parts)):
            if found := self._look_for(self.folder.joinpath(*parts[count:])):
                self.away = parts[:count]
                return found
        return []


def locate_images(sheet: Sheet, index: int, finder: ImageFinder) -> list[Path]:
    """Return the file that each cell of a column names.

    Raises:
        DataError: a cell is empty or the address of a page, an image is missing, or two are meant.
    """
    path, column = sheet.path, sheet.header[index]
    found: list[Path] = []
    missing: list[tuple[str, int]] = []
    for cell, line in zip(sheet.column(index), sheet.lines, strict=True):
        if not cell:
            raise DataError(f"{path}, line {line}: there is no image. Expected a path in the column `{column}`.")
        paths = finder.find(cell)
        if len(paths) > 1:
            names = " or ".join(str(one) for one in paths)
            raise DataError(
                f"{path}, line {line}: `{cell}` may be {names}. Write the suffix too, or remove one of them."
            )
        if not paths and _ADDRESS.match(cell) and not _FILE_ADDRESS.match(cell):
            raise DataError(
                f"{path}, line {line}: {cell} is an address, and trainkit downloads no images. Download them, and "
                "write the paths of the files."
            )
        found += paths
        if not paths:
            missing.append((cell, line))
    if missing:
        raise DataError(_missing(sheet, column, missing, finder))
    return found


def _missing(sheet: Sheet, column: str, missing: Sequence[tuple[str, int]], finder: ImageFinder) -> str:
    named = naming(f"{finder.folder / cell} (line {line})" for cell, line in missing)
    absolute = all(_ABSOLUTE.match(cell) for cell, _ in missing)
    cells = [cell for cell, _ in missing]
    hint = _where_they_are(sheet, column, cells, finder)
    if not hint and (other := _other_suffix(cells, finder)):
        hint = f" There is {other}: correct the suffixes, or leave them out."
    elif not hint and (longer := _longer_name(cells, finder)):
        hint = f" There is {longer}, another name: correct it in the table, or rename the file."
    elif not hint and absolute and not finder.below:
        hint = " Paths of another machine are looked for below the folder that --images names."
    are = "is" if len(missing) == 1 else "are"
    return (
        f"{len(missing)} of {len(sheet.rows)} images of {sheet.path} (column `{column}`) {are} missing: {named}. "
        f"Expected paths relative to {finder.folder.absolute()}, or absolute ones.{hint}"
    )


def _where_they_are(sheet: Sheet, column: str, cells: Sequence[str], finder: ImageFinder) -> str:
    """Say in which other folder, or folders, images lie that are missing; empty where none is found."""
    some = cells[:: max(1, len(cells) // _TRIED)]
    every = [row[sheet.header.index(column)] for row in sheet.rows]
    folders: dict[Path, None] = {} if len(cells) == len(every) else {finder.folder: None}
    elsewhere: dict[str, Path] = {}
    for near in _near(finder):
        other = ImageFinder(near, below=True)
        there = [cell for cell in some if other.find(cell)]
        if len(there) == len(some) and all(map(other.find, every)):
            return f" They are found with --images {shlex.quote(str(near))}"
        elsewhere = dict.fromkeys(there, near) | elsewhere
    folders |= dict.fromkeys(elsewhere[cell] for cell in some if cell in elsewhere)
    if not elsewhere:
        return ""
    if len(folders) > 1:
        who = "They" if all(cell in elsewhere for cell in some) else "Some of them"
        return (
            f" {who} lie in several folders ({naming(map(str, folders))}): put them together in one, or write the "
            f"folder too in the column `{column}`."
        )
    return f" Some of them, not all, are found with --images {shlex.quote(str(next(iter(folders))))}"


def _near(finder: ImageFinder) -> list[Path]:
    """Return the folders to look in: this one for paths of another machine, and those below, above and beside it."""
    here = finder.folder.absolute()
    if not finder.below:
        return [finder.folder, *_folders_in(finder.folder), here.parent]
    beside = [folder for folder in _folders_in(here.parent) if folder != here]
    return [*_folders_in(finder.folder), here.parent, *beside]


def _folders_in(folder: Path) -> list[Path]:
    try:
        found = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."]
    except OSError:
        return []
    return sorted(found)[:_NEIGHBOURS]


def _path_of_address(cell: str) -> str:
    """Return the path that `file:///home/me/cat%201.jpg` is the address of."""
    path = unquote(re.sub(r"^file:(//(localhost)?(?=/)|//)?", "", cell, flags=re.IGNORECASE))
    return path[1:] if re.match(r"/[A-Za-z]:", path) else path


def _longer_name(cells: Sequence[str], finder: ImageFinder) -> Path | None:
    """Return `cat.jpg.png`, where `cat.jpg` is missing."""
    for cell in cells[:_TRIED]:
        path = finder.folder / cell.replace("\\", "/")
        if names := finder.called(path):
            return path.parent / names[0]
    return None


def _other_suffix(cells: Sequence[str], finder: ImageFinder) -> Path | None:
    """Return a file that is there under another suffix."""
    for cell in cells[:_TRIED]:
        stem, dot, suffix = cell.rpartition(".")
        if f"{dot}{suffix}".lower() in SUFFIXES and (found := finder.find(stem)):
            return found[0]
    return None
