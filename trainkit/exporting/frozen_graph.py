"""A Keras model as a TensorFlow 1 frozen graph that `cv2.dnn.readNetFromTensorflow` reads rightly at any batch size.

As TensorFlow freezes it, a Keras 3 model does not load, because Keras reshapes the bias of a convolution, and its batch
normalisation and its Flatten end in exceptions. Grappler folds the constants; the rewriting here does the rest. The
`arithmetic` pass of Grappler is left out: it moves a bias behind the residual, where OpenCV loses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.backend import silent_stderr, tf
from trainkit.errors import ExportError
from trainkit.files import replacing

INPUT, OUTPUT = "input", "probabilities"
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")


def save_frozen_graph(model: Any, gain: tuple[float, ...] | None, path: Path) -> None:
    """Write a Keras model as a frozen graph: input `input` (N, H, W, C), output `probabilities` (N, classes).

    OpenCV feeds it with (N, C, H, W), as it does every TensorFlow graph.

    Args:
        model: takes float32 (N, H, W, C); its output is (N, classes).
        gain: what each channel of the input is to be multiplied by; folded into the first convolution.
        path: of the file.

    Raises:
        ExportError: the graph cannot be expressed so that OpenCV reads it.
    """
    with silent_stderr():
        graph = Graph.from_graph_def(_freeze(model))
        simplify(graph, model.input_shape[1:])
    if gain is not None:
        scale_input(graph, np.array(gain, np.float32))
    with replacing(path) as temporary:
        temporary.write_bytes(graph.to_graph_def().SerializeToString())


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


def _freeze(model: Any) -> Any:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
    from tensorflow.python.grappler import tf_optimizer

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=INPUT)]
    function = tf.function(lambda batch: model(batch, training=False), input_signature=signature)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.optimizers.extend(["function", "constfold", "dependency"])
    config.graph_options.rewrite_options.min_graph_nodes = -1
    meta_graph = tf.compat.v1.train.export_meta_graph(graph_def=frozen.graph.as_graph_def(), graph=frozen.graph)
    fetch = meta_graph.collection_def["train_op"].node_list.value
    fetch.extend([frozen.outputs[0].op.name])
    return tf_optimizer.OptimizeGraph(config, meta_graph)


@dataclass
class Graph:
    """A GraphDef to be rewritten: nodes in order, constants as arrays, every input by the name of its node."""

    nodes: list[Any]
    constants: dict[str, np.ndarray]
    output: str

    @classmethod
    def from_graph_def(cls, graph_def: Any) -> Graph:
        """Take a GraphDef apart; control inputs and Identity nodes are left out."""
        constants: dict[str, np.ndarray] = {}
        same: dict[str, str] = {}  # what an Identity stands for
        nodes = []
        for node in _in_order(graph_def):
            inputs = [same.get(name, name) for name in map(_plain, node.input) if not name.startswith("^")]
            node.input[:] = inputs
            if node.op == "Const":
                constants[node.name] = tf.make_ndarray(node.attr["value"].tensor)
            elif node.op in ("Identity", "StopGradient"):
                same[node.name] = inputs[0]
            elif node.op != "NoOp":
                nodes.append(node)
        return cls(nodes, constants, nodes[-1].name)

    def to_graph_def(self) -> Any:
        """Put the graph together again, its constants first, under the names `input` and `probabilities`."""
        names = {self.output: OUTPUT} | {node.name: INPUT for node in self.nodes if node.op == "Placeholder"}
        used = {name for node in self.nodes for name in node.input}
        graph_def = tf.compat.v1.GraphDef()
        graph_def.versions.producer = 27  # GraphDefs of TensorFlow 1.15
        graph_def.node.extend(_constant(name, value) for name, value in self.constants.items() if name in used)
        for node in self.nodes:
            copy = graph_def.node.add()
            copy.CopyFrom(node)
            copy.name = names.get(node.name, node.name)
            copy.input[:] = [names.get(name, name) for name in node.input]
            for key in [key for key in copy.attr if key.startswith("_")]:
                del copy.attr[key]
        return graph_def

    def consumers(self, name: str) -> list[Any]:
        """Return the nodes that read a value."""
        return [node for node in self.nodes if name in node.input]

    def rename_reads(self, before: str, after: str) -> None:
        """Let every reader of one value read another."""
        for node in self.nodes:
            node.input[:] = [after if name == before else name for name in node.input]
        if self.output == before:
            self.output = after

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant under a name that is still free, and return the name."""
        free = name
        while free in self.constants:
            free += "_"
        self.constants[free] = value
        return free

    def remove_unused(self) -> None:
        """Take out nodes whose results nobody reads."""
        while unused := [n for n in self.nodes if n.name != self.output and not self.consumers(n.name)]:
            for node in unused:
                self.nodes.remove(node)


def _plain(name: str) -> str:
    return name.removesuffix(":0")


def _in_order(graph_def: Any) -> Iterator[Any]:
    """Yield the nodes so that each comes after those it reads; Grappler leaves them in any order."""
    by_name = {node.name: node for node in graph_def.node}
    done: set[str] = set()
    for last in graph_def.node:
        waiting = [last.name]
        while waiting:
            name = waiting[-1]
            missing = [n for n in (_plain(i).lstrip("^") for i in by_name[name].input) if n not in done]
            if missing:
                waiting.extend(missing)
                continue
            waiting.pop()
            if name not in done:
                done.add(name)
                yield by_name[name]


def _constant(name: str, value: np.ndarray) -> Any:
    """Return a Const node; floats uncompressed in `tensor_content`, which is the form OpenCV reads in all versions."""
    node = tf.compat.v1.NodeDef(name=name, op="Const")
    dtype = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["dtype"].type = dtype
    tensor = tf.make_tensor_proto(value)
    if value.dtype == np.float32:
        tensor = type(tensor)(dtype=dtype, tensor_shape=tensor.tensor_shape, tensor_content=value.tobytes())
    node.attr["value"].tensor.CopyFrom(tensor)
    return node


def simplify(graph: Graph, input_hwc: tuple[int, int, int]) -> None:
    """Rewrite a frozen graph until only what OpenCV reads is left."""
    fix_shapes(graph, input_hwc)
    fold_into_convolutions(graph)
    graph.remove_unused()


def fix_shapes(graph: Graph, input_hwc: tuple[int, int, int]) -> None:
    """Make every Reshape's shape a constant with a free first side, and drop those that change nothing."""
    reshapes = [node for node in graph.nodes if node.op in ("Reshape", "Squeeze")]
    shapes = observe_shapes(graph, reshapes, input_hwc)
    for node in reshapes:
        before, after = shapes[node.input[0]], shapes[node.name]
        if before == after:
            graph.nodes.remove(node)
            graph.rename_reads(node.name, node.input[0])
        elif node.op == "Reshape":
            node.input[1] = graph.constant(f"{node.name}_shape", np.array(after, np.int32))
            node.attr["Tshape"].type = tf.int32.as_datatype_enum
    graph.remove_unused()


def observe_shapes(graph: Graph, nodes: list[Any], input_hwc: tuple[int, int, int]) -> dict[str, list[int]]:
    """Return the shapes of what nodes read and make, by running the graph; -1 where a side follows the batch size."""
    names = sorted({name for node in nodes for name in (node.name, node.input[0])} - set(graph.constants))
    if not names:
        return {}
    graph_def, renamed = graph.to_graph_def(), {graph.output: OUTPUT}
    runs = []
    with tf.Graph().as_default() as tf_graph, tf.compat.v1.Session(graph=tf_graph) as session:
        tf.import_graph_def(graph_def, name="")
        placeholder = next(node.name for node in graph.nodes if node.op == "Placeholder")
        fetches = [f"{INPUT if name == placeholder else renamed.get(name, name)}:0" for name in names]
        for batch in (2, 3):
            values = session.run(fetches, {f"{INPUT}:0": np.zeros((batch, *input_hwc), np.float32)})
            runs.append([np.shape(value) for value in values])
    return {
        name: [a if a == b else -1 for a, b in zip(two, three, strict=True)]
        for name, two, three in zip(names, *runs, strict=True)
    }


def fold_into_convolutions(graph: Graph) -> None:
    """Fold what follows a convolution channel by channel (Mul, Add, Sub, BiasAdd) into its weights and one BiasAdd."""
    for convolution in [node for node in graph.nodes if node.op in _CONVOLUTIONS]:
        chain, scale, shift = _following_affine(graph, convolution)
        if not chain:
            continue
        weights = graph.constants[convolution.input[1]]
        factor = scale.reshape(weights.shape[2:]) if convolution.op == "DepthwiseConv2dNative" else scale
        folded = (weights * factor).astype(np.float32)
        convolution.input[1] = graph.constant(f"{convolution.input[1]}_folded", folded)
        bias = _bias_add(graph, convolution.name, shift.astype(np.float32))
        last = chain[-1].name
        for node in chain:
            graph.nodes.remove(node)
        graph.rename_reads(last, bias.name)
        graph.nodes.insert(graph.nodes.index(convolution) + 1, bias)


def _following_affine(graph: Graph, convolution: Any) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Return the nodes behind a convolution that do no more than scale and shift channels, and what they come to."""
    weights = graph.constants[convolution.input[1]]
    depthwise = convolution.op == "DepthwiseConv2dNative"
    channels = weights.shape[2] * weights.shape[3] if depthwise else weights.shape[3]
    chain: list[Any] = []
    scale, shift = np.ones(channels), np.zeros(channels)
    name = convolution.name
    while name != graph.output and len(readers := graph.consumers(name)) == 1:
        affine = _affine(graph, readers[0], channels)
        if affine is None:
            break
        chain.append(readers[0])
        scale, shift = scale * affine[0], shift * affine[0] + affine[1]
        name = readers[0].name
    return chain, scale, shift


def _affine(graph: Graph, node: Any, channels: int) -> tuple[np.ndarray, np.ndarray] | None:
    operators: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
        "Mul": lambda value: (value, np.zeros(channels)),
        "Add": lambda value: (np.ones(channels), value),
        "AddV2": lambda value: (np.ones(channels), value),
        "BiasAdd": lambda value: (np.ones(channels), value),
        "Sub": lambda value: (np.ones(channels), -value),
    }
    constants = [name for name in node.input if name in graph.constants]
    if node.op not in operators or len(constants) != 1 or (node.op == "Sub" and node.input[1] != constants[0]):
        return None
    value = graph.constants[constants[0]].astype(np.float64)
    if value.size == 1:
        return operators[node.op](np.full(channels, float(value.reshape(-1)[0])))
    if value.size != channels or value.shape[-1] != channels:
        return None
    return operators[node.op](value.reshape(-1))


def _bias_add(graph: Graph, source: str, bias: np.ndarray) -> Any:
    node = tf.compat.v1.NodeDef(name=f"{source}_bias_add", op="BiasAdd")
    node.input.extend([source, graph.constant(f"{source}_bias", bias)])
    node.attr["T"].type = tf.float32.as_datatype_enum
    node.attr["data_format"].s = b"NHWC"
    return node


def scale_input(graph: Graph, gain: np.ndarray) -> None:
    """Multiply each channel of the input, in the first convolution.

    Raises:
        ExportError: the network does not begin with one.
    """
    placeholder = next(node for node in graph.nodes if node.op == "Placeholder")
    readers = graph.consumers(placeholder.name)
    if len(readers) != 1 or readers[0].op not in _CONVOLUTIONS:
        raise ExportError(
            "A std that differs by channel can leave in a frozen graph only where the network begins with a "
            "convolution. Export --format onnx, or train with a preprocessing that has one std."
        )
    weights = graph.constants[readers[0].input[1]]
    scaled = weights * gain.reshape(1, 1, -1, 1)
    readers[0].input[1] = graph.constant(f"{readers[0].input[1]}_scaled", scaled.astype(np.float32))
