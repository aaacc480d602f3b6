"""Small pictures for a page, and many of them put together."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

SIDE = 160  # pixels, of a thumbnail's longer side
SMALL = 64  # pixels; what is not larger is shown pixel by pixel
_LINE = 20  # pixels, of a line of text under a picture
_MARGIN = 10  # pixels, around a picture
_MOST_FILTERS = 64


def thumbnail(image_bgr: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Return an image with its longer side at most `side` pixels, its proportions kept; it is never enlarged.

    Args:
        image_bgr: uint8 `(height, width, 3)`.
        side: pixels.
    """
    height, width = image_bgr.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image_bgr
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA))


def to_data_uri(picture_bgr: np.ndarray) -> str:
    """Return a picture as an address that is the picture itself: PNG for a few pixels, JPEG for a photograph."""
    small = is_small(picture_bgr)
    if small and np.all(picture_bgr == picture_bgr[..., :1]):
        picture_bgr = picture_bgr[..., 0]  # grey: a third of the bytes
    encoded = cv2.imencode(*((".png", picture_bgr) if small else (".jpg", picture_bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])))
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(encoded[1].tobytes()).decode('ascii')}"


def is_small(picture_bgr: np.ndarray) -> bool:
    """Whether a picture is to be enlarged pixel by pixel, because smoothing would leave nothing of it."""
    return bool(max(picture_bgr.shape[:2]) <= SMALL)


def compose(
    rows: Sequence[Sequence[tuple[np.ndarray, str]]], *, side: int = SIDE
) -> tuple[np.ndarray, list[tuple[float, float, str]]]:
    """Put pictures into rows, each with its caption underneath, for `trainkit.reports._plots.mosaic_figure`.

    Args:
        rows: of pictures, uint8 `(height, width, 3)`, BGR, of any size, with their captions; a picture is brought to
            fill a square of `side`, a small one by a whole factor. Rows are as high as the highest of them.
        side: pixels.

    Returns:
        The mosaic, uint8 `(height, width, 4)`, red, green, blue, opacity, and where the captions go.
    """
    lines = max((caption.count("\n") + 1 for row in rows for _, caption in row if caption), default=0)
    fitted_rows = [[(_fitted(picture, side), caption) for picture, caption in row] for row in rows]
    tall = max(len(fitted) for row in fitted_rows for fitted, _ in row)
    wide, high = side + _MARGIN, tall + _MARGIN + lines * _LINE
    columns = max(map(len, rows))
    mosaic = np.zeros((len(rows) * high + _MARGIN, columns * wide + _MARGIN, 4), np.uint8)
    texts: list[tuple[float, float, str]] = []
    for top, row in zip(range(_MARGIN, len(mosaic), high), fitted_rows, strict=False):
        for left, (fitted, caption) in zip(range(_MARGIN, mosaic.shape[1], wide), row, strict=False):
            height, width = fitted.shape[:2]
            y, x = top + (tall - height) // 2, left + (side - width) // 2
            mosaic[y : y + height, x : x + width] = cv2.cvtColor(fitted, cv2.COLOR_BGR2RGBA)
            texts.append((left, top + tall + 3, caption))
    return mosaic, texts


def _fitted(picture: np.ndarray, side: int) -> np.ndarray:
    height, width = picture.shape[:2]
    if side // max(height, width) > 1 or max(height, width) <= SMALL:
        factor = max(1, side // max(height, width))
        return np.asarray(picture.repeat(factor, axis=0).repeat(factor, axis=1))
    scale = side / max(height, width)
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))


def filter_pictures(model: Any, color: str) -> list[np.ndarray]:
    """Return the filters of a model's first layer that has any, as pictures; at most 64 of them.

    Grey is 0, and the largest weight of a filter, whatever its sign, is as far from grey as can be. A dense layer that
    sees the pixels themselves has filters as large as the image.

    Args:
        model: takes `(N, height, width, channels)`.
        color: the order of its channels, `rgb`, `bgr` or `gray`.

    Returns:
        uint8 `(height, width, 3)` each, BGR; none where the first weights are of another kind.
    """
    kernels = _first_kernels(model)
    if kernels is None:
        return []
    pictures = []
    for kernel in kernels[:_MOST_FILTERS]:
        levels = np.rint(127.5 + 127.5 * kernel / max(float(np.abs(kernel).max()), 1e-12)).astype(np.uint8)
        if levels.shape[-1] == 1:
            levels = levels.repeat(3, axis=-1)
        elif color == "rgb":
            levels = levels[..., ::-1]
        pictures.append(np.ascontiguousarray(levels))
    return pictures


def _first_kernels(model: Any) -> np.ndarray | None:
    """Return float32 `(N, height, width, channels)`, with 1 or 3 channels, or none."""
    from trainkit.backend import keras

    layers = (layer for layer in model._flatten_layers(include_self=False) if not isinstance(layer, keras.Model))
    first = next((layer for layer in layers if any(len(weight.shape) > 1 for weight in layer.weights)), None)
    image = tuple(model.input_shape[1:])
    if isinstance(first, (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)):
        # Each of its filters looks at one channel, and so has no colour.
        kernel = np.asarray(getattr(first, "depthwise_kernel", None) or first.kernel)
        return np.moveaxis(kernel.reshape(*kernel.shape[:2], -1), -1, 0)[..., None]
    if isinstance(first, keras.layers.Conv2D) and first.kernel.shape[2] in (1, 3):
        return np.moveaxis(np.asarray(first.kernel), -1, 0)
    if isinstance(first, keras.layers.Dense) and None not in image and image[-1] in (1, 3):
        kernel = np.asarray(first.kernel)
        return kernel.T.reshape(-1, *image) if len(kernel) == math.prod(image) else None
    return None
