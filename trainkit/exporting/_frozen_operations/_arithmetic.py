"""Number by number: affine maps, activations, two values together, and the softmax that they make.

OpenCV's importer knows no Pow, Maximum or clip, and combines no value with a constant: each is made of what it knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trainkit.backend import tf
from trainkit.exporting._frozen_operations._layers import mix_channels
from trainkit.exporting._frozen_operations._layout import Layout, Stored, Writer, cannot, floats
from trainkit.exporting._graph import Node

Write = Callable[[Writer, Node], Stored]


def write_affine(writer: Writer, node: Node) -> Stored:
    """Write Affine(x, scale, shift) = x * scale + shift, a value a channel."""
    layout = writer.shared_layout(node)
    source = writer.tensor(node.inputs[0])
    if layout.sides == "graph":
        raise cannot(node)
    if layout.sides == "unrolled":
        maps = [writer.constant(node, position).reshape(layout.image) for position in (1, 2)]
        return Stored(_scaled_by_pixel(source, *maps), layout)
    scale, shift = (writer.ordered_constant(node, position) for position in (1, 2))
    return Stored(_scaled(source, scale, shift), layout)


def _scaled(source: Any, scale: Any, shift: Any) -> Any:
    """Return x * scale + shift: of an image by a depthwise convolution, of a row by Mul and Add."""
    channels = source.shape[-1]
    scale, shift = (np.broadcast_to(np.asarray(value, np.float32), channels) for value in (scale, shift))
    if len(source.shape) == 4:
        depthwise = scale.reshape(1, 1, channels, 1)
        source = tf.raw_ops.DepthwiseConv2dNative(
            input=source, filter=floats(depthwise), strides=[1] * 4, padding="VALID"
        )
        return tf.raw_ops.BiasAdd(value=source, bias=floats(shift))
    source = tf.raw_ops.Mul(x=source, y=floats(scale))
    return tf.raw_ops.AddV2(x=source, y=floats(shift))


def _scaled_by_pixel(source: Any, scale: np.ndarray, shift: np.ndarray) -> Any:
    """Return x * scale + shift with a constant for each number of an image; both are (C, H, W).

    OpenCV reads no constant image from such a graph, so the network makes one: a one for each image of the batch, from
    which a transposed convolution draws the constants.
    """
    _, height, width = scale.shape
    window = [1, height, width, 1]
    one = tf.raw_ops.AvgPool(value=source, ksize=window, strides=window, padding="VALID")
    one = _scaled(one, 0, 1)
    if (scale != 1).any():
        source = tf.raw_ops.Mul(x=source, y=_drawn(one, scale))
    return tf.raw_ops.AddV2(x=source, y=_drawn(one, shift)) if shift.any() else source


def _drawn(one: Any, image: np.ndarray) -> Any:
    """Return a constant image (C, H, W) for each image of a batch of ones."""
    channels, height, width = image.shape
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=np.array([-1, height, width, channels], np.int32),
        filter=floats(image.transpose(1, 2, 0)[..., None]),
        out_backprop=tf.raw_ops.Slice(input=one, begin=[0] * 4, size=[-1, 1, 1, 1]),
        strides=[1] * 4,
        padding="VALID",
    )


def write_elementwise(compute: Callable[[Node, Any], Any]) -> Write:
    """Return what writes an operation that treats every number by itself; how the value stands stays the same."""

    def write_elementwise(writer: Writer, node: Node) -> Stored:
        layout = writer.shared_layout(node)
        return Stored(compute(node, writer.tensor(node.inputs[0])), layout)

    return write_elementwise


def write_activation(function: Callable[..., Any], argument: str = "x") -> Write:
    """Return what writes an operation that TensorFlow has, by the name of its argument."""
    return write_elementwise(lambda node, source: function(**{argument: source}))


def make_leaky_relu(node: Node, source: Any) -> Any:
    """Return leaky(x) = max(x, alpha * x)."""
    return tf.raw_ops.LeakyRelu(features=source, alpha=node.attributes["alpha"])


def make_elu(node: Node, source: Any) -> Any:
    """Return elu(x) = x where x is positive, alpha * (exp(x) - 1) elsewhere."""
    return _any_elu(source, node.attributes["alpha"])


def _any_elu(source: Any, alpha: float) -> Any:
    """Return alpha * elu(x) + (1 - alpha) * relu(x): TensorFlow has the ELU of alpha = 1 only."""
    of_one = tf.raw_ops.Elu(features=source)
    if alpha == 1:
        return of_one
    positive = tf.raw_ops.Relu(features=source)
    return tf.raw_ops.AddV2(x=_scaled(of_one, alpha, 0), y=_scaled(positive, 1 - alpha, 0))


def make_selu(node: Node, source: Any) -> Any:
    """Return selu(x) = gamma * elu(x)."""
    return _scaled(_any_elu(source, node.attributes["alpha"]), node.attributes["gamma"], 0)


def make_clip(node: Node, source: Any) -> Any:
    """Return clip(x) = width * relu6((x - min) / width) + min, where width is (max - min) / 6."""
    least, most = node.attributes["min"], node.attributes["max"]
    if (least, most) == (0, 6):
        return tf.raw_ops.Relu6(features=source)
    width = (most - least) / 6
    return _scaled(tf.raw_ops.Relu6(features=_scaled(source, 1 / width, -least / width)), width, least)


def make_hard_sigmoid(node: Node, source: Any) -> Any:
    """Return hard_sigmoid(x) = relu6(6 * (alpha * x + beta)) / 6."""
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    return _scaled(tf.raw_ops.Relu6(features=_scaled(source, 6 * alpha, 6 * beta)), 1 / 6, 0)


def make_power(node: Node, source: Any) -> Any:
    """Return pow(x, p) = exp(p * log(x)); with a whole p by that of x * x, which is not negative."""
    exponent = node.attributes["exponent"]
    if exponent != int(exponent):
        return _power_of_positive(source, exponent)
    square = tf.raw_ops.Mul(x=source, y=source)
    if exponent % 2 == 0:
        return _power_of_positive(square, exponent / 2)
    return tf.raw_ops.Mul(x=source, y=_power_of_positive(square, (exponent - 1) / 2))


def _power_of_positive(source: Any, exponent: float) -> Any:
    """Return pow(x, p) = exp(p * log(x))."""
    return tf.raw_ops.Exp(x=_scaled(tf.raw_ops.Log(x=source), exponent, 0))


def write_pair(function: Callable[..., Any]) -> Write:
    """Return what writes an operation of two values, number by number."""

    def write_pair(writer: Writer, node: Node) -> Stored:
        layouts = {writer.layout(name) for name in node.inputs}
        if {layout.sides for layout in layouts} == {"usual", "pixel"}:  # both are rows
            images = {layout.image for layout in layouts}
            if len(images) > 1:
                raise cannot(node)
            one, other = (writer.row(name) for name in node.inputs)
            return Stored(function(x=one, y=other), Layout(image=images.pop()))
        layout = writer.shared_layout(node)
        one, other = (writer.tensor(name) for name in node.inputs)
        return Stored(function(x=one, y=other), layout)

    return write_pair


def make_maximum(x: Any, y: Any) -> Any:
    """Return max(x, y) = x + relu(y - x)."""
    return tf.raw_ops.AddV2(x=x, y=tf.raw_ops.Relu(features=tf.raw_ops.Sub(x=y, y=x)))


def write_softmax(writer: Writer, node: Node) -> Stored:
    """Write Softmax(x) over the channels; of an image OpenCV since 4.10 takes the wrong side, so it is spelled out."""
    if len(writer.shape(node)) == 2:
        raise cannot(node)
    if len(writer.shape(node)) > 1:
        return Stored(_softmax_of_pixels(writer.read(node)))
    writer.check_ordered(node)
    return Stored(tf.raw_ops.Softmax(logits=writer.row(node.inputs[0])))


def _softmax_of_pixels(source: Any) -> Any:
    """Return softmax(x) = exp(x - mean) * (sum of exp(x - mean)) ** -1, mean and sum over the channels of each pixel.

    Without the mean, any logit above 88 would overflow; with it, only a spread beyond 88 within one pixel does.
    """
    channels = source.shape[-1]
    exponentials = tf.raw_ops.Exp(x=mix_channels(source, np.eye(channels) - 1 / channels))
    sums = mix_channels(exponentials, np.ones((channels, channels)))
    return tf.raw_ops.Mul(x=exponentials, y=_power_of_positive(sums, -1))
