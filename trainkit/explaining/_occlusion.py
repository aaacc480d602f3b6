"""Which part of a picture a network cannot do without: patches of it are hidden, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

# Shares of a side of the input, chosen by measuring: see the manual.
_PATCH = 1 / 5
_STEP = 1 / 14
_BLUR = 1 / 8  # the deviation of the Gaussian
BATCH = 16  # patches in one blob

Score = Callable[[np.ndarray], np.ndarray]  # of blobs (N, C, H, W): the logarithm of the class's odds, (N,)


def occlude(blob_nchw: np.ndarray, score: Score, advance: Callable[[int], None] = lambda count: None) -> np.ndarray:
    """Return how much each pixel of the input speaks for a class: by how much the class falls where it is hidden.

    With `s` the logarithm of the class's odds, `x` the input and `x_k` the input with patch `k` replaced by a blurred
    copy of itself, the map at a pixel is the mean of `s(x) - s(x_k)` over all patches `k` that cover the pixel.
    Zeiler and Fergus 2014, Visualizing and Understanding Convolutional Networks, section 4.2, arXiv:1311.2901, hide a
    grey square; the blurred picture in its place is Fong and Vedaldi 2017, arXiv:1704.03296: it makes no edges.

    Args:
        blob_nchw: one image, float32 `(1, C, H, W)`.
        score: of several blobs.
        advance: is told how many patches are done.

    Returns:
        float64 `(H, W)`.
    """
    height, width = blob_nchw.shape[2:]
    hidden = _blurred(blob_nchw[0])
    total, covered = np.zeros((height, width)), np.zeros((height, width))
    whole = float(score(blob_nchw)[0])
    for patches in _in_batches(list(_patches(height, width))):
        blobs = np.repeat(blob_nchw, len(patches), axis=0)
        for blob, (rows, columns) in zip(blobs, patches, strict=True):
            blob[:, rows, columns] = hidden[:, rows, columns]
        for (rows, columns), found in zip(patches, score(blobs), strict=True):
            total[rows, columns] += whole - found
            covered[rows, columns] += 1
        advance(len(patches))
    return np.asarray(total / covered)


def count_patches(height: int, width: int) -> int:
    """Return how many patches are hidden of an input."""
    return len(_sides(height)) * len(_sides(width))


def _patches(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    return ((rows, columns) for rows in _sides(height) for columns in _sides(width))


def _sides(length: int) -> list[slice]:
    """Return where patches lie along a side; some reach over its ends, so that all pixels are hidden as often."""
    side, step = max(1, round(_PATCH * length)), max(1, round(_STEP * length))
    starts = range(step - side, length, step)
    return [slice(max(0, start), min(length, start + side)) for start in starts]


def _in_batches(patches: list[tuple[slice, slice]]) -> Iterator[list[tuple[slice, slice]]]:
    return (patches[start : start + BATCH] for start in range(0, len(patches), BATCH))


def _blurred(image_chw: np.ndarray) -> np.ndarray:
    """Return the image without its details."""
    deviation = max(1.0, _BLUR * max(image_chw.shape[1:]))
    return np.stack([cv2.GaussianBlur(channel, (0, 0), deviation) for channel in image_chw])
