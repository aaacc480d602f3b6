"""A frozen backbone with its normalisations in the convolutions before them: the same features, in half of the time.

A batch normalisation that is not trained multiplies each channel by a number and adds one (Ioffe and Szegedy 2015,
arXiv:1502.03167, algorithm 2). Both can be had from the convolution: its kernels times the first, its bias the second.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainkit.backend import keras

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
# What is all in its settings and its weights: a copy of it does the same. Of other layers nobody knows.
_COPIED = (
    *_CONVOLUTIONS,
    *(keras.layers.BatchNormalization, keras.layers.Dense, keras.layers.InputLayer),
    *(keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.Softmax),
    *(keras.layers.Add, keras.layers.Concatenate, keras.layers.Multiply),
    *(keras.layers.AveragePooling2D, keras.layers.GlobalAveragePooling2D),
    *(keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling2D),
    *(keras.layers.Cropping2D, keras.layers.ZeroPadding2D, keras.layers.Flatten, keras.layers.Reshape),
    keras.layers.Dropout,
)


def fold_normalizations(model: Any) -> Any:
    """Return a copy of a frozen model that gives the same, but for float32's rounding, with fewer operations.

    Args:
        model: of Keras; it stays as it is. One that has nothing to fold, or layers of which nothing is known, is
            returned itself.
    """
    if not all(type(layer) in _COPIED and layer.compute_dtype == "float32" for layer in model.layers):
        return model
    before = {layer.name: found for layer in model.layers if (found := _convolution_before(layer)) is not None}
    if not before:
        return model
    normalizations = {convolution.name: model.get_layer(name) for name, convolution in before.items()}

    def copy(layer: Any) -> Any:
        folded = {"use_bias": True} if layer.name in normalizations else {}
        return type(layer).from_config({**layer.get_config(), **folded})

    def call(layer: Any, inputs: Any, *others: Any, **options: Any) -> Any:
        return inputs if layer.name in before else layer(inputs, *others, **options)

    copied = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for layer in model.layers:
        if layer.name in normalizations:
            copied.get_layer(layer.name).set_weights(_fold(layer, normalizations[layer.name]))
        elif layer.weights and layer.name not in before:
            copied.get_layer(layer.name).set_weights(layer.get_weights())
    return copied


def _convolution_before(layer: Any) -> Any:
    """Return the convolution that a batch normalisation can be folded into; `None` where there is none."""
    if type(layer) is not keras.layers.BatchNormalization or len(layer._inbound_nodes) != 1:
        return None
    convolution = layer.input._keras_history.operation
    once = len(convolution._inbound_nodes) == len(convolution._outbound_nodes) == 1
    if not once or type(convolution) not in _CONVOLUTIONS or convolution.activation is not keras.activations.linear:
        return None
    return convolution if layer.axis in (-1, 3) and convolution.data_format == "channels_last" else None


def _fold(convolution: Any, normalization: Any) -> list[np.ndarray]:
    """Return kernel and bias of a convolution that normalises what it gives."""
    kernel = np.asarray(convolution.kernel, np.float64)  # (height, width, channels in, out), or (..., in, times)
    mean = np.asarray(normalization.moving_mean, np.float64)
    factor = 1 / np.sqrt(np.asarray(normalization.moving_variance, np.float64) + normalization.epsilon)
    if normalization.scale:
        factor *= np.asarray(normalization.gamma, np.float64)
    bias = np.asarray(convolution.bias, np.float64) if convolution.use_bias else np.zeros_like(mean)
    bias = (bias - mean) * factor
    if normalization.center:
        bias += np.asarray(normalization.beta, np.float64)
    # Of a convolution by depth, output channel `times * i + j` is the j-th of input channel i.
    by_depth = isinstance(convolution, keras.layers.DepthwiseConv2D)
    kernel *= factor.reshape(kernel.shape[2:]) if by_depth else factor
    return [kernel.astype(np.float32), bias.astype(np.float32)]
