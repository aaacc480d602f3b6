"""Writes a graph as a TensorFlow 1 frozen graph that `cv2.dnn.readNetFromTensorflow` reads rightly at any batch size.

The file's own order is that of TensorFlow, (N, H, W, C); OpenCV feeds it with (N, C, H, W), as every such graph.
Where OpenCV's importer does not know an operation of TensorFlow, it looks for a layer of its own with that name: Erf,
Log, Sqrt, Softplus and Selu come in by that door.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.backend import silent_stderr, tf
from trainkit.errors import ExportError
from trainkit.exporting._graph import INPUT, OUTPUT, Graph, Node
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
                raise cannot(node)
            writer.values[node.output] = _WRITE[node.op](writer, node)
        activation = {"softmax": tf.raw_ops.Softmax, "sigmoid": tf.raw_ops.Sigmoid}[kind]
        last = writer.row(graph.output)
        activation(**{"logits" if kind == "softmax" else "x": last}, name=OUTPUT)
    return _plain(tf.compat.v1.graph_util.extract_sub_graph(tf_graph.as_graph_def(), [OUTPUT]))


def save_logits_model(path: Path, logits_model: Path) -> None:
    """Write a copy of an exported graph that ends before its last activation.

    Raises:
        ExportError: the graph does not end in Softmax or Sigmoid.
    """
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    last = graph_def.node[-1]
    if last.op not in ("Softmax", "Sigmoid"):
        raise ExportError(f"{path} ends in {last.op}. Expected Softmax or Sigmoid, to find the logits before it.")
    graph_def.node.pop()
    logits_model.write_bytes(graph_def.SerializeToString())


save_logits_twin = save_logits_model  # its name in 0.1


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
    """The tensors of the TensorFlow graph, by the values they stand for, and the order in which they stand.

    A value (C, H, W) is stored as (N, H, W, C), and a row (K,) as (N, K), but for three kinds that save a Transpose,
    which OpenCV's TensorFlow importer reads wrongly or not at all:

    - `wide`: a row stored as (N, 1, 1, K), because it comes from an image of one pixel or becomes one again;
    - `as_meant`: a value (A, B, C) stored as (N, A, B, C), between a Reshape and a Transpose of Keras' own order;
    - `flattened`: a row whose numbers stand in the order of an image (H, W, C);
    - `by_pixel`: an image taken for one pixel of many channels, so that each number has a constant of its own.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        channels, height, width = graph.shapes[INPUT]
        self.values = {INPUT: tf.compat.v1.placeholder(tf.float32, (None, height, width, channels), name=INPUT)}
        self.wide: set[str] = set()
        self.as_meant: set[str] = set()
        self.flattened: dict[str, tuple[int, ...]] = {}  # value: the image's (C, H, W)
        self.padded: dict[str, tuple[Any, list[int]]] = {}  # value: the tensor before, and what is put around it
        self.by_pixel: dict[str, tuple[int, ...]] = {}  # the same

    def tensor(self, name: str) -> Any:
        """Return the tensor of a value, however it stands. Each reader gets a Pad of its own: OpenCV shares none."""
        if name in self.padded:
            return _padded(*self.padded[name])
        return self.values[name]

    def check_usual(self, node: Node, position: int = 0) -> None:
        """Raise unless an input stands in the usual order."""
        name = node.inputs[position]
        if name in self.as_meant or name in self.flattened or name in self.by_pixel:
            raise cannot(node)

    def read(self, node: Node, position: int = 0) -> Any:
        """Return the tensor of an input that stands in the usual order."""
        self.check_usual(node, position)
        return self.tensor(node.inputs[position])

    def constant(self, node: Node, position: int) -> np.ndarray:
        """Return a constant input."""
        return self.graph.constants[node.inputs[position]]

    def shape(self, node: Node, position: int | None = None) -> tuple[int, ...]:
        """Return the shape of a result, or of an input, in the graph's order."""
        return self.graph.shapes[node.output if position is None else node.inputs[position]]

    def row(self, name: str) -> Any:
        """Return a row as (N, K)."""
        return _rows(self.tensor(name)) if name in self.wide else self.tensor(name)

    def follow(self, node: Node) -> None:
        """Let the result of an operation number by number stand as what it reads does."""
        names = [name for name in node.inputs if name in self.values]
        for kind in (self.wide, self.as_meant):
            if len({name in kind for name in names}) > 1:
                raise cannot(node)
            if names[0] in kind:
                kind.add(node.output)
        for order in (self.flattened, self.by_pixel):
            shapes = {order.get(name) for name in names}
            if len(shapes) > 1:
                raise cannot(node)
            if (shape := shapes.pop()) is not None:
                order[node.output] = shape


def cannot(node: Node) -> ExportError:
    """Say at which layer something has no form in a frozen graph."""
    scopes = [re.sub(r"_\d+$", "", scope) for scope in node.origin.split("/")]
    return ExportError(
        f"At the layer `{scopes[-2] if len(scopes) > 1 else scopes[0]}` the model needs the operation {node.op}, which "
        "OpenCV's TensorFlow importer does not read rightly there. Export --format onnx."
    )


def _rows(tensor: Any) -> Any:
    return tf.raw_ops.Reshape(tensor=tensor, shape=[-1, tensor.shape[-1]])


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
    paddings = np.array([[0, 0], [top, bottom], [left, right], [0, 0]])
    if source.op.type == "Pad":  # of two in a row OpenCV forgets one
        paddings += tf.get_static_value(source.op.inputs[1])
        source = source.op.inputs[0]
    return tf.raw_ops.Pad(input=source, paddings=paddings.astype(np.int32))


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
    if padding == "SAME" and source.op.type == "Pad":  # in front of SAME, OpenCV forgets it
        source, padding = _padded(source, node.attributes["pads"]), "VALID"
    strides = [1, *node.attributes["strides"], 1]
    group, inputs = node.attributes["group"], writer.shape(node, 0)[0]
    if group == inputs and group > 1:
        by_channel = weights.reshape(group, -1, *weights.shape[2:]).transpose(2, 3, 0, 1)
        result = tf.raw_ops.DepthwiseConv2dNative(
            input=source, filter=_floats(by_channel), strides=strides, padding=padding
        )
    else:
        result = tf.raw_ops.Conv2D(
            input=source,
            filter=_floats(_ungrouped(weights, group).transpose(2, 3, 1, 0)),
            strides=strides,
            padding=padding,
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
    if node.attributes["group"] != 1:
        raise cannot(node)
    padded = [height + pads[0] + pads[2], width + pads[1] + pads[3]]
    result = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=np.array([-1, *padded, weights.shape[1]], np.int32),
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
    weights, bias = _in_order(writer, node, 1, axis=1), writer.constant(node, 2)
    source = writer.tensor(node.inputs[0])
    if node.inputs[0] in writer.wide:
        writer.wide.add(node.output)
        product = tf.raw_ops.Conv2D(
            input=source, filter=_floats(weights.T[None, None]), strides=[1] * 4, padding="VALID"
        )
    else:
        product = tf.raw_ops.MatMul(a=source, b=_floats(weights.T))
    return tf.raw_ops.BiasAdd(value=product, bias=_floats(bias))


def _in_order(writer: _Writer, node: Node, position: int, *, axis: int = 0) -> np.ndarray:
    """Return a constant with the numbers along an axis in the order in which those of the value it meets stand."""
    constant = writer.constant(node, position)
    shape = writer.flattened.get(node.inputs[0])
    if shape is None:
        return constant
    order = np.arange(math.prod(shape)).reshape(shape).transpose(*range(1, len(shape)), 0).reshape(-1)
    return constant.take(order, axis)


def _affine(writer: _Writer, node: Node) -> Any:
    if node.inputs[0] in writer.as_meant:
        raise cannot(node)
    writer.follow(node)
    if (shape := writer.by_pixel.get(node.inputs[0])) is not None:
        maps = [writer.constant(node, position).reshape(shape) for position in (1, 2)]
        return _scaled_by_pixel(writer.tensor(node.inputs[0]), *maps)
    return _scaled(writer.tensor(node.inputs[0]), _in_order(writer, node, 1), _in_order(writer, node, 2))


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


def _scaled_by_pixel(source: Any, scale: np.ndarray, shift: np.ndarray) -> Any:
    """Return x * scale + shift with a constant for each number of an image; both are (C, H, W).

    OpenCV reads no constant image from such a graph, so the network makes one: a one for each image of the batch, from
    which a transposed convolution draws the constants.
    """
    _, height, width = scale.shape
    one = tf.raw_ops.AvgPool(value=source, ksize=[1, height, width, 1], strides=[1, height, width, 1], padding="VALID")
    one = _scaled(one, 0, 1)

    def drawn(image: np.ndarray) -> Any:
        return tf.raw_ops.Conv2DBackpropInput(
            input_sizes=np.array([-1, height, width, len(image)], np.int32),
            filter=_floats(image.transpose(1, 2, 0)[..., None]),
            out_backprop=tf.raw_ops.Slice(input=one, begin=[0] * 4, size=[-1, 1, 1, 1]),
            strides=[1] * 4,
            padding="VALID",
        )

    if (scale != 1).any():
        source = tf.raw_ops.Mul(x=source, y=drawn(scale))
    return tf.raw_ops.AddV2(x=source, y=drawn(shift)) if shift.any() else source


def _pool(op: str) -> Callable[[_Writer, Node], Any]:
    def write_pool(writer: _Writer, node: Node) -> Any:
        kernel = node.attributes["kernel"]
        source, padding = _padding(writer, node, tuple(kernel))
        if op == "AvgPool" and padding == "VALID" and any(node.attributes["pads"]):
            raise cannot(node)  # of a maximum, zeros are padded only where nothing is negative
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


def _each(compute: Callable[[Node, Any], Any]) -> Callable[[_Writer, Node], Any]:
    """Return what writes an operation that treats every number by itself."""

    def write_each(writer: _Writer, node: Node) -> Any:
        writer.follow(node)
        return compute(node, writer.tensor(node.inputs[0]))

    return write_each


def _activation(function: Callable[..., Any], argument: str = "x") -> Callable[[_Writer, Node], Any]:
    return _each(lambda node, source: function(**{argument: source}))


def _leaky_relu(node: Node, source: Any) -> Any:
    return tf.raw_ops.LeakyRelu(features=source, alpha=node.attributes["alpha"])


def _elu(node: Node, source: Any) -> Any:
    return _any_elu(source, node.attributes["alpha"])


def _any_elu(source: Any, alpha: float) -> Any:
    """Return a ELU of any alpha from that of 1, which is the only one TensorFlow has."""
    whole = tf.raw_ops.Elu(features=source)
    if alpha == 1:
        return whole
    positive = tf.raw_ops.Relu(features=source)
    return tf.raw_ops.AddV2(x=_scaled(whole, alpha, 0), y=_scaled(positive, 1 - alpha, 0))


def _selu(node: Node, source: Any) -> Any:
    return _scaled(_any_elu(source, node.attributes["alpha"]), node.attributes["gamma"], 0)


def _clip(node: Node, source: Any) -> Any:
    least, most = node.attributes["min"], node.attributes["max"]
    if (least, most) == (0, 6):
        return tf.raw_ops.Relu6(features=source)
    width = (most - least) / 6
    return _scaled(tf.raw_ops.Relu6(features=_scaled(source, 1 / width, -least / width)), width, least)


def _hard_sigmoid(node: Node, source: Any) -> Any:
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    return _scaled(tf.raw_ops.Relu6(features=_scaled(source, 6 * alpha, 6 * beta)), 1 / 6, 0)


def _pow(node: Node, source: Any) -> Any:
    """Return a power as exp(p * log(x)), since Pow is not read; a whole one by that of x * x, which is not negative."""
    exponent = node.attributes["exponent"]
    if exponent != int(exponent):
        return _power_of_positive(source, exponent)
    square = tf.raw_ops.Mul(x=source, y=source)
    if exponent % 2 == 0:
        return _power_of_positive(square, exponent / 2)
    return tf.raw_ops.Mul(x=source, y=_power_of_positive(square, (exponent - 1) / 2))


def _power_of_positive(source: Any, exponent: float) -> Any:
    return tf.raw_ops.Exp(x=_scaled(tf.raw_ops.Log(x=source), exponent, 0))


def _pair(function: Callable[..., Any]) -> Callable[[_Writer, Node], Any]:
    """Return what writes an operation of two values, number by number."""

    def write_pair(writer: _Writer, node: Node) -> Any:
        names = node.inputs
        if len({name in writer.wide for name in names}) > 1:
            return function(x=writer.row(names[0]), y=writer.row(names[1]))
        writer.follow(node)
        return function(x=writer.tensor(names[0]), y=writer.tensor(names[1]))

    return write_pair


def _maximum(x: Any, y: Any) -> Any:
    """Return x + relu(y - x): Maximum is not read."""
    return tf.raw_ops.AddV2(x=x, y=tf.raw_ops.Relu(features=tf.raw_ops.Sub(x=y, y=x)))


def _softmax(writer: _Writer, node: Node) -> Any:
    """Write a softmax over channels; for an image OpenCV since 4.10 takes the wrong side, so it is spelled out.

    Each pixel's mean is taken off first, so that only a spread of logits beyond 88 within one pixel would overflow.
    """
    if len(writer.shape(node)) == 1:
        writer.check_usual(node)
        return tf.raw_ops.Softmax(logits=writer.row(node.inputs[0]))
    source = writer.read(node)
    channels = source.shape[-1]

    def mixed(values: Any, matrix: np.ndarray) -> Any:
        return tf.raw_ops.Conv2D(input=values, filter=_floats(matrix[None, None]), strides=[1] * 4, padding="VALID")

    exponentials = tf.raw_ops.Exp(x=mixed(source, np.eye(channels) - 1 / channels))
    sums = mixed(exponentials, np.ones((channels, channels)))
    return tf.raw_ops.Mul(x=exponentials, y=_power_of_positive(sums, -1))


def _concat(writer: _Writer, node: Node) -> Any:
    for position in range(len(node.inputs)):
        writer.check_usual(node, position)
    values = [writer.row(name) for name in node.inputs]
    axis = _nhwc_axis(node.attributes["axis"], len(values[0].shape))
    return tf.raw_ops.ConcatV2(values=values, axis=axis)


def _nhwc_axis(axis: int, rank: int) -> int:
    return {1: rank - 1}.get(axis, axis - 1) if axis else 0


def _slice(writer: _Writer, node: Node) -> Any:
    writer.check_usual(node)
    source = writer.row(node.inputs[0])
    axis = _nhwc_axis(node.attributes["axis"], len(source.shape))
    begin, size = [0] * len(source.shape), [-1, *source.shape[1:]]
    begin[axis], size[axis] = node.attributes["start"], node.attributes["end"] - node.attributes["start"]
    return tf.raw_ops.Slice(input=source, begin=begin, size=size)


def _pad(writer: _Writer, node: Node) -> Any:
    writer.padded[node.output] = writer.read(node), node.attributes["pads"]
    return writer.values[node.inputs[0]]


def _reshape(writer: _Writer, node: Node) -> Any:
    """Write a Flatten or a Reshape; a Transpose only changes how a value is said to stand."""
    name, before, after = node.inputs[0], writer.shape(node, 0), writer.shape(node)
    source = writer.tensor(name)
    if name in writer.by_pixel:
        if after != writer.by_pixel[name]:
            raise cannot(node)
        return source
    if len(before) == len(after) == 3 and after[0] == math.prod(before) and name not in writer.as_meant:
        writer.by_pixel[node.output] = before
        return source
    image = writer.flattened.get(name)
    if name in writer.as_meant or _is_row(before):
        if image is not None:
            writer.flattened[node.output] = image
            if not _is_row(after):
                raise cannot(node)
        if _is_row(after):
            return _as_row(writer, node, source)
        if name not in writer.as_meant and name not in writer.wide and len(before) == 1:
            raise cannot(node)  # OpenCV takes what a MatMul made for an image
        writer.as_meant.add(node.output)
        return tf.raw_ops.Reshape(tensor=source, shape=[-1, *after])
    if not _is_row(after):
        raise cannot(node)
    writer.flattened[node.output] = before
    return _as_row(writer, node, source)


def _is_row(shape: tuple[int, ...]) -> bool:
    """Whether the numbers of a value stand in one line: (K,), or an image of one pixel."""
    return max(shape[1:], default=1) == 1


def _as_row(writer: _Writer, node: Node, source: Any) -> Any:
    after = writer.shape(node)
    if source.shape[1:-1] == [1, 1] and len(source.shape) == 4:
        if len(after) == 1:
            writer.wide.add(node.output)
        return source
    if len(after) == 1:
        return tf.raw_ops.Reshape(tensor=source, shape=[-1, after[0]])
    if len(source.shape) == 2:
        raise cannot(node)
    return tf.raw_ops.Reshape(tensor=source, shape=[-1, 1, 1, after[0]])


def _transpose(writer: _Writer, node: Node) -> Any:
    name, order = node.inputs[0], node.attributes["perm"]
    if name in writer.as_meant and order == [0, 3, 1, 2]:
        return writer.tensor(name)
    if name not in writer.as_meant and name not in writer.flattened and order == [0, 2, 3, 1]:
        writer.as_meant.add(node.output)
        return writer.tensor(name)
    raise cannot(node)


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
    "LeakyRelu": _each(_leaky_relu),
    "Elu": _each(_elu),
    "Selu": _each(_selu),
    "Sigmoid": _activation(tf.raw_ops.Sigmoid),
    "HardSigmoid": _each(_hard_sigmoid),
    "Softplus": _activation(tf.raw_ops.Softplus, "features"),
    "Exp": _activation(tf.raw_ops.Exp),
    "Log": _activation(tf.raw_ops.Log),
    "Erf": _activation(tf.raw_ops.Erf),
    "Sqrt": _activation(tf.raw_ops.Sqrt),
    "Abs": _activation(tf.raw_ops.Abs),
    "Clip": _each(_clip),
    "Pow": _each(_pow),
    "Add": _pair(tf.raw_ops.AddV2),
    "Sub": _pair(tf.raw_ops.Sub),
    "Mul": _pair(tf.raw_ops.Mul),
    "Max": _pair(_maximum),
    "Softmax": _softmax,
    "Concat": _concat,
    "Slice": _slice,
    "Pad": _pad,
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Upsample": _upsample,
    "Resize": _resize,
}
