"""What Keras' `transform_parameters` do to an image: one warp, then the grey levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from trainkit.data._augmentation import FillMode
from trainkit.errors import UsageError, unknown

BORDERS = {
    "nearest": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
    "constant": cv2.BORDER_CONSTANT,
}
WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_WARPS = 1 if int(cv2.__version__.partition(".")[0]) >= 5 else 4
_HAIR = 2**-13  # of the contrast: by how much the warps of OpenCV 5 and SciPy may differ, float32 against float64


def apply_transform(
    image: np.ndarray,
    transform_parameters: Mapping[str, Any],
    *,
    fill_mode: FillMode = "nearest",
    cval: float = 0.0,
) -> np.ndarray:
    """Transform an image as `ImageDataGenerator.apply_transform` does, given the same dictionary.

    With OpenCV 5 the picture is within 1 grey level of Keras' at every pixel, up to a `brightness` of 2. With OpenCV 4
    it is within 3; there the warp is done four times, because it rounds coordinates to 1/32 of a pixel.

    Where it differs, for a reason:

    - "constant": SciPy, which Keras calls, gives a pixel whose four neighbours are partly beyond the edge the whole of
      `cval`. Here it gets its share of it, so that the seam is as smooth as the rest, and the image loses no border of
      half a pixel. Only pixels less than one pixel beyond the edge differ.
    - "wrap": SciPy repeats an image of N pixels every N - 1, which drops one pixel at each seam. Here it is every N.
      Only pixels beyond the edge differ.

    Keras cuts the levels of a float image before it changes their brightness, and rounds a uint8 image after each
    step. Where it depends on a hair on which side of such a step a pixel falls, it gets the middle.

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
    height, width, _ = image.shape
    whole = image.dtype == np.uint8
    levels = image if whole and _is_geometric(parameters) else image.astype(np.float32)
    moved = any(parameters[name] != _NEUTRAL[name] for name in _AFFINE)
    if moved or parameters["flip_horizontal"] or parameters["flip_vertical"]:
        matrix = transform_matrices({name: np.array([parameters[name]]) for name in _GEOMETRY}, height, width)[0]
        levels = _warp(levels, matrix, BORDERS[fill_mode], cval)
    if _is_geometric(parameters):
        return levels.copy() if levels is image else np.asarray(levels)
    return _shift_and_brighten(levels, parameters, moved=moved, whole=whole)


_AFFINE = ("theta", "tx", "ty", "shear", "zx", "zy")
_GEOMETRY = (*_AFFINE, "flip_horizontal", "flip_vertical")
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


def _warp(levels: np.ndarray, matrix: np.ndarray, border: int, cval: float) -> np.ndarray:
    """Warp an image; by OpenCV 4, which rounds coordinates to 1/32 of a pixel, four times, each a little further.

    The image is linear between two pixels, so the mean of the four is that of coordinates rounded to 1/128.
    """
    size = levels.shape[1::-1]
    if _WARPS == 1:
        return np.asarray(cv2.warpAffine(levels, matrix, size, None, WARP, border, (cval,) * 4)).reshape(levels.shape)
    exact = levels.astype(np.float32)
    offsets = (np.arange(_WARPS) - (_WARPS - 1) / 2) / (32 * _WARPS)
    moved = [matrix + offset * np.array([0, 0, 1]) for offset in offsets]
    warps = [cv2.warpAffine(exact, one, size, None, WARP, border, (cval,) * 4) for one in moved]
    mean = np.asarray(np.mean(warps, axis=0), np.float32).reshape(levels.shape)
    return np.asarray(np.floor(mean + 0.5), levels.dtype) if levels.dtype == np.uint8 else mean


def _is_geometric(parameters: Mapping[str, Any]) -> bool:
    return parameters["channel_shift_intensity"] is None and parameters["brightness"] is None


def _shift_and_brighten(levels: np.ndarray, parameters: Mapping[str, Any], *, moved: bool, whole: bool) -> np.ndarray:
    """Do what Keras does after the warp, where each of its steps can go either way: the middle of both.

    The steps grow with the level. So what Keras gives lies between what a level less by a hair and one more by a hair
    give, and for uint8 between the ways of the rounded and of the exact level.

    Args:
        levels: float32 `(height, width, channels)`.
        parameters: of the transformation, with all its names.
        moved: whether the levels come out of a warp, else they are exact.
        whole: whether the image was uint8, and is to be again.
    """
    low, high = levels.min(), levels.max()
    hair = np.float32(_HAIR) * (high - low) if moved else np.float32(0)
    ways = [np.clip(levels - hair, low, high), np.clip(levels + hair, low, high)]
    if whole:
        ways += [np.floor(way + 0.5) for way in ways]
    results = [_one_way(way, parameters["channel_shift_intensity"], parameters["brightness"]) for way in ways]
    middle = (np.minimum.reduce(results) + np.maximum.reduce(results)) / 2
    return np.asarray(np.floor(middle + 0.5) if whole else middle, np.uint8 if whole else np.float32)


def _one_way(levels: np.ndarray, intensity: float | None, brightness: float | None) -> np.ndarray:
    low, high = levels.min(), levels.max()
    if intensity is not None:
        levels = shift_levels(levels, intensity, low, high)
    if brightness is None:
        return levels
    low, high = levels.min(), levels.max()
    if low >= 0 and high <= 255:
        return brighten_levels(levels, np.float32(brightness))
    span = high - low or 1  # as Keras does it, which brightens what a picture can hold, 0 to 255
    return np.asarray(brighten_levels((levels - low) / span * 255, np.float32(brightness)) / 255 * span + low)


def shift_levels(levels: np.ndarray, intensity: Any, low: Any, high: Any) -> np.ndarray:
    """Return the levels with `intensity` added, kept between the least and the greatest that the image had."""
    return np.asarray(np.clip(levels + intensity, low, high))


def brighten_levels(levels: np.ndarray, brightness: Any) -> np.ndarray:
    """Return what Pillow's `ImageEnhance.Brightness` makes of the levels: cut, multiplied in float32, and cut again."""
    return np.asarray(np.clip(np.floor(np.floor(levels).astype(np.float32) * brightness), 0, 255))


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
