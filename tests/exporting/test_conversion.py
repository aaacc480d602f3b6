"""Every network against Keras, in the installed cv2.dnn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from small_networks import NETWORKS, ONLY_ONNX, channels_last, leaving, pooled, randomize

from trainkit.backend import keras
from trainkit.deploy.python._model import read_net
from trainkit.exporting import _frozen_graph as frozen_graph
from trainkit.exporting import _onnx_graph as onnx_graph
from trainkit.exporting._conversion import build_graph
from trainkit.exporting._graph import Graph
from trainkit.exporting._tracing import trace

ENGINES = ["classic", "new", "auto"] if hasattr(cv2.dnn, "ENGINE_CLASSIC") else ["auto"]


def save_both(graph: Graph, kind: str, folder: Path, model_format: str) -> dict[str, bytes]:
    """Write the graph that leaves and its logits model, and return what is in the files."""
    path, logits_model = folder / "model", folder / "logits"
    if model_format == "onnx":
        onnx_graph.save_onnx(graph, kind, path, metadata={})
        onnx_graph.save_logits_model(path, logits_model)
    else:
        frozen_graph.save_frozen_graph(graph, kind, path)
        frozen_graph.save_logits_model(path, logits_model)
    return {"probabilities": path.read_bytes(), "logits": logits_model.read_bytes()}


def assert_answers(
    files: dict[str, bytes], model_format: str, inputs: np.ndarray, expected: dict[str, np.ndarray]
) -> None:
    """Hold what cv2.dnn answers against Keras, with every engine and with batch sizes that change on one net."""
    blob = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
    tolerances = {"probabilities": 1e-5, "logits": 1e-4 * expected["logits"].std()}
    for engine in ENGINES if model_format == "onnx" else ["classic"]:
        for kind, data in files.items():
            net = read_net(data, model_format, engine)
            for count in (1, 3, 8, 2):
                net.setInput(blob[:count])
                actual = np.array(net.forward())
                assert actual.shape == expected[kind][:count].shape
                assert np.abs(actual - expected[kind][:count]).max() <= tolerances[kind], (engine, kind, count)


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_answers_as_keras_does(tmp_path: Path, name: str) -> None:
    it = leaving(name)
    assert it.logits.std() > 0.01  # a comparison of answers that are all alike says nothing
    files = save_both(it.graph, it.traced.kind, tmp_path, "onnx")
    assert_answers(files, "onnx", it.inputs, {"logits": it.logits, "probabilities": it.probabilities})


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ONLY_ONNX])
def test_frozen_graph_answers_as_keras_does(tmp_path: Path, name: str) -> None:
    it = leaving(name)
    files = save_both(channels_last(name), it.traced.kind, tmp_path, "frozen-graph")
    assert_answers(files, "frozen-graph", it.inputs, {"logits": it.logits, "probabilities": it.probabilities})


@pytest.mark.parametrize("name", ["squeeze_and_excite", "attention", "normalizations"])
def test_onnx_for_recent_opencv_answers_as_keras_does(tmp_path: Path, name: str) -> None:
    it = leaving(name)
    graph = build_graph(it.traced, broadcast=True)
    files = save_both(graph, it.traced.kind, tmp_path, "onnx")
    assert_answers(files, "onnx", it.inputs, {"logits": it.logits, "probabilities": it.probabilities})
    if name == "squeeze_and_excite":  # no detour over upsampling, and no convolution of one pixel
        assert not [node for node in graph.nodes if node.op == "Upsample"]
        assert not [node for node in graph.nodes if node.op == "Conv" and graph.shapes[node.output][1:] == (1, 1)]


def samplewise(blob: Any) -> Any:
    centered = blob - keras.ops.mean(blob, axis=(1, 2, 3), keepdims=True)
    return centered / (keras.ops.sqrt(keras.ops.mean(centered * centered, axis=(1, 2, 3), keepdims=True)) + 1e-6)


MEAN_IMAGE = np.random.default_rng(5).normal(0, 1, (20, 24, 3)).astype(np.float32)
AFTER_BLOB = {
    "gain": lambda blob: blob * np.array([0.8, 1.1, 1.3], np.float32),
    "mean image": lambda blob: blob - MEAN_IMAGE,
    "samplewise": samplewise,
}


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("step", AFTER_BLOB)
def test_preprocessing_in_the_graph_answers_as_keras_does(tmp_path: Path, step: str, padding: str) -> None:
    image = keras.Input((20, 24, 3))
    model = keras.Model(image, pooled(keras.layers.Conv2D(4, 3, padding=padding, activation="relu")(image)))
    randomize(model)
    traced = trace(model, after_blob=AFTER_BLOB[step])
    inputs = np.random.default_rng(0).normal(0.3, 2, (8, 20, 24, 3)).astype(np.float32)
    expected = traced.predict(np.asarray(AFTER_BLOB[step](inputs)))
    for model_format in ("onnx", "frozen-graph"):
        graph = build_graph(traced, channels_last=model_format == "frozen-graph")
        files = save_both(graph, traced.kind, tmp_path, model_format)
        assert_answers(files, model_format, inputs, expected)
