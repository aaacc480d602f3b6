"""Layers on images: normalisations, upsampling, activations and convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainkit.backend import keras, tf
from trainkit.errors import ExportError

_TINY = 1e-12
_KERAS_UPSAMPLE = keras.layers.UpSampling2D.call
_TENSORFLOW_GELU = tf.nn.gelu
_KERAS_CONVOLVE = keras.layers.Conv2D.convolution_op


def normalize_groups(layer: Any, inputs: Any) -> Any:
    """Group normalisation in four dimensions, where Keras takes five: averages over a group as a 1x1 convolution."""
    channels = inputs.shape[-1]
    groups = channels if layer.groups == -1 else layer.groups
    if layer.axis not in (-1, len(inputs.shape) - 1) or len(inputs.shape) != 4:
        raise ExportError(
            f"The layer `{layer.name}` normalises groups over another axis than the last of an image. Use axis=-1."
        )
    size = channels // groups
    within = tf.constant(np.kron(np.eye(groups), np.full((size, size), 1 / size)).astype(np.float32)[None, None])

    def mean(values: Any) -> Any:
        return tf.nn.conv2d(tf.reduce_mean(values, [1, 2], keepdims=True), within, 1, "VALID")

    centered = inputs - mean(inputs)
    normal = centered * tf.pow(mean(centered * centered) + layer.epsilon, -0.5)
    if layer.scale:
        normal = normal * tf.reshape(tf.convert_to_tensor(layer.gamma), (1, 1, 1, -1))
    return normal + tf.reshape(tf.convert_to_tensor(layer.beta), (1, 1, 1, -1)) if layer.center else normal


def normalize_layer(layer: Any, inputs: Any) -> Any:
    """Layer normalisation with its scale last, where Keras multiplies it by what differs from pixel to pixel first."""
    axes = [axis % len(inputs.shape) for axis in layer.axis]
    shape = [inputs.shape[axis] if axis in axes else 1 for axis in range(len(inputs.shape))]
    centered = inputs - tf.reduce_mean(inputs, axes, keepdims=True)
    normal = centered * tf.pow(tf.reduce_mean(centered * centered, axes, keepdims=True) + layer.epsilon, -0.5)
    if layer.scale:
        normal = normal * tf.reshape(tf.convert_to_tensor(layer.gamma), shape)
    return normal + tf.reshape(tf.convert_to_tensor(layer.beta), shape) if layer.center else normal


def upsample(layer: Any, inputs: Any) -> Any:
    """Nearest-neighbour upsampling as one operation, where Keras repeats rows in five dimensions."""
    if layer.interpolation != "nearest" or layer.data_format != "channels_last":
        return _KERAS_UPSAMPLE(layer, inputs)
    size = [side * factor for side, factor in zip(inputs.shape[1:3], layer.size, strict=True)]
    return tf.raw_ops.ResizeNearestNeighbor(images=inputs, size=size)


def elu(layer: Any, inputs: Any) -> Any:
    """ELU of any alpha, without the choice between two values by which Keras says it."""
    whole = tf.nn.elu(inputs)
    return whole if layer.alpha == 1 else tf.nn.relu(whole) - float(layer.alpha) * tf.nn.relu(-whole)


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
    """GELU with what it multiplies by before and behind all else, where that folds into the weights beside it."""
    if approximate:
        return _TENSORFLOW_GELU(features, approximate, name)
    scaled = features * 0.5**0.5
    return (scaled + scaled * tf.math.erf(scaled)) * 0.5**0.5


def convolve(layer: Any, inputs: Any, kernel: Any) -> Any:
    """A dilated convolution as one operation, where Keras cuts the image into several.

    tf2onnx puts those together again, and then forgets their padding where a ZeroPadding2D stands in front.
    """
    if layer.dilation_rate == (1, 1) or layer.groups != 1 or layer.data_format != "channels_last":
        return _KERAS_CONVOLVE(layer, inputs, kernel)
    return tf.nn.conv2d(inputs, kernel, layer.strides, layer.padding.upper(), dilations=layer.dilation_rate)


def rgb_to_hsv(images: Any, name: str | None = None) -> Any:
    """Hue, saturation and value of red, green and blue, by arithmetic and comparisons."""
    red, green, blue = tf.split(tf.convert_to_tensor(images), 3, axis=-1)
    value = tf.maximum(tf.maximum(red, green), blue)
    spread = value - tf.minimum(tf.minimum(red, green), blue)
    saturation = tf.cast(value > 0, value.dtype) * spread / tf.maximum(value, _TINY)
    reddest = tf.cast(red >= value, value.dtype)
    greenest = (1 - reddest) * tf.cast(green >= value, value.dtype)
    bluest = 1 - reddest - greenest
    sixths = reddest * (green - blue) + greenest * (blue - red) + bluest * (red - green)
    hue = sixths / (6 * tf.maximum(spread, _TINY)) + greenest * (2 / 6) + bluest * (4 / 6)
    return tf.concat([hue + tf.cast(hue < 0, hue.dtype), saturation, value], -1)
