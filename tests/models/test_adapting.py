"""Models in the forms in which people bring them become classifiers of float32 images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainkit.backend import keras
from trainkit.errors import ModelError, UsageError
from trainkit.models._adapting import as_classifier, check_whole_levels, output_names, takes_whole_levels
from trainkit.models._loading import image_shape, load_model_file
from trainkit.models._own import build_own_model
from trainkit.preprocessing import build_preprocessing

layers, ops = keras.layers, keras.ops
SHAPE = (10, 12, 3)


def classes_of(features: Any, count: int = 3, name: str | None = None) -> Any:
    pooled = layers.GlobalAveragePooling2D()(features) if len(features.shape) == 4 else layers.Flatten()(features)
    return layers.Dense(count, activation="softmax", kernel_initializer="random_normal", name=name)(pooled)


def inputs(count: int = 4, shape: tuple[int, ...] = SHAPE, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(1).uniform(0, scale, (count, *shape))).astype(np.float32)


class Own(keras.Model):
    """A model of a class of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.features = layers.Conv2D(4, 3, activation="relu")
        self.head = layers.Dense(3, activation="softmax", kernel_initializer="random_normal")

    def call(self, images: Any) -> Any:
        return self.head(ops.mean(self.features(images), axis=(1, 2)))


class Peeking(Own):
    """One whose code asks for values, which no graph has."""

    def call(self, images: Any) -> Any:
        return super().call(images) * float(np.asarray(images).max())


def test_model_that_is_one_already_stays_as_it_is() -> None:
    image = keras.Input(SHAPE)
    model = keras.Model(image, classes_of(image))
    assert as_classifier(model) is model


@pytest.mark.parametrize("way", ["called", "fitted"])
def test_subclassed_model_is_called_on_an_input(way: str) -> None:
    model = Own()
    if way == "called":
        model(inputs())
    else:
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(inputs(), np.zeros(4), verbose=0)
    classifier = as_classifier(model)
    assert image_shape(classifier) == SHAPE
    np.testing.assert_allclose(classifier(inputs()), model(inputs()), atol=1e-6)


def test_subclassed_model_that_was_never_called_is_told_what_to_do() -> None:
    model = Own(name="fresh")
    with pytest.raises(ModelError, match=r"fresh is of a class of its own .* Call it once on a batch of images before"):
        image_shape(as_classifier(model))
    model(inputs())  # as the sentence advises
    assert image_shape(as_classifier(model)) == SHAPE


def test_subclassed_model_that_asks_for_values_is_one_sentence() -> None:
    model = Peeking(name="peeking")
    model.build = lambda *_: None
    model._build_shapes_dict = {"input_shape": (None, *SHAPE)}
    with pytest.raises(ModelError, match=r"\(Peeking\) cannot be called on keras.Input.* Write its call\(\) with"):
        as_classifier(model)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_other_precision_is_built_again_in_float32(
    policy: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = keras.Input(SHAPE)
    x = layers.BatchNormalization(dtype=policy)(layers.Conv2D(4, 3, dtype=policy, activation="relu")(image))
    model = keras.Model(image, classes_of(ops.cast(x, "float32")))
    model.save(tmp_path / "half.keras")
    with caplog.at_level(logging.WARNING, logger="trainkit"):
        rebuilt = load_model_file(tmp_path / "half.keras").model
    assert "It was built again in float32, with the same weights" in caplog.text
    assert {layer.compute_dtype for layer in rebuilt.layers} == {"float32"}
    for weight, own in zip(rebuilt.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, own.astype(np.float32))
    np.testing.assert_allclose(rebuilt(inputs()), model(inputs()), atol=2e-2)


def test_subclassed_model_in_half_precision_is_built_again() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = Own()
        model(inputs())
        classifier = as_classifier(model)
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(layer.compute_dtype == "float32" for layer in classifier._flatten_layers())
    np.testing.assert_allclose(classifier(inputs()), model(inputs()), atol=1e-2)


def test_quantized_layer_is_refused_for_that_reason() -> None:
    last = layers.Dense(3, activation="softmax", name="q")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), last])
    last.quantize("int8")
    with pytest.raises(ModelError, match=r"`q` .* was quantized to int8 by Keras.* as it was before quantize\(\)"):
        as_classifier(model)


def test_weights_that_are_not_numbers_are_named() -> None:
    image = keras.Input(SHAPE)
    layer = layers.Conv2D(4, 3, name="broken")
    model = keras.Model(image, classes_of(layer(image)))
    layer.bias.assign([np.nan, 0, 0, 0])
    with pytest.raises(ModelError, match=r"`bias` of the layer `broken` are not all finite.* an earlier epoch"):
        as_classifier(model)


def test_grey_images_without_channels_get_them() -> None:
    image = keras.Input((10, 12))
    model = keras.Model(image, classes_of(layers.Dense(5, activation="relu")(image)))
    classifier = as_classifier(model)
    assert image_shape(classifier) == (10, 12, 1)
    images = inputs(shape=(10, 12))
    np.testing.assert_allclose(classifier(images[..., None]), model(images), atol=1e-6)


def test_whole_levels_become_floats_of_the_same_value() -> None:
    image = keras.Input(SHAPE, dtype="uint8")
    model = keras.Model(image, classes_of(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(image))))
    assert takes_whole_levels(model)
    classifier = as_classifier(model)
    assert not takes_whole_levels(classifier)
    levels = np.rint(inputs(scale=255))
    np.testing.assert_allclose(classifier(levels), model(levels.astype(np.uint8)), atol=1e-6)
    check_whole_levels("m", build_preprocessing("none", height=10, width=12))
    for name in ("unit", "symmetric", "torch", "samplewise-center"):
        with pytest.raises(UsageError, match=r"takes whole grey levels from 0 to 255.* Say --preprocessing none"):
            check_whole_levels("m", build_preprocessing(name, height=10, width=12))


def test_arithmetic_that_overflows_in_whole_numbers_is_noticed() -> None:
    image = keras.Input(SHAPE, dtype="uint8")
    x = ops.cast(image - 100, "float32") / 255  # 256 is 0 again
    kernel = keras.initializers.RandomNormal(stddev=3)
    row = layers.Dense(3, activation="softmax", kernel_initializer=kernel)(layers.Flatten()(x))
    with pytest.raises(ModelError, match="computes in uint8, and answers otherwise in float32"):
        as_classifier(keras.Model(image, row))


def test_model_that_takes_whole_levels_is_not_trained_further(tmp_path: Path) -> None:
    image = keras.Input(SHAPE, dtype="uint8")
    keras.Model(image, classes_of(layers.Rescaling(1 / 255)(image))).save(tmp_path / "whole.keras")
    with pytest.raises(ModelError, match=r"takes whole grey levels.* Expected float32 to train it further"):
        build_own_model(SHAPE, 3, path=str(tmp_path / "whole.keras"))


@pytest.mark.parametrize("form", ["dictionary", "list"])
def test_one_of_several_outputs_is_chosen_by_its_name(form: str) -> None:
    image = keras.Input(SHAPE)
    rows = classes_of(image, 3, "animal"), classes_of(image, 4, "breed")
    model = keras.Model(image, list(rows) if form == "list" else {"animal": rows[0], "breed": rows[1]}, name="two")
    assert output_names(model) == ["animal", "breed"]
    with pytest.raises(ModelError, match=r"two has 2 outputs: `animal` \(None, 3\), `breed` .*--output animal"):
        as_classifier(model)
    with pytest.raises(UsageError, match=r"Unknown output `bred`\. Did you mean `breed`"):
        as_classifier(model, output="bred")
    answers = model(inputs())
    expected = answers[1] if form == "list" else answers["breed"]
    np.testing.assert_allclose(as_classifier(model, output="breed")(inputs()), expected, atol=1e-7)
    one = keras.Model(model.inputs[0], model.outputs[0])  # as the sentence advises
    assert as_classifier(one) is one


def test_outputs_of_one_layer_have_names_of_their_own() -> None:
    image = keras.Input(SHAPE)
    shared = layers.Dense(3, activation="softmax", name="shared")
    pooled = layers.GlobalAveragePooling2D()(image)
    assert output_names(keras.Model(image, [shared(pooled), shared(-pooled)])) == ["shared", "shared_2"]


@pytest.mark.parametrize("wrapped", [lambda one: [one], lambda one: {"it": one}])
def test_list_of_one_is_that_one(wrapped: Any) -> None:
    image = keras.Input(SHAPE, name="it")
    row = classes_of(image)
    classifier = as_classifier(keras.Model(wrapped(image), wrapped(row)))
    expected = keras.Model(image, row)(inputs())
    np.testing.assert_array_equal(classifier(inputs()), expected)


def test_batch_that_is_fixed_is_no_hindrance() -> None:
    image = keras.Input(batch_shape=(2, *SHAPE), dtype="float64")
    model = keras.Model(image, classes_of(layers.Conv2D(4, 3, dtype="float64")(image)))
    images = inputs(2)
    np.testing.assert_allclose(as_classifier(model)(images), model(images), atol=1e-5)


@pytest.mark.parametrize(("length", "sides"), [(784, (28, 28, 1)), (192, (8, 8, 3))])
def test_row_of_pixels_is_told_how_to_become_an_image(length: int, sides: tuple[int, int, int]) -> None:
    row = keras.Input((length,))
    model = keras.Model(row, layers.Dense(3, activation="softmax")(row))
    with pytest.raises(ModelError, match=r"If these are the pixels of an image, .*Input\(\(\d+, \d+, \d\)\)"):
        image_shape(as_classifier(model))
    advised = keras.Sequential([keras.Input(sides), layers.Flatten(), model], name="advised")
    assert image_shape(as_classifier(advised)) == sides
    with pytest.raises(UsageError, match="Unknown output `other`"):
        as_classifier(advised, output="other")


def test_answer_of_one_pixel_becomes_a_row() -> None:
    image = keras.Input(SHAPE)
    model = keras.Model(image, layers.Conv2D(3, (10, 12), activation="softmax")(image))
    classifier = as_classifier(model)
    assert classifier.output_shape == (None, 3)
    np.testing.assert_allclose(classifier(inputs()), model(inputs())[:, 0, 0], atol=1e-6)


class OwnTraining(keras.Model):
    """A functional model with a training step of its own, as Keras' guide has it."""


def test_class_that_only_trains_otherwise_is_read_as_its_layers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = keras.Input(SHAPE)
    model = OwnTraining(image, classes_of(layers.Conv2D(4, 3)(image)))
    model.save(tmp_path / "own.keras")
    with caplog.at_level(logging.WARNING, logger="trainkit"):
        loaded = load_model_file(tmp_path / "own.keras").model
    assert type(loaded).__name__ == "Functional"
    assert "of the class OwnTraining, whose code is not in the file" in caplog.text
    np.testing.assert_allclose(loaded(inputs()), model(inputs()), atol=1e-6)


@keras.saving.register_keras_serializable("adapting")
class Registered(Own):
    """A subclassed model that this process could build."""


def test_class_at_the_top_is_judged_as_those_within(tmp_path: Path) -> None:
    model = Registered()
    model(inputs())
    model.save(tmp_path / "own.keras")
    with pytest.raises(ModelError, match="the model needs 'Registered', which is not Keras' own"):
        load_model_file(tmp_path / "own.keras")
    loaded = load_model_file(tmp_path / "own.keras", unsafe=True).model
    np.testing.assert_allclose(loaded(inputs()), model(inputs()), atol=1e-6)


def test_loss_and_metric_that_are_not_there_are_not_needed(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("adapting")
    class Odd(keras.metrics.Mean):
        pass

    def odd_loss(truth: Any, answer: Any) -> Any:
        return ops.mean(answer)

    image = keras.Input(SHAPE)
    model = keras.Model(image, classes_of(image))
    model.compile("adam", odd_loss, metrics=[Odd()])
    model.save(tmp_path / "own.keras")
    assert load_model_file(tmp_path / "own.keras").model.count_params() == model.count_params()


@pytest.mark.parametrize(
    "between",
    [
        lambda x: ops.cast(x, "float32"),
        lambda x: ops.stop_gradient(x),
        lambda x: ops.saturate_cast(x, "float32"),
        lambda x: ops.stack(ops.unstack(x, axis=-1)[::-1], axis=-1),
    ],
)
def test_operations_of_keras_core_are_its_own(tmp_path: Path, between: Any) -> None:
    image = keras.Input(SHAPE)
    model = keras.Model(image, classes_of(between(image)))
    model.save(tmp_path / "core.keras")
    np.testing.assert_allclose(load_model_file(tmp_path / "core.keras").model(inputs()), model(inputs()), atol=1e-6)


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("operation", [ops.map, ops.vectorized_map])
def test_operations_that_take_a_function_are_code(tmp_path: Path, operation: Any) -> None:
    image = keras.Input(SHAPE)
    keras.Model(image, classes_of(operation(lambda x: x * 2, image))).save(tmp_path / "core.keras")
    with pytest.raises(ModelError, match=r"is a (Map|VectorizedMap), which runs code from the file"):
        load_model_file(tmp_path / "core.keras")


@pytest.mark.parametrize(
    "text",
    [
        "lambda x: tf.reduce_mean(x, axis=-1, keepdims=True)",
        "lambda x: K.mean(x, axis=-1, keepdims=True)",
        "lambda x: x * np.float32(np.sqrt(2.0))",
        "lambda x: keras.ops.relu(x) * math.pi",
    ],
)
def test_lambda_finds_the_names_that_are_lent(tmp_path: Path, text: str) -> None:
    from trainkit.models._lambdas import LENT

    image = keras.Input(SHAPE)
    model = keras.Model(image, classes_of(layers.Lambda(eval(text, dict(LENT)))(image)))
    model.save(tmp_path / "lambda.keras")
    loaded = load_model_file(tmp_path / "lambda.keras", unsafe=True).model
    np.testing.assert_allclose(loaded(inputs()), model(inputs()), atol=1e-6)
    with pytest.raises(ModelError, match="is a Lambda, which runs code from the file"):
        load_model_file(tmp_path / "lambda.keras")
