"""The form of the frozen graph, which TensorFlow itself must run too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import NETWORKS, ONLY_ONNX, channels_last, leaving, skipping_without_onednn

from trainkit.backend import keras, tf
from trainkit.errors import ExportError
from trainkit.exporting._conversion import build_graph
from trainkit.exporting._frozen_graph import save_frozen_graph, save_logits_model, to_graph_def
from trainkit.exporting._graph import INPUT, Graph
from trainkit.exporting._tracing import trace

KNOWN = (
    "Abs AddV2 AvgPool BiasAdd ConcatV2 Const Conv2D Conv2DBackpropInput DepthwiseConv2dNative Elu Erf Exp LeakyRelu "
    "Log MatMul MaxPool Mul Pad Placeholder Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor Selu Sigmoid Slice "
    "Softmax Softplus Sqrt Sub Tanh"
)
FROZEN = [name for name in NETWORKS if name not in ONLY_ONNX]


def write(name: str) -> Any:
    it = leaving(name)
    return to_graph_def(channels_last(name), it.traced.kind)


def run(graph_def: Any, inputs: np.ndarray, target: str = "probabilities") -> np.ndarray:
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.import_graph_def(graph_def, name="")
        with skipping_without_onednn():
            return np.asarray(session.run(f"{target}:0", {"input:0": inputs}))


@pytest.mark.parametrize("name", FROZEN)
def test_tensorflow_answers_as_keras_does(name: str) -> None:
    it, graph_def = leaving(name), write(name)
    for count in (8, 1):
        np.testing.assert_allclose(run(graph_def, it.inputs[:count]), it.probabilities[:count], atol=1e-5)


@pytest.mark.parametrize("name", FROZEN)
def test_file_holds_only_what_the_importer_reads(name: str) -> None:
    graph_def = write(name)
    assert {node.op for node in graph_def.node} <= set(KNOWN.split())
    assert graph_def.node[-1].name == "probabilities"
    assert [node.name for node in graph_def.node if node.op == "Placeholder"] == ["input"]
    assert graph_def.versions.producer == 27
    for node in graph_def.node:
        assert not [key for key in node.attr if key.startswith("_")]
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor is not None and tensor.dtype == tf.float32.as_datatype_enum:
            count = np.prod([side.size for side in tensor.tensor_shape.dim], dtype=int)
            assert (len(tensor.tensor_content), len(tensor.float_val)) == (4 * count, 0)


@pytest.mark.parametrize("name", ONLY_ONNX)
def test_what_has_no_form_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    it = leaving(name)
    message = f"At the layer `.*` the model needs the operation {ONLY_ONNX[name]}, .* Export --format onnx"
    with pytest.raises(ExportError, match=message):
        save_frozen_graph(channels_last(name), it.traced.kind, tmp_path / "model.pb")
    assert list(tmp_path.iterdir()) == []


def test_permuted_image_is_refused() -> None:
    image = keras.Input((20, 24, 3))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Permute((2, 1, 3), name="turn")(image))
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x)))
    with pytest.raises(ExportError, match=r"the operation Transpose, which .*\. Export --format onnx"):
        to_graph_def(build_graph(trace(model), channels_last=True), "softmax")


def test_rows_whose_numbers_stand_in_different_orders_are_refused() -> None:
    graph = Graph(shapes={INPUT: (3, 4, 5)})
    flattened = graph.emit("Flatten", [INPUT], (60,))  # its numbers stand in the order of (H, W, C)
    weights = [graph.constant(np.ones((60, 3, 1, 1))), graph.constant(np.zeros(60))]
    pixel = graph.emit("GlobalAveragePool", [INPUT], (3, 1, 1))
    window = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": 1}
    pixel = graph.emit("Conv", [pixel, *weights], (60, 1, 1), **window)
    row = graph.emit("Flatten", [pixel], (60,))  # and these in their own
    graph.output = graph.emit("Add", [flattened, row], (60,), origin="model/add/add")
    with pytest.raises(ExportError, match="At the layer `add` the model needs the operation Add, which"):
        to_graph_def(graph, "softmax")


@pytest.mark.parametrize("name", ["linear", "single_sigmoid"])
def test_logits_model_ends_before_the_activation(tmp_path: Path, name: str) -> None:
    it = leaving(name)
    path, logits_model = tmp_path / "model.pb", tmp_path / "logits.pb"
    save_frozen_graph(channels_last(name), it.traced.kind, path)
    save_logits_model(path, logits_model)
    graph_def = tf.compat.v1.GraphDef.FromString(logits_model.read_bytes())
    last = graph_def.node[-1]
    np.testing.assert_allclose(run(graph_def, it.inputs, last.name), it.logits, atol=1e-4 * it.logits.std())
    with pytest.raises(ExportError, match=f"ends in {last.op}. Expected Softmax, Sigmoid or Relu, to find the logits"):
        save_logits_model(logits_model, tmp_path / "again.pb")
