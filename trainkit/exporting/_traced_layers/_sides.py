"""What TensorFlow does along sides by loops of its own: diagonals of matrices, and running products."""

from __future__ import annotations

import math
from typing import Any

from trainkit.backend import keras, tf

_TENSORFLOW_DIAGONAL = tf.linalg.diag_part
_TENSORFLOW_PRODUCT = tf.math.cumprod


def diagonal(matrices: Any, name: str | None = None, k: int = 0, **options: Any) -> Any:
    """The diagonal of each matrix as a choice of its numbers."""
    values = tf.convert_to_tensor(matrices)
    rows, columns = values.shape[-2:]
    if options or not isinstance(k, int) or None in values.shape[1:]:
        return _TENSORFLOW_DIAGONAL(matrices, name, k, **options)
    length = min(rows - max(-k, 0), columns - max(k, 0))
    places = [(place + max(-k, 0)) * columns + place + max(k, 0) for place in range(length)]
    return tf.gather(tf.reshape(values, (-1, *values.shape[1:-2], rows * columns)), places, axis=-1)


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal, where Keras makes a mask of a size that it computes."""
    return tf.reduce_sum(keras.ops.diagonal(x, offset, axis1, axis2), -1)


def running_product(
    x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Any:
    """Each number times those before it: times its neighbour, then the number two before, four, and so on."""
    values = tf.convert_to_tensor(x)
    side = axis % len(values.shape)
    length = values.shape[side]
    if length is None or side == 0:
        return _TENSORFLOW_PRODUCT(x, axis, exclusive, reverse, name)
    values = tf.reverse(values, [side]) if reverse else values
    values = _moved_on(values, side, 1) if exclusive else values
    for step in range(math.ceil(math.log2(length))):
        values = values * _moved_on(values, side, 2**step)
    return tf.reverse(values, [side]) if reverse else values


def _moved_on(values: Any, side: int, count: int) -> Any:
    """Values moved towards the end of a side, with ones before them."""
    kept = tf.split(values, [values.shape[side] - count, count], axis=side)[0]
    pads = [(count if place == side else 0, 0) for place in range(len(values.shape))]
    return tf.pad(kept, pads, constant_values=1)
