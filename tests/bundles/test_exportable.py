"""Bundles of models that trainkit did not train."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from photographs import COLORS_BGR, draw_photo, write_class_folders

import trainkit
from trainkit.backend import keras
from trainkit.deploy.python._selftest import selftest
from trainkit.errors import BundleError, ModelError, OutputError, RunError, UsageError, WeightsError
from trainkit.models._applications import APPLICATIONS, build_application, load_imagenet_names
from trainkit.preprocessing import Preprocessing, build_preprocessing

layers = keras.layers
NAMES = ["blue", "green", "red", "none"]


def build(activation: str | None = "softmax", units: int = 4, size: tuple[int | None, int | None] = (24, 32)):  # type: ignore[no-untyped-def]
    """Return a small classifier whose probabilities are neither flat nor saturated."""
    keras.utils.set_random_seed(4)
    inputs = keras.Input((*size, 3))
    x = layers.Conv2D(6, 3, activation="relu")(inputs)
    outputs = layers.Dense(units, activation=activation, name="last")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs, name="small")
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 4)
    return model


def answers(model: Any, preprocessing: Preprocessing, image: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(preprocessing.to_input([preprocessing.to_pixels(image)]), verbose=0)[0])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small model in a file, and its labels beside it."""
    build().save(tmp_path / "small.keras")
    (tmp_path / "labels.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(NAMES)))
    return tmp_path / "small.keras"


def test_file_becomes_a_bundle(file: Path, street_image: np.ndarray) -> None:
    bundle = trainkit.export(
        file, preprocessing="symmetric", class_names=file.parent / "labels.txt", exported=file.parent / "exported"
    )
    assert (bundle.path.name, bundle.agreement.ok) == ("small-onnx", True)
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    assert manifest["source"]["keras"] == "small.keras"
    assert manifest["output"] == {"kind": "softmax", "class_names": NAMES}
    expected = answers(build(), build_preprocessing("symmetric", height=24, width=32), street_image)
    assert 0.05 < expected.max() < 0.99
    actual = trainkit.Classifier(bundle.path).probabilities(street_image)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_bundle_of_a_file_is_checked_again_with_that_file(file: Path) -> None:
    exported = file.parent / "exported"
    bundle = trainkit.export(file, preprocessing="unit", class_names=NAMES, exported=exported)
    with pytest.raises(BundleError, match=r"came from small.keras, which is no run's. Then name its Keras model with"):
        trainkit.check(bundle.path)
    agreement = trainkit.check(bundle.path, keras=file)
    assert agreement.ok
    assert agreement.images == 16
    build(units=3).save(file)
    with pytest.raises(BundleError, match="is not the model that the bundle came from"):
        trainkit.check(bundle.path, keras=file)


def test_photographs_of_scikit_learn_stand_in(file: Path) -> None:
    bundle = trainkit.export(file, preprocessing="unit", class_names=NAMES, exported=file.parent / "exported")
    names = {path.name for path in (bundle.path / "selftest").iterdir()}
    assert {"1-original.jpg", "2-original.jpg", "8.png", "selftest.json"} < names
    shapes = {cv2.imread(str(path)).shape for path in (bundle.path / "selftest").glob("?.png")}
    assert len(shapes) >= 4
    assert selftest(bundle.path)["ok"]


def test_own_photographs_are_taken(file: Path) -> None:
    folder = write_class_folders(file.parent / "photos", count=4)
    arguments: dict[str, Any] = {"preprocessing": "unit", "class_names": NAMES, "exported": file.parent / "exported"}
    by_folder = trainkit.export(file, data=folder, name="folder", **arguments)
    assert by_folder.agreement.images == 12
    images = [draw_photo(seed, COLORS_BGR["red"]) for seed in range(3)]
    by_images = trainkit.export(file, images=images, name="images", **arguments)
    assert by_images.agreement.images == 3
    np.testing.assert_array_equal(cv2.imread(str(by_images.path / "selftest" / "1.png")), images[0])


def test_model_in_memory_becomes_a_bundle(tmp_path: Path, street_image: np.ndarray) -> None:
    model = build()
    preprocessing = Preprocessing(height=24, width=32, color="bgr", mean=(90.0, 100.0, 110.0), std=(50.0, 60.0, 70.0))
    before = [weight.copy() for weight in model.get_weights()]
    bundle = trainkit.export(model, preprocessing=preprocessing, class_names=NAMES, exported=tmp_path)
    assert bundle.path.name == "small-onnx"
    actual = trainkit.Classifier(bundle.path).probabilities(street_image)
    np.testing.assert_allclose(actual, answers(model, preprocessing, street_image), atol=1e-5)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_manifest_of_another_bundle_describes_a_model(file: Path, street_image: np.ndarray) -> None:
    exported = file.parent / "exported"
    first = trainkit.export(file, preprocessing="unit", color="bgr", class_names=NAMES, name="one", exported=exported)
    second = trainkit.export(file, manifest=first.path / "manifest.json", name="two", exported=exported)
    one, two = (trainkit.Classifier(bundle.path) for bundle in (first, second))
    np.testing.assert_array_equal(one.probabilities(street_image), two.probabilities(street_image))
    assert one.class_names == two.class_names


def test_model_of_any_size_leaves_at_the_one_that_was_chosen(tmp_path: Path) -> None:
    model = build(size=(None, None))
    bundle = trainkit.export(model, preprocessing="unit", size="40x28", class_names=NAMES, exported=tmp_path)
    assert json.loads((bundle.path / "manifest.json").read_text())["blob"]["size"] == [40, 28]
    with pytest.raises(UsageError, match="takes images of any size"):
        trainkit.export(model, preprocessing="unit", class_names=NAMES, name="b", exported=tmp_path)


@pytest.mark.parametrize("units", [1, 4])
def test_logits_leave_as_probabilities(tmp_path: Path, units: int, street_image: np.ndarray) -> None:
    model = build(activation=None, units=units)
    names = NAMES[: max(2, units)]
    bundle = trainkit.export(model, preprocessing="unit", class_names=names, from_logits=True, exported=tmp_path)
    logits = answers(model, build_preprocessing("unit", height=24, width=32), street_image)
    expected = np.array([-logits[0] / 2, logits[0] / 2]) if units == 1 else logits
    actual = trainkit.Classifier(bundle.path).probabilities(street_image)
    np.testing.assert_allclose(actual, np.exp(expected) / np.exp(expected).sum(), atol=1e-5)


def test_file_that_was_compiled_for_logits_says_so_itself(tmp_path: Path) -> None:
    model = build(activation=None)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(tmp_path / "model.keras")
    bundle = trainkit.export(tmp_path / "model.keras", preprocessing="unit", class_names=NAMES, exported=tmp_path)
    assert trainkit.check(bundle.path, keras=tmp_path / "model.keras").ok


def test_several_labels_at_once_stay_so(tmp_path: Path) -> None:
    bundle = trainkit.export(build("sigmoid"), preprocessing="unit", class_names=NAMES, exported=tmp_path)
    output = json.loads((bundle.path / "manifest.json").read_text())["output"]
    assert (output["kind"], output["multi_label"]) == ("sigmoid", True)


def test_oldest_opencv_is_in_the_manifest(file: Path) -> None:
    for version, expected in (("4.10", "4.10.0"), ("4.5.5", "4.5.5")):
        bundle = trainkit.export(
            file, preprocessing="unit", class_names=NAMES, opencv=version, name=version, exported=file.parent / "e"
        )
        assert json.loads((bundle.path / "manifest.json").read_text())["opencv"]["minimum"] == expected


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("four", "must be a version such as 4.5.5"),
        ("4", "must be a version such as 4.5.5"),
        ("4.5.4", "must be 4.5.5 or later"),
        ("99.1", "is later than the installed"),
    ],
)
def test_impossible_opencv_is_refused(file: Path, version: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trainkit.export(file, preprocessing="unit", class_names=NAMES, opencv=version)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_names": NAMES}, "How do pixels become this model's input"),
        ({"preprocessing": "unit"}, "What are this model's classes"),
        ({"preprocessing": "unit", "class_names": NAMES, "weights": "imagenet"}, "Received: --weights"),
        ({"preprocessing": "unit", "class_names": NAMES, "model": "mobilenet"}, "Received: --source"),
        ({"preprocessing": "unit", "class_names": NAMES, "from_logits": True}, "small ends in one. Leave it out"),
    ],
)
def test_what_does_not_go_with_a_file_is_refused(file: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trainkit.export(file, exported=file.parent / "exported", **arguments)
    assert not (file.parent / "exported").exists()


def test_other_number_of_classes_is_refused(file: Path) -> None:
    with pytest.raises(ModelError, match=r"small has 4 classes. Received: 3 class names"):
        trainkit.export(file, preprocessing="unit", class_names=NAMES[:3], exported=file.parent / "exported")


def test_run_takes_no_description(trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=r"A run knows all this about itself. Received: --preprocessing, --labels"):
        trainkit.export(trained_run, preprocessing="unit", class_names=NAMES, exported=tmp_path)


@pytest.mark.parametrize(("source", "received"), [(None, "nothing"), (5, "int")])
def test_what_is_no_source_is_refused(source: Any, received: str) -> None:
    with pytest.raises(UsageError, match=rf"Export needs a run, a .keras or .h5 file.* Received: {received}"):
        trainkit.export(source)


def test_source_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"No Keras model at .*missing.keras"):
        trainkit.export(tmp_path / "missing.keras")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ModelError, match="is a SavedModel of TensorFlow"):
        trainkit.export(tmp_path / "saved")
    with pytest.raises(RunError, match="No run nowhere"):
        trainkit.export("nowhere", experiments=tmp_path)


def test_place_that_is_taken_is_refused_before_anything_is_loaded(file: Path) -> None:
    (file.parent / "small-onnx").mkdir()
    file.write_bytes(b"damaged")
    with pytest.raises(OutputError, match="small-onnx exists already"):
        trainkit.export(file, preprocessing="unit", class_names=NAMES, exported=file.parent)


def test_name_of_a_file_becomes_a_plain_one(file: Path) -> None:
    odd = Path(shutil.copy(file, file.with_name(".my model (1).keras")))
    bundle = trainkit.export(odd, preprocessing="unit", class_names=NAMES, exported=file.parent / "exported")
    assert bundle.path.name == "my-model-1--onnx"


def rows(image: Any, name: str | None = None, units: int = 4, activation: str = "softmax") -> Any:
    kernel = keras.initializers.RandomNormal(stddev=0.05)
    return layers.Dense(units, activation, kernel_initializer=kernel, name=name)(layers.Flatten()(image))


def test_one_of_several_outputs_is_in_the_manifest_and_found_again(tmp_path: Path, street_image: np.ndarray) -> None:
    image = keras.Input((24, 32, 3))
    model = keras.Model(image, {"place": rows(image, units=3), "weather": rows(image)}, name="two")
    model.save(tmp_path / "two.keras")
    with pytest.raises(ModelError, match=r"two has 2 outputs: `place` \(None, 3\), `weather` .*--output place"):
        trainkit.export(tmp_path / "two.keras", preprocessing="unit", class_names=NAMES, exported=tmp_path)
    bundle = trainkit.export(
        tmp_path / "two.keras", preprocessing="unit", class_names=NAMES, output="weather", exported=tmp_path
    )
    assert json.loads((bundle.path / "manifest.json").read_text())["source"]["output"] == "weather"
    preprocessing = build_preprocessing("unit", height=24, width=32)
    expected = model(preprocessing.to_input([preprocessing.to_pixels(street_image)]))["weather"][0]
    np.testing.assert_allclose(trainkit.Classifier(bundle.path).probabilities(street_image), expected, atol=1e-5)
    assert trainkit.check(bundle.path, keras=tmp_path / "two.keras").ok


def test_output_of_a_loss_by_name_ends_in_logits(tmp_path: Path) -> None:
    image = keras.Input((24, 32, 3))
    model = keras.Model(image, {"place": rows(image, units=3), "weather": rows(image, activation="linear")})
    loss = keras.losses.SparseCategoricalCrossentropy
    model.compile(loss={"place": loss(), "weather": loss(from_logits=True)})
    model.save(tmp_path / "two.keras")
    options: dict[str, Any] = {"preprocessing": "unit", "exported": tmp_path}
    trainkit.export(tmp_path / "two.keras", class_names=NAMES, output="weather", name="weather", **options)
    trainkit.export(tmp_path / "two.keras", class_names=NAMES[:3], output="place", name="place", **options)
    sources = [json.loads((tmp_path / name / "manifest.json").read_text())["source"] for name in ("weather", "place")]
    assert [source.get("from_logits") for source in sources] == [True, None]


def test_average_of_flipped_pictures_leaves_and_is_checked(tmp_path: Path, street_image: np.ndarray) -> None:
    image = keras.Input((24, 32, 3))
    core = keras.Model(image, rows(layers.Conv2D(4, 3, activation="relu")(image)))
    model = keras.Model(image, (core(image) + core(keras.ops.flip(image, axis=2))) / 2, name="averaged")
    model.save(tmp_path / "averaged.keras")
    bundle = trainkit.export(tmp_path / "averaged.keras", preprocessing="unit", class_names=NAMES, exported=tmp_path)
    expected = answers(model, build_preprocessing("unit", height=24, width=32), street_image)
    np.testing.assert_allclose(trainkit.Classifier(bundle.path).probabilities(street_image), expected, atol=1e-5)
    assert selftest(bundle.path)["ok"]
    assert trainkit.check(bundle.path, keras=tmp_path / "averaged.keras").ok


def test_whole_levels_go_in_as_they_are(tmp_path: Path, street_image: np.ndarray) -> None:
    image = keras.Input((24, 32, 3), dtype="uint8")
    model = keras.Model(image, rows(layers.Rescaling(1 / 255)(image)), name="whole")
    model.save(tmp_path / "whole.keras")
    for source in (model, tmp_path / "whole.keras"):
        with pytest.raises(UsageError, match=r"whole takes whole grey levels .* Say --preprocessing none"):
            trainkit.export(source, preprocessing="unit", class_names=NAMES, exported=tmp_path)
    bundle = trainkit.export(tmp_path / "whole.keras", preprocessing="none", class_names=NAMES, exported=tmp_path)
    preprocessing = build_preprocessing("none", height=24, width=32)
    pixels = preprocessing.to_input([preprocessing.to_pixels(street_image)])
    assert (pixels == pixels.astype(np.uint8)).all()
    expected = np.asarray(model(pixels.astype(np.uint8)))[0]
    np.testing.assert_allclose(trainkit.Classifier(bundle.path).probabilities(street_image), expected, atol=1e-5)
    assert trainkit.check(bundle.path, keras=tmp_path / "whole.keras").ok


def test_grey_model_without_channels_leaves(tmp_path: Path, street_image: np.ndarray) -> None:
    model = keras.Sequential([keras.Input((28, 28)), layers.Flatten(), layers.Dense(4, activation="softmax")])
    model.save(tmp_path / "fashion.keras")
    bundle = trainkit.export(tmp_path / "fashion.keras", preprocessing="unit", class_names=NAMES, exported=tmp_path)
    preprocessing = build_preprocessing("unit", height=28, width=28, color="gray")
    pixels = preprocessing.to_input([preprocessing.to_pixels(street_image)])
    expected = np.asarray(model(pixels[..., 0]))[0]
    np.testing.assert_allclose(trainkit.Classifier(bundle.path).probabilities(street_image), expected, atol=1e-5)


# keras.applications


def test_every_application_is_one() -> None:
    assert all(callable(getattr(keras.applications, name)) for name in APPLICATIONS.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "mobilnet"}, "Unknown model `mobilnet`. Did you mean `mobilenet`"),
        ({"model": "small-cnn"}, "Unknown model `small-cnn`"),
        ({"model": "mobilenet", "weights": "none"}, "A network without weights knows nothing"),
        ({"model": "mobilenet", "color": "bgr"}, "brings what its weights were trained with. Received: --color"),
        ({"model": "vgg16", "alpha": 0.5}, "vgg16 comes in one width. Received: --alpha 0.5"),
    ],
)
def test_impossible_application_is_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trainkit.export(**arguments, exported=tmp_path)


def test_weights_of_an_application_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"No such weights file: missing.h5"):
        trainkit.export(model="mobilenet", weights="missing.h5", exported=tmp_path)


@pytest.mark.shared
def test_imagenet_has_a_thousand_different_names(shared: Path) -> None:
    names = load_imagenet_names()
    assert len(set(names)) == 1000
    assert names[:2] == ["tench", "goldfish"]
    assert "crane (n02012849)" in names
    assert "Siberian husky" in names


@pytest.mark.shared
def test_application_comes_in_its_size_only(shared: Path) -> None:
    with pytest.raises(UsageError, match=r"mobilenet with its 1,000 classes does not come so \(.*\(224, 224, 3\)"):
        build_application("mobilenet", width=100, height=224, weights="imagenet", alpha=0.75)
    with pytest.raises(WeightsError, match="do not fit mobilenet"):
        path = shared / "keras-home" / "models" / "mobilenet_2_5_224_tf.h5"
        build_application("mobilenet", width=224, height=224, weights=str(path), alpha=0.75)


PHOTOS = {
    "banana.jpg": {"banana"},
    "husky.jpg": {"Siberian husky", "Eskimo dog"},
    "car.jpeg": {"sports car", "racer", "grille", "beach wagon"},
    "Lenna.png": {"sombrero", "cowboy hat"},
}


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("resize", ["stretch", "pad"])
def test_mobilenet_knows_what_is_on_photographs(shared: Path, tmp_path: Path, resize: str) -> None:
    bundle = trainkit.export(
        model="mobilenet", weights="imagenet", alpha=0.75, resize=resize, name="mn", exported=tmp_path
    )
    assert trainkit.check(bundle.path).ok  # the model is built again
    classifier = trainkit.Classifier(bundle.path)
    for name, expected in PHOTOS.items():
        found = classifier.predict(cv2.imread(str(shared / "data" / "photos" / name)), top=2)
        assert {label for label, _ in found} & expected, (name, found)


@pytest.mark.shared
def test_labels_of_an_application_may_be_others(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has 1000 classes. Received: 4 class names"):
        trainkit.export(model="mobilenet", alpha=0.25, class_names=NAMES, exported=tmp_path)


TAGS = ["a", "b", "c", "d"]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("in_memory", [False, True])
def test_logits_of_several_labels_leave_with_a_sigmoid(
    tmp_path: Path, street_image: np.ndarray, asked: bool, in_memory: bool
) -> None:
    model = build(activation=None)
    # Only with from_logits=True does the loss itself say that the sigmoid is missing.
    model.compile(loss=keras.losses.BinaryFocalCrossentropy(from_logits=not asked))
    model.save(tmp_path / "small.keras")
    source = model if in_memory else tmp_path / "small.keras"
    bundle = trainkit.export(source, preprocessing="unit", class_names=TAGS, from_logits=asked, exported=tmp_path)
    assert json.loads((bundle.path / "manifest.json").read_text())["output"]["kind"] == "sigmoid"
    expected = 1 / (1 + np.exp(-answers(model, build_preprocessing("unit", height=24, width=32), street_image)))
    np.testing.assert_allclose(trainkit.Classifier(bundle.path).probabilities(street_image), expected, atol=1e-5)
    assert trainkit.check(bundle.path, keras=tmp_path / "small.keras").ok


def test_model_in_memory_says_by_its_loss_that_it_ends_in_logits(tmp_path: Path) -> None:
    inputs = keras.Input((24, 32, 3))
    row = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3)(inputs))
    model = keras.Model(inputs, [layers.Dense(3, name="kind")(row), layers.Dense(4, name="tags")(row)], name="two")
    losses = keras.losses.CategoricalCrossentropy(from_logits=True), keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(loss=list(losses))
    for output, kind, names in (("kind", "softmax", TAGS[:3]), ("tags", "sigmoid", TAGS)):
        arguments: dict[str, Any] = {"class_names": names, "output": output, "name": output, "exported": tmp_path}
        bundle = trainkit.export(model, preprocessing="unit", **arguments)
        assert json.loads((bundle.path / "manifest.json").read_text())["output"]["kind"] == kind


class OwnLoss(keras.losses.Loss):  # type: ignore[misc]
    """A loss that takes logits and says nothing by its name."""

    from_logits = True

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(y_pred - y_true)


def test_logits_that_can_be_read_in_two_ways_are_asked_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = build(activation=None)
    model.compile(loss=OwnLoss())
    arguments: dict[str, Any] = {"preprocessing": "unit", "class_names": TAGS, "exported": tmp_path}
    with pytest.raises(ModelError, match=r"own_loss on logits, .* say --from-logits.*Activation\('sigmoid'\) behind"):
        trainkit.export(model, **arguments)
    soft = trainkit.export(model, from_logits=True, **arguments)
    assert json.loads((soft.path / "manifest.json").read_text())["output"]["kind"] == "softmax"
    assert "A softmax follows the 4 logits of the model small: one class an image." in caplog.text
    advised = keras.Sequential([model, layers.Activation("sigmoid")], name="advised")
    bundle = trainkit.export(advised, **arguments)
    assert json.loads((bundle.path / "manifest.json").read_text())["output"]["kind"] == "sigmoid"
