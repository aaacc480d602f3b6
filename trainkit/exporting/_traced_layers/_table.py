"""Which methods of Keras' layers are replaced while a model is traced, and by what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trainkit.backend import keras, tf
from trainkit.exporting._traced_layers._images import convolve, elu, gelu, normalize_groups, normalize_layer, upsample
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
        (keras.layers.RNN, "get_initial_state"): first_state,
        (keras.layers.RNN, "inner_loop"): unroll,
        (keras.layers.LSTM, "inner_loop"): unroll,
        (keras.layers.GRU, "inner_loop"): unroll,
        (keras.layers.TimeDistributed, "call"): distribute,
    }
    before = {key: getattr(*key) for key in instead}
    for (layer, method), function in instead.items():
        setattr(layer, method, function)
    try:
        yield
    finally:
        for (layer, method), function in before.items():
            setattr(layer, method, function)
