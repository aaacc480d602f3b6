"""Writes a graph as a TensorFlow 1 frozen graph that `cv2.dnn.readNetFromTensorflow` reads rightly at any batch size.

The file's own order is that of TensorFlow, (N, H, W, C); OpenCV feeds it with (N, C, H, W), as it does every such graph.
Where OpenCV's importer does not know an operation of TensorFlow, it looks for a layer of its own with that name: Erf,
Log, Sqrt, Softplus and Selu come in by that door.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.backend import silent_stderr, tf
from trainkit.errors import ExportError
from trainkit.exporting.graph import INPUT, OUTPUT, Graph, Node
from trainkit.files import replacing


def save_frozen_graph(graph: Graph, kind: str, path: Path) -> None:
    """Write a graph and the activation behind it: input `input` (N, H, W, C), output `probabilities` (N, classes).

    Args:
        graph: ends in the logits.
        kind: `softmax` or `sigmoid`.
        path: of the file.

    Raises:
        ExportError: an operation has no form that OpenCV's TensorFlow importer reads.
    """
    graph_def = to_graph_def(graph, kind)
    with replacing(path) as temporary:
        temporary.write_bytes(graph_def.SerializeToString())


def to_graph_def(graph: Graph, kind: str) -> Any:
    """Return the GraphDef that `save_frozen_graph` writes."""
    with silent_stderr(), tf.Graph().as_default() as tf_graph:
        writer = _Writer(graph)
        for node in graph.nodes:
            if node.op not in _WRITE:
                raise ExportError(
                    f"{node.op} (of {node.origin}) has no form that OpenCV's TensorFlow importer reads. "
                    "Export --format onnx."
                )
            writer.values[node.output] = _WRITE[node.op](writer, node)
        activation = {"softmax": tf.raw_ops.Softmax, "sigmoid": tf.raw_ops.Sigmoid}[kind]
        last = writer.values[graph.output]
        activation(**{"logits" if kind == "softmax" else "x": last}, name=OUTPUT)
    return _plain(tf_graph.as_graph_def())


def save_logits_twin(path: Path, twin: Path) -> None:
    """Write a copy of an exported graph that ends before its last activation.

    Raises:
        ExportError: the graph does not end in Softmax or Sigmoid.
    """
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    last = graph_def.node[-1]
    if last.op not in ("Softmax", "Sigmoid"):
        raise ExportError(f"{path} ends in {last.op}. Expected Softmax or Sigmoid, to find the logits before it.")
    graph_def.node.pop()
    twin.write_bytes(graph_def.SerializeToString())


def _plain(graph_def: Any) -> Any:
    """Keep what OpenCV reads: float constants uncompressed in `tensor_content`, and no private attributes."""
    graph_def.versions.producer = 27  # GraphDefs of TensorFlow 1.15
    for node in graph_def.node:
        for key in [key for key in node.attr if key.startswith("_")]:
            del node.attr[key]
        if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum:
            array = tf.make_ndarray(node.attr["value"].tensor)
            tensor = tf.compat.v1.make_tensor_proto(array)
            tensor.ClearField("float_val")
            tensor.tensor_content = array.tobytes()
            node.attr["value"].tensor.CopyFrom(tensor)
    return graph_def


class _Writer:
    """The tensors of the TensorFlow graph, by the values they stand for."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        channels, height, width = graph.shapes[INPUT]
        self.values = {INPUT: tf.compat.v1.placeholder(tf.float32, (None, height, width, channels), name=INPUT)}
        self.flattened: dict[str, tuple[int, ...]] = {}  # values flattened in TensorFlow's order, from which (C, H, W)

    def read(self, node: Node, position: int = 0) -> Any:
        """Return the tensor of an input."""
        return self.values[node.inputs[position]]

    def constant(self, node: Node, position: int) -> np.ndarray:
        """Return a constant input."""
        return self.graph.constants[node.inputs[position]]

    def shape(self, node: Node, position: int | None = None) -> tuple[int, ...]:
        """Return the shape of a result, or of an input, in the graph's order."""
        return self.graph.shapes[node.output if position is None else node.inputs[position]]


def _floats(value: Any) -> Any:
    return tf.constant(np.asarray(value, np.float32))


def _padding(writer: _Writer, node: Node, kernel: tuple[int, ...]) -> tuple[Any, str]:
    """Return the input and the name of the padding: SAME where TensorFlow's own is meant, else padded before."""
    source, strides = writer.read(node), node.attributes["strides"]
    pads = list(node.attributes["pads"])
    if not any(pads):
        return source, "VALID"
    same = [0] * 4
    for axis, length in enumerate(writer.shape(node, 0)[1:]):
        total = max((math.ceil(length / strides[axis]) - 1) * strides[axis] + kernel[axis] - length, 0)
        same[axis], same[axis + 2] = total // 2, total - total // 2
    if pads == same:
        return source, "SAME"
    return _padded(source, pads), "VALID"


def _padded(source: Any, pads: list[int]) -> Any:
    top, left, bottom, right = pads
    return tf.raw_ops.Pad(input=source, paddings=[[0, 0], [top, bottom], [left, right], [0, 0]])


def _conv(writer: _Writer, node: Node) -> Any:
    weights, bias = writer.constant(node, 1), writer.constant(node, 2)
    down, across = node.attributes["dilations"]
    if (down, across) != (1, 1):  # the holes are written out as zeros
        wide = np.zeros(
            (*weights.shape[:2], (weights.shape[2] - 1) * down + 1, (weights.shape[3] - 1) * across + 1), np.float32
        )
        wide[:, :, ::down, ::across] = weights
        weights = wide
    source, padding = _padding(writer, node, weights.shape[2:])
    strides = [1, *node.attributes["strides"], 1]
    group, inputs = node.attributes["group"], writer.shape(node, 0)[0]
    if group == inputs and group > 1:
        by_channel = weights.reshape(group, -1, *weights.shape[2:]).transpose(2, 3, 0, 1)
        result = tf.raw_ops.DepthwiseConv2dNative(
            input=source, filter=_floats(by_channel), strides=strides, padding=padding
        )
    else:
        result = tf.raw_ops.Conv2D(
            input=source, filter=_floats(_ungrouped(weights, group).transpose(2, 3, 1, 0)), strides=strides, padding=padding
        )
    return tf.raw_ops.BiasAdd(value=result, bias=_floats(bias))


def _ungrouped(weights: np.ndarray, group: int) -> np.ndarray:
    """Return the weights of a convolution in groups as those of one without: zeros between the groups."""
    if group == 1:
        return weights
    outputs, inputs = weights.shape[:2]
    whole = np.zeros((outputs, inputs * group, *weights.shape[2:]), np.float32)
    for index in range(group):
        rows = slice(index * outputs // group, (index + 1) * outputs // group)
        whole[rows, index * inputs : (index + 1) * inputs] = weights[rows]
    return whole


def _conv_transpose(writer: _Writer, node: Node) -> Any:
    weights, bias = writer.constant(node, 1), writer.constant(node, 2)
    _, height, width = writer.shape(node)
    pads = node.attributes["pads"]
    if node.attributes["group"] != 1 or any(pads):
        padded = [height + pads[0] + pads[2], width + pads[1] + pads[3]]
    else:
        padded = [height, width]
    batch = tf.shape(writer.read(node))[0] if False else -1
    result = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=np.array([batch, *padded, weights.shape[1]], np.int32),
        filter=_floats(weights.transpose(2, 3, 1, 0)),
        out_backprop=writer.read(node),
        strides=[1, *node.attributes["strides"], 1],
        padding="VALID",
    )
    result = tf.raw_ops.BiasAdd(value=result, bias=_floats(bias))
    if padded != [height, width]:
        result = tf.raw_ops.Slice(
            input=result, begin=[0, pads[0], pads[1], 0], size=[-1, height, width, weights.shape[1]]
        )
    return result


def _gemm(writer: _Writer, node: Node) -> Any:
    weights, bias = writer.constant(node, 1), writer.constant(node, 2)
    if (shape := writer.flattened.get(node.inputs[0])) is not None:
        by_place = weights.reshape(-1, *shape)
        weights = by_place.transpose(0, *range(2, by_place.ndim), 1).reshape(weights.shape)
    product = tf.raw_ops.MatMul(a=writer.read(node), b=_floats(weights.T))
    return tf.raw_ops.BiasAdd(value=product, bias=_floats(bias))


def _affine(writer: _Writer, node: Node) -> Any:
    return _scaled(writer.read(node), writer.constant(node, 1), writer.constant(node, 2))


def _scaled(source: Any, scale: Any, shift: Any) -> Any:
    channels = source.shape[-1]
    scale, shift = (np.broadcast_to(np.asarray(value, np.float32), channels) for value in (scale, shift))
    if len(source.shape) == 4:
        depthwise = scale.reshape(1, 1, channels, 1)
        source = tf.raw_ops.DepthwiseConv2dNative(
            input=source, filter=_floats(depthwise), strides=[1] * 4, padding="VALID"
        )
        return tf.raw_ops.BiasAdd(value=source, bias=_floats(shift))
    source = tf.raw_ops.Mul(x=source, y=_floats(scale))
    return tf.raw_ops.AddV2(x=source, y=_floats(shift))


def _pool(op: str) -> Callable[[_Writer, Node], Any]:
    def write_pool(writer: _Writer, node: Node) -> Any:
        kernel = node.attributes["kernel"]
        source, padding = _padding(writer, node, tuple(kernel))
        if padding == "VALID" and any(node.attributes["pads"]):
            raise ExportError(f"The padding of {node.origin} has no name in TensorFlow. Export --format onnx.")
        arguments = {"ksize": [1, *kernel, 1], "strides": [1, *node.attributes["strides"], 1], "padding": padding}
        if op == "MaxPool":
            return tf.raw_ops.MaxPool(input=source, **arguments)
        return tf.raw_ops.AvgPool(value=source, **arguments)

    return write_pool


def _global_pool(op: str) -> Callable[[_Writer, Node], Any]:
    def write_global_pool(writer: _Writer, node: Node) -> Any:
        _, height, width = writer.shape(node, 0)
        arguments = {"ksize": [1, height, width, 1], "strides": [1, height, width, 1], "padding": "VALID"}
        if op == "MaxPool":
            return tf.raw_ops.MaxPool(input=writer.read(node), **arguments)
        return tf.raw_ops.AvgPool(value=writer.read(node), **arguments)

    return write_global_pool


def _activation(function: Callable[..., Any], argument: str = "x") -> Callable[[_Writer, Node], Any]:
    return lambda writer, node: function(**{argument: writer.read(node)})


def _leaky_relu(writer: _Writer, node: Node) -> Any:
    return tf.raw_ops.LeakyRelu(features=writer.read(node), alpha=node.attributes["alpha"])


def _elu(writer: _Writer, node: Node) -> Any:
    return _any_elu(writer.read(node), node.attributes["alpha"])


def _any_elu(source: Any, alpha: float) -> Any:
    """Return a ELU of any alpha from that of 1, which is the only one TensorFlow has."""
    whole = tf.raw_ops.Elu(features=source)
    if alpha == 1:
        return whole
    positive = tf.raw_ops.Relu(features=source)
    return tf.raw_ops.AddV2(x=_scaled(whole, alpha, 0), y=_scaled(positive, 1 - alpha, 0))


def _selu(writer: _Writer, node: Node) -> Any:
    return _scaled(_any_elu(writer.read(node), node.attributes["alpha"]), node.attributes["gamma"], 0)


def _clip(writer: _Writer, node: Node) -> Any:
    return _clipped(writer.read(node), node.attributes["min"], node.attributes["max"])


def _clipped(source: Any, least: float, most: float) -> Any:
    if (least, most) == (0, 6):
        return tf.raw_ops.Relu6(features=source)
    width = (most - least) / 6
    return _scaled(tf.raw_ops.Relu6(features=_scaled(source, 1 / width, -least / width)), width, least)


def _hard_sigmoid(writer: _Writer, node: Node) -> Any:
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    return _scaled(tf.raw_ops.Relu6(features=_scaled(writer.read(node), 6 * alpha, 6 * beta)), 1 / 6, 0)


def _pow(writer: _Writer, node: Node) -> Any:
    """Return a power as exp(p * log(x)): neither Pow nor Rsqrt is read. For x of either sign, x * (x * x) ** ((p-1)/2)."""
    source, exponent = writer.read(node), node.attributes["exponent"]
    if exponent == int(exponent) and exponent % 2:
        square = tf.raw_ops.Mul(x=source, y=source)
        return tf.raw_ops.Mul(x=source, y=_power_of_positive(square, (exponent - 1) / 2))
    return _power_of_positive(source, exponent)


def _power_of_positive(source: Any, exponent: float) -> Any:
    return tf.raw_ops.Exp(x=_scaled(tf.raw_ops.Log(x=source), exponent, 0))


def _binary(function: Callable[..., Any]) -> Callable[[_Writer, Node], Any]:
    return lambda writer, node: function(x=writer.read(node), y=writer.read(node, 1))


def _max(writer: _Writer, node: Node) -> Any:
    one, other = writer.read(node), writer.read(node, 1)
    more = tf.raw_ops.Relu(features=tf.raw_ops.Sub(x=other, y=one))
    return tf.raw_ops.AddV2(x=one, y=more)


def _softmax(writer: _Writer, node: Node) -> Any:
    return tf.raw_ops.Softmax(logits=writer.read(node))


def _concat(writer: _Writer, node: Node) -> Any:
    values = [writer.values[name] for name in node.inputs]
    axis = _nhwc_axis(node.attributes["axis"], len(values[0].shape))
    return tf.raw_ops.ConcatV2(values=values, axis=axis)


def _nhwc_axis(axis: int, rank: int) -> int:
    return {1: rank - 1}.get(axis, axis - 1) if axis else 0


def _slice(writer: _Writer, node: Node) -> Any:
    source = writer.read(node)
    axis = _nhwc_axis(node.attributes["axis"], len(source.shape))
    begin, size = [0] * len(source.shape), [-1, *source.shape[1:]]
    begin[axis], size[axis] = node.attributes["start"], node.attributes["end"] - node.attributes["start"]
    return tf.raw_ops.Slice(input=source, begin=begin, size=size)


def _pad(writer: _Writer, node: Node) -> Any:
    return _padded(writer.read(node), node.attributes["pads"])


def _channels_last(shape: tuple[int, ...]) -> list[int]:
    return [-1, *shape[1:], shape[0]]


def _flatten(writer: _Writer, node: Node) -> Any:
    shape = writer.shape(node, 0)
    only_dense = all(reader.op == "Gemm" for reader in writer.graph.consumers(node.output))
    if only_dense and node.output != writer.graph.output:
        writer.flattened[node.output] = shape  # the dense layers behind it have their weights in that order
        return tf.raw_ops.Reshape(tensor=writer.read(node), shape=[-1, math.prod(shape)])
    return _reshape(writer, node)


def _reshape(writer: _Writer, node: Node) -> Any:
    before, after = writer.shape(node, 0), writer.shape(node)
    source = writer.read(node)
    if max(before[1:], default=1) > 1 and len(before) > 1 and before[0] > 1:
        source = tf.raw_ops.Transpose(x=source, perm=[0, len(before), *range(1, len(before))])
    if len(after) == 1 or after[0] == 1 or max(after[1:]) == 1:
        return tf.raw_ops.Reshape(tensor=source, shape=_channels_last(after))
    turned = tf.raw_ops.Reshape(tensor=source, shape=[-1, *after])
    return tf.raw_ops.Transpose(x=turned, perm=[0, *range(2, len(after) + 1), 1])


def _transpose(writer: _Writer, node: Node) -> Any:
    order = node.attributes["perm"]
    rank = len(order)
    to_last = [0, *range(2, rank), 1]  # where the sides of (N, H, W, C) stand in (N, C, H, W)
    from_last = [to_last.index(axis) for axis in range(rank)]
    return tf.raw_ops.Transpose(x=writer.read(node), perm=[from_last[order[axis]] for axis in to_last])


def _upsample(writer: _Writer, node: Node) -> Any:
    return tf.raw_ops.ResizeNearestNeighbor(images=writer.read(node), size=list(writer.shape(node)[1:]))


def _resize(writer: _Writer, node: Node) -> Any:
    return tf.raw_ops.ResizeBilinear(
        images=writer.read(node), size=list(writer.shape(node)[1:]), half_pixel_centers=True
    )


_WRITE: dict[str, Callable[[_Writer, Node], Any]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "Affine": _affine,
    "MaxPool": _pool("MaxPool"),
    "AveragePool": _pool("AvgPool"),
    "GlobalMaxPool": _global_pool("MaxPool"),
    "GlobalAveragePool": _global_pool("AvgPool"),
    "Relu": _activation(tf.raw_ops.Relu, "features"),
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "Selu": _selu,
    "Sigmoid": _activation(tf.raw_ops.Sigmoid),
    "HardSigmoid": _hard_sigmoid,
    "Tanh": _activation(tf.raw_ops.Tanh),
    "Softplus": _activation(tf.raw_ops.Softplus, "features"),
    "Exp": _activation(tf.raw_ops.Exp),
    "Log": _activation(tf.raw_ops.Log),
    "Erf": _activation(tf.raw_ops.Erf),
    "Sqrt": _activation(tf.raw_ops.Sqrt),
    "Abs": _activation(tf.raw_ops.Abs),
    "Clip": _clip,
    "Pow": _pow,
    "Add": _binary(tf.raw_ops.AddV2),
    "Sub": _binary(tf.raw_ops.Sub),
    "Mul": _binary(tf.raw_ops.Mul),
    "Max": _max,
    "Softmax": _softmax,
    "Concat": _concat,
    "Slice": _slice,
    "Pad": _pad,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Upsample": _upsample,
    "Resize": _resize,
}
