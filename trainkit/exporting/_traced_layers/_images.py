"""Layers on images: normalisations, upsampling, activations and convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainkit.backend import keras, tf
from trainkit.errors import ExportError

_TINY = 1e-12
_KERAS_RESIZE = keras.src.backend.image.resize
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


def hsv_to_rgb(images: Any, name: str | None = None) -> Any:
    """Red, green and blue of hue, saturation and value, as TensorFlow's kernel has it: three ramps, cut at 0 and 1."""
    hue, saturation, value = tf.split(tf.convert_to_tensor(images), 3, axis=-1)
    sixths = hue * 6
    ramps = (tf.abs(sixths - 3) - 1, 2 - tf.abs(sixths - 2), 2 - tf.abs(sixths - 4))
    shares = (tf.clip_by_value(ramp, 0.0, 1.0) for ramp in ramps)
    return tf.concat([(1 - saturation + saturation * share) * value for share in shares], -1)


def adjust_saturation(image: Any, saturation_factor: Any, name: str | None = None) -> Any:
    """A picture with its saturation multiplied, and not above 1."""
    hue, saturation, value = tf.split(rgb_to_hsv(image), 3, axis=-1)
    return hsv_to_rgb(tf.concat([hue, tf.clip_by_value(saturation * saturation_factor, 0.0, 1.0), value], -1))


def resize(images: Any, size: Any, **options: Any) -> Any:
    """Keras' resize, whose padding to the target's proportions is known here, where Keras chooses in the graph."""
    sides = images.shape[1:3] if len(images.shape) == 4 else (None, None)
    last = options.get("data_format") != "channels_first"
    if not options.get("pad_to_aspect_ratio") or None in sides or not last:
        return _KERAS_RESIZE(images, size, **options)
    wanted = [max(side, int(np.float32(other * to) / np.float32(by)))
              for side, other, to, by in zip(sides, sides[::-1], size, size[::-1], strict=True)]  # fmt: skip
    pads = [int(np.float32(whole - side) / 2) for whole, side in zip(wanted, sides, strict=True)]
    padded = tf.pad(images, [(0, 0), *((pad, pad) for pad in pads), (0, 0)], constant_values=options["fill_value"])
    return _KERAS_RESIZE(padded, size, **{**options, "pad_to_aspect_ratio": False})
