"""Means and deviations of pixels: exact, in one pass, in a memory that does not grow with the number of images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainkit._progress import counting_chunks
from trainkit.data._cores import all_cores
from trainkit.data._dataset import ArrayImages, Images, JoinedImages
from trainkit.data._inspection import read_or_explain
from trainkit.errors import DataError
from trainkit.preprocessing import Color, Preprocessing

_BLOCK = 64  # images that one thread takes at a time
AddUp = Callable[[np.ndarray], np.ndarray]
_MOST_COUNTED = 2**24  # pixels: cv2.calcHist counts in float32, which has no odd whole numbers beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the pixels of some images have in common."""

    images: int
    pixels: int  # of all images together, each counted once, not once a channel
    mean: tuple[float, ...]  # 0-255, a channel each
    std: tuple[float, ...]  # 0-255, a channel each
    mean_image: np.ndarray | None  # float32 (height, width, channels), where it was asked for


def measure_images(
    images: Images, *, color: Color = "rgb", preprocessing: Preprocessing | None = None, with_image: bool = False
) -> Statistics:
    """Count the pixels of images, on all cores; each is decoded once and none is kept.

    Args:
        images: at least one.
        color: the order of the result; `gray` for the grey of the colours.
        preprocessing: brings every image to its size, and has the same `color`; without it each image has its own.
        with_image: whether the mean image is wanted.

    Raises:
        DataError: an image cannot be decoded, or the mean image is wanted and the images have different sizes.
    """
    joined = images if isinstance(images, JoinedImages) else JoinedImages([images])
    shapes = {_shape_of_all(part) for part in joined.parts}
    if preprocessing is not None or len(shapes) > 1 or None in shapes:
        return _measure_each(joined.__getitem__, len(joined), color, preprocessing, with_image=with_image)

    def read(first: int) -> Iterable[np.ndarray]:
        for part, start, count in joined.pieces(first, _BLOCK):
            yield _to_pixels(part.block(start, count), color)  # type: ignore[attr-defined]

    return _measure(read, len(joined), color, with_image=with_image)


def _shape_of_all(images: Images) -> tuple[int, ...] | None:
    """Return the shape of each picture of an array; `None` of others."""
    return images.pixels.shape[1:] if isinstance(images, ArrayImages) else None


def _to_pixels(block: np.ndarray, color: Color) -> np.ndarray:
    """Return what `_pixels_of` does of each picture of an array, of all of them in one call.

    Args:
        block: uint8 `(n, height, width)`, or `(n, height, width, 3)` in RGB.
        color: of the result.
    """
    sheet = np.ascontiguousarray(block).reshape(-1, *block.shape[2:])
    if block.ndim == 4:
        sheet = cv2.cvtColor(sheet, cv2.COLOR_RGB2GRAY if color == "gray" else cv2.COLOR_RGB2BGR)
    elif color != "gray":
        sheet = cv2.cvtColor(sheet, cv2.COLOR_GRAY2BGR)
    return np.asarray(sheet).reshape(*block.shape[:3], -1)


def measure_files(
    paths: Sequence[Path],
    *,
    color: Color = "rgb",
    preprocessing: Preprocessing | None = None,
    with_image: bool = False,
) -> tuple[Statistics | None, list[str | None]]:
    """Count the pixels of files that nobody has looked at, each decoded once; those that cannot be used are left out.

    Args:
        paths: of the files.
        color: as for `measure_images`, and so are the others.
        preprocessing: see there.
        with_image: see there.

    Returns:
        The statistics, `None` where no file can be used; and what is wrong with each file, `None` for nothing.

    Raises:
        DataError: as `measure_images` does.
    """
    problems: list[str | None] = [None] * len(paths)

    def read(index: int) -> np.ndarray | None:
        found = read_or_explain(paths[index])
        if isinstance(found, str):
            problems[index] = found
            return None
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow thinks of odd but readable files
        measured = _measure_each(read, len(paths), color, preprocessing, with_image=with_image)
    return (measured if measured.images else None), problems


def _measure_each(
    read: Callable[[int], np.ndarray | None],
    count: int,
    color: Color,
    preprocessing: Preprocessing | None,
    *,
    with_image: bool,
) -> Statistics:
    """Measure what `read` gives by its number: an image, uint8 `(height, width, 3)`, BGR, or `None` for none."""
    shapes: set[tuple[int, ...]] = set()

    def read_some(first: int) -> Iterable[np.ndarray]:
        for index in range(first, min(first + _BLOCK, count)):
            image = read(index)
            if image is None:
                continue
            pixels = _pixels_of(image, color, preprocessing)
            shapes.add(pixels.shape)
            if with_image and len(shapes) > 1:
                sizes = " and ".join(f"{width}x{height}" for height, width, _ in sorted(shapes))
                raise DataError(f"A mean image needs images of one size. Received: {sizes}. Choose one with --size.")
            yield pixels[None]

    return _measure(read_some, count, color, with_image=with_image)


def _pixels_of(image_bgr: np.ndarray, color: Color, preprocessing: Preprocessing | None) -> np.ndarray:
    if preprocessing is not None:
        return preprocessing.to_pixels(image_bgr)
    return np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY))[..., None] if color == "gray" else image_bgr


def channel_statistics(
    pixels: np.ndarray, color: Color, add_up: AddUp = lambda sums: sums
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each channel, exactly: the sums are whole numbers.

    Args:
        pixels: uint8 `(N, height, width, channels)`, colour in the order B, G, R; in memory or mapped.
        color: the order of the result.
        add_up: is given int64 sums and returns those of all pixels, where these are a part of them.
    """
    found = _measure_pixels(pixels, color, add_up, with_image=False)
    return found.mean, found.std


def mean_image(pixels: np.ndarray, color: Color, add_up: AddUp = lambda sums: sums) -> np.ndarray:
    """Return the mean of all images, pixel by pixel, from sums that are whole numbers.

    Args:
        pixels: uint8 `(N, height, width, channels)`, colour in the order B, G, R; in memory or mapped.
        color: the order of the result.
        add_up: as for `channel_statistics`.

    Returns:
        float32 `(height, width, channels)`, 0-255.
    """
    return np.asarray(_measure_pixels(pixels, color, add_up, with_image=True).mean_image)


def _measure_pixels(pixels: np.ndarray, color: Color, add_up: AddUp, *, with_image: bool) -> Statistics:
    return _measure(lambda first: [pixels[first : first + _BLOCK]], len(pixels), color, add_up, with_image=with_image)


def _measure(
    read: Callable[[int], Iterable[np.ndarray]],
    count: int,
    color: Color,
    add_up: AddUp = lambda sums: sums,
    *,
    with_image: bool,
) -> Statistics:
    """Add up what `read` gives for the number of each block's first image: uint8 `(n, height, width, channels)`."""
    channels = 1 if color == "gray" else 3

    def add(first: int) -> tuple[np.ndarray, Any, int]:
        histograms, total, images = np.zeros((channels, 256), np.int64), 0, 0
        for block in read(first):
            histograms += _histograms(block.reshape(-1, *block.shape[2:]))
            images += len(block)
            if with_image:
                total = total + block.sum(axis=0, dtype=np.uint32)  # half as long as with int64
        return histograms, total, images

    histograms, total, found = np.zeros((channels, 256), np.int64), np.zeros((), np.int64), 0
    with all_cores() as pool:
        added = pool.map(add, range(0, count, _BLOCK))
        for _ in counting_chunks(count, _BLOCK, "Measuring the pixels"):
            of_block, total_of_block, images = next(added)
            histograms, found = histograms + of_block, found + images
            total = total + total_of_block if with_image else total
    if not found:
        return Statistics(images=0, pixels=0, mean=(), std=(), mean_image=None)
    order = slice(None, None, -1 if color == "rgb" else 1)
    histograms, images = add_up(histograms), int(add_up(np.array(found)))
    total = add_up(total) if with_image else total
    mean, std = _moments(histograms[order])
    return Statistics(
        images=images,
        pixels=int(histograms[0].sum()),
        mean=mean,
        std=std,
        mean_image=np.ascontiguousarray((total / images)[..., order], np.float32) if with_image else None,
    )


def _histograms(sheet: np.ndarray) -> np.ndarray:
    """Return int64 `(channels, 256)`, how often each grey level occurs in uint8 `(height, width, channels)`."""
    rows = max(1, _MOST_COUNTED // sheet.shape[1])
    counted = np.zeros((sheet.shape[2], 256), np.int64)
    for top in range(0, len(sheet), rows):
        piece = np.ascontiguousarray(sheet[top : top + rows])
        for channel in range(sheet.shape[2]):
            # (256, 1) in OpenCV 4, (256,) in OpenCV 5
            counted[channel] += cv2.calcHist([piece], [channel], None, [256], [0, 256]).reshape(256).astype(np.int64)
    return counted


def _moments(histograms: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each channel, from sums that are whole numbers."""
    means, deviations = [], []
    for histogram in histograms.tolist():  # Python's whole numbers have no end
        count = sum(histogram)
        total = sum(level * number for level, number in enumerate(histogram))
        square = sum(level**2 * number for level, number in enumerate(histogram))
        means.append(total / count)
        # count * square - total^2 in whole numbers, because the difference of two large means would lose digits.
        deviations.append(math.sqrt((count * square - total**2) / count**2))
    return tuple(means), tuple(deviations)
