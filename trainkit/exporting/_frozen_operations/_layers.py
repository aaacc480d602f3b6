"""Convolutions, dense layers and pooling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from trainkit.backend import tf
from trainkit.exporting._frozen_operations._layout import PIXEL, USUAL, Stored, Writer, cannot, floats, padded
from trainkit.exporting._graph import Node, Shape


def write_conv(writer: Writer, node: Node) -> Stored:
    """Write Conv(x, W, b) = BiasAdd(Conv2D(x, W), b): depthwise where each channel has weights of its own.

    Dilations and groups, which the importer does not know, are written into the weights as zeros.
    """
    weights, bias = writer.constant(node, 1), writer.constant(node, 2)
    weights = _dilated(weights, node.attributes["dilations"])
    source, padding = _padding(writer, node, weights.shape[2:])
    if padding == "SAME" and source.op.type == "Pad":  # in front of SAME, OpenCV forgets it
        source, padding = padded(source, node.attributes["pads"]), "VALID"
    window = {"strides": [1, *node.attributes["strides"], 1], "padding": padding}
    group = node.attributes["group"]
    if group == writer.shape(node, 0)[0] and group > 1:
        by_channel = weights.reshape(group, -1, *weights.shape[2:]).transpose(2, 3, 0, 1)
        result = tf.raw_ops.DepthwiseConv2dNative(input=source, filter=floats(by_channel), **window)
    else:
        dense = _ungrouped(weights, group).transpose(2, 3, 1, 0)
        result = tf.raw_ops.Conv2D(input=source, filter=floats(dense), **window)
    return Stored(tf.raw_ops.BiasAdd(value=result, bias=floats(bias)))


def _dilated(weights: np.ndarray, dilations: list[int]) -> np.ndarray:
    """Write the holes of a dilated kernel out as zeros."""
    down, across = dilations
    if (down, across) == (1, 1):
        return weights
    height, width = weights.shape[2:]
    result = np.zeros((*weights.shape[:2], (height - 1) * down + 1, (width - 1) * across + 1), np.float32)
    result[:, :, ::down, ::across] = weights
    return result


def _ungrouped(weights: np.ndarray, group: int) -> np.ndarray:
    """Return the weights of a convolution in groups as those of one without: zeros between the groups."""
    if group == 1:
        return weights
    outputs, inputs = weights.shape[:2]
    result = np.zeros((outputs, inputs * group, *weights.shape[2:]), np.float32)
    for index in range(group):
        rows = slice(index * outputs // group, (index + 1) * outputs // group)
        result[rows, index * inputs : (index + 1) * inputs] = weights[rows]
    return result


def _padding(writer: Writer, node: Node, kernel: Shape) -> tuple[Any, str]:
    """Return the input and the name of the padding: SAME where TensorFlow's own is meant, else padded before."""
    source = writer.read(node)
    pads = list(node.attributes["pads"])
    if not any(pads):
        return source, "VALID"
    if pads == _same_pads(writer.shape(node, 0), kernel, node.attributes["strides"]):
        return source, "SAME"
    return padded(source, tuple(pads)), "VALID"


def _same_pads(shape: Shape, kernel: Shape, strides: list[int]) -> list[int]:
    """Return what TensorFlow pads for SAME: top, left, bottom, right."""
    pads = [0] * 4
    for axis, length in enumerate(shape[1:]):
        total = max((math.ceil(length / strides[axis]) - 1) * strides[axis] + kernel[axis] - length, 0)
        pads[axis], pads[axis + 2] = total // 2, total - total // 2
    return pads


def write_conv_transpose(writer: Writer, node: Node) -> Stored:
    """Write ConvTranspose(x, W, b) = BiasAdd(Conv2DBackpropInput(x, W), b), whole, with the pads cut off behind."""
    weights, bias = writer.constant(node, 1), writer.constant(node, 2)
    if node.attributes["group"] != 1:
        raise cannot(node)
    outputs, height, width = writer.shape(node)
    top, left, bottom, right = node.attributes["pads"]
    whole = [height + top + bottom, width + left + right]
    result = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=np.array([-1, *whole, outputs], np.int32),
        filter=floats(weights.transpose(2, 3, 1, 0)),
        out_backprop=writer.read(node),
        strides=[1, *node.attributes["strides"], 1],
        padding="VALID",
    )
    result = tf.raw_ops.BiasAdd(value=result, bias=floats(bias))
    if whole != [height, width]:
        result = tf.raw_ops.Slice(input=result, begin=[0, top, left, 0], size=[-1, height, width, outputs])
    return Stored(result)


def write_gemm(writer: Writer, node: Node) -> Stored:
    """Write Gemm(x, W, b) = BiasAdd(MatMul(x, W.T), b); of a row that stands as a pixel, a 1x1 convolution."""
    weights, bias = writer.ordered_constant(node, 1, axis=1), writer.constant(node, 2)
    source = writer.tensor(node.inputs[0])
    is_pixel = writer.layout(node.inputs[0]).sides == "pixel"
    product = mix_channels(source, weights.T) if is_pixel else tf.raw_ops.MatMul(a=source, b=floats(weights.T))
    return Stored(tf.raw_ops.BiasAdd(value=product, bias=floats(bias)), PIXEL if is_pixel else USUAL)


def mix_channels(source: Any, matrix: np.ndarray) -> Any:
    """Multiply the channels of every pixel by a matrix (inputs, outputs): a 1x1 convolution."""
    return tf.raw_ops.Conv2D(input=source, filter=floats(matrix[None, None]), strides=[1] * 4, padding="VALID")


def write_pool(op: str) -> Callable[[Writer, Node], Stored]:
    """Return what writes MaxPool or AvgPool; zeros around a maximum stand only where nothing is negative."""

    def write_pool(writer: Writer, node: Node) -> Stored:
        kernel, strides = node.attributes["kernel"], node.attributes["strides"]
        source, padding = _padding(writer, node, tuple(kernel))
        if op == "AvgPool" and padding == "VALID" and any(node.attributes["pads"]):
            raise cannot(node)  # it would count the zeros
        return Stored(_pooled(op, source, kernel, strides, padding))

    return write_pool


def write_global_pool(op: str) -> Callable[[Writer, Node], Stored]:
    """Return what writes a pooling over all rows and columns."""

    def write_global_pool(writer: Writer, node: Node) -> Stored:
        sides = list(writer.shape(node, 0)[1:])
        return Stored(_pooled(op, writer.read(node), sides, sides, "VALID"))

    return write_global_pool


def _pooled(op: str, source: Any, kernel: list[int], strides: list[int], padding: str) -> Any:
    window = {"ksize": [1, *kernel, 1], "strides": [1, *strides, 1], "padding": padding}
    if op == "MaxPool":
        return tf.raw_ops.MaxPool(input=source, **window)
    return tf.raw_ops.AvgPool(value=source, **window)
