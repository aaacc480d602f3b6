"""Resizing bit by bit as OpenCV does it on x86, for machines on which OpenCV does it otherwise: ARM."""

from __future__ import annotations

import platform
from typing import Sequence, Tuple

import numpy as np

# On arm64, OpenCV's resize runs other code (a HAL): by measurement 1 to 3 levels away, in one version other than in the
# next. Networks are trained and checked on the pixels of x86.
RESIZES_AS_ON_X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686", "x86")
_WEIGHT_ONE = 2048  # OpenCV's weights have 11 bits


def fit_to_blob(image: np.ndarray, size: Sequence[int], *, crop: bool) -> np.ndarray:
    """Bring an image to the size of a blob where OpenCV would do it otherwise than on x86; mostly nothing.

    Args:
        image: uint8 `(height, width)` or `(height, width, channels)`.
        size: (width, height) of the blob.
        crop: as `cv2.dnn.blobFromImage` takes it.
    """
    return image if RESIZES_AS_ON_X86 else resize_as_on_x86(image, size, crop=crop)


def resize_as_on_x86(image: np.ndarray, size: Sequence[int], *, crop: bool) -> np.ndarray:
    """Do what `cv2.dnn.blobFromImage` begins with, as `fit_to_blob` takes it, without OpenCV."""
    (rows, columns), (width, height) = image.shape[:2], size
    if not crop or (columns, rows) == (width, height):
        return _resize_by(image, (width, height), (width / columns, height / rows))
    # A float32 factor that lets the image cover the blob, and the middle of that.
    factor = float(max(np.float32(width) / np.float32(columns), np.float32(height) / np.float32(rows)))
    scaled = round(columns * factor), round(rows * factor)
    left, top = int(0.5 * (scaled[0] - width)), int(0.5 * (scaled[1] - height))
    return _resize_by(image, scaled, (factor, factor))[top : top + height, left : left + width]


def _resize_by(image: np.ndarray, size: Tuple[int, int], factors: Tuple[float, float]) -> np.ndarray:
    if image.shape[1::-1] == size:
        return image
    if factors == (0.5, 0.5):
        return _halve(image)
    left, first, second = _taps(size[0], factors[0])
    top, upper, lower = _taps(size[1], factors[1])
    # At the edges of a row one column counts; at those of a column, OpenCV weighs one row twice.
    outside = (left < 0) | (left + 1 >= image.shape[1])
    first, second = np.where(outside, _WEIGHT_ONE, first), np.where(outside, 0, second)
    planes = image.reshape(*image.shape[:2], -1)

    def across(rows: np.ndarray) -> np.ndarray:
        band = np.take(planes, rows.clip(0, len(planes) - 1), axis=0).astype(np.int32)
        one, other = (np.take(band, at.clip(0, planes.shape[1] - 1), axis=1) for at in (left, left + 1))
        return np.asarray((one * first[:, np.newaxis] + other * second[:, np.newaxis]) >> 4)

    high = (across(top) * upper[:, np.newaxis, np.newaxis]) >> 16
    low = (across(top + 1) * lower[:, np.newaxis, np.newaxis]) >> 16
    resized = np.asarray((high + low + 2) >> 2, np.uint8)
    return resized.reshape(size[1], size[0], *image.shape[2:])


def _taps(count: int, factor: float) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each new column or row the old one before it, the weight of that, and of the one behind it."""
    place = ((np.arange(count) + 0.5) * (1 / factor) - 0.5).astype(np.float32)
    before = np.floor(place)
    share = place - before
    weights = (np.rint(part * np.float32(_WEIGHT_ONE)).astype(np.int32) for part in (1 - share, share))
    first, second = weights
    return before.astype(np.int64), first, second


def _halve(image: np.ndarray) -> np.ndarray:
    """Return the mean of each four pixels, halves up; an odd row or column at the end, which no crop keeps, is left."""
    rows, columns = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    pairs = image[0:rows:2].astype(np.uint16) + image[1:rows:2]
    return np.asarray((pairs[:, 0:columns:2] + pairs[:, 1:columns:2] + 2) >> 2, np.uint8)
