"""What is drawn for a batch, done to it as operations of a graph: a batch goes up to a GPU as it is and changes there.

Only what needs no warp: that stays OpenCV's. On a CPU every pixel is the one that `augment_batch` and `mix_batch` make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainkit.backend import tf
from trainkit.data._augmentation._draws import Draws, Mixes

# Each array that may go up beside the pixels, by its name: its type, and its shape without the batch. A length of -1 is
# the number of channels.
DRAWN: Mapping[str, tuple[Any, tuple[int, ...]]] = {
    "flip_horizontal": (np.bool_, ()),
    "flip_vertical": (np.bool_, ()),
    "channel_shift_intensity": (np.float64, ()),
    "brightness": (np.float32, ()),
    "erased": (np.int32, (4,)),
    "erased_levels": (np.uint8, (-1,)),
}
MIXED: Mapping[str, tuple[Any, tuple[int, ...]]] = {
    "share": (np.float32, ()),
    "cut": (np.bool_, ()),
    "rectangle": (np.int32, (4,)),
}


def pack_draws(draws: Draws) -> dict[str, np.ndarray]:
    """Return what is drawn for a batch besides a warp, as arrays that go up with its pixels."""
    drawn = {
        **{name: draws.transforms[name] for name in DRAWN if name in draws.transforms},
        "erased": draws.erased,
        "erased_levels": draws.erased_levels,
    }
    return {name: array.astype(DRAWN[name][0]) for name, array in drawn.items() if array is not None}


def pack_mixes(mixes: Mixes) -> dict[str, np.ndarray]:
    """Return how the images of a batch are mixed with others, as arrays that go up with the pixels of both."""
    return {name: np.asarray(getattr(mixes, name), dtype) for name, (dtype, _) in MIXED.items()}


def at_rest(packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what `pack_draws` or `pack_mixes` return where nothing changes: no flip, rectangles of no size."""
    factors = {"brightness": 1, "share": 1}
    return {name: np.full_like(array, factors.get(name, 0)) for name, array in packed.items()}


def augment(pixels: Any, drawn: Mapping[str, Any]) -> Any:
    """Flip, shift, brighten and erase, in this order.

    Args:
        pixels: uint8 `(N, height, width, channels)`.
        drawn: tensors of what `pack_draws` returns.

    Returns:
        uint8 of the same shape.
    """
    for name, axis in (("flip_horizontal", 2), ("flip_vertical", 1)):
        if name in drawn:
            pixels = tf.where(drawn[name][:, None, None, None], tf.reverse(pixels, [axis]), pixels)
    if "channel_shift_intensity" in drawn or "brightness" in drawn:
        tables = _level_tables(pixels, drawn.get("channel_shift_intensity"), drawn.get("brightness"))
        pixels = tf.gather(tables, tf.cast(pixels, tf.int32), batch_dims=1)
    if "erased" in drawn:
        top, left, rows, columns = tf.unstack(drawn["erased"], axis=1)
        inside = _inside(pixels, (top, left, top + rows, left + columns))
        pixels = tf.where(inside, drawn["erased_levels"][:, None, None, :], pixels)
    return pixels


def _level_tables(pixels: Any, intensity: Any, brightness: Any) -> Any:
    """Return uint8 `(N, 256)`: what becomes of each grey level of an image, as `change_levels` has it."""
    levels = tf.range(256, dtype=tf.float32)[None]
    if intensity is not None:
        low, high = (
            tf.cast(of_image(pixels, axis=(1, 2, 3)), tf.float64)[:, None]
            for of_image in (tf.reduce_min, tf.reduce_max)
        )
        levels = tf.clip_by_value(tf.cast(levels, tf.float64) + intensity[:, None], low, high)
    if brightness is not None:
        brightened = tf.floor(tf.cast(tf.floor(levels), tf.float32) * brightness[:, None])
        levels = tf.clip_by_value(brightened, 0.0, 255.0)
    return tf.cast(tf.round(levels), tf.uint8)


def mix(inputs: Any, others: Any, mixed: Mapping[str, Any]) -> Any:
    """Blend each input with another one, or put a rectangle of that one into it.

    Args:
        inputs: float32 `(N, height, width, channels)`.
        others: of the same shape.
        mixed: tensors of what `pack_mixes` returns.

    Returns:
        float32 of the same shape.
    """
    share = mixed["share"][:, None, None, None]
    blended = inputs * share + others * (1 - share)
    inside = _inside(inputs, tf.unstack(mixed["rectangle"], axis=1))
    return tf.where(mixed["cut"][:, None, None, None], tf.where(inside, others, inputs), blended)


def _inside(images: Any, rectangle: Any) -> Any:
    """Return bool `(N, height, width, 1)`: which pixels are in each image's rectangle: top, left, bottom, right."""
    top, left, bottom, right = (side[:, None] for side in rectangle)
    rows, columns = tf.range(tf.shape(images)[1])[None], tf.range(tf.shape(images)[2])[None]
    return ((rows >= top) & (rows < bottom))[:, :, None, None] & ((columns >= left) & (columns < right))[
        :, None, :, None
    ]
