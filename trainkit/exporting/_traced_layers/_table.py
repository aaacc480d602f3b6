"""Which functions of Keras are replaced while a model is traced, and by what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trainkit.backend import keras, tf
from trainkit.exporting._traced_layers._activations import softmax_over_sides, sparsemax
from trainkit.exporting._traced_layers._images import (
    adjust_saturation,
    convolve,
    elu,
    gelu,
    hsv_to_rgb,
    normalize_groups,
    normalize_layer,
    resize,
    rgb_to_hsv,
    upsample,
)
from trainkit.exporting._traced_layers._sequences import distribute, first_state, unroll


@contextmanager
def expressed_otherwise() -> Iterator[None]:
    """Let some layers compute the same by operations that leave more easily."""
    instead = {
        (keras.layers.GroupNormalization, "call"): normalize_groups,
        (keras.layers.LayerNormalization, "call"): normalize_layer,
        (keras.layers.UpSampling2D, "call"): upsample,
        (keras.layers.ELU, "call"): elu,
        (tf.nn, "gelu"): gelu,
        (keras.layers.Conv2D, "convolution_op"): convolve,
        (keras.layers.Softmax, "call"): softmax_over_sides,
        (keras.src.backend.nn, "sparsemax"): sparsemax,
        (keras.src.backend.image, "resize"): resize,
        (tf.image, "rgb_to_hsv"): rgb_to_hsv,
        (tf.image, "hsv_to_rgb"): hsv_to_rgb,
        (tf.image, "adjust_saturation"): adjust_saturation,
        (keras.layers.RNN, "get_initial_state"): first_state,
        (keras.layers.RNN, "inner_loop"): unroll,
        (keras.layers.LSTM, "inner_loop"): unroll,
        (keras.layers.GRU, "inner_loop"): unroll,
        (keras.layers.TimeDistributed, "call"): distribute,
    }
    before = {key: getattr(*key) for key in instead}
    for (owner, name), function in instead.items():
        setattr(owner, name, function)
    try:
        yield
    finally:
        for (owner, name), function in before.items():
            setattr(owner, name, function)
