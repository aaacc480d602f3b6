"""Activations that Keras says by operations which no OpenCV has: a softmax over several sides, and sparsemax."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from trainkit.backend import keras, tf

_KERAS_SOFTMAX = keras.layers.Softmax.call
_KERAS_SPARSEMAX = keras.src.backend.nn.sparsemax
_MOST_COMPARED = 64  # values, each of which is compared with each
_HIDDEN = -1e9  # the score of what a mask leaves out


def softmax_over_sides(layer: Any, inputs: Any, mask: Any = None) -> Any:
    """A softmax over several sides as one over all of them joined, where Keras takes a logarithm of a sum."""
    rank = len(inputs.shape)
    axes = [axis % rank for axis in np.ravel(layer.axis)]
    if len(axes) == 1 or None in inputs.shape[1:] or 0 in axes:
        return _KERAS_SOFTMAX(layer, inputs, mask)
    if mask is not None:
        inputs = tf.where(tf.cast(mask, tf.bool), inputs, tf.constant(_HIDDEN, inputs.dtype))
    order = [*(axis for axis in range(rank) if axis not in axes), *sorted(axes)]
    turned = tf.transpose(inputs, order)
    sides = [turned.shape[axis] for axis in range(1, rank)]
    joined = tf.reshape(turned, (-1, *sides[: -len(axes)], math.prod(sides[-len(axes) :])))
    whole = tf.transpose(tf.reshape(tf.nn.softmax(joined), (-1, *sides)), np.argsort(order))
    return whole if mask is None else whole * tf.cast(mask, whole.dtype)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """Sparsemax without sorting (Martins and Astudillo 2016, proposition 1), where Keras sorts.

    A value is in the support where all others exceed it by less than 1 together, and that is two products with
    constant matrices, of the differences and of their sums. Keras 3.15 then adds up the running sums of the support
    and not the support itself, so that its answers do not sum to 1; they are what is wanted here.
    """
    logits = tf.convert_to_tensor(x)
    count = logits.shape[axis]
    if axis % len(logits.shape) != len(logits.shape) - 1 or count is None or count > _MOST_COMPARED:
        return _KERAS_SPARSEMAX(x, axis)
    one = np.eye(count, dtype=np.float32)
    differences = (one[:, :, None] - one[:, None, :]).reshape(count, count * count)  # of j and i, in place (j, i)
    exceeding = tf.tensordot(tf.nn.relu(tf.tensordot(logits, differences, 1)), np.tile(one, (count, 1)), 1)
    support = tf.cast(exceeding < 1.0, logits.dtype)
    size, total = (tf.reduce_sum(values, -1, keepdims=True) for values in (support, support * logits))
    if _adds_running_sums():  # each value as often as values of the support are not larger
        total = ((size + 1) * total + tf.reduce_sum(support * exceeding, -1, keepdims=True)) * 0.5
    return tf.nn.relu(logits - (total - 1) / size)


@functools.cache
def _adds_running_sums() -> bool:
    with tf.Graph().as_default() as graph:
        answer = _KERAS_SPARSEMAX(tf.constant([[0.1, 0.0]]))
    with tf.compat.v1.Session(graph=graph) as session:
        return bool(abs(session.run(answer).sum() - 1) > 1e-3)
