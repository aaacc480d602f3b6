"""What Keras' `transform_parameters` do to an image: one warp, then the grey levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from trainkit.data._augmentation._settings import FillMode
from trainkit.errors import UsageError, unknown

BORDERS = {
    "nearest": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
    "constant": cv2.BORDER_CONSTANT,
}
_WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def apply_transform(
    image: np.ndarray,
    transform_parameters: Mapping[str, Any],
    *,
    fill_mode: FillMode = "nearest",
    cval: float = 0.0,
) -> np.ndarray:
    """Transform an image as `ImageDataGenerator.apply_transform` does, given the same dictionary.

    It is the code that training runs: of a uint8 image it makes the picture that training makes of the same draw, bit
    for bit. With OpenCV 5 every pixel is within 1 grey level of Keras' where things move, and within 2 where the levels
    change too, up to a `brightness` of 2. OpenCV 4 rounds coordinates to 1/32 of a pixel: that is up to 4 levels in a
    photograph and 6 in noise, times the brightness.

    Where it differs, for a reason:

    - "constant": SciPy, which Keras calls, gives a pixel whose four neighbours are partly beyond the edge the whole of
      `cval`. Here it gets its share of it, so that the seam is as smooth as the rest, and the image loses no border of
      half a pixel. Only pixels less than one pixel beyond the edge differ.
    - "wrap": SciPy repeats an image of N pixels every N - 1, which drops one pixel at each seam. Here it is every N.
      Only pixels beyond the edge differ.

    Args:
        image: uint8 or float `(height, width, 1 or 3)`, in any order of colours.
        transform_parameters: any of `theta` and `shear` (degrees), `tx` (pixels along the width) and `ty` (along the
            height), `zx` and `zy` (factors; below 1 things grow), `flip_horizontal`, `flip_vertical`,
            `channel_shift_intensity` (grey levels or `None`), `brightness` (a factor or `None`). Keras turns around the
            point (height / 2, width / 2) from the left and the top, which is the centre of a square image only; so does
            this.
        fill_mode: what is beyond the edge: "nearest", "reflect", "wrap" or "constant".
        cval: the level there for "constant".

    Returns:
        The same shape; uint8 for uint8, else float32.

    Raises:
        UsageError: the image has another type or shape, or a name is unknown.
    """
    _check(image, transform_parameters, fill_mode)
    parameters = {**_NEUTRAL, **{name: value for name, value in transform_parameters.items() if value is not None}}
    transforms = {name: None if value is None else np.array([value]) for name, value in parameters.items()}
    images = image[None] if image.dtype == np.uint8 else image[None].astype(np.float32)
    batch = np.empty(images.shape, images.dtype)
    warp_images(images, transform_matrices(transforms, *image.shape[:2]), batch, fill_mode=fill_mode, cval=cval)
    change_levels(batch, transforms["channel_shift_intensity"], transforms["brightness"])
    return np.asarray(batch[0])


_AFFINE = ("theta", "tx", "ty", "shear", "zx", "zy")
_NEUTRAL: dict[str, Any] = {
    **dict.fromkeys(_AFFINE, 0.0),
    **dict.fromkeys(("zx", "zy"), 1.0),
    **dict.fromkeys(("flip_horizontal", "flip_vertical"), False),
    **dict.fromkeys(("channel_shift_intensity", "brightness"), None),
}


def _check(image: np.ndarray, transform_parameters: Mapping[str, Any], fill_mode: str) -> None:
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        received = getattr(image, "shape", type(image).__name__)
        raise UsageError(f"Expected an image of the shape (height, width, 1 or 3). Received: {received}")
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise UsageError(f"Expected an image of uint8, or of floats from 0 to 255. Received: {image.dtype}")
    for name in transform_parameters:
        if name not in _NEUTRAL:
            raise unknown("transform parameter", str(name), _NEUTRAL)
    if fill_mode not in BORDERS:
        raise unknown("fill_mode", str(fill_mode), BORDERS)


def warp_images(images: np.ndarray, matrices: np.ndarray, out: np.ndarray, *, fill_mode: FillMode, cval: float) -> None:
    """Write images, each warped by its matrix, into `out`.

    Args:
        images: uint8 or float32 `(N, height, width, 1 or 3)`.
        matrices: `(N, 2, 3)`, of `transform_matrices`.
        out: of the same shape and type.
        fill_mode: what is beyond the edge.
        cval: the level there for "constant".
    """
    size, border = images.shape[2:0:-1], BORDERS[fill_mode]
    for image, matrix, warped in zip(images, matrices, out, strict=True):
        cv2.warpAffine(image, matrix, size, warped, _WARP, border, (cval,) * 4)


def change_levels(images: np.ndarray, intensity: np.ndarray | None, brightness: np.ndarray | None) -> None:
    """Shift and brighten images in place; those of uint8 by a table, all levels of an image at once.

    Args:
        images: uint8 or float32 `(N, height, width, channels)`.
        intensity: `(N,)`, what is added; the levels stay between the least and the greatest that the image had.
        brightness: `(N,)`, by what they are multiplied after that.
    """
    if intensity is None and brightness is None:
        return
    if images.dtype != np.uint8:
        images[:] = _changed(images, images, intensity, brightness)
        return
    tables = _changed(np.arange(256, dtype=np.float32).reshape(1, 256, 1, 1), images, intensity, brightness)
    for image, table in zip(images, np.rint(tables).astype(np.uint8), strict=True):
        cv2.LUT(image, table, image)


def _changed(
    levels: np.ndarray, images: np.ndarray, intensity: np.ndarray | None, brightness: np.ndarray | None
) -> np.ndarray:
    """Return levels of each image, shifted and brightened.

    Args:
        levels: float32 `(N or 1, ...)` of four axes.
        images: whose least and greatest levels count.
        intensity: see `change_levels`.
        brightness: likewise.
    """
    low, high = images.min(axis=(1, 2, 3), keepdims=True), images.max(axis=(1, 2, 3), keepdims=True)
    if intensity is not None:
        shift = intensity[:, None, None, None]
        levels = np.clip(levels + shift, low, high)
        low, high = np.clip(low + shift, low, high), np.clip(high + shift, low, high)
    if brightness is None:
        return np.asarray(levels)
    factor = brightness[:, None, None, None].astype(np.float32)
    if images.dtype == np.uint8:
        return _brightened(levels, factor)
    # Keras brightens what a picture can hold, 0 to 255, and brings other levels there and back.
    held = (low >= 0) & (high <= 255)
    start, span = np.where(held, 0, low), np.where(held, 255, np.where(high > low, high - low, 1))
    return np.asarray(_brightened((levels - start) / span * 255, factor) / 255 * span + start)


def _brightened(levels: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return what Pillow's `ImageEnhance.Brightness` makes of the levels: cut, multiplied in float32, and cut again."""
    return np.asarray(np.clip(np.floor(np.floor(levels).astype(np.float32) * factor), 0, 255))


def transform_matrices(transforms: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    """Return Keras' transformations as matrices from a pixel of the result to its place in the image, flips included.

    It is rotation, shift, shear and zoom in this order, around the point that Keras takes for the centre.

    Args:
        transforms: arrays `(N,)` by Keras' names.
        height: pixels.
        width: pixels.

    Returns:
        float64 `(N, 2, 3)`, for `cv2.warpAffine` with `WARP_INVERSE_MAP`: x and y, pixel centres at whole numbers.
    """
    theta, shear = np.deg2rad(transforms["theta"]), np.deg2rad(transforms["shear"])
    sine, cosine = np.sin(theta), np.cos(theta)
    center = np.array([height / 2 - 0.5, width / 2 - 0.5])  # exchanged, as Keras has it
    matrices = np.empty((len(theta), 2, 3))
    matrices[:, 0, 0], matrices[:, 1, 0] = cosine * transforms["zx"], sine * transforms["zx"]
    matrices[:, 0, 1] = -np.sin(theta + shear) * transforms["zy"]
    matrices[:, 1, 1] = np.cos(theta + shear) * transforms["zy"]
    matrices[:, 0, 2] = cosine * transforms["tx"] - sine * transforms["ty"]
    matrices[:, 1, 2] = sine * transforms["tx"] + cosine * transforms["ty"]
    matrices[:, :, 2] += center - matrices[:, :, :2] @ center
    for axis, flipped, side in ((0, transforms["flip_horizontal"], width), (1, transforms["flip_vertical"], height)):
        if flipped is not None:
            matrices[:, :, 2] += (flipped * (side - 1))[:, None] * matrices[:, :, axis]
            matrices[:, :, axis] *= np.where(flipped, -1, 1)[:, None]
    return matrices
