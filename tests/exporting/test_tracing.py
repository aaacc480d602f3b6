"""What a model is recognised as, and what Keras answers for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_networks import FROM_LOGITS, NETWORKS, classified, leaving, pooled

from trainkit.backend import keras
from trainkit.errors import ExportError
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
        trace(build(lambda image: classified(layers.GroupNormalization(2, axis=1)(layers.Flatten()(image)))))
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
