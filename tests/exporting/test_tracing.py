"""What a model is recognised as, and what Keras answers for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import FROM_LOGITS, NETWORKS, classified, leaving, pooled

from trainkit.backend import keras
from trainkit.deploy.python._model import read_net
from trainkit.errors import ExportError
from trainkit.exporting._conversion import build_graph
from trainkit.exporting._frozen_graph import save_frozen_graph
from trainkit.exporting._onnx_graph import save_onnx
from trainkit.exporting._tracing import trace

layers = keras.layers


def build(build_answer: Any) -> Any:
    """Return a model of one image, by what it answers."""
    image = keras.Input((20, 24, 3))
    return keras.Model(image, build_answer(image), name="odd")


def to_probabilities(answer: np.ndarray, name: str) -> np.ndarray:
    """Return what a model's own answer means, computed without trainkit."""
    if name == "logits":
        exponentials = np.exp(answer - answer.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
    p = 1 / (1 + np.exp(-answer)) if name == "logit" else answer
    return np.hstack([1 - p, p]) if p.shape[1] == 1 else p


@pytest.mark.parametrize("name", NETWORKS)
def test_traced_model_answers_as_the_model_does(name: str) -> None:
    it = leaving(name)
    answer = np.asarray(it.model(it.inputs, training=False))
    np.testing.assert_allclose(it.probabilities, to_probabilities(answer, name), atol=2e-6)
    assert it.logits.shape == it.probabilities.shape == (8, it.traced.classes)


@pytest.mark.parametrize(
    ("name", "kind", "units", "classes", "multi_label"),
    [
        ("linear", "softmax", 5, 5, False),
        ("convolved_to_the_end", "softmax", 5, 5, False),
        ("single_sigmoid", "sigmoid", 1, 2, False),
        ("multi_label", "sigmoid", 4, 4, True),
        ("logits", "softmax", 5, 5, False),
        ("logit", "sigmoid", 1, 2, False),
    ],
)
def test_last_activation_is_found(name: str, kind: str, units: int, classes: int, multi_label: bool) -> None:
    traced = leaving(name).traced
    assert (traced.kind, traced.units, traced.classes) == (kind, units, classes)
    assert traced.multi_label == multi_label


@pytest.mark.parametrize("name", NETWORKS)
def test_traced_model_answers_as_keras_does(name: str) -> None:
    """Every later check compares with the traced model, in which some layers are computed in another way."""
    it = leaving(name)
    expected = np.asarray(it.model(it.inputs, training=False)).reshape(len(it.inputs), -1)
    answers = it.traced.predict(it.inputs)["logits" if name in FROM_LOGITS else "probabilities"]
    assert it.logits.std(axis=0).max() > 1e-2  # a network that does not look at its image says nothing
    np.testing.assert_allclose(answers[:, -expected.shape[1] :], expected, atol=5e-6)


def test_predict_takes_more_images_than_a_batch() -> None:
    it = leaving("linear")
    inputs = np.random.default_rng(3).normal(0, 1, (70, 20, 24, 3)).astype(np.float32)
    expected = np.asarray(it.model(inputs, training=False))
    np.testing.assert_allclose(it.traced.predict(inputs)["probabilities"], expected, atol=2e-6)


def test_tracing_leaves_the_layers_of_keras_alone() -> None:
    kinds = (layers.GroupNormalization, layers.UpSampling2D, layers.ELU, layers.Conv2D)
    before = [(kind.call, layers.Conv2D.convolution_op) for kind in kinds]
    leaving("normalizations")
    with pytest.raises(ExportError):
        trace(build(lambda image: classified(layers.Flatten()(layers.GroupNormalization(2, axis=1)(image)))))
    assert [(kind.call, layers.Conv2D.convolution_op) for kind in kinds] == before


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda image: classified(layers.Flatten()(image), 3, "tanh"), "ends in Tanh, in the layer `dense.*--from-log"),
        (lambda image: classified(layers.Flatten()(image), 3, None), "ends in BiasAdd, .*Expected a softmax or a sigm"),
        (
            lambda image: layers.Average()([pooled(image), pooled(layers.MaxPooling2D()(image))]),
            r"The model odd ends in RealDiv, in the layer `average",
        ),
        (
            lambda image: layers.Conv2D(4, 3, activation="softmax")(image),
            r"answers with the shape \(None, 18, 22, 4\). Expected \(N, classes\).*GlobalAveragePooling2D or a Flatten",
        ),
        (
            lambda image: layers.Flatten()(layers.Softmax()(layers.Reshape((2, 5))(layers.Dense(10)(flat_row(image))))),
            "The softmax at the end of the model odd is over 5 values, and the model has 10 outputs. Expected one soft",
        ),
        (
            lambda image: [pooled(image), pooled(layers.MaxPooling2D()(image))],
            "Expected a model with one output. Received: 2 outputs",
        ),
    ],
)
def test_model_without_one_row_of_probabilities_is_refused(answer: Any, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        trace(build(answer))


def flat_row(image: Any) -> Any:
    return layers.Flatten()(image)


@pytest.mark.parametrize("name", ["my layer", "größe"])
def test_name_that_tensorflow_does_not_take_is_kept_from_it(name: str) -> None:
    model = build(lambda image: classified(layers.Flatten(name=name)(image)))
    model.name = f"_{name}"
    inputs = np.random.default_rng(0).normal(0, 1, (3, *model.input_shape[1:])).astype(np.float32)
    np.testing.assert_allclose(trace(model).predict(inputs)["probabilities"], model(inputs), atol=1e-6)
    assert (model.name, model.layers[1].name) == (f"_{name}", name)


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1:UserWarning")
def test_softmax_of_one_unit_is_refused() -> None:
    one = build(lambda image: layers.Softmax()(layers.Dense(1)(flat_row(image))))
    with pytest.raises(ExportError, match=r"ends in a softmax of one unit, which is always 1\. Use a sigmoid"):
        trace(one)


@pytest.mark.parametrize(("name", "kind"), [("linear", "softmax"), ("single_sigmoid", "sigmoid")])
def test_from_logits_of_a_model_with_an_activation_is_refused(name: str, kind: str) -> None:
    with pytest.raises(ExportError, match=f"ends in a {kind} already. Leave out --from-logits"):
        trace(leaving(name).model, from_logits=True)


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(ExportError, match=r"The model has 5 outputs, and there are 4 class names\. Give one for each"):
        trace(leaving("linear").model, units=4)


def test_networks_from_logits_end_without_an_activation() -> None:
    for name in FROM_LOGITS:
        with pytest.raises(ExportError, match="If its outputs are logits, say so: --from-logits"):
            trace(leaving(name).model)


SHAPE_OF_ENDS = (8, 10, 3)


def rows(image: Any, activation: str | None, units: int = 3) -> Any:
    kernel = keras.initializers.RandomNormal(stddev=0.2)
    return layers.Dense(units, activation, kernel_initializer=kernel)(layers.Flatten()(image))


def normalized(values: Any) -> Any:
    return values / keras.ops.sum(values, axis=-1, keepdims=True)


ENDS: dict[str, Any] = {
    "average": lambda image: layers.Average()([rows(image, "softmax") for _ in range(3)]),
    "product": lambda image: normalized(rows(image, "softmax") * rows(image, "softmax")),
    "relu over its sum": lambda image: normalized(layers.ReLU()(rows(image, "linear")) + 0.01),
    "exp over its sum": lambda image: normalized(keras.ops.exp(rows(image, "linear"))),
}


def traced_end(build: Any, **options: Any) -> tuple[Any, Any, np.ndarray]:
    keras.utils.set_random_seed(2)
    image = keras.Input(SHAPE_OF_ENDS)
    model = keras.Model(image, build(image), name="end")
    inputs = np.random.default_rng(0).normal(0, 1, (9, *SHAPE_OF_ENDS)).astype(np.float32)
    return model, trace(model, images=lambda: inputs, **options), inputs


@pytest.mark.parametrize("name", ENDS)
def test_probabilities_without_a_last_activation_leave_as_they_are(name: str, tmp_path: Path) -> None:
    model, traced, inputs = traced_end(ENDS[name])
    assert (traced.kind, traced.activation, traced.classes) == ("softmax", "relu", 3)
    expected = np.asarray(model(inputs))
    assert expected.std(0).max() > 0.05
    np.testing.assert_allclose(traced.predict(inputs)["probabilities"], expected, atol=1e-6)
    graph = build_graph(traced)
    save_onnx(graph, traced.activation, tmp_path / "model.onnx", metadata={})
    save_frozen_graph(graph, traced.activation, tmp_path / "model.pb")
    blob = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
    for form, path in (("onnx", tmp_path / "model.onnx"), ("frozen-graph", tmp_path / "model.pb")):
        net = read_net(path.read_bytes(), form, "classic" if form == "frozen-graph" else None)
        net.setInput(blob)
        np.testing.assert_allclose(net.forward(), expected, atol=1e-5)


def test_logarithm_of_a_softmax_leaves_as_that_softmax() -> None:
    model, traced, inputs = traced_end(lambda image: keras.ops.log_softmax(rows(image, "linear")))
    assert (traced.kind, traced.activation) == ("softmax", "softmax")
    np.testing.assert_allclose(traced.predict(inputs)["probabilities"], np.exp(model(inputs)), atol=1e-6)


def test_probabilities_are_not_taken_for_logits() -> None:
    with pytest.raises(ExportError, match=r"end gives probabilities already: they sum to 1 .* Leave out --from-logits"):
        traced_end(ENDS["average"], from_logits=True)


def test_values_between_0_and_1_that_are_no_probabilities_are_not_called_logits() -> None:
    with pytest.raises(ExportError, match=r"whose sums are .* Divide them by their sum") as caught:
        traced_end(lambda image: layers.Average()([rows(image, "sigmoid"), rows(image, "sigmoid")]))
    assert "--from-logits" not in str(caught.value)
    with pytest.raises(ExportError, match=r"Give both classes, for p = model.outputs\[0\]: keras.Model"):
        traced_end(lambda image: layers.Average()([rows(image, "sigmoid", 1), rows(image, "sigmoid", 1)]))

    def advised(image: Any) -> Any:
        p = layers.Average()([rows(image, "sigmoid", 1), rows(image, "sigmoid", 1)])
        return keras.ops.concatenate([1 - p, p], -1)

    model, traced, inputs = traced_end(advised)
    np.testing.assert_allclose(traced.predict(inputs)["probabilities"], model(inputs), atol=1e-6)


def test_logits_are_still_advised_where_they_are() -> None:
    with pytest.raises(ExportError, match=r"If its outputs are logits, say so: --from-logits"):
        traced_end(lambda image: rows(image, None))


@pytest.mark.parametrize("from_logits", [False, True])
def test_logarithm_of_a_sigmoid_is_not_called_a_logit(from_logits: bool) -> None:
    with pytest.raises(ExportError, match=r"ends in log_sigmoid: .* and no logits. End it in a sigmoid") as caught:
        traced_end(lambda image: keras.ops.log_sigmoid(rows(image, None, 1)), from_logits=from_logits)
    assert "--from-logits" not in str(caught.value)


class Counting(keras.layers.Layer):  # type: ignore[misc]
    """Answers by how often it was called."""

    def build(self, shape: Any) -> None:
        self.calls = 0

    def call(self, values: Any) -> Any:
        self.calls += 1
        return values * float(self.calls)


def test_graph_that_answers_otherwise_than_the_model_is_noticed() -> None:
    _, traced, inputs = traced_end(lambda image: rows(Counting()(image), "softmax"))
    with pytest.raises(ExportError, match=r"end answers otherwise as a graph than in Keras, by up to .* on the image"):
        traced.check_answers(inputs)
    _, traced, inputs = traced_end(ENDS["average"])
    traced.check_answers(inputs)


def test_model_that_answers_for_one_image_only_is_noticed() -> None:
    _, traced, inputs = traced_end(lambda image: rows(keras.ops.slice(image, [0, 0, 0, 0], [1, 8, 8, 3]), "softmax"))
    with pytest.raises(ExportError, match=r"answers 4 images with 1 rows\. Expected one row an image"):
        traced.check_answers(inputs)
