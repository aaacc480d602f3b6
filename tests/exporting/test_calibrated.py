"""A temperature leaves with the graph, whatever a model ends in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from trainkit.backend import keras
from trainkit.deploy.python._model import read_net
from trainkit.exporting._conversion import build_graph
from trainkit.exporting._frozen_graph import save_frozen_graph
from trainkit.exporting._onnx_graph import save_onnx
from trainkit.exporting._tracing import Traced, trace

layers = keras.layers
SHAPE = (8, 10, 3)


def rows(image: Any, activation: str | None = None, units: int = 3) -> Any:
    kernel = keras.initializers.RandomNormal(stddev=0.2)
    return layers.Dense(units, activation, kernel_initializer=kernel)(layers.Flatten()(image))


def convolved(image: Any) -> Any:
    maps = layers.Conv2D(4, 3, kernel_initializer=keras.initializers.RandomNormal(stddev=0.4))(image)
    return layers.Softmax()(layers.GlobalAveragePooling2D()(maps) * 6)


FOLDED = {
    "inside the dense layer": lambda image: rows(image, "softmax"),
    "a Softmax": lambda image: layers.Softmax()(rows(image)),
    "an Activation": lambda image: layers.Activation("softmax")(rows(image)),
    "a logarithm": lambda image: keras.ops.log_softmax(rows(image)),
    "normalized": lambda image: layers.Softmax()(layers.BatchNormalization()(rows(image))),
    "one sigmoid": lambda image: rows(image, "sigmoid", 1),
    "a sigmoid a class": lambda image: layers.Activation("sigmoid")(rows(image)),
    "no dense layer": convolved,
}
BY_LOGARITHM = {
    "an average": lambda image: layers.Average()([rows(image, "softmax") for _ in range(3)]),
    "a maxout over its sum": lambda image: layers.Lambda(lambda x: x / keras.ops.sum(x, -1, keepdims=True))(
        layers.Maximum()([rows(image, "softmax"), rows(image, "softmax")])
    ),
}
ENDS: dict[str, Any] = {**FOLDED, **BY_LOGARITHM}


def build(name: str) -> tuple[Any, Traced, np.ndarray]:
    keras.utils.set_random_seed(2)
    image = keras.Input(SHAPE)
    model = keras.Model(image, ENDS[name](image), name="end")
    inputs = np.random.default_rng(0).normal(0, 1, (9, *SHAPE)).astype(np.float32)
    return model, trace(model, images=lambda: inputs), inputs


def scaled(answer: np.ndarray, name: str, temperature: float) -> np.ndarray:
    """Return what a model's own answer becomes, by SciPy in float64."""
    answer = answer.astype(np.float64)
    if "sigmoid" not in name:
        return np.asarray(softmax((answer if name == "a logarithm" else np.log(answer)) / temperature, axis=1))
    p = expit(logit(answer) / temperature)
    return np.hstack([1 - p, p]) if p.shape[1] == 1 else np.asarray(p)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
@pytest.mark.parametrize("name", ENDS)
def test_both_formats_answer_as_the_scaled_model_does(name: str, temperature: float, tmp_path: Path) -> None:
    model, traced, inputs = build(name)
    calibrated = traced.calibrated(temperature)
    expected = scaled(np.asarray(model(inputs)), name, temperature)
    assert expected.std(axis=0).max() > 0.03
    answers = calibrated.predict(inputs)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=3e-6)
    np.testing.assert_allclose(traced.scores(traced.predict(inputs)) / temperature, answers["logits"], atol=1e-5)
    np.testing.assert_array_equal(traced.predict(inputs)["probabilities"].argmax(1), expected.argmax(1))
    calibrated.check_answers(inputs)
    graph = build_graph(calibrated)
    save_onnx(graph, calibrated.activation, tmp_path / "model.onnx", metadata={})
    save_frozen_graph(graph, calibrated.activation, tmp_path / "model.pb")
    for form, path in (("onnx", tmp_path / "model.onnx"), ("frozen-graph", tmp_path / "model.pb")):
        net = read_net(path.read_bytes(), form, "classic" if form == "frozen-graph" else None)
        for count in (1, 9, 2):
            net.setInput(np.ascontiguousarray(inputs[:count].transpose(0, 3, 1, 2)))
            np.testing.assert_allclose(net.forward(), answers["probabilities"][:count], atol=1e-5)


@pytest.mark.parametrize("name", FOLDED)
def test_temperature_costs_no_operation(name: str) -> None:
    _, traced, _ = build(name)
    before, after = (build_graph(one) for one in (traced, traced.calibrated(1.7)))
    assert [node.op for node in after.nodes] == [node.op for node in before.nodes]


def test_temperature_of_one_changes_nothing() -> None:
    _, traced, _ = build("an average")
    assert traced.calibrated(1.0) is traced


def test_probability_of_nothing_has_a_logarithm() -> None:
    image = keras.Input(SHAPE)
    sure = layers.Average()([layers.Softmax()(rows(image) * 500) for _ in range(2)])
    inputs = np.random.default_rng(0).normal(0, 1, (9, *SHAPE)).astype(np.float32)
    traced = trace(keras.Model(image, sure), images=lambda: inputs)
    assert traced.predict(inputs)["probabilities"].min() == 0
    answers = traced.calibrated(4.0).predict(inputs)
    assert np.isfinite(answers["logits"]).all() and answers["probabilities"].min() > 0
