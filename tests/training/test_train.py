"""Training: what a run holds, that it repeats, and how it ends when it ends early."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from photographs import write_class_folders

import trainkit
from trainkit.backend import keras
from trainkit.data import Reading
from trainkit.errors import DataError, OutputError, TrainingError, UsageError, WeightsError
from trainkit.models._outputs import load_keras_model
from trainkit.reports._report import find_out

pytestmark = pytest.mark.usefixtures("undrawn")

TINY = {"size": (24, 16), "epochs": 2, "batch_size": 8}


def rows(run) -> list[dict[str, str]]:  # type: ignore[no-untyped-def]
    with (run.path / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_run_holds_everything(trained_run) -> None:  # type: ignore[no-untyped-def]
    names = {path.name for path in trained_run.path.iterdir()}
    assert names == {
        ".lock",
        "config.toml",
        "preprocessing.json",
        "labels.txt",
        "environment.json",
        "metrics.csv",
        "model.keras",
        "state",
        "result.json",
        "predictions.csv",
        "curves.png",
        "confusion_matrix.png",
        "report.html",
    }
    result = trained_run.result
    assert result["status"] == "finished"
    assert result["epochs"] == 3 == len(rows(trained_run))
    assert result["test_split"] == "test"
    assert 0 < result["seconds"] < 3600
    environment = json.loads((trained_run.path / "environment.json").read_text())
    assert environment["seed"] == 0
    assert environment["versions"]["keras"] == keras.__version__


def test_run_learns_the_colors(trained_run) -> None:  # type: ignore[no-untyped-def]
    assert trained_run.result["test_accuracy"] == 1.0
    figures = trainkit.evaluate(trained_run)
    assert figures["test_accuracy"] == 1.0
    assert figures["test_loss"] == pytest.approx(trained_run.result["test_loss"], rel=1e-5)
    assert [row["label"] for row in figures["classes"]] == ["blue", "green", "red"]
    assert sum(row["images"] for row in figures["classes"]) == np.sum(figures["confusion_matrix"])


@pytest.mark.slow
def test_same_seed_gives_the_same_run(tiny_dataset: Path, tmp_path: Path) -> None:
    runs = [trainkit.train(tiny_dataset, **TINY, seed=seed, experiments=tmp_path) for seed in (7, 7, 8)]
    figures = [[{**row, "seconds": "", "images_per_second": ""} for row in rows(run)] for run in runs]
    assert figures[0] == figures[1]
    assert figures[0] != figures[2]
    weights = [load_keras_model(run.model_path).get_weights() for run in runs]
    assert all(np.array_equal(one, other) for one, other in zip(weights[0], weights[1], strict=True))


def test_config_repeats_a_run(tiny_dataset: Path, tmp_path: Path) -> None:
    first = trainkit.train(
        tiny_dataset, **TINY, preprocessing="center", color="bgr", settings={"model.blocks": 1}, experiments=tmp_path
    )
    second = trainkit.train(config=first.path / "config.toml", experiments=tmp_path)
    assert [row["loss"] for row in rows(first)] == [row["loss"] for row in rows(second)]
    assert first.preprocessing == second.preprocessing
    third = trainkit.train(config=first.path / "config.toml", epochs=1, experiments=tmp_path)
    assert third.result["epochs"] == 1


def test_config_of_one_model_serves_another(tiny_dataset: Path, tmp_path: Path) -> None:
    first = trainkit.train(tiny_dataset, **TINY, settings={"model.filters": 4}, experiments=tmp_path)
    second = trainkit.train(config=first.path / "config.toml", model="fashion-mnist", experiments=tmp_path)
    assert second.config.section("model") == {"weights": "none"}
    assert second.config["preprocessing.size"] == [24, 16]


def test_best_epoch_is_the_one_that_validation_chose(tiny_dataset: Path, tmp_path: Path) -> None:
    run = trainkit.train(tiny_dataset, **{**TINY, "epochs": 6}, learning_rate=0.01, experiments=tmp_path)
    scores = [(float(row["val_accuracy"]), -float(row["val_loss"])) for row in rows(run)]
    assert run.result["best_epoch"] == scores.index(max(scores)) + 1


@pytest.mark.parametrize(
    ("sides", "validation", "split"), [(("train", "val"), 0.2, "val"), (("train",), 0.0, "test"), ((), 0.0, "test")]
)
def test_test_figures_say_where_they_come_from(
    tmp_path: Path, sides: tuple[str, ...], validation: float, split: str
) -> None:
    for side in sides or ("",):
        write_class_folders(tmp_path / "photos" / side, count=8)
    run = trainkit.train(tmp_path / "photos", **TINY, validation=validation, experiments=tmp_path / "experiments")
    assert run.result["test_split"] == split
    assert ("val_loss" in rows(run)[0]) == (split == "val")


def test_epochs_at_the_end_are_not_augmented(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    augmented: set[int] = set()
    monkeypatch.setattr(
        "trainkit.training._feeding.augment_batch",
        lambda pixels, augmentation, *, epoch, **where: (augmented.add(epoch), pixels)[1],
    )
    settings = {"augmentation.width_shift_range": 2, "training.plain_epochs": 2}
    run = trainkit.train(tiny_dataset, model="small-cnn", epochs=5, experiments=tmp_path, settings=settings)
    assert augmented == {0, 1, 2}
    shown = find_out(run, tmp_path).augmentation
    assert len(shown) == 1 + 3, "the original, and what the network saw augmented"


def test_plain_epochs_that_leave_none_to_augment_are_said(
    tiny_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"augmentation.width_shift_range": 2, "training.plain_epochs": 2}
    run = trainkit.train(tiny_dataset, size=(16, 16), epochs=2, experiments=tmp_path, settings=settings)
    assert any("No epoch sees augmented images: the last 2 are to be plain" in said for said in caplog.messages)
    assert find_out(run, tmp_path).augmentation == []


def test_two_classes_train_one_sigmoid(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "photos", count=12, colors=("blue", "red"))
    run = trainkit.train(folder, size=(24, 16), epochs=6, batch_size=4, experiments=tmp_path / "experiments")
    assert load_keras_model(run.model_path).output_shape == (None, 1)
    assert run.result["test_accuracy"] == 1.0
    bundle = trainkit.export(run, exported=tmp_path / "exported")
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    assert manifest["output"] == {"kind": "sigmoid", "class_names": ["blue", "red"]}
    image = run.load_data().parts["test"].images[0]
    assert trainkit.Classifier(bundle.path).predict(image)[0].label == "blue"


@pytest.mark.slow
def test_frozen_backbone_trains_as_the_whole_network_would(tmp_path: Path) -> None:
    """Features that are computed once give the head the same inputs as the whole network gives it."""
    folder = write_class_folders(tmp_path / "photos", count=8)
    backbone = keras.applications.MobileNet(include_top=False, weights=None, alpha=0.25, input_shape=(32, 32, 3))
    backbone.save_weights(tmp_path / "backbone.weights.h5")
    run = trainkit.train(
        folder,
        model="mobilenet",
        alpha=0.25,
        weights=tmp_path / "backbone.weights.h5",
        size=(32, 32),
        epochs=2,
        experiments=tmp_path / "experiments",
    )
    model = load_keras_model(run.model_path)
    layer = backbone.get_layer("conv_pw_5")
    np.testing.assert_array_equal(model.get_layer("conv_pw_5").kernel, layer.kernel)
    assert float(np.abs(model.get_layer("classes").bias).sum()) > 0
    assert trainkit.evaluate(run)["test_loss"] == pytest.approx(run.result["test_loss"], rel=1e-4)


@pytest.mark.parametrize(
    "name", ["mean-image", pytest.param("samplewise-center", marks=pytest.mark.slow), "samplewise-standardize"]
)
def test_what_the_graph_finishes_trains_like_the_others(tiny_dataset: Path, tmp_path: Path, name: str) -> None:
    run = trainkit.train(tiny_dataset, **{**TINY, "epochs": 4}, preprocessing=name, experiments=tmp_path)
    assert (run.path / "mean_image.npy").exists() == (name == "mean-image")
    assert run.preprocessing.samplewise == name.partition("samplewise-")[2] or run.preprocessing.mean_image is not None
    if name == "mean-image":
        part = run.load_data().parts["train"]
        pixels = np.stack([run.preprocessing.to_pixels(part.images[i]) for i in range(len(part))])[..., ::-1]
        expected = pixels.mean(axis=0, dtype=np.float64).astype(np.float32)
        np.testing.assert_array_equal(run.preprocessing.mean_image, expected)
    figures = trainkit.evaluate(run)
    assert figures["test_accuracy"] == run.result["test_accuracy"] > 0.5


def test_loss_that_is_no_number_ends_the_run(tiny_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"The loss is (nan|inf) in epoch 1: the learning rate is likely too high"):
        trainkit.train(tiny_dataset, **TINY, learning_rate=1e38, experiments=tmp_path)
    (run,) = trainkit.list_runs(tmp_path)
    assert run.result["status"] == "failed"
    assert "learning rate is likely too high" in run.result["message"]


def test_validation_that_is_no_number_ends_the_run(tiny_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="The loss is"):
        trainkit.train(tiny_dataset, **{**TINY, "batch_size": 1000}, learning_rate=1e38, experiments=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "vgg61"}, UsageError, "Unknown model `vgg61`. Did you mean `vgg16`"),
        ({"weights": "nowhere.h5"}, WeightsError, "No such weights file"),
        ({"model": "vgg16", "weights": "none", "size": (16, 16)}, UsageError, "at least 32x32"),
        ({"preprocessing": "caffe", "color": "gray"}, UsageError, "none for gray"),
    ],
)
def test_mistake_leaves_no_run(
    tiny_dataset: Path, tmp_path: Path, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        trainkit.train(tiny_dataset, experiments=tmp_path / "experiments", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_images_of_one_color_cannot_be_standardized(tmp_path: Path) -> None:
    import cv2

    for name, smallest in (("a", 8), ("b", 20)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for size in range(smallest, smallest + 6):
            cv2.imwrite(str(tmp_path / "photos" / name / f"{size}.png"), np.full((size, 9, 3), 77, np.uint8))
    with pytest.raises(DataError, match="one and the same colour"):
        trainkit.train(
            tmp_path / "photos", size=(8, 8), preprocessing="standardize", experiments=tmp_path / "experiments"
        )


def test_experiments_that_cannot_be_written_are_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        trainkit.train(tiny_dataset, **TINY, experiments=tmp_path / "file" / "experiments")


def test_evaluate_wants_the_data_it_was_trained_on(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "photos", count=6)
    run = trainkit.train(folder, **TINY, experiments=tmp_path / "experiments")
    (folder / "green").rename(folder / "emerald")
    with pytest.raises(DataError, match=r"The classes of .* are no longer those of"):
        trainkit.evaluate(run)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"The images of the run .* are no longer at .*Put them back"):
        trainkit.evaluate(run)


def test_evaluate_says_that_images_are_on_other_sides_than_in_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_class_folders(tmp_path / "photos", count=6)
    run = trainkit.train(folder, **TINY, experiments=tmp_path / "experiments")
    trainkit.evaluate(run)
    assert "no longer those" not in caplog.text
    for name in ("red", "green", "blue"):
        moved = tmp_path / "photos" / "test" / name
        moved.mkdir(parents=True)
        shutil.move(sorted((folder / name).iterdir())[0], moved)
        (folder / "train").mkdir(exist_ok=True)
        (folder / name).rename(folder / "train" / name)
    trainkit.evaluate(run)
    assert f"The images of {run.name} are no longer those that it was trained with, or on other sides" in caplog.text


def test_run_whose_sides_were_taken_for_classes_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for side in ("Training", "Testing"):
        write_class_folders(folder / side, count=4)
    run = trainkit.train(folder, **TINY, reading=Reading(sides="none"), experiments=tmp_path / "experiments")
    config = run.path / "config.toml"
    now = config.read_text()
    config.write_text(now.replace('[reading]\nsides = "none"\n', ""))  # as runs were written that had no such options
    assert config.read_text() != now
    with pytest.raises(DataError) as error:
        trainkit.evaluate(run.path)
    assert "Testing, Training. Received: blue, green, red. Folders of these names are there" in str(error.value)
    line, section = re.findall("`([^`]*)`", str(error.value))
    config.write_text(f"{config.read_text()}\n{section}\n{line}\n")
    assert trainkit.evaluate(run.path)["classes"] == run.result["classes"]


def test_class_that_is_missing_in_the_test_folder_is_trained_and_measured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_class_folders(tmp_path / "photos" / "train", count=6)
    write_class_folders(tmp_path / "photos" / "test", count=3, colors=("blue", "red"))
    run = trainkit.train(tmp_path / "photos", **TINY, experiments=tmp_path / "experiments")
    assert f"{tmp_path / 'photos' / 'test'} has no test image of `green`." in caplog.text
    assert [sum(row) for row in run.result["confusion_matrix"]] == [3, 0, 3]


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_weights(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainkit", "train", "digits", "--epochs", "500", "--name", "long", "--json"]
    command += ["--set", "model.filters=4"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = None
    for _ in range(3000):
        metrics = next((tmp_path / "experiments").glob("*-long/metrics.csv"), None)
        if metrics is not None or process.poll() is not None:
            break
        time.sleep(0.1)
    assert metrics is not None, process.communicate()
    os.kill(process.pid, signal.SIGINT)
    printed, chatter = process.communicate(timeout=300)
    assert process.returncode == 0, chatter
    assert "Traceback" not in chatter
    document = json.loads(printed)
    assert document["status"] == "interrupted"
    assert document["test_accuracy"] is None
    run = trainkit.find_run(document["run"])
    assert 1 <= run.result["epochs"] < 500
    assert load_keras_model(run.model_path).output_shape == (None, 10)
    assert trainkit.export(run, exported=tmp_path / "exported").agreement.ok


@pytest.mark.shared
@pytest.mark.slow
def test_fashion_mnist_answers_alike_on_every_test_image(shared: Path, tmp_path: Path) -> None:
    run = trainkit.train("fashion-mnist", epochs=1, experiments=tmp_path / "experiments")
    assert run.result["test_accuracy"] > 0.87
    assert sum(row["images"] for row in run.result["classes"]) == 10_000
    bundle = trainkit.export(run, exported=tmp_path / "exported")
    agreement = trainkit.check(bundle.path, data="fashion-mnist", experiments=tmp_path / "experiments")
    assert agreement.images == 10_000
    assert agreement.ok
