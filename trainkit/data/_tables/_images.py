"""Where the images of a table lie: its cells name them with and without folders, suffixes and the right slashes."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from trainkit.data._tables._sheets import Sheet, naming
from trainkit.errors import DataError

_IMAGE_SUFFIXES = (
    ".jpg .jpeg .jpe .jfif .png .bmp .dib .ppm .pgm .pbm .pnm .tif .tiff .webp .gif .heic .heif .avif .jp2"
)
SUFFIXES = frozenset(_IMAGE_SUFFIXES.split())
_ADDRESS = re.compile(r"\w+://")
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
        self._below = below
        self._stems: dict[Path, dict[str, list[str]]] = {}

    def find(self, cell: str) -> list[Path]:
        """Return the file that a cell names; none where it is missing, several where it has no suffix and all fit."""
        if os.path.isfile(self.folder / cell):  # before all else: a backslash may be part of a name
            return [self.folder / cell]
        if found := self._look_for(self.folder / cell.replace("\\", "/")):
            return found
        return self._find_below(cell) if self._below and _ABSOLUTE.match(cell) else []

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
        return [path.parent / name for name in self._by_stem(path.parent).get(path.name, [])]

    def _by_stem(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._stems:
            found: dict[str, list[str]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
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
        if not paths and _ADDRESS.match(cell):
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
    hint = ""
    if folder := _neighbour([cell for cell, _ in missing], finder):
        hint = f" They are found with --images {shlex.quote(str(folder))}"
    elif other := _other_suffix([cell for cell, _ in missing], finder):
        hint = f" There is {other}: correct the suffixes, or leave them out."
    elif absolute:
        hint = " Paths of another machine are looked for below the folder that --images names."
    are = "is" if len(missing) == 1 else "are"
    return (
        f"{len(missing)} of {len(sheet.rows)} images of {sheet.path} (column `{column}`) {are} missing: {named}. "
        f"Expected paths relative to {finder.folder.absolute()}, or absolute ones.{hint}"
    )


def _neighbour(cells: Sequence[str], finder: ImageFinder) -> Path | None:
    """Return a folder that has the images: this one for paths of another machine, one below it, or the one above."""
    folder = finder.folder
    try:
        below = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."]
    except OSError:
        return None
    for near in [folder, *sorted(below)[:_NEIGHBOURS], folder.absolute().parent]:
        other = ImageFinder(near, below=True)
        if all(other.find(cell) for cell in cells[:_TRIED]):
            return near
    return None


def _other_suffix(cells: Sequence[str], finder: ImageFinder) -> Path | None:
    """Return a file that is there under another suffix."""
    for cell in cells[:_TRIED]:
        stem, dot, suffix = cell.rpartition(".")
        if f"{dot}{suffix}".lower() in SUFFIXES and (found := finder.find(stem)):
            return found[0]
    return None
