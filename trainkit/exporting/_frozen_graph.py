"""Writes a graph as a TensorFlow 1 frozen graph that `cv2.dnn.readNetFromTensorflow` reads rightly at any batch size.

The file's own order is that of TensorFlow, (N, H, W, C); OpenCV feeds it with (N, C, H, W), as every such graph.
Where OpenCV's importer does not know an operation of TensorFlow, it looks for a layer of its own with that name: Erf,
Log, Sqrt, Softplus and Selu come in by that door.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainkit.backend import silent_stderr, tf
from trainkit.errors import ExportError
from trainkit.exporting._frozen_operations._layout import Writer, cannot
from trainkit.exporting._frozen_operations._table import WRITE
from trainkit.exporting._graph import OUTPUT, Graph
from trainkit.files import replacing

_ACTIVATIONS = {
    "softmax": (tf.raw_ops.Softmax, "logits"),
    "sigmoid": (tf.raw_ops.Sigmoid, "x"),
    "relu": (tf.raw_ops.Relu, "features"),
}


def save_frozen_graph(graph: Graph, activation: str, path: Path) -> None:
    """Write a graph and the activation behind it: input `input` (N, H, W, C), output `probabilities` (N, classes).

    Args:
        graph: ends in the logits.
        activation: `softmax`, `sigmoid`, or `relu`, which leaves probabilities as they are.
        path: of the file.

    Raises:
        ExportError: an operation has no form that OpenCV's TensorFlow importer reads.
    """
    graph_def = to_graph_def(graph, activation)
    with replacing(path) as temporary:
        temporary.write_bytes(graph_def.SerializeToString())


def to_graph_def(graph: Graph, activation: str) -> Any:
    """Return the GraphDef that `save_frozen_graph` writes."""
    with silent_stderr(), tf.Graph().as_default() as tf_graph:
        writer = Writer(graph)
        for node in graph.nodes:
            if node.op not in WRITE or graph.rows_of(node.output) > 1:
                raise cannot(node)
            writer.stored[node.output] = WRITE[node.op](writer, node)
        operation, argument = _ACTIVATIONS[activation]
        operation(**{argument: writer.row(graph.output)}, name=OUTPUT)
    return _stripped(tf.compat.v1.graph_util.extract_sub_graph(tf_graph.as_graph_def(), [OUTPUT]))


def save_logits_model(path: Path, logits_model: Path) -> None:
    """Write a copy of an exported graph that ends before its last activation.

    Raises:
        ExportError: the graph does not end in Softmax, Sigmoid or Relu.
    """
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    last = graph_def.node[-1]
    if last.op not in ("Softmax", "Sigmoid", "Relu"):
        raise ExportError(f"{path} ends in {last.op}. Expected Softmax, Sigmoid or Relu, to find the logits before it.")
    graph_def.node.pop()
    logits_model.write_bytes(graph_def.SerializeToString())


save_logits_twin = save_logits_model  # its name in 0.1


def _stripped(graph_def: Any) -> Any:
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
