"""What an export says of how dark and light the training images are."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photographs import write_class_folders

import trainkit
from trainkit.bundles._brightness import describe_brightness, measure_training_pixels
from trainkit.bundles._bundle import write_bundle
from trainkit.bundles._exportable import exportable_from_run
from trainkit.data._dataset import ArrayImages, ColorImages, FileImages, Part
from trainkit.data._sources import load_dataset
from trainkit.deploy import Classifier
from trainkit.deploy.python._brightness import (
    RANGES,
    Brightness,
    compare_brightness,
    measure_brightness,
    read_training_pixels,
)
from trainkit.deploy.python._selftest import selftest
from trainkit.preprocessing import Preprocessing

GREY = Preprocessing(height=32, width=32, resize="stretch", color="gray", mean=(0.0,), std=(255.0,))
TINY: dict[str, Any] = {"epochs": 1, "size": (32, 24)}


def manifest_of(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "manifest.json").read_text(encoding="utf-8")))


def part_of(images: list[np.ndarray]) -> Part:
    return Part(ColorImages(images), np.zeros(len(images), np.int64))


def test_bundle_of_a_run_says_it_and_reads_it(tiny_bundle: Path, trained_run: trainkit.Run) -> None:
    found = manifest_of(tiny_bundle)["extra"]["training_pixels"]
    images = trained_run.load_data().parts["train"]
    pixels = [trained_run.preprocessing.to_pixels(images.images[index]) for index in range(len(images))]
    measured = [measure_brightness(list(image.transpose(2, 0, 1))) for image in pixels]
    assert found["images"] == len(images)
    assert found["mean"] == pytest.approx(np.mean([one.mean for one in measured]), abs=1e-3)
    assert found["std"] == pytest.approx(np.std([one.mean for one in measured]), abs=1e-3)
    assert sum(found["levels"]) == pytest.approx(1, abs=1e-5)
    assert read_training_pixels(manifest_of(tiny_bundle)) is not None
    classifier = Classifier(tiny_bundle)
    assert [classifier.brightness_warning(images.images[index]) for index in range(len(images))] == [None] * len(images)


def test_digits_are_warned_of_when_they_are_inverted() -> None:
    parts = load_dataset("digits").parts
    found = measure_training_pixels(parts["train"], GREY)
    assert found is not None and found["images"] == len(parts["train"])
    training = read_training_pixels({"extra": {"training_pixels": found}})
    assert training is not None

    def warned(images: list[np.ndarray]) -> float:
        measured = [measure_brightness([GREY.to_pixels(image)[..., 0]]) for image in images]
        return float(np.mean([compare_brightness(one, training, inverted=False) is not None for one in measured]))

    plain = [parts["test"].images[index] for index in range(len(parts["test"]))]
    assert warned(plain) <= 0.01
    assert warned([255 - image for image in plain]) >= 0.95


def test_file_of_keras_says_nothing(trained_run: trainkit.Run, tmp_path: Path) -> None:
    model = shutil.copy(trained_run.model_path, tmp_path / "model.keras")
    bundle = trainkit.export(
        model, preprocessing=trained_run.preprocessing, class_names=trained_run.class_names, exported=tmp_path
    )
    assert "training_pixels" not in manifest_of(bundle.path)["extra"]


@pytest.mark.usefixtures("undrawn")
def test_run_whose_images_are_gone_leaves_without_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_class_folders(tmp_path / "photos", count=10)
    run = trainkit.train(folder, **TINY, experiments=tmp_path / "experiments")
    shutil.rmtree(folder)
    with caplog.at_level(logging.WARNING):
        bundle = trainkit.export(run, exported=tmp_path)
    assert f"The images of the run {run.name} are no longer at {folder}. The bundle is checked on other" in caplog.text
    assert "training_pixels" not in manifest_of(bundle.path)["extra"]
    assert selftest(bundle.path)["ok"]


def test_few_images_do_not_say_what_is_usual() -> None:
    few = part_of([np.zeros((32, 32, 3), np.uint8)] * 19)
    assert measure_training_pixels(few, GREY) is None
    enough = part_of([np.zeros((32, 32, 3), np.uint8)] * 20)
    found = measure_training_pixels(enough, GREY)
    assert found is not None
    assert (found["mean"], found["std"], found["low"], found["high"]) == (0, 0, 0, 24)
    assert found["levels"] == [1.0] + [0.0] * (RANGES - 1)


def test_image_that_cannot_be_read_any_more_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = sorted(write_class_folders(tmp_path / "photos", count=10).glob("*/*"))
    paths[7].write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        assert measure_training_pixels(Part(FileImages(paths), np.zeros(len(paths), np.int64)), GREY) is None
    assert f"does not say how dark and light the training images are: OpenCV cannot read {paths[7]}" in caplog.text


def test_many_images_are_measured_by_some_of_them() -> None:
    pixels = np.zeros((5000, 8, 8), np.uint8)
    pixels[2500:] = 255
    found = measure_training_pixels(Part(ArrayImages(pixels), np.zeros(len(pixels), np.int64)), GREY)
    assert found is not None
    assert found["images"] == 2000
    assert (found["mean"], found["low"], found["high"]) == (127.5, 0, 255)


def test_bounds_hold_what_is_usual() -> None:
    levels = [1.0, *[0.0] * (RANGES - 1)]
    found = describe_brightness([Brightness(mean, levels) for mean in [100.0] * 998 + [90.0, 250.0]])
    assert found["low"] == pytest.approx(100.14 - 24, abs=1)  # what is near is usual, even if all are alike
    assert found["high"] < 130  # and one in a thousand is not
    assert found["inverted_above"] == 0.1


@pytest.mark.parametrize(("decided", "schema"), [({}, "trainkit/1"), ({"reject_below": 0.75}, "trainkit/2")])
def test_what_is_decided_stands_in_the_manifest(
    trained_run: trainkit.Run, tmp_path: Path, decided: dict[str, Any], schema: str
) -> None:
    exportable = replace(exportable_from_run(trained_run), **decided)
    bundle = write_bundle(exportable, model_format="onnx", name="decided", exported=tmp_path)
    manifest = manifest_of(bundle.path)
    assert manifest["schema"] == schema
    assert {key: manifest["output"].get(key) for key in decided} == decided
    assert Classifier(bundle.path).class_names == trained_run.class_names
