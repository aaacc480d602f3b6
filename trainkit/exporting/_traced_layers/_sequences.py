"""Layers that go through an image step by step: recurrent ones, unrolled, and a layer that every step goes through."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainkit.backend import keras, tf
from trainkit.errors import ExportError

_KERAS_STATE = keras.layers.RNN.get_initial_state
_KERAS_DISTRIBUTE = keras.layers.TimeDistributed.call
# Cells that only multiply and add their states, for which a state of one row serves every image.
_BROADCASTING = (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)
_CONVOLUTIONAL = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)


def first_state(layer: Any, batch_size: Any) -> Any:
    """The states before the first step for one image: they are the same for all, and so a constant."""
    return _KERAS_STATE(layer, 1)


def unroll(layer: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple[Any, Any, Any]:
    """Go through the steps one after the other, each with operations of its own, where Keras writes a loop.

    It takes the place of the inner loop of every recurrent layer, whatever `unroll` it was built with.

    Raises:
        ExportError: how many steps there are is known only once an image comes, or some are masked.
    """
    steps = sequences.shape[1]
    if steps is None:
        raise ExportError(
            f"The layer `{layer.name}` goes through a number of steps that is not fixed, and no OpenCV reads a loop. "
            "Build the model with the size of its images, so that each step can be written by itself."
        )
    if mask is not None:
        raise ExportError(f"The layer `{layer.name}` leaves out steps that are masked. Leave out the Masking layer.")
    cell = layer.cell
    with_training = {"training": training} if getattr(cell, "_call_has_training_arg", False) else {}
    states = initial_state if isinstance(initial_state, list | tuple) else [initial_state]
    if not _broadcasts(layer):
        states = keras.tree.map_structure(lambda state: _for_every_image(state, sequences[:, 0]), states)
    outputs = []
    for step in range(steps)[:: -1 if layer.go_backwards else 1]:
        output, states = cell(sequences[:, step], states, **with_training)
        states = states if isinstance(states, list | tuple) else [states]
        outputs.append(output)
    return outputs[-1], _joined(outputs if layer.return_sequences else outputs[-1:]), list(states)


def _broadcasts(layer: Any) -> bool:
    cells = getattr(layer.cell, "cells", [layer.cell])
    return isinstance(layer, _CONVOLUTIONAL) or all(isinstance(cell, _BROADCASTING) for cell in cells)


def _for_every_image(state: Any, inputs: Any) -> Any:
    """A state with a row for each image, for a cell that joins it to its inputs, say."""
    if state.shape[0] != 1:
        return state
    sides = state.shape[1:]
    rows = tf.reshape(inputs, (-1, int(np.prod(inputs.shape[1:]))))
    nothing = tf.zeros((rows.shape[-1], int(np.prod(sides))), state.dtype)
    return tf.reshape(tf.matmul(rows, nothing), (-1, *sides)) + state


def _joined(outputs: list[Any]) -> Any:
    """Steps beside each other, (N, steps, ...)."""
    if len(outputs) == 1:
        return outputs[0][:, None]
    return tf.reshape(tf.concat(outputs, 1), (-1, len(outputs), *outputs[0].shape[1:]))


def distribute(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """A layer on all steps at once, as on so many images, where Keras writes it once for each."""
    steps = inputs.shape[1]
    if steps is None or mask is not None or None in inputs.shape[2:]:
        return _KERAS_DISTRIBUTE(layer, inputs, training=training, mask=mask)
    options = {"training": training} if layer.layer._call_has_training_arg else {}
    outputs = layer.layer.call(tf.reshape(inputs, (-1, *inputs.shape[2:])), **options)
    return tf.reshape(outputs, (-1, steps, *outputs.shape[1:]))
