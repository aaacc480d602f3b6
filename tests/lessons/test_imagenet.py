from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from urllib.error import URLError

import cv2
import numpy as np
import pytest

import trainkit
from trainkit.backend import keras
from trainkit.errors import DataError, UsageError, WeightsError
from trainkit.models._applications import APPLICATIONS, find_application, load_imagenet_names


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return make_photo(tmp_path, 224)


def make_photo(folder: Path, side: int) -> Path:
    """Write a picture of the size that the network takes, so that nothing is resized."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    assert cv2.imwrite(str(folder / "photo.png"), cv2.blur(pixels, (9, 9)))
    return folder / "photo.png"


def as_keras_does(model: keras.Model, module, photo: Path) -> list[tuple[str, float]]:  # type: ignore[no-untyped-def]
    image = keras.utils.img_to_array(keras.utils.load_img(photo))
    probabilities = model.predict(module.preprocess_input(image[None]), verbose=0)
    (decoded,) = keras.applications.imagenet_utils.decode_predictions(probabilities, top=3)
    return [(name.replace("_", " "), float(probability)) for _, name, probability in decoded]


def assert_same(found: list[dict], wanted: list[tuple[str, float]]) -> None:
    assert len(found) == len(wanted)
    for one, (name, probability) in zip(found, wanted, strict=True):
        assert one["label"].split(" (n")[0] == name
        assert one["probability"] == pytest.approx(probability, abs=1e-6)


def use_every_channel(network: keras.Model, batch: np.ndarray) -> None:
    """Set batch normalisation to a picture: a random network of many layers gives every class the same otherwise."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(batch, training=True)


@pytest.mark.shared
def test_mobilenet_sees_what_it_sees_in_keras(shared: Path, photo: Path) -> None:
    (found,) = trainkit.classify(photo, model="MobileNet", alpha=0.75, top=3)
    network = keras.applications.MobileNet(alpha=0.75)
    assert_same(found["predictions"], as_keras_does(network, keras.applications.mobilenet, photo))
    assert found["image"] == str(photo)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("mobilenet-v3-small", "mobilenet_v3"),
        pytest.param("vgg16", "vgg16", marks=pytest.mark.slow),
        pytest.param("mobilenet-v2", "mobilenet_v2", marks=pytest.mark.slow),
        pytest.param("efficientnet-b0", "efficientnet", marks=pytest.mark.slow),
        pytest.param("resnet50", "resnet", marks=pytest.mark.slow),
        pytest.param("resnet50-v2", "resnet_v2", marks=pytest.mark.slow),
        pytest.param("densenet121", "densenet", marks=pytest.mark.slow),
        pytest.param("xception", "xception", marks=pytest.mark.slow),
        pytest.param("nasnet-mobile", "nasnet", marks=pytest.mark.slow),
        pytest.param("convnext-tiny", "convnext", marks=pytest.mark.slow),
    ],
)
def test_network_of_a_file_sees_what_it_sees_in_keras(shared: Path, tmp_path: Path, name: str, module: str) -> None:
    keras.utils.set_random_seed(0)
    side = 299 if name == "xception" else 224
    own = {"input_shape": (side, side, 3)}  # MobileNetV3 leaves it open
    network = getattr(keras.applications, APPLICATIONS[name])(weights=None, **own)
    photo = make_photo(tmp_path, side)
    use_every_channel(network, getattr(keras.applications, module).preprocess_input(cv2.imread(str(photo))[None] * 1.0))
    network.save_weights(tmp_path / "all.weights.h5")
    (found,) = trainkit.classify([photo], model=name, weights=tmp_path / "all.weights.h5", top=3)
    assert_same(found["predictions"], as_keras_does(network, getattr(keras.applications, module), photo))


@pytest.mark.shared
def test_photographs_of_any_size_are_known(shared: Path) -> None:
    photos = [shared / "data/photos" / name for name in ("husky.jpg", "banana.jpg", "orange.jpg")]
    found = trainkit.classify(photos, alpha=0.75)
    labels = [one["predictions"][0]["label"] for one in found]
    assert labels[0] in ("Eskimo dog", "Siberian husky")
    assert labels[1:] == ["banana", "orange"]
    assert all(len(one["predictions"]) == 5 for one in found)


def test_names_are_those_of_keras_and_every_one_has_its_preprocessing() -> None:
    public = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(APPLICATIONS.values()) == public
    for name, keras_name in APPLICATIONS.items():
        assert find_application(keras_name) == find_application(name) == name
        home = sys.modules[getattr(keras.applications, keras_name).__module__]
        assert callable(home.preprocess_input)


def test_missing_weights_say_which_file_from_where_goes_where(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.src.utils.file_utils, "urlretrieve", _offline)
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    with pytest.raises(
        WeightsError, match=r"Put vgg19_\S+\.h5 from https://\S+\.h5 into .*models, or name a file by --"
    ):
        trainkit.classify(photo, model="vgg19")


def test_missing_class_names_say_which_file_from_where_goes_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.src.utils.file_utils, "urlretrieve", _offline)
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    monkeypatch.setattr(keras.src.applications.imagenet_utils, "CLASS_INDEX", None)
    with pytest.raises(
        WeightsError, match=rf"Put imagenet_class_index\.json from https://\S+\.json into {tmp_path}/models, or go onl"
    ):
        load_imagenet_names()


def _offline(*arguments: object, **named: object) -> None:
    raise URLError("there is no network")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "vgg17"}, UsageError, "Unknown model `vgg17`. Did you mean `vgg1"),
        ({"weights": "no.h5"}, WeightsError, "No such weights file: no.h5"),
        ({"weights": "none"}, UsageError, "random weights says nothing about a photograph"),
        ({"model": "vgg16", "alpha": 0.5}, UsageError, "vgg16 comes in one width"),
        ({"top": 0}, UsageError, "at least 1"),
        ({"images": "no.jpg"}, DataError, "No such image: no.jpg"),
    ],
)
def test_what_cannot_be_classified(photo: Path, arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        trainkit.classify(**{"images": photo, **arguments})


_JUNK = ("junk.keras", r"cannot be read \(.*\)\. Save or download them again")


def test_weights_of_another_network_are_one_sentence(photo: Path, tmp_path: Path) -> None:
    keras.applications.MobileNet(alpha=0.25, weights=None, classes=7).save_weights(tmp_path / "seven.weights.h5")
    (tmp_path / "junk.keras").write_bytes(b"no weights")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, said in (("seven.weights.h5", "do not fit mobilenet .*Give a file saved from the same"), _JUNK):
            with pytest.raises(WeightsError, match=f"{name} {said}"):
                trainkit.classify(photo, weights=tmp_path / name, alpha=0.25)


@pytest.mark.shared
def test_command_names_bad_images_and_classifies_the_others(shared: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    command = [sys.executable, "-m", "trainkit", "classify", "bad.jpg", photo.name, "--alpha", "0.25", "--top", "2"]
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Left out 1 of 2 images: bad.jpg ")
    (found,) = json.loads(done.stdout)
    assert list(found) == ["image", "predictions"]
    assert [list(one) for one in found["predictions"]] == [["label", "probability"]] * 2
