"""What happens to an image before `cv2.dnn.blobFromImage`: pad, grey."""

from __future__ import annotations

from typing import Any, Dict, Sequence, Tuple

import cv2
import numpy as np

from trainkit.deploy.python._values import MAX_PIXELS, BundleError


def pad_to_aspect(image_bgr: np.ndarray, width: int, height: int, color_bgr: Sequence[float]) -> np.ndarray:
    """Extend an image to the aspect ratio `width:height`; centred, an odd pixel going right or down."""
    left, top, right, bottom = padding_to_aspect(image_bgr.shape[1], image_bgr.shape[0], width, height)
    padded: np.ndarray = cv2.copyMakeBorder(
        image_bgr, top, bottom, left, right, cv2.BORDER_CONSTANT, value=tuple(color_bgr)
    )
    return padded


def padding_to_aspect(columns: int, rows: int, width: int, height: int) -> Tuple[int, int, int, int]:
    """Return how many pixels an image of `columns` and `rows` gets at its left, top, right and bottom.

    The new side is rounded to the nearest whole pixel, halves up, in whole numbers, so that every language agrees.
    """
    new_columns = max(columns, (2 * rows * width + height) // (2 * height))
    new_rows = max(rows, (2 * columns * height + width) // (2 * width))
    if new_columns * new_rows > MAX_PIXELS:
        raise BundleError(
            f"An image of {columns}x{rows} padded to {width}:{height} has more than {MAX_PIXELS} pixels. Cut it."
        )
    left, top = (new_columns - columns) // 2, (new_rows - rows) // 2
    return left, top, new_columns - columns - left, new_rows - rows - top


def apply_before_blob(image_bgr: np.ndarray, steps: Sequence[Dict[str, Any]], size: Sequence[int]) -> np.ndarray:
    """Do what a manifest lists under `before_blob`.

    Args:
        image_bgr: uint8 `(height, width, 3)`, as `cv2.imread(path, cv2.IMREAD_COLOR)` returns it.
        steps: `{"step": "pad", "color_bgr": [255, 255, 255]}`, `{"step": "gray"}`.
        size: (width, height) of the blob.

    Returns:
        uint8 `(height, width, 3)`, or `(height, width)` where a step turns it grey.
    """
    image = image_bgr
    for step in steps:
        if step["step"] == "pad":
            image = pad_to_aspect(image, size[0], size[1], step["color_bgr"])
        else:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return image


def check_image(image_bgr: Any) -> None:
    """Raise unless `image_bgr` is what `cv2.imread` gives: uint8, (height, width, 3), not empty."""
    if not isinstance(image_bgr, np.ndarray):
        raise TypeError(
            f"Expected an image as cv2.imread returns it, a uint8 array. Received: {type(image_bgr).__name__}"
        )
    if image_bgr.dtype != np.uint8 or image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.size == 0:
        raise ValueError(
            "Expected a uint8 image of shape (height, width, 3), BGR, as cv2.imread returns it. "
            f"Received: {image_bgr.dtype} {image_bgr.shape}"
        )
