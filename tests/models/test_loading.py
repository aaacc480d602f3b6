"""Keras files that others wrote: what is read, what is refused before Keras sees it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest

from trainkit.backend import keras, tf
from trainkit.errors import ModelError
from trainkit.models._loading import at_size, image_shape, load_model_file
from trainkit.models._losses import ends_linear
from trainkit.preprocessing import build_preprocessing

layers = keras.layers
BATCH = np.random.default_rng(0).normal(0, 1, (3, 12, 16, 3)).astype(np.float32)


def build(*more, activation: str | None = "softmax", units: int = 4):  # type: ignore[no-untyped-def]
    """Return a small classifier with layers in front of its last one."""
    keras.utils.set_random_seed(3)
    body = [layers.Conv2D(5, 3, activation="relu"), layers.GlobalAveragePooling2D(), *more]
    return keras.Sequential([keras.Input((12, 16, 3)), *body, layers.Dense(units, activation=activation)])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_file_of_keras_3_answers_as_before(tmp_path: Path, suffix: str) -> None:
    model = build()
    model.save(tmp_path / f"model{suffix}")
    loaded = load_model_file(tmp_path / f"model{suffix}")
    np.testing.assert_array_equal(loaded.model.predict(BATCH, verbose=0), model.predict(BATCH, verbose=0))
    assert loaded.from_logits is False


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("loss", "units", "from_logits"),
    [
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), 4, True),
        (keras.losses.BinaryCrossentropy(from_logits=True), 1, True),
        ("sparse_categorical_crossentropy", 4, False),
    ],
)
def test_file_says_whether_it_was_trained_on_logits(
    tmp_path: Path, suffix: str, loss: Any, units: int, from_logits: bool
) -> None:
    model = build(activation=None, units=units)
    model.compile(loss=loss)
    model.save(tmp_path / f"model{suffix}")
    assert load_model_file(tmp_path / f"model{suffix}").from_logits is from_logits


def test_loss_on_logits_means_nothing_behind_a_softmax(tmp_path: Path) -> None:
    model = build()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(tmp_path / "model.keras")
    assert load_model_file(tmp_path / "model.keras").from_logits is False


@pytest.mark.parametrize(
    ("loss", "asked"),
    [
        (keras.losses.BinaryCrossentropy(from_logits=True), False),
        (keras.losses.BinaryFocalCrossentropy(from_logits=True), False),
        (tf.nn.sigmoid_cross_entropy_with_logits, False),
        (keras.losses.binary_crossentropy, True),
        ("binary_focal_crossentropy", True),
    ],
)
def test_several_labels_on_logits_end_in_a_sigmoid(tmp_path: Path, loss: Any, asked: bool) -> None:
    model = build(activation=None)
    model.compile(loss=loss)
    model.save(tmp_path / "model.keras")
    loaded = load_model_file(tmp_path / "model.keras", from_logits=asked)
    expected = 1 / (1 + np.exp(-model.predict(BATCH, verbose=0)))
    np.testing.assert_allclose(loaded.model.predict(BATCH, verbose=0), expected, atol=1e-6)
    assert loaded.from_logits is False


@keras.saving.register_keras_serializable("test_loading")
class OwnLoss(keras.losses.Loss):  # type: ignore[misc]
    """A loss that says nothing by its name."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_logits": True}


@pytest.mark.parametrize(("loss", "name"), [(OwnLoss(), "own_loss"), ("mse", None)])
def test_loss_that_does_not_say_what_its_logits_are_is_no_softmax(tmp_path: Path, loss: Any, name: str | None) -> None:
    model = build(activation=None)
    model.compile(loss=loss)
    model.save(tmp_path / "model.keras")
    loaded = load_model_file(tmp_path / "model.keras")
    assert (loaded.from_logits, bool(loaded.unclear_loss)) == (False, name is not None)
    asked = load_model_file(tmp_path / "model.keras", from_logits=True)
    assert asked.from_logits
    assert asked.unclear_loss == (name or "mse")


@pytest.mark.parametrize("named", [False, True])
def test_each_output_has_the_loss_of_its_place_or_name(tmp_path: Path, named: bool) -> None:
    inputs = keras.Input((12, 16, 3))
    row = layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, [layers.Dense(3, name="kind")(row), layers.Dense(5, name="tags")(row)])
    losses = [
        keras.losses.CategoricalCrossentropy(from_logits=True),
        keras.losses.BinaryCrossentropy(from_logits=True),
    ]
    model.compile(loss=dict(zip(("kind", "tags"), losses, strict=True)) if named else losses)
    model.save(tmp_path / "model.keras")
    assert load_model_file(tmp_path / "model.keras", output="kind").from_logits
    tags = load_model_file(tmp_path / "model.keras", output="tags")
    assert not tags.from_logits
    expected = 1 / (1 + np.exp(-model.predict(BATCH, verbose=0)[1]))
    np.testing.assert_allclose(tags.model.predict(BATCH, verbose=0), expected, atol=1e-6)


# Keras 2, as Teachable Machine writes it: nested Sequentials, DepthwiseConv2D with groups, no "module" anywhere.


def keras_2_layer(name: str, kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32", **config}}


def zeros() -> dict[str, Any]:
    return {"class_name": "Zeros", "config": {}}


def keras_2_config() -> dict[str, Any]:
    glorot = {"class_name": "VarianceScaling", "config": {"scale": 1, "mode": "fan_avg", "distribution": "uniform"}}
    shape = {"batch_input_shape": [None, 12, 16, 3], "sparse": False, "ragged": False}
    body = [
        keras_2_layer("images", "InputLayer", **shape),
        keras_2_layer(
            "conv", "Conv2D", filters=5, kernel_size=[3, 3], groups=1, activation="linear", kernel_initializer=glorot
        ),
        # frozen: Keras 2 puts its weights behind those of all trainable layers
        {**keras_2_layer("norm", "BatchNormalization", axis=[3], epsilon=0.001, beta_initializer=zeros())},
        keras_2_layer(
            "depthwise", "DepthwiseConv2D", kernel_size=[3, 3], groups=1, activation="relu", bias_initializer=zeros()
        ),
    ]
    body[0]["config"].pop("trainable")
    body[2]["config"]["trainable"] = False
    for before, layer in zip([None, *body], body, strict=False):
        layer["name"] = layer["config"]["name"]
        layer["inbound_nodes"] = [] if before is None else [[[before["name"], 0, 0, {}]]]
    functional = {
        "class_name": "Functional",
        "config": {
            "name": "body",
            "layers": body,
            "input_layers": [["images", 0, 0]],
            "output_layers": [["depthwise", 0, 0]],
        },
    }
    first = {
        "name": "features",
        "layers": [functional, keras_2_layer("pool", "GlobalAveragePooling2D", data_format="channels_last")],
    }
    head = keras_2_layer("classes", "Dense", units=4, activation="softmax", batch_input_shape=[None, 5])
    last = {"name": "head", "layers": [head]}
    nested = [{"class_name": "Sequential", "config": first}, {"class_name": "Sequential", "config": last}]
    return {"class_name": "Sequential", "config": {"name": "whole", "layers": nested}}


def keras_2_weights() -> dict[str, np.ndarray]:
    """Return the weights in Keras 2's names, and in its order."""
    generator = np.random.default_rng(5)
    shapes = {
        "conv/kernel:0": (3, 3, 3, 5),
        "conv/bias:0": (5,),
        "depthwise/depthwise_kernel:0": (3, 3, 5, 1),
        "depthwise/bias:0": (5,),
        "norm/gamma:0": (5,),
        "norm/beta:0": (5,),
        "norm/moving_mean:0": (5,),
        "norm/moving_variance:0": (5,),
        "classes/kernel:0": (5, 4),
        "classes/bias:0": (4,),
    }
    return {name: generator.uniform(0.2, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def write_keras_2(
    path: Path, config: dict[str, Any] | None = None, weights: dict[str, np.ndarray] | None = None
) -> Path:
    chosen = keras_2_weights() if weights is None else weights
    with h5py.File(path, "w") as file:
        file.attrs.update({"keras_version": "2.4.0", "backend": "tensorflow"})
        file.attrs["model_config"] = json.dumps(config or keras_2_config())
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"features", b"head"]
        for layer in ("features", "head"):
            inner = group.create_group(layer)
            names = [name for name in chosen if (layer == "head") == name.startswith("classes")]
            inner.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                inner.create_dataset(name, data=chosen[name])
    return path


def test_file_of_keras_2_answers_as_its_weights_say(tmp_path: Path) -> None:
    weights = keras_2_weights()
    inputs = keras.Input((12, 16, 3))
    conv, norm, depthwise = (
        layers.Conv2D(5, 3),
        layers.BatchNormalization(),
        layers.DepthwiseConv2D(3, activation="relu"),
    )
    dense = layers.Dense(4, activation="softmax")
    expected = keras.Model(inputs, dense(layers.GlobalAveragePooling2D()(depthwise(norm(conv(inputs))))))
    for layer, name in ((conv, "conv"), (norm, "norm"), (depthwise, "depthwise"), (dense, "classes")):
        layer.set_weights([value for key, value in weights.items() if key.startswith(f"{name}/")])
    loaded = load_model_file(write_keras_2(tmp_path / "keras_model.h5"))
    assert loaded.model.input_shape == (None, 12, 16, 3)
    answers = expected.predict(BATCH, verbose=0)
    assert answers.std() > 1e-2
    np.testing.assert_allclose(loaded.model.predict(BATCH, verbose=0), answers, atol=1e-6)


@pytest.mark.shared
def test_model_of_teachable_machine_knows_waste(shared: Path) -> None:
    loaded = load_model_file(shared / "data" / "teachable-machine" / "keras_model.h5")
    preprocessing = build_preprocessing("symmetric", height=224, width=224)
    pixels = preprocessing.to_pixels(cv2.imread(str(shared / "data" / "photos" / "dishes.jpg")))
    answer = loaded.model.predict(preprocessing.to_input([pixels]), verbose=0)[0]
    assert answer.argmax() == 3  # metal
    assert 0.9 < answer.max() < 1


@pytest.mark.parametrize("kind", ["TFOpLambda", "SlicingOpLambda"])
def test_operation_of_keras_2_is_named(tmp_path: Path, kind: str) -> None:
    config = keras_2_config()
    config["config"]["layers"].insert(1, keras_2_layer("tf.math.add", kind))
    with pytest.raises(ModelError, match=rf"layer 2 `tf.math.add` is a {kind}, an operation of TensorFlow .*Rescaling"):
        load_model_file(write_keras_2(tmp_path / "model.h5", config), unsafe=True)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    weights = {**keras_2_weights(), "classes/kernel:0": np.zeros((5, 3), np.float32)}
    with pytest.raises(ModelError, match=r"cannot be loaded as a Keras model \(.*[Ss]hape"):
        load_model_file(write_keras_2(tmp_path / "model.h5", weights=weights))


# What is not safe


@keras.saving.register_keras_serializable("test_loading")
class Doubled(keras.layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs * 2


@keras.saving.register_keras_serializable("test_loading")
def doubled(x: Any) -> Any:
    return x * 2


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Lambda(lambda x: x * 2, name="twice"), "layer 3 `twice` is a Lambda, which runs code from the file"),
        (Doubled(name="twice"), "layer 3 `twice` needs '.*Doubled', which is not Keras' own"),
    ],
)
def test_code_is_refused_unless_it_is_trusted(tmp_path: Path, suffix: str, layer: Any, message: str) -> None:
    model = build(layer)
    model.save(tmp_path / f"model{suffix}")
    with pytest.raises(ModelError, match=message):
        load_model_file(tmp_path / f"model{suffix}")
    trusted = load_model_file(tmp_path / f"model{suffix}", unsafe=True)
    np.testing.assert_array_equal(trusted.model.predict(BATCH, verbose=0), model.predict(BATCH, verbose=0))


def test_function_of_others_is_refused(tmp_path: Path) -> None:
    model = build(layers.Activation(doubled, name="twice"))
    model.save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="layer 3 `twice` needs 'test_loading>doubled', which is not Keras' own"):
        load_model_file(tmp_path / "model.keras")


def change_config(path: Path, change: Any) -> Path:
    """Write a copy of a .keras file with another config."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(path.with_name("changed.keras"), "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, json.dumps(change(json.loads(data))) if name == "config.json" else data)
    return path.with_name("changed.keras")


@pytest.mark.parametrize(
    "part",
    [
        {"module": "keras.utils", "class_name": "get_file", "config": {"fname": "x", "origin": "file:///etc/passwd"}},
        {"module": "os", "class_name": "Dense", "config": {}},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {"class_name": "__typespec__", "spec_name": "TensorSpec", "config": []},
    ],
)
def test_config_that_reaches_beyond_keras_is_refused(tmp_path: Path, part: dict[str, Any]) -> None:
    build().save(tmp_path / "model.keras")

    def change(config: dict[str, Any]) -> dict[str, Any]:
        config["config"]["layers"][-1]["config"]["kernel_initializer"] = part
        return config

    with pytest.raises(ModelError, match=r"layer 3 `\w+` needs '\w+', which is not Keras' own"):
        load_model_file(change_config(tmp_path / "model.keras", change))


def with_member(folder: Path, name: str, data: bytes = b"x") -> Path:
    build().save(folder / "model.keras")
    with zipfile.ZipFile(folder / "model.keras", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return folder / "model.keras"


@pytest.mark.parametrize("name", ["../../outside.txt", "/etc/outside", "assets/../../x", "C:\\x", "a\\..\\..\\x"])
def test_member_that_points_out_of_the_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"which points out of the file: it is not safe to load"):
        load_model_file(with_member(tmp_path, name), unsafe=True)


def test_member_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = with_member(tmp_path, "assets/zeros", bytes(2**25))
    assert path.stat().st_size < 2**20
    with pytest.raises(ModelError, match=r"'assets/zeros', which would grow from \d+ to 33554432 bytes"):
        load_model_file(path, unsafe=True)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has the member 'config.json' twice"):
        load_model_file(with_member(tmp_path, "config.json", b"{}"))


@pytest.mark.parametrize("name", ["model.pkl", "assets/vocabulary.txt", "model.weights.npz"])
def test_member_that_keras_does_not_need_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=rf"has the member '{name}'. Expected metadata.json, config.json"):
        load_model_file(with_member(tmp_path, name))


def test_weights_that_are_a_link_are_refused(tmp_path: Path) -> None:
    path = write_keras_2(tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        group = file["model_weights/head/classes"]
        del group["bias:0"]
        group["bias:0"] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(ModelError, match=r"the weights 'bias:0' are a link out of the file"):
        load_model_file(path)


def test_weights_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    path = write_keras_2(tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights/head"].create_dataset("huge", (2**40,), np.float32, chunks=(2**10,))
    with pytest.raises(ModelError, match=r"the weights 'huge' would grow to 4398046511104 bytes"):
        load_model_file(path)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04" + bytes(100), b"\x89HDF\r\n\x1a\n" + bytes(50)])
def test_file_that_is_none_ends_in_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name} (is no Keras model|cannot be loaded)"):
        load_model_file(tmp_path / name)


def test_file_that_is_cut_off_ends_in_a_sentence(tmp_path: Path) -> None:
    path = write_keras_2(tmp_path / "model.h5")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ModelError, match=r"model.h5 cannot be loaded"):
        load_model_file(path)


def test_file_of_weights_alone_is_refused(tmp_path: Path) -> None:
    build().save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(ModelError, match=r"only.weights.h5 holds weights without a model"):
        load_model_file(tmp_path / "only.weights.h5")


def test_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"No Keras model at .*missing.keras"):
        load_model_file(tmp_path / "missing.keras")


# What a classifier of images is


def test_image_shape_of_a_classifier() -> None:
    assert image_shape(build()) == (12, 16, 3)


def two_inputs():  # type: ignore[no-untyped-def]
    one, other = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    return keras.Model([one, other], layers.Dense(2)(layers.Flatten()(layers.Add()([one, other]))), name="pair")


def ending_in(shape: tuple[int, ...], *stack):  # type: ignore[no-untyped-def]
    return keras.Sequential([keras.Input(shape), *stack], name="small")


class Subclassed(keras.Model):  # type: ignore[misc]
    """A model as a class, which does not say what goes in."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.pool, self.dense = layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")

    def call(self, images: Any) -> Any:
        return self.dense(self.pool(images))


def test_class_of_its_own_becomes_a_model_of_layers_as_the_message_says() -> None:
    own = Subclassed()
    own(np.zeros((1, 12, 16, 3), np.float32))
    with pytest.raises(ModelError, match="of a class of its own"):
        image_shape(own)
    inputs = keras.Input((12, 16, 3))
    assert image_shape(keras.Model(inputs, own(inputs))) == (12, 16, 3)


@pytest.mark.parametrize("nested", [False, True])
def test_class_whose_code_is_not_in_the_file_is_named(tmp_path: Path, nested: bool) -> None:
    own = Subclassed()
    inputs = keras.Input((12, 16, 3))
    whole = keras.Model(inputs, own(inputs))
    (whole if nested else own).save(tmp_path / "own.keras")
    with pytest.raises(
        ModelError, match=r"needs 'Subclassed', whose code .* custom_objects=\{'Subclassed': Subclassed\}"
    ):
        load_model_file(tmp_path / "own.keras", unsafe=True)
    assert keras.models.load_model(tmp_path / "own.keras", custom_objects={"Subclassed": Subclassed}) is not None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (two_inputs(), r"pair has 2 inputs: `left` \(None, 8, 8, 3\), `right` .*Build one with a single input"),
        (ending_in((10,), layers.Dense(3)), r"takes \(None, 10\). Expected images"),
        (ending_in((8, 8, 4), layers.Flatten(), layers.Dense(3)), r"takes \(None, 8, 8, 4\). Expected images"),
        (ending_in((3, 8, 8), layers.Flatten(), layers.Dense(3)), r"channels come first: build it again"),
        (ending_in((8, 8, 3), layers.Conv2D(2, 1)), r"gives \(None, 8, 8, 2\). Expected a row of classes"),
        (keras.Sequential([layers.Dense(3)], name="unbuilt"), "unbuilt was never given an input. Begin it with keras"),
        (
            Subclassed(name="own"),
            r"own is of a class of its own \(Subclassed\).* keras.Model\(inputs, model\(inputs\)\)",
        ),
    ],
)
def test_model_that_is_no_classifier_of_images_is_refused(model: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        image_shape(model)


def test_model_of_any_size_is_built_for_one() -> None:
    stack = [layers.Conv2D(4, 3, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    model = ending_in((None, None, 3), *stack)
    fixed = at_size(model, (12, 16, 3))
    assert fixed.input_shape == (None, 12, 16, 3)
    np.testing.assert_allclose(fixed.predict(BATCH, verbose=0), model.predict(BATCH, verbose=0), atol=1e-6)


def test_model_that_has_the_size_stays_as_it_is() -> None:
    model = build()
    assert at_size(model, (12, 16, 3)) is model


@pytest.mark.parametrize(
    "last", [layers.Softmax(), layers.Activation("sigmoid"), layers.Dense(3, activation="softmax")]
)
def test_last_activation_is_found_in_nested_models(last: Any) -> None:
    inner = ending_in((6,), layers.Dense(3), last)
    outer = ending_in((6,), inner)
    assert not ends_linear(outer)
    assert ends_linear(ending_in((6,), ending_in((6,), layers.Dense(3))))


@pytest.mark.parametrize("name", ["relu", "abs", "square", "silu"])
def test_operations_of_keras_between_layers_are_its_own(tmp_path: Path, name: str) -> None:
    inputs = keras.Input((8, 8, 3))
    x = getattr(keras.ops, name)(keras.layers.Conv2D(4, 3)(inputs) / 3)[:, 1:-1]
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x)))
    model.save(tmp_path / "model.keras")
    loaded = load_model_file(tmp_path / "model.keras").model
    images = np.random.default_rng(0).normal(0, 1, (4, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
