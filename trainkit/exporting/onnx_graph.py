"""A Keras model as an ONNX graph that cv2.dnn reads rightly at any batch size.

tf2onnx converts. What it writes is right in onnxruntime, but its tails of Shape, Gather and Cast behind a Flatten, and
its Squeeze behind a pooling, end in wrong shapes, exceptions or a dead process in one OpenCV or another. The rewriting
here leaves Conv, pooling, Flatten, Gemm and the activations, with every constant folded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from trainkit.backend import silent_stderr, tf
from trainkit.errors import ExportError
from trainkit.files import replacing

OPSET = 9  # the highest that OpenCV 4.5.5 reads without Squeeze and Clip having their arguments as inputs
IR_VERSION = 4
INPUT, OUTPUT = "input", "probabilities"
_NCHW_TO_NHWC = [0, 2, 3, 1]


def save_onnx(model: Any, gain: tuple[float, ...] | None, path: Path) -> None:
    """Write a Keras model as ONNX: input `input` (N, C, H, W), output `probabilities` (N, classes).

    Args:
        model: takes float32 (N, H, W, C); its output is (N, classes).
        gain: what each channel of the input is to be multiplied by; folded into the graph.
        path: of the file.

    Raises:
        ExportError: a layer cannot be expressed.
    """
    graph = Graph.from_model(_convert(model))
    simplify(graph, model.input_shape[1:])
    if gain is not None:
        scale_input(graph, np.array(gain, np.float32))
    _, height, width, channels = model.input_shape
    proto = graph.to_model((channels, height, width), model.output_shape[-1])
    onnx.checker.check_model(proto)
    with replacing(path) as temporary:
        onnx.save(proto, temporary)


def save_logits_twin(path: Path, twin: Path) -> None:
    """Write a copy of an exported graph that ends before its last activation.

    Raises:
        ExportError: the graph does not end in Softmax or Sigmoid.
    """
    proto = onnx.load(path)
    last = proto.graph.node[-1]
    if last.op_type not in ("Softmax", "Sigmoid"):
        raise ExportError(f"{path} ends in {last.op_type}. Expected Softmax or Sigmoid, to find the logits before it.")
    proto.graph.node.pop()
    proto.graph.output[0].name = last.input[0]
    onnx.save(proto, twin)


def _convert(model: Any) -> onnx.ModelProto:
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=INPUT)]
    function = tf.function(lambda batch: model(batch, training=False), input_signature=signature)
    try:
        with silent_stderr():
            proto, _ = tf2onnx.convert.from_function(
                function, input_signature=signature, opset=OPSET, inputs_as_nchw=[INPUT]
            )
    except Exception as error:  # tf2onnx raises whatever it meets
        reason = " ".join(str(error).split())[:200]
        raise ExportError(f"tf2onnx cannot express {model.name} at opset {OPSET} ({reason}).") from error
    return proto


@dataclass
class Graph:
    """An ONNX graph to be rewritten: nodes in order, and constants as arrays."""

    nodes: list[onnx.NodeProto]
    constants: dict[str, np.ndarray]
    input: str
    output: str

    @classmethod
    def from_model(cls, proto: onnx.ModelProto) -> Graph:
        """Take a model apart; Constant nodes become constants."""
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        nodes = []
        for node in proto.graph.node:
            if node.op_type == "Constant":
                constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            else:
                nodes.append(node)
        inputs = [value.name for value in proto.graph.input if value.name not in constants]
        if len(inputs) != 1 or len(proto.graph.output) != 1:
            raise ExportError(
                f"Expected one input and one output. Received: {inputs}, {len(proto.graph.output)} outputs."
            )
        return cls(nodes, constants, inputs[0], proto.graph.output[0].name)

    def to_model(self, input_chw: tuple[int, int, int], classes: int) -> onnx.ModelProto:
        """Put the model together again, with a free batch size and the names `input` and `probabilities`."""
        self._rename({self.input: INPUT, self.output: OUTPUT})
        used = {name for node in self.nodes for name in node.input}
        return helper.make_model(
            helper.make_graph(
                self.nodes,
                "trainkit",
                [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, ["N", *input_chw])],
                [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["N", classes])],
                [numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used],
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="trainkit",
        )

    def _rename(self, names: dict[str, str]) -> None:
        for node in self.nodes:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a value."""
        return [node for node in self.nodes if name in node.input]

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that makes a value, `None` for the input and for constants."""
        return next((node for node in self.nodes if name in node.output), None)

    def only_consumer(self, node: onnx.NodeProto, op_type: str) -> onnx.NodeProto | None:
        """Return the one node that reads a node's result, if it is the only one and of this type."""
        consumers = self.consumers(node.output[0])
        if len(consumers) == 1 and consumers[0].op_type == op_type and node.output[0] != self.output:
            return consumers[0]
        return None

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant under a name that is still free, and return the name."""
        free = name
        while free in self.constants:
            free += "_"
        self.constants[free] = value
        return free

    def replace(self, node: onnx.NodeProto, by: onnx.NodeProto) -> None:
        """Put one node in the place of another."""
        self.nodes[self.nodes.index(node)] = by

    def remove(self, node: onnx.NodeProto) -> None:
        """Take out a node and let its readers read its first input."""
        self.nodes.remove(node)
        if node.output[0] == self.output:
            previous = self.producer(node.input[0])
            if previous is None or len(self.consumers(node.input[0])) > 0:
                raise ExportError(f"The graph ends in a {node.op_type} that cannot be taken out.")
            previous.output[0] = self.output
            return
        for reader in self.consumers(node.output[0]):
            reader.input[:] = [node.input[0] if name == node.output[0] else name for name in reader.input]

    def remove_unused(self) -> None:
        """Take out nodes whose results nobody reads."""
        while unused := [n for n in self.nodes if n.output[0] != self.output and not self.consumers(n.output[0])]:
            for node in unused:
                self.nodes.remove(node)

    def constant_operand(self, node: onnx.NodeProto) -> tuple[str, np.ndarray] | None:
        """Return the variable's name and the constant of a node that combines the two, either way round."""
        first, second = node.input
        if second in self.constants and first not in self.constants:
            return first, self.constants[second]
        if first in self.constants and second not in self.constants:
            return second, self.constants[first]
        return None


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return an attribute's value."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def simplify(graph: Graph, input_hwc: tuple[int, int, int]) -> None:
    """Rewrite a converted graph until only what every reader knows is left."""
    fix_shapes(graph, input_hwc)
    merge_flatten_and_dense(graph)
    merge_dense_and_bias(graph)
    fold_into_convolutions(graph)
    express_affine(graph)
    graph.remove_unused()


def fix_shapes(graph: Graph, input_hwc: tuple[int, int, int]) -> None:
    """Make every Reshape's shape a constant with a free first side, and drop those that change nothing.

    What the shapes are is observed at two batch sizes rather than derived.
    """
    shapes = observe_shapes(graph, input_hwc)
    for node in [node for node in graph.nodes if node.op_type in ("Reshape", "Squeeze", "Unsqueeze", "Identity")]:
        before, after = shapes[node.input[0]], shapes[node.output[0]]
        if before == after:
            graph.remove(node)
        elif after[0] == -1 and len(after) == 2 and before[0] == -1:
            graph.replace(node, helper.make_node("Flatten", node.input[:1], node.output, node.name, axis=1))
        elif node.op_type == "Reshape":
            node.input[1] = graph.constant(f"{node.output[0]}_shape", np.array(after, np.int64))
    graph.remove_unused()


def observe_shapes(graph: Graph, input_hwc: tuple[int, int, int]) -> dict[str, list[int]]:
    """Return the shape of every value by running the graph; -1 where a side follows the batch size."""
    import onnxruntime

    height, width, channels = input_hwc
    proto = graph.to_model((channels, height, width), 1)
    names = list(dict.fromkeys(name for node in graph.nodes for name in node.output if name))
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    graph.input, graph.output = INPUT, OUTPUT
    session = _session(onnxruntime, proto)
    runs = []
    for batch in (2, 3):
        values = session.run(names, {INPUT: np.zeros((batch, channels, height, width), np.float32)})
        runs.append({INPUT: (batch, channels, height, width)} | dict(zip(names, map(np.shape, values), strict=True)))
    return {name: [a if a == b else -1 for a, b in zip(runs[0][name], runs[1][name], strict=True)] for name in runs[0]}


def _session(onnxruntime: Any, proto: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def merge_flatten_and_dense(graph: Graph) -> None:
    """Let a dense layer read the (C, H, W) order: Transpose, Flatten, MatMul become Flatten, MatMul."""
    for transpose in [node for node in graph.nodes if node.op_type == "Transpose"]:
        flatten = graph.only_consumer(transpose, "Flatten")
        dense = graph.only_consumer(flatten, "MatMul") if flatten else None
        if (
            dense is None
            or list(attribute(transpose, "perm")) != _NCHW_TO_NHWC
            or dense.input[1] not in graph.constants
        ):
            continue
        channels = _channels_before(graph, transpose)
        if channels is None:
            continue
        weights = graph.constants[dense.input[1]]
        by_chw = weights.reshape(-1, channels, weights.shape[1]).transpose(1, 0, 2).reshape(weights.shape)
        dense.input[1] = graph.constant(f"{dense.input[1]}_chw", np.ascontiguousarray(by_chw))
        graph.remove(transpose)


def _channels_before(graph: Graph, node: onnx.NodeProto) -> int | None:
    """Return the number of channels of a value, from the convolution that made it."""
    name = node.input[0]
    while (producer := graph.producer(name)) is not None:
        if producer.op_type == "Conv":
            return int(graph.constants[producer.input[1]].shape[0])
        name = producer.input[0]
    return None


def merge_dense_and_bias(graph: Graph) -> None:
    """Turn MatMul, and the Add behind it, into one Gemm; up to 4.6 OpenCV reads it only with `transB`."""
    for dense in [node for node in graph.nodes if node.op_type == "MatMul" and node.input[1] in graph.constants]:
        weights = graph.constants[dense.input[1]]
        if weights.ndim != 2:
            continue
        add = graph.only_consumer(dense, "Add")
        operand = graph.constant_operand(add) if add else None
        bias = np.zeros(weights.shape[1], np.float32)
        output = dense.output[0]
        if add is not None and operand is not None and operand[1].size == weights.shape[1]:
            bias, output = operand[1].reshape(-1), add.output[0]
            graph.nodes.remove(add)
        names = [
            graph.constant(f"{dense.output[0]}_weights", np.ascontiguousarray(weights.T)),
            graph.constant(f"{dense.output[0]}_bias", bias),
        ]
        graph.replace(dense, helper.make_node("Gemm", [dense.input[0], *names], [output], dense.name, transB=1))


def fold_into_convolutions(graph: Graph) -> None:
    """Fold what follows a convolution channel by channel (Mul, Add, Sub, batch normalisation) into its weights."""
    while pair := next(_foldable(graph), None):
        convolution, node, scale, shift = pair
        weights = graph.constants[convolution.input[1]]
        bias = (
            graph.constants[convolution.input[2]] if len(convolution.input) > 2 else np.zeros(len(weights), np.float32)
        )
        names = [
            graph.constant(f"{node.output[0]}_weights", (weights * scale.reshape(-1, 1, 1, 1)).astype(np.float32)),
            graph.constant(f"{node.output[0]}_bias", (bias * scale + shift).astype(np.float32)),
        ]
        convolution.input[1:] = names
        convolution.output[0] = node.output[0]
        graph.nodes.remove(node)


def _foldable(graph: Graph) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto, np.ndarray, np.ndarray]]:
    for convolution in graph.nodes:
        if convolution.op_type != "Conv" or convolution.input[1] not in graph.constants:
            continue
        channels = len(graph.constants[convolution.input[1]])
        consumers = graph.consumers(convolution.output[0])
        if len(consumers) != 1 or convolution.output[0] == graph.output:
            continue
        affine = _affine(graph, consumers[0], channels)
        if affine is not None:
            yield convolution, consumers[0], *affine


def _affine(graph: Graph, node: onnx.NodeProto, channels: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (scale, shift), float64 (channels,), of a node that does no more than that to each channel."""
    if node.op_type == "BatchNormalization":
        gamma, beta, mean, variance = (graph.constants[name].astype(np.float64) for name in node.input[1:5])
        scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        return scale, beta - mean * scale
    operators: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
        "Mul": lambda value: (value, np.zeros(channels)),
        "Add": lambda value: (np.ones(channels), value),
        "Sub": lambda value: (np.ones(channels), -value),
    }
    if node.op_type not in operators:
        return None
    operand = graph.constant_operand(node)
    if operand is None or (node.op_type == "Sub" and node.input[1] not in graph.constants):
        return None
    vector = _per_channel(operand[1], channels)
    return None if vector is None else operators[node.op_type](vector)


def _per_channel(value: np.ndarray, channels: int) -> np.ndarray | None:
    """Return a constant as float64 (channels,) where it has one value a channel of (N, C, H, W)."""
    if value.size == 1:
        return np.full(channels, float(value.reshape(-1)[0]))
    if value.size == channels and value.ndim in (3, 4) and value.shape[-3] == channels:
        return value.reshape(-1).astype(np.float64)
    return None


def express_affine(graph: Graph) -> None:
    """Turn what is left of Mul and Add by channel into BatchNormalization.

    OpenCV 4.5.5 and 4.6 fail on the constant (1, C, 1, 1) with a batch above one.
    """
    for node in [node for node in graph.nodes if node.op_type in ("Mul", "Add", "Sub")]:
        operand = graph.constant_operand(node)
        if operand is None or operand[1].ndim != 4 or operand[1].size == 1 or operand[1].shape[1] != operand[1].size:
            continue
        affine = _affine(graph, node, operand[1].size)
        if affine is not None:
            graph.replace(node, _batch_normalization(graph, operand[0], node.output[0], *affine))


def _batch_normalization(
    graph: Graph, source: str, target: str, scale: np.ndarray, shift: np.ndarray
) -> onnx.NodeProto:
    ones, zeros = np.ones(len(scale), np.float32), np.zeros(len(scale), np.float32)
    values = {"scale": scale.astype(np.float32), "shift": shift.astype(np.float32), "mean": zeros, "variance": ones}
    names = [graph.constant(f"{target}_{name}", value) for name, value in values.items()]
    return helper.make_node("BatchNormalization", [source, *names], [target], epsilon=0.0)


def scale_input(graph: Graph, gain: np.ndarray) -> None:
    """Multiply each channel of the input: in the first convolution where there is one, else by a node in front.

    Zero padding stays zero under a factor, so the fold into a padded convolution is exact too.
    """
    readers = graph.consumers(graph.input)
    first = readers[0]
    if len(readers) == 1 and first.op_type == "Conv" and attribute(first, "group", 1) == 1:
        weights = graph.constants[first.input[1]]
        scaled = weights * gain.reshape(1, -1, 1, 1)
        first.input[1] = graph.constant(f"{first.input[1]}_scaled", scaled.astype(np.float32))
        return
    for reader in readers:
        reader.input[:] = ["scaled_input" if name == graph.input else name for name in reader.input]
    node = _batch_normalization(graph, graph.input, "scaled_input", gain, np.zeros(len(gain)))
    graph.nodes.insert(0, node)
