"""What is trained where nobody names a model: it depends on the photographs, and on what can be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from photographs import draw_scene

import trainkit
from trainkit.data._dataset import ArrayImages, ColorImages, Dataset, Images, Part
from trainkit.errors import UsageError
from trainkit.training._default_model import PRETRAINED, leaves_model_open, suits_pretrained, weights_file
from trainkit.training._options import Options, resolve_settings

NO_WAY_OUT = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}  # a port that nobody serves


def write_photographs(folder: Path, *, height: int = 100, width: int = 140, count: int = 6, gray: bool = False) -> Path:
    for number, name in enumerate(("cats", "dogs")):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            image = draw_scene(100 * number + index, height, width)
            if gray:
                image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
            cv2.imwrite(str(folder / name / f"{index}.png"), image)
    return folder


def keras_home(folder: Path) -> Path:
    """Make a cache of Keras in which the weights are, with random numbers."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    from trainkit.backend import keras

    (folder / "models").mkdir(parents=True)
    network = keras.applications.MobileNet(include_top=False, weights=None, alpha=0.75, input_shape=(224, 224, 3))
    with h5py.File(folder / "models" / weights_file(0.75, 224, 224), "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)  # what the files of keras.applications are
    return folder


def dataset_of(images: Images) -> Dataset:
    return Dataset(name="x", class_names=["a", "b"], parts={"train": Part(images, np.arange(len(images)) % 2)})


def run_command(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainkit", *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        (
            {"training.epochs": 3, "augmentation.horizontal_flip": True, "name": "x", "preprocessing.resize": "pad"},
            True,
        ),
        ({"fine_tuning.epochs": 5}, True),
        ({"preprocessing.size": "96x96"}, True),
        ({"preprocessing.size": [160, 128], "preprocessing.color": "rgb", "preprocessing.name": "symmetric"}, True),
        ({"preprocessing.size": "95x200"}, False),
        ({"preprocessing.size": "large"}, False),
        ({"preprocessing.color": "gray"}, False),
        ({"preprocessing.color": "bgr"}, False),
        ({"preprocessing.name": "unit"}, False),
        ({"augmentation.preprocessing_function": "caffe"}, False),
        ({"model.name": "small-cnn"}, False),
        ({"model.filters": 8}, False),
        ({"model.weights": "none"}, False),
        ({"data": "digits"}, False),
        ({"data": "fashion-mnist"}, False),
    ],
)
def test_options_leave_the_model_open_or_not(options: dict[str, Any], expected: bool) -> None:
    assert leaves_model_open({"data": "photos", **options}) == expected


def test_photographs_are_large_and_in_color() -> None:
    large, small, wide = draw_scene(1, 96, 96), draw_scene(2, 95, 300), draw_scene(3, 120, 500)
    gray = np.repeat(large[..., :1], 3, axis=2)
    assert suits_pretrained(dataset_of(ColorImages([large, wide, small])))
    assert not suits_pretrained(dataset_of(ColorImages([large, small])))
    assert not suits_pretrained(dataset_of(ColorImages([gray, gray, wide])))
    assert suits_pretrained(dataset_of(ArrayImages(np.stack([large] * 4))))
    assert not suits_pretrained(dataset_of(ArrayImages(np.stack([large[..., 0]] * 4))))


@pytest.mark.shared
def test_file_of_the_weights_is_called_as_keras_calls_it(shared: Path) -> None:
    models = Path(os.environ["KERAS_HOME"]) / "models"
    assert all((models / weights_file(alpha, 224, 224)).is_file() for alpha in (0.25, 0.75))
    assert weights_file(1.0, 160, 160) == "mobilenet_1_0_160_tf_no_top.h5"
    assert weights_file(0.5, 96, 160) == weights_file(0.5, 300, 300) == "mobilenet_5_0_224_tf_no_top.h5"


@pytest.mark.parametrize(
    ("pictures", "model"), [({}, "mobilenet"), ({"height": 90}, "small-cnn"), ({"gray": True}, "small-cnn")]
)
def test_folder_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: dict[str, Any], model: str) -> None:
    monkeypatch.setenv("KERAS_HOME", str(keras_home(tmp_path / "keras")))
    arguments = {"data": str(write_photographs(tmp_path / "photos", **pictures)), "model.name": None}
    with resolve_settings(Options(arguments=arguments)) as resolved:
        assert resolved.config.model.name == model
    with resolve_settings(Options(arguments=arguments, settings={"preprocessing.size": "64x64"})) as resolved:
        assert (resolved.config.model.name, resolved.config.preprocessing.size) == ("small-cnn", (64, 64))
    settings = {"fine_tuning.epochs": 2}
    if model == "mobilenet":
        with resolve_settings(Options(arguments=arguments, settings=settings)) as resolved:
            assert resolved.config.fine_tuning is not None
    else:
        with pytest.raises(UsageError, match="The model small-cnn has no pretrained backbone to tune"):
            next(iter_settings(Options(arguments=arguments, settings=settings)))


def iter_settings(options: Options) -> Any:
    with resolve_settings(options) as resolved:
        yield resolved


@pytest.mark.slow
def test_photographs_train_the_pretrained_network_and_the_run_says_so(tmp_path: Path) -> None:
    home = keras_home(tmp_path / "keras")
    write_photographs(tmp_path / "photos")
    ended = run_command("train", "photos", "--epochs", 1, "--size", "96x96", cwd=tmp_path, KERAS_HOME=str(home))
    assert ended.returncode == 0, ended.stderr
    assert "no --model: taking mobilenet (alpha 0.75), pretrained on ImageNet" in ended.stderr
    (run,) = trainkit.list_runs(tmp_path / "experiments")
    assert {key: run.config[key] for key in PRETRAINED} == PRETRAINED
    assert (run.config.model.weights, run.config.preprocessing.name) == ("imagenet", "symmetric")
    assert (run.config.training.epochs, run.config.training.learning_rate) == (1, 0.003)
    assert ended.stdout.splitlines()[-1] == f"Next: trainkit export {run.name}"


@pytest.mark.slow
def test_without_weights_and_network_a_sentence_says_what_is_trained_instead(tmp_path: Path) -> None:
    write_photographs(tmp_path / "photos")
    arguments = ("train", "photos", "--epochs", 1, "--json")
    ended = run_command(*arguments, cwd=tmp_path, KERAS_HOME=str(tmp_path / "empty"), **NO_WAY_OUT)
    assert ended.returncode == 0, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if "from scratch" in line]
    assert line.startswith("Training small-cnn from scratch: it has to learn from these photographs alone")
    assert "Put mobilenet_7_5_224_tf_no_top.h5 from https://" in line
    assert "Downloading" not in ended.stderr
    (run,) = trainkit.list_runs(tmp_path / "experiments")
    assert (run.config.model.name, run.config.model.weights) == ("small-cnn", "none")
    assert not list((tmp_path / "empty").rglob("*.h5"))
