"""Where maps and pictures of explanations go: into a folder in which nothing is overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from trainkit.bundles._drawing import draw_lines, save_picture
from trainkit.errors import OutputError
from trainkit.explaining._explanation import Explanation
from trainkit.explaining._pictures import lay_heat
from trainkit.files import cannot_write, check_writable, make_folder, replacing

EXPLAINED = Path("explained")
_LONGEST_SIDE = 1024  # pixels, of a picture
_LONGEST_NAME = 200  # bytes, which leaves room for a number and a suffix


class Written(NamedTuple):
    """The files of an explanation."""

    map: Path  # float32 (height, width), as numpy.load reads it
    picture: Path


class Folder:
    """A folder that is made when the first explanation is written to it."""

    def __init__(self, out: str | os.PathLike[str] | None, name: str) -> None:
        """Take a folder, which may be there already, or a new one of a name in `explained`.

        Raises:
            OutputError: it cannot be made or written.
        """
        self._name = name
        self._path = None if out is None else Path(out)
        if self._path is not None and os.path.lexists(self._path) and not self._path.is_dir():
            raise OutputError(f"{self._path} is a file. Expected a folder for maps and pictures: name another --out.")
        check_writable(EXPLAINED if self._path is None else self._path)

    def save(self, image: Path, image_bgr: np.ndarray, explanation: Explanation) -> Written:
        """Write the map, and the picture with its heat and a caption, under names that are free.

        Raises:
            OutputError: they cannot be written.
        """
        if self._path is None:
            self._path = _make_new(EXPLAINED, self._name)
        make_folder(self._path)
        written = _free(self._path, _shortened(image.stem))
        with replacing(written.map) as temporary, temporary.open("wb") as file:
            np.save(file, explanation.map)
        save_picture(written.picture, draw(image_bgr, explanation))
        return written


def draw(image_bgr: np.ndarray, explanation: Explanation) -> np.ndarray:
    """Return a picture with its heat laid over it, and the class with its probability in a corner.

    Args:
        image_bgr: uint8 `(height, width, 3)`.
        explanation: of this picture.
    """
    height, width = image_bgr.shape[:2]
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    small = cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA) if scale < 1 else image_bgr
    heat = cv2.resize(explanation.map, size, interpolation=cv2.INTER_AREA) if scale < 1 else explanation.map
    return draw_lines(lay_heat(small, heat), [f"{explanation.label}  {explanation.probability:.1%}"])


def _make_new(parent: Path, name: str) -> Path:
    """Make a folder that was not there: `name`, or with a number behind it."""
    make_folder(parent)
    for stem in _numbered(_shortened(name)):
        try:
            (parent / stem).mkdir()
            return parent / stem
        except FileExistsError:
            continue
        except OSError as error:
            raise cannot_write(parent / stem, error) from error
    raise AssertionError("the numbers are endless")


def _free(folder: Path, stem: str) -> Written:
    """Return names for the files of an image, of which none is there."""
    names = (Written(folder / f"{name}.npy", folder / f"{name}.png") for name in _numbered(stem))
    return next(both for both in names if not any(map(os.path.lexists, both)))


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}-{number}"
        number += 1


def _shortened(stem: str) -> str:
    return os.fsencode(stem)[:_LONGEST_NAME].decode("utf-8", errors="ignore")
