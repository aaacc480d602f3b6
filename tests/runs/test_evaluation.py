from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from commands import trainkit as command
from sklearn import metrics

import trainkit
from trainkit.backend import keras
from trainkit.deploy.python._manifest import read_manifest
from trainkit.models._builders import BUILDERS
from trainkit.runs._evaluation import measure

NAMES = ["cat", "dog", "owl"]


def test_measure_of_one_class_an_image() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    figures = measure(probabilities, np.array([0, 1, 1, 2]), NAMES)
    assert figures["test_accuracy"] == 0.75
    assert figures["test_loss"] == pytest.approx(-np.log([0.7, 0.8, 0.3, 0.6]).mean())
    assert figures["confusion_matrix"] == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert figures["classes"][1] == {
        "label": "dog",
        "precision": 1,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "images": 2,
    }


def test_measure_of_several_classes_an_image_is_that_of_keras() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.uniform(size=(50, 3)).astype(np.float32)
    labels = (generator.uniform(size=(50, 3)) < 0.4).astype(np.float32)
    figures = measure(probabilities, labels, NAMES)
    assert figures["test_accuracy"] == pytest.approx(
        float(np.mean(keras.metrics.binary_accuracy(labels, probabilities))), abs=1e-6
    )
    assert figures["test_loss"] == pytest.approx(
        float(np.mean(keras.losses.binary_crossentropy(labels, probabilities))), abs=1e-6
    )
    assert figures["confusion_matrix"] == []
    chosen, there = probabilities[:, 1] >= 0.5, labels[:, 1] == 1
    dog = figures["classes"][1]
    assert dog["precision"] == pytest.approx((chosen & there).sum() / chosen.sum())
    assert dog["recall"] == pytest.approx((chosen & there).sum() / there.sum())
    assert dog["images"] == there.sum() and dog["label"] == "dog"


def test_measure_obeys_the_thresholds_of_a_manifest() -> None:
    labels = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    probabilities = np.array([[0.4, 0.6, 0.1], [0.2, 0.9, 0.1]], np.float32)
    assert measure(probabilities, labels, NAMES)["test_accuracy"] == pytest.approx(4 / 6)
    assert measure(probabilities, labels, NAMES, thresholds=[0.3, 0.7, 0.5])["test_accuracy"] == 1


def test_measure_of_several_classes_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    probabilities = generator.uniform(size=(60, 3)).astype(np.float32)
    labels = generator.uniform(size=(60, 3)) < [0.3, 0.6, 0.1]
    figures, predicted = measure(probabilities, labels.astype(int), NAMES), probabilities >= 0.5
    precisions = metrics.average_precision_score(labels, probabilities, average=None)
    assert [row["average_precision"] for row in figures["classes"]] == pytest.approx(list(precisions))
    assert figures["mean_average_precision"] == pytest.approx(precisions.mean())
    assert figures["subset_accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    for average in ("macro", "micro"):
        assert figures[f"{average}_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average=average))
    assert figures["subset_accuracy"] < figures["test_accuracy"], "which flatters"


def test_a_class_without_images_has_no_average_precision() -> None:
    probabilities = np.array([[0.9, 0.8], [0.3, 0.1], [0.6, 0.2]])
    figures = measure(probabilities, np.array([[1, 0], [0, 0], [0, 0]]), NAMES[:2])
    assert [row["average_precision"] for row in figures["classes"]] == [1.0, None]
    assert figures["mean_average_precision"] == 1.0
    assert measure(probabilities, np.zeros((3, 2), int), NAMES[:2])["mean_average_precision"] is None


def test_measure_of_certain_answers_is_finite() -> None:
    labels = np.array([[1, 0], [0, 1]], np.float32)
    assert measure(labels, labels, NAMES[:2])["test_loss"] == pytest.approx(0, abs=1e-6)
    wrong = measure(1 - labels, labels, NAMES[:2])
    assert wrong["test_accuracy"] == 0 and np.isfinite(wrong["test_loss"])
    assert measure(labels * 0, labels, NAMES[:2])["classes"][0]["precision"] == 0


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", ["small-cnn", "fashion-mnist", "mobilenet"])
def test_builder_gives_a_sigmoid_for_each_label(name: str, count: int) -> None:
    settings = {**BUILDERS[name].settings, "weights": "none"}
    model = BUILDERS[name].build((32, 32, 3), count, multi_label=True, **settings)
    assert model.output_shape == (None, count)
    assert model.layers[-1].activation is keras.activations.sigmoid


@pytest.mark.slow
def test_table_of_several_labels_goes_the_whole_way(tiny_dataset: Path, tmp_path: Path) -> None:
    rows = ["image,label"]
    for path in sorted(tiny_dataset.glob("*/*.png")):
        more = {"blue": "|cold", "red": "|warm", "green": ""}[path.parent.name]
        rows.append(f"{path},{path.parent.name}{more}")
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    work = {"experiments": tmp_path / "experiments"}
    run = trainkit.train(tmp_path / "labels.csv", size=(32, 24), epochs=5, learning_rate=0.01, **work)
    assert run.name.endswith("-labels-small-cnn") and run.class_names == ["blue", "cold", "green", "red", "warm"]
    figures = trainkit.evaluate(run)
    assert figures["test_accuracy"] > 0.9 and figures["test_accuracy"] == run.result["test_accuracy"]
    assert [row["images"] > 0 for row in figures["classes"]] == [True] * 5
    assert figures["mean_average_precision"] > 0.9
    assert run.result["subset_accuracy"] == figures["subset_accuracy"]
    printed = command("evaluate", run.name, cwd=tmp_path).stdout
    assert re.search(r"^test right answers [01]\.\d{4} \(95% interval [\d.]+ to [\d.]+, \d+ images\), loss ", printed)
    assert re.search(
        r"mean average precision [\d.]+, subset accuracy [\d.]+ \(95% interval [\d.]+ to [\d.]+\), "
        r"macro F1 [\d.]+, micro F1 [\d.]+",
        printed,
    )
    page = (run.path / "report.html").read_text(encoding="utf-8")
    for words in ("Right answers", "Mean average precision", "Subset accuracy", "Average precision</th>"):
        assert words in page
    assert "Test accuracy" not in page and "the best by mean average precision" in page
    bundle = trainkit.export(run, exported=tmp_path / "exported", **work)
    manifest = read_manifest(bundle.path)
    assert manifest["output"]["multi_label"] is True and manifest["output"]["kind"] == "sigmoid"
    assert trainkit.check(bundle.path, exported=tmp_path / "exported", **work).ok
