"""Which part of a picture a network cannot do without: patches of it are hidden, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    copy of itself, the map at a pixel is the mean of `s(x) - s(x_k)` over all patches `k` that cover the pixel. A patch
    counts the more, the nearer its centre is: as `sin^2`, 0 at its edges.

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
    patches = [(rows, columns) for rows in _spans(height) for columns in _spans(width)]
    for start in range(0, len(patches), BATCH):
        some = patches[start : start + BATCH]
        blobs = np.repeat(blob_nchw, len(some), axis=0)
        for blob, (rows, columns) in zip(blobs, some, strict=True):
            blob[:, rows.place, columns.place] = hidden[:, rows.place, columns.place]
        for (rows, columns), found in zip(some, score(blobs), strict=True):
            weights = np.outer(rows.weights, columns.weights)
            total[rows.place, columns.place] += (whole - found) * weights
            covered[rows.place, columns.place] += weights
        advance(len(some))
    return np.asarray(total / covered)


def count_patches(height: int, width: int) -> int:
    """Return how many patches are hidden of an input."""
    return len(_spans(height)) * len(_spans(width))


@dataclass(frozen=True, slots=True)
class _Span:
    """A patch along a side: where it lies, and how much it counts at each place."""

    place: slice
    weights: np.ndarray


def _spans(length: int) -> list[_Span]:
    """Return the patches along a side; some reach over its ends, so that all pixels are hidden as often."""
    side, step = max(1, round(_PATCH * length)), max(1, round(_STEP * length))
    weights = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    starts = range(step - side, length, step)
    return [_Span(slice(max(0, start), start + side), weights[max(0, -start) : length - start]) for start in starts]


def _blurred(image_chw: np.ndarray) -> np.ndarray:
    """Return the image without its details."""
    deviation = max(1.0, _BLUR * max(image_chw.shape[1:]))
    return np.stack([cv2.GaussianBlur(channel, (0, 0), deviation) for channel in image_chw])
