"""Pictures that come one after the other, of one size or several, written to a file and mapped from it."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import TracebackType

import numpy as np

from trainkit.data._dataset import PackedPixels
from trainkit.deploy.python._values import MAX_SIDE
from trainkit.errors import DataError, OutputError

_LOOKED_AT = 256  # images that tell whether the levels go from 0 to 1
_CHECKED_BYTES = 2**28  # written between two looks at the disk
_SPARE_BYTES = 2**30  # that stay free


class PixelFile:
    """Takes pictures in any of the forms that people have them in, and keeps grey levels from 0 to 255.

    Args:
        path: of the file to write.
        name: of the data, for messages.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._file = path.open("xb")
        self._shapes: list[tuple[int, int, int]] = []
        self._highest, self._rounded, self._is_float = 0.0, 0.0, False
        self._until_check = _CHECKED_BYTES

    def __enter__(self) -> PixelFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._shapes)

    def add(self, image: np.ndarray) -> None:
        """Take a picture: `(height, width)`, or with 1 or 3 channels, R, G, B, behind.

        Raises:
            DataError: it is no picture, or its levels are not those of one.
            OutputError: the disk is full.
        """
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[..., 0]
        if not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or image.dtype.kind not in "buif":
            raise DataError(
                f"{self._name} has an image of {image.dtype} {image.shape}. Expected numbers (height, width), or "
                "(height, width, channels) with 1 or 3 of these."
            )
        if not (min(image.shape[:2]) >= 1 and max(image.shape[:2]) <= MAX_SIDE):
            raise DataError(f"{self._name} has an image of {image.shape}. Expected 1 to {MAX_SIDE} pixels a side.")
        height, width = image.shape[:2]
        self._shapes.append((height, width, 1 if image.ndim == 2 else 3))
        self._write(np.ascontiguousarray(self._to_levels(image)))
        if len(self) == _LOOKED_AT:
            self._check_levels()

    def finish(self) -> tuple[np.ndarray | PackedPixels, list[str]]:
        """Return what was taken, mapped from the file, and what there is to say about it.

        Raises:
            DataError: nothing came, or the levels are not those of pictures.
        """
        if not len(self):
            raise DataError(f"{self._name} has no images with labels.")
        self._check_levels()
        self._file.close()
        flat, shapes = np.memmap(self._path, np.uint8, "r"), np.array(self._shapes, np.int64)
        warnings = []
        if self._rounded:
            warnings.append(
                f"{self._name} has images with fractions of grey levels, as resizing makes them: they were rounded, by "
                f"{self._rounded:.2g} at most."
            )
        if (shapes != shapes[0]).any():
            return PackedPixels.of(flat, shapes), warnings
        height, width, channels = self._shapes[0]
        return flat.reshape((-1, height, width) if channels == 1 else (-1, height, width, channels)), warnings

    def _to_levels(self, image: np.ndarray) -> np.ndarray:
        if image.dtype == bool:
            return image.astype(np.uint8) * np.uint8(255)
        if image.dtype == np.uint8:
            self._highest = max(self._highest, float(image.max()))
            return image
        lowest, highest = float(image.min()), float(image.max())
        if not (lowest >= 0 and highest <= 255):  # so written, NaN is refused too
            raise DataError(
                f"{self._name} has an image with levels from {lowest:g} to {highest:g}. Expected 0 to 255: leave out "
                "what scales the pixels, because the preprocessing scales them; after a resize that overshoots, cut "
                "off with clip."
            )
        rounded: np.ndarray = np.rint(image)
        self._is_float = True
        self._highest = max(self._highest, highest)
        self._rounded = max(self._rounded, float(np.abs(image - rounded).max()))
        return rounded.astype(np.uint8)

    def _check_levels(self) -> None:
        """Raise where the levels go from 0 to 1: as grey levels, the images would be nearly black."""
        if self._is_float and 0 < self._highest <= 1:
            held = "hold only 0 and 1" if not self._rounded else "go from 0 to 1"
            raise DataError(
                f"{self._name}: the first {len(self)} images {held}, which can be read in two ways. Where 1 means "
                "white, leave out what scales the pixels (Rescaling, / 255), or multiply by 255. Where they are grey "
                "levels, of nearly black images, cast them to uint8."
            )

    def _write(self, image: np.ndarray) -> None:
        try:
            self._until_check -= image.nbytes
            if self._until_check < 0:  # what has no end is stopped before it fills the disk
                self._until_check = _CHECKED_BYTES
                if shutil.disk_usage(self._path.parent).free < _SPARE_BYTES:
                    raise OSError(errno.ENOSPC, "there is hardly any space left")
            self._file.write(image.data)
        except OSError as error:
            raise OutputError(
                f"Cannot keep the images of {self._name} in {self._path.parent}, after {len(self):,} of them: "
                f"{error.strerror}. Give fewer, smaller ones, or another folder in the environment variable TMPDIR."
            ) from error
