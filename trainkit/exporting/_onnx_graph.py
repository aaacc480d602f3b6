"""Writes a graph as ONNX, in the form that every OpenCV since 4.5.5 reads rightly at any batch size.

The opset is the lowest that says it: 9, or 11 where an image is resized by interpolation, or numbers are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from trainkit.errors import ExportError
from trainkit.exporting._graph import INPUT, OUTPUT, Graph, Node, factor_of
from trainkit.exporting._observation import attribute_of
from trainkit.exporting._small_weights._kernels import StoredKernel
from trainkit.exporting._small_weights._onnx import write_stored
from trainkit.files import replacing

_ACTIVATIONS = {"softmax": "Softmax", "sigmoid": "Sigmoid", "relu": "Relu"}
_FOLDED_OVER = {"Elu", "Selu", "Sigmoid", "HardSigmoid", "Softplus", "Exp", "Erf", "Abs", "Sqrt", "Log", "Pow"}
_NO_ACTIVATIONS = {"Softmax", "Reshape", "Flatten", "Transpose", "Slice", "Affine", "Gemm", "Conv", "Upsample"}
_IR_VERSIONS = {9: 4, 11: 6}


def opset_of(graph: Graph) -> int:
    """Return the lowest opset that says what is in a graph."""
    return 11 if any(node.op in ("Resize", "Round") for node in graph.nodes) else 9


def save_onnx(
    graph: Graph,
    activation: str,
    path: Path,
    *,
    metadata: dict[str, str],
    kernels: Mapping[str, StoredKernel] | None = None,
) -> None:
    """Write a graph and the activation behind it: input `input` (N, C, H, W), output `probabilities` (N, classes).

    Args:
        graph: ends in the logits.
        activation: `softmax`, `sigmoid`, or `relu`, which leaves probabilities as they are.
        path: of the file.
        metadata: what the file says about itself.
        kernels: constants of the graph that are stored as whole numbers.
    """
    proto = to_onnx(graph, activation, metadata, kernels)
    with replacing(path) as temporary:
        onnx.save(proto, temporary)


def to_onnx(
    graph: Graph, activation: str, metadata: dict[str, str], kernels: Mapping[str, StoredKernel] | None = None
) -> onnx.ModelProto:
    """Return the model that `save_onnx` writes."""
    opset = opset_of(graph)
    writer = _Writer(graph, opset, kernels or {})
    for node in graph.nodes:
        _WRITE.get(node.op, _write_plain)(writer, node)
    axis = {"axis": 1} if activation == "softmax" else {}
    writer.nodes.append(helper.make_node(_ACTIVATIONS[activation], [graph.output], [OUTPUT], OUTPUT, **axis))
    classes = graph.shapes[graph.output][0]
    read = {name for node in writer.nodes for name in node.input}
    proto = helper.make_model(
        helper.make_graph(
            writer.nodes,
            "trainkit",
            [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, ["N", *graph.shapes[INPUT]])],
            [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["N", classes])],
            [numpy_helper.from_array(value, name) for name, value in writer.constants.items() if name in read],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=_IR_VERSIONS[opset],
        producer_name="trainkit",
    )
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(proto)
    return proto


def save_logits_model(path: Path, logits_model: Path) -> None:
    """Write a copy of an exported graph that ends before its last activation.

    Raises:
        ExportError: the graph does not end in Softmax, Sigmoid or Relu.
    """
    proto = onnx.load(path, load_external_data=False)  # a bundle's graph has all its numbers in it
    last = proto.graph.node[-1]
    if last.op_type not in _ACTIVATIONS.values():
        raise ExportError(
            f"{path} ends in {last.op_type}. Expected Softmax, Sigmoid or Relu, to find the logits before it."
        )
    proto.graph.node.pop()
    proto.graph.output[0].name = last.input[0]
    onnx.save(proto, logits_model)


save_logits_twin = save_logits_model  # its name in 0.1


class _Writer:
    """The nodes and constants of the file."""

    def __init__(self, graph: Graph, opset: int, kernels: Mapping[str, StoredKernel]) -> None:
        self.graph, self.opset, self.kernels = graph, opset, kernels
        self.made_by = graph.producers()
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node; constants that it reads come into the file."""
        for name in inputs:
            if name in self.graph.constants:
                self.constants[name] = self.graph.constants[name]
        self.nodes.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def add_weighted(self, node: Node, **attributes: Any) -> None:
        """Append an operation with a kernel, however that is stored."""
        kernel = self.kernels.get(node.inputs[1])
        if kernel is None:
            self.add(node.op, node.inputs, node.output, **attributes)
        else:
            write_stored(self, node, kernel, **attributes)

    def add_affine(self, source: str, scale: str, shift: str, target: str, channels: int) -> None:
        """Append x * scale + shift by channel of an image.

        A Mul or Add with a constant (1, C, 1, 1) fails in OpenCV 4.5.5 and 4.6 for more than one image, so it becomes a
        batch normalisation. Behind a convolution and some activations (elu, sigmoid, hard sigmoid: measured) the
        new engine of 5.0.0 folds that into the convolution as if the activation were not there, so then it becomes a
        convolution of each channel by itself; and so for a shift that keeps a norm from being zero, since the classic
        engine forgets one below 1e-20.
        """
        made_by = next((node.op_type for node in self.nodes if source in node.output), "")
        size = np.abs(self.value(shift))
        if made_by in _FOLDED_OVER or ((size > 0) & (size < 1e-12)).any():
            weights = self.number(f"{target}_weights", self.value(scale).reshape(-1, 1, 1, 1))
            self.add("Conv", [source, weights, shift], target, kernel_shape=[1, 1], group=channels)
            return
        # Mean and variance are constants that all batch normalisations of one width share.
        rest = [self.number(f"{name}_{channels}", np.full(channels, v)) for name, v in (("zeros", 0), ("ones", 1))]
        self.add("BatchNormalization", [source, scale, shift, *rest], target, epsilon=0.0)

    def is_convolved_in_groups(self, name: str) -> bool:
        """Whether a value comes from a convolution in groups, perhaps with a batch normalisation behind it."""
        made_by = next((node for node in self.nodes if name in node.output), None)
        if made_by is None:
            return False
        if made_by.op_type == "BatchNormalization":
            return self.is_convolved_in_groups(made_by.input[0])
        return bool(made_by.op_type == "Conv" and attribute_of(made_by, "group", 1) > 1)

    def gate_of(self, node: Node) -> tuple[str, str] | None:
        """Return the image and the one number a channel that are multiplied; `None` where it is another product."""
        shapes = self.graph.shapes
        for image, other in zip(node.inputs, node.inputs[::-1], strict=True):
            copied = self.made_by.get(other)
            source = copied.inputs[0] if copied is not None and copied.op == "Upsample" else other
            of_a_channel = (shapes[image][0], 1, 1)
            if image != other and len(shapes[image]) == 3 and shapes[source] == of_a_channel != shapes[image]:
                return image, source
        return None

    def values_of(self, node: Node) -> list[str]:
        """Return what an operation reads that is no constant; nothing of one that only looks at it otherwise."""
        if node.op in _NO_ACTIVATIONS:
            return []
        return [name for name in node.inputs if name not in self.graph.constants]

    def value(self, name: str) -> np.ndarray:
        """Return a constant of the graph or of the file."""
        return self.graph.constants[name] if name in self.graph.constants else self.constants[name]

    def number(self, name: str, value: Any, dtype: type[np.generic] = np.float32) -> str:
        """Keep a constant of the file's own and return its name."""
        self.constants[name] = np.array(value, dtype)
        return name

    def shape_constant(self, name: str, shape: tuple[int, ...]) -> str:
        """Keep a shape with a free batch size."""
        return self.number(f"{name}_shape", [-1, *shape], np.int64)


def _write_plain(writer: _Writer, node: Node) -> None:
    writer.add(node.op, node.inputs, node.output, **node.attributes)


def _write_conv(writer: _Writer, node: Node) -> None:
    # Without kernel_shape a convolution does not load up to OpenCV 4.12.
    kernel = list(writer.graph.constants[node.inputs[1]].shape[2:])
    writer.add_weighted(node, kernel_shape=kernel, **node.attributes)


def _write_gemm(writer: _Writer, node: Node) -> None:
    # Up to 4.6 OpenCV reads it only with transB.
    writer.add_weighted(node, transB=1)


def _write_matmul(writer: _Writer, node: Node) -> None:
    """Write a product of two values, behind which up to OpenCV 4.8 an activation is lost: it takes it for its own."""
    activated = any(len(writer.values_of(reader)) == 1 for reader in writer.graph.consumers(node.output))
    product = writer.add("MatMul", node.inputs, f"{node.output}_product" if activated else node.output)
    if activated:
        shape = writer.shape_constant(node.output, writer.graph.shapes[node.output])
        writer.add("Reshape", [product, shape], node.output)


def _write_affine(writer: _Writer, node: Node) -> None:
    shape = writer.graph.shapes[node.output]
    source, target = node.inputs[0], node.output
    if len(shape) == 3:
        writer.add_affine(source, node.inputs[1], node.inputs[2], target, shape[0])
        return
    full, constants = (shape[0], int(np.prod(shape[1:])), 1), node.inputs[1:3]
    values = [writer.value(name) for name in constants]
    if not any(map(np.ptp, values)):  # of a channel for each number a batch normalisation takes ten times as long
        full = (1, int(np.prod(shape)), 1)
        constants = [
            writer.number(f"{target}_{what}", value[:1]) for what, value in zip(("by", "plus"), values, strict=True)
        ]
    source = writer.add("Reshape", [source, writer.shape_constant(f"{target}_in", full)], f"{target}_in")
    scale, shift = constants
    writer.add_affine(source, scale, shift, f"{target}_flat", full[0])
    if len(shape) == 1:
        writer.add("Flatten", [f"{target}_flat"], target, axis=1)
    else:
        writer.add("Reshape", [f"{target}_flat", writer.shape_constant(target, shape)], target)


def _write_add(writer: _Writer, node: Node) -> None:
    """Write a sum; OpenCV 4.7 takes it into a convolution in groups before it, and then adds other channels."""
    inputs = []
    for place, name in enumerate(node.inputs):
        if writer.is_convolved_in_groups(name):
            shape = writer.shape_constant(f"{node.output}_{place}", writer.graph.shapes[name])
            name = writer.add("Reshape", [name, shape], f"{node.output}_{place}")
        inputs.append(name)
    writer.add("Add", inputs, node.output)


def _write_mul(writer: _Writer, node: Node) -> None:
    """Write a product; of an image with one number a channel, as a gate has them, with all images of a batch as one.

    (N, C, H, W) with (N, C, 1, 1) fails in OpenCV 4.5.5 and 4.6 for more than one image, and (1, NC, H, W) with
    (1, NC, 1, 1) does not: there is one. A reshape is for nothing, where an image of copies of the number is written
    and read again, and the new engine of 5.0.0 is faster than with a batch, too.
    """
    gate = writer.gate_of(node)
    if gate is None:
        writer.add("Mul", node.inputs, node.output)
        return
    image, source = gate
    sides = writer.graph.shapes[image][1:]
    name = node.output
    joined = [
        writer.add("Reshape", [of, writer.number(f"gate_{height}_{width}", [1, -1, height, width], np.int64)], made)
        for of, made, (height, width) in ((image, f"{name}_image", sides), (source, f"{name}_gate", (1, 1)))
    ]
    product = writer.add("Mul", joined, f"{name}_product")
    writer.add("Reshape", [product, writer.shape_constant(name, writer.graph.shapes[name])], name)


def _write_pool(writer: _Writer, node: Node) -> None:
    attributes = dict(node.attributes)
    writer.add(node.op, node.inputs, node.output, kernel_shape=attributes.pop("kernel"), **attributes)


def _write_hard_sigmoid(writer: _Writer, node: Node) -> None:
    """Write a slope of 1/6 as the next number where something else than x is multiplied by it.

    OpenCV takes HardSigmoid(x) * y, with this slope and 1/2, for HardSwish(x), whatever y is.
    """
    alpha = np.float32(node.attributes["alpha"])
    gated = [reader for reader in writer.graph.consumers(node.output) if reader.op == "Mul"]
    if any(node.inputs[0] not in reader.inputs for reader in gated):
        alpha = np.nextafter(alpha, np.float32(1)) if alpha == np.float32(1 / 6) else alpha
    writer.add("HardSigmoid", node.inputs, node.output, alpha=float(alpha), beta=node.attributes["beta"])


def _write_clip(writer: _Writer, node: Node) -> None:
    least, most = node.attributes["min"], node.attributes["max"]
    if writer.opset == 9:
        writer.add("Clip", node.inputs, node.output, min=least, max=most)
        return
    # Since opset 11 the bounds are inputs, which OpenCV 4.5.5 does not read: (most - least) * HardSigmoid + least.
    width = most - least
    hard = writer.add("HardSigmoid", node.inputs, f"{node.output}_hard", alpha=1 / width, beta=-least / width)
    channels = writer.graph.shapes[node.output][0]
    scale = writer.number(f"{node.output}_scale", np.full(channels, width))
    shift = writer.number(f"{node.output}_least", np.full(channels, least))
    writer.add_affine(hard, scale, shift, node.output, channels)


def _write_pow(writer: _Writer, node: Node) -> None:
    exponent = node.attributes["exponent"]
    writer.add("Pow", [node.inputs[0], writer.number(f"{node.output}_exponent", exponent)], node.output)


def _write_softmax(writer: _Writer, node: Node) -> None:
    # Before opset 13 ONNX means by a softmax over axis 1 one over all that follows, so an image becomes rows first.
    shape = writer.graph.shapes[node.output]
    name = node.output
    if len(shape) < 3:
        writer.add("Softmax", node.inputs, name, axis=len(shape))
        return
    channels, height, width = shape
    turned = writer.add("Transpose", node.inputs, f"{name}_turned", perm=[0, 2, 3, 1])
    rows = writer.add(
        "Reshape", [turned, writer.number(f"{name}_rows_shape", [-1, channels], np.int64)], f"{name}_rows"
    )
    soft = writer.add("Softmax", [rows], f"{name}_soft", axis=1)
    image = writer.add(
        "Reshape", [soft, writer.shape_constant(f"{name}_image", (height, width, channels))], f"{name}_image"
    )
    writer.add("Transpose", [image], name, perm=[0, 3, 1, 2])


def _write_slice(writer: _Writer, node: Node) -> None:
    axis, start, end = (node.attributes[key] for key in ("axis", "start", "end"))
    if writer.opset == 9:
        writer.add("Slice", node.inputs, node.output, axes=[axis], starts=[start], ends=[end])
        return
    bounds = [
        writer.number(f"{node.output}_{what}", [value], np.int64)
        for what, value in (("start", start), ("end", end), ("axis", axis))
    ]
    writer.add("Slice", [*node.inputs, *bounds], node.output)


def _write_pad(writer: _Writer, node: Node) -> None:
    top, left, bottom, right = node.attributes["pads"]
    pads = [0, 0, top, left, 0, 0, bottom, right]
    # onnxruntime takes zeros in front of a maximum for that pooling's own padding, which is never the largest value.
    value = 1e-30 if any(reader.op == "MaxPool" for reader in writer.graph.consumers(node.output)) else 0.0
    if writer.opset == 9:
        writer.add("Pad", node.inputs, node.output, mode="constant", pads=pads, value=value)
        return
    names = [writer.number(f"{node.output}_pads", pads, np.int64), writer.number(f"{node.output}_value", value)]
    writer.add("Pad", [*node.inputs, *names], node.output, mode="constant")


def _write_reshape(writer: _Writer, node: Node) -> None:
    writer.add(
        "Reshape", [*node.inputs, writer.shape_constant(node.output, writer.graph.shapes[node.output])], node.output
    )


def _write_flatten(writer: _Writer, node: Node) -> None:
    writer.add("Flatten", node.inputs, node.output, axis=1)


def _write_upsample(writer: _Writer, node: Node) -> None:
    readers = writer.graph.consumers(node.output)
    if readers and all(reader.op == "Mul" and _takes_before(writer, reader, node) for reader in readers):
        return  # copies of one number a channel, which the product does without
    scales = [1.0, 1.0, *map(float, node.attributes["scales"])]
    if writer.opset == 9:
        writer.add(
            "Upsample", [*node.inputs, writer.number(f"{node.output}_scales", scales)], node.output, mode="nearest"
        )
        return
    names = [writer.number("no_region", []), writer.number(f"{node.output}_scales", scales)]
    writer.add(
        "Resize",
        [*node.inputs, *names],
        node.output,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _takes_before(writer: _Writer, product: Node, copied: Node) -> bool:
    """Whether a product is written with the one number a channel of which an operation makes copies."""
    gate = writer.gate_of(product)
    return gate is not None and gate[1] == copied.inputs[0] and gate[0] != copied.output


def _write_resize(writer: _Writer, node: Node) -> None:
    own, wanted = writer.graph.shapes[node.inputs[0]], writer.graph.shapes[node.output]
    scales = [1.0, 1.0, *map(factor_of, own[1:], wanted[1:])]
    names = [writer.number("no_region", []), writer.number(f"{node.output}_scales", scales)]
    writer.add(
        "Resize", [*node.inputs, *names], node.output, mode="linear", coordinate_transformation_mode="half_pixel"
    )


_WRITE: dict[str, Callable[[_Writer, Node], None]] = {
    "Conv": _write_conv,
    "ConvTranspose": _write_conv,
    "Gemm": _write_gemm,
    "MatMul": _write_matmul,
    "Add": _write_add,
    "Mul": _write_mul,
    "Affine": _write_affine,
    "MaxPool": _write_pool,
    "AveragePool": _write_pool,
    "HardSigmoid": _write_hard_sigmoid,
    "Clip": _write_clip,
    "Pow": _write_pow,
    "Softmax": _write_softmax,
    "Slice": _write_slice,
    "Pad": _write_pad,
    "Reshape": _write_reshape,
    "Flatten": _write_flatten,
    "Upsample": _write_upsample,
    "Resize": _write_resize,
}
