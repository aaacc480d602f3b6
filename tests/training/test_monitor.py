"""By what the best epoch is chosen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score

import trainkit
from trainkit.backend import keras
from trainkit.errors import UsageError
from trainkit.models._outputs import class_probabilities, load_keras_model
from trainkit.runs._evaluation import predict_pixels
from trainkit.training._monitor import (
    ENOUGH_IMAGES,
    balanced_accuracy,
    choose_more,
    estimate_recalls,
    score_epoch,
)
from trainkit.training._recorder import Recorder

pytestmark = pytest.mark.usefixtures("undrawn")

RUN_V1 = Path(__file__).parents[1] / "data" / "run-v1"
SMALL = {"model": "small-cnn", "batch_size": 16, "learning_rate": 0.01}
NETWORK = {"model.filters": 4, "model.blocks": 1}


def blobs(counts: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy images, a bit brighter from class to class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    noise = np.random.default_rng(seed).normal(0, 40, (len(labels), 12, 12))
    return np.clip(90 + 25 * labels[:, None, None] + noise, 0, 255).astype(np.uint8), labels


def train(data: Any, folder: Path, **options: Any) -> Any:
    settings = {**NETWORK, **options.pop("settings", {})}
    return trainkit.train(data, **{**SMALL, "epochs": 4, **options}, settings=settings, experiments=folder)


def best(run: Any, column: str, sign: int = 1) -> int:
    """Return the first epoch of the best by a column and the validation loss."""
    rows = run.metrics
    return 1 + max(range(len(rows)), key=lambda i: (sign * rows[i][column], -rows[i]["val_loss"], -i))


def answers(run: Any, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what the kept weights answer on a part, and its labels."""
    pixels, labels = trainkit_part(run, side)
    return predict_pixels(load_keras_model(run.model_path), pixels, run.preprocessing), labels


def trainkit_part(run: Any, side: str) -> tuple[np.ndarray, np.ndarray]:
    from trainkit.data._pipeline import read_pixels

    part = run.load_data().parts[side]
    return read_pixels(part, run.preprocessing), part.labels


SEVERAL_STEPS = {"training.steps_per_execution": 3, "training.label_smoothing": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "settings"),
    [
        ((600, 520), {}),  # one sigmoid
        ((560, 540, 500), SEVERAL_STEPS),  # a softmax
        pytest.param((560, 540, 500), {}, marks=pytest.mark.slow),
        pytest.param((600, 520), SEVERAL_STEPS, marks=pytest.mark.slow),
    ],
)
def test_balanced_accuracy_of_the_kept_epoch_is_that_of_scikit_learn(
    counts: tuple[int, ...], settings: dict[str, Any], tmp_path: Path
) -> None:
    x, y = blobs(counts)
    more = {"training.ema": 0.9, "augmentation.horizontal_flip": True} if settings else {}
    run = train((x, y), tmp_path, class_weights="balanced", validation=0.4, settings={**settings, **more})
    assert run.result["monitor"] == "balanced-accuracy"
    assert "balanced_accuracy_estimate" not in run.metrics[0], "every class has enough validation images"
    kept = run.result["best_epoch"]
    assert kept == best(run, "val_balanced_accuracy")
    outputs, labels = answers(run, "val")
    expected = balanced_accuracy_score(labels, class_probabilities(outputs).argmax(axis=1))
    assert run.metrics[kept - 1]["val_balanced_accuracy"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_rare_classes_are_measured_on_training_images_too(tmp_path: Path) -> None:
    run = train(blobs((400, 30)), tmp_path, class_weights="balanced", validation=0.2)
    rows, kept = run.metrics, run.result["best_epoch"]
    assert kept == best(run, "balanced_accuracy_estimate")
    (held_out, held), (trained, known) = answers(run, "val"), answers(run, "train")
    assert (held == 0).sum() >= ENOUGH_IMAGES > (held == 1).sum()
    right = [class_probabilities(outputs).argmax(axis=1) == of for outputs, of in ((held_out, held), (trained, known))]
    counts = [
        (np.array([hits[of == 0].sum(), hits[of == 1].sum()]), np.bincount(of))
        for hits, of in zip(right, (held, known), strict=True)
    ]
    more = (counts[1][0] * [0, 1], counts[1][1] * [0, 1])  # only the rare class is looked at in training
    expected = estimate_recalls(counts[0], more).mean()
    assert rows[kept - 1]["balanced_accuracy_estimate"] == pytest.approx(expected, abs=1e-9)


def test_estimate_is_woolfs() -> None:
    found = estimate_recalls(
        (np.array([90, 1, 0]), np.array([100, 3, 0])), (np.array([0, 30, 0]), np.array([0, 36, 0]))
    )
    shares, sizes = np.array([1.5 / 4, 30.5 / 37]), np.array([3, 36])
    weights = sizes * shares * (1 - shares)
    odds = np.exp((weights * np.log(shares / (1 - shares))).sum() / weights.sum())
    np.testing.assert_allclose(found, [0.9, odds / (1 + odds)])


def test_images_known_by_heart_hardly_count() -> None:
    """All 40 training images are right in both epochs; what 8 validation images say decides."""
    for_heart = (np.array([0, 40]), np.array([0, 40]))
    low, high = (estimate_recalls((np.array([95, right]), np.array([100, 8])), for_heart)[1] for right in (2, 6))
    assert high - low > 0.25
    unsure = [
        estimate_recalls((np.array([95, 4]), np.array([100, 8])), (for_heart[0] * 0 + [0, n], for_heart[1]))[1]
        for n in (10, 30)
    ]
    assert unsure[1] - unsure[0] > 0.25, "where training images are not known by heart, they decide"


def test_more_images_come_from_rare_classes_alone() -> None:
    held, training = np.repeat([0, 1, 2], [60, 45, 3]), np.tile([2, 0, 1, 3], 20)
    chosen = choose_more(held, training, 5)
    assert np.bincount(training[chosen], minlength=5).tolist() == [0, 5, 20, 20, 0]
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert choose_more(np.repeat([0, 1], 50), np.array([0, 1]), 2).tolist() == []


def test_balanced_accuracy_leaves_classes_without_images_out() -> None:
    assert balanced_accuracy(np.array([1, 0, 3]), np.array([2, 0, 3])) == 0.75


def test_scores_compare_as_they_should() -> None:
    accurate = {"accuracy": 0.9, "loss": 1.0, "val_accuracy": 0.8, "val_loss": 0.7, "val_balanced_accuracy": 0.6}
    assert score_epoch("accuracy", accurate, 3) == [0.8, -0.7]
    assert score_epoch("balanced-accuracy", accurate, 3) == [0.6, -0.7]
    assert score_epoch("balanced-accuracy", {**accurate, "balanced_accuracy_estimate": 0.5}, 3) == [0.5, -0.7]
    assert score_epoch("loss", accurate, 3) == [-0.7, -0.7]
    assert score_epoch("loss", {"loss": 1.0}, 3) == [-1.0, 0.0]
    assert score_epoch(None, {"loss": 1.0}, 3) > score_epoch(None, {"loss": 0.5}, 2)
    undefined = score_epoch("loss", {**accurate, "val_loss": float("nan")}, 1)
    assert score_epoch("loss", accurate, 2) > undefined and not undefined > score_epoch("loss", accurate, 2)


@pytest.mark.parametrize(
    ("monitor", "column", "sign"), [("accuracy", "val_accuracy", 1), ("loss", "val_loss", -1), ("auto", "val_loss", 0)]
)
def test_monitor_is_obeyed_and_what_it_does_not_need_is_not_measured(
    monitor: str, column: str, sign: int, tmp_path: Path
) -> None:
    run = train(blobs((60, 50)), tmp_path, validation=0.3, settings={"training.monitor": monitor})
    assert run.result["monitor"] == (monitor if sign else "accuracy")
    assert run.result["best_epoch"] == best(run, column if sign else "val_accuracy", sign or 1)
    assert not {"val_balanced_accuracy", "val_mean_average_precision"} & run.metrics[0].keys()
    assert run.config["training.monitor"] == monitor


def test_without_validation_the_last_epoch_is_kept_or_the_one_of_the_least_loss(tmp_path: Path) -> None:
    run = train(blobs((40, 40)), tmp_path, class_weights="balanced", validation=0.0, epochs=3)
    assert (run.result["best_epoch"], run.result["monitor"]) == (3, None)
    run = train(blobs((40, 40)), tmp_path, validation=0.0, epochs=3, settings={"training.monitor": "loss"})
    losses = [row["loss"] for row in run.metrics]
    assert (run.result["best_epoch"], run.result["monitor"]) == (1 + losses.index(min(losses)), "loss")


def table_of_several_labels(folder: Path, count: int = 60) -> Path:
    import cv2

    x, _ = blobs((count,))
    wanted = np.random.default_rng(1).integers(0, 2, (count, 3))
    rows = ["image,label"]
    for number, (image, there) in enumerate(zip(x, wanted, strict=True)):
        image[:4] = 200 * there[0]
        image[4:8] = np.clip(image[4:8].astype(int) + 60 * there[1], 0, 255)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        rows.append(f"{number}.png,{'|'.join(name for name, is_in in zip('abc', there, strict=True) if is_in) or 'c'}")
    (folder / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder / "labels.csv"


def test_several_labels_are_chosen_by_mean_average_precision(tmp_path: Path) -> None:
    run = train(table_of_several_labels(tmp_path), tmp_path / "runs", validation=0.3, size=(12, 12))
    assert run.result["monitor"] == "mean-average-precision"
    kept = run.result["best_epoch"]
    assert kept == best(run, "val_mean_average_precision")
    outputs, labels = answers(run, "val")
    expected = average_precision_score(labels[:, labels.any(axis=0)], outputs[:, labels.any(axis=0)], average="macro")
    assert run.metrics[kept - 1]["val_mean_average_precision"] == pytest.approx(expected, abs=1e-9)


def test_a_monitor_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    one, several = blobs((40, 40)), table_of_several_labels(tmp_path, count=30)
    with pytest.raises(
        UsageError, match="mean-average-precision needs images that may have several classes, and these"
    ):
        train(one, tmp_path / "runs", settings={"training.monitor": "mean-average-precision"})
    with pytest.raises(UsageError, match="balanced-accuracy needs one class an image, and these may have several"):
        train(several, tmp_path / "runs", size=(12, 12), settings={"training.monitor": "balanced-accuracy"})
    for monitor in ("accuracy", "balanced-accuracy"):
        with pytest.raises(
            UsageError, match=rf"`training.monitor` {monitor} is of the validation images, and there are"
        ):
            train(one, tmp_path / "runs", validation=0.0, settings={"training.monitor": monitor})
    with pytest.raises(UsageError, match=r"Unknown monitor `acuracy`. Did you mean `accuracy`"):
        train(one, tmp_path / "runs", settings={"training.monitor": "acuracy"})
    assert not list((tmp_path / "runs").glob("[0-9]*"))


@pytest.mark.slow
def test_an_earlier_runs_config_chooses_as_it_did(tmp_path: Path) -> None:
    text = (RUN_V1 / "config.toml").read_text(encoding="utf-8")
    config = tmp_path / "config.toml"
    config.write_text(text.replace('class_weights = "none"', 'class_weights = "balanced"'), encoding="utf-8")
    again = trainkit.train(config=config, epochs=1, settings=NETWORK, experiments=tmp_path / "runs")
    assert (again.result["monitor"], again.config.training.monitor) == ("accuracy", None)
    weighed = trainkit.train(
        config=RUN_V1 / "config.toml",
        class_weights="balanced",
        epochs=1,
        settings=NETWORK,
        experiments=tmp_path / "runs",
    )
    assert weighed.result["monitor"] == "balanced-accuracy"
    config.write_text('data = "digits"\n[training]\nclass_weights = "balanced"\nepochs = 1\n', encoding="utf-8")
    by_hand = trainkit.train(config=config, model="small-cnn", settings=NETWORK, experiments=tmp_path / "runs")
    assert (by_hand.result["monitor"], by_hand.config.training.monitor) == ("balanced-accuracy", "auto")


def test_an_earlier_run_goes_on_as_it_began(tmp_path: Path) -> None:
    """Its settings say nothing of a monitor, and so it is accuracy, however its classes weigh."""
    folder = tmp_path / "20261129-140910-v1-unfinished"
    shutil.copytree(RUN_V1.parent / "run-v1-unfinished", folder)
    config = folder / "config.toml"
    text = config.read_text(encoding="utf-8").replace('class_weights = "none"', 'class_weights = "balanced"')
    config.write_text(text, encoding="utf-8")
    run = trainkit.resume(folder)
    assert run.result["monitor"] == "accuracy"
    assert run.result["best_epoch"] == best(run, "val_accuracy")
    assert "val_balanced_accuracy" not in run.metrics[-1]


@pytest.mark.parametrize(("mixup", "warned"), [("0.2", True), ("0.0", False)])
def test_an_earlier_run_goes_on_by_the_present_rules_and_says_so(
    mixup: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "20261129-140910-v1-unfinished"
    shutil.copytree(RUN_V1.parent / "run-v1-unfinished", folder)
    config = folder / "config.toml"
    text = config.read_text(encoding="utf-8").replace('class_weights = "none"', 'class_weights = "balanced"')
    assert "mixup = 0.0" in text
    config.write_text(text.replace("mixup = 0.0", f"mixup = {mixup}"), encoding="utf-8")
    trainkit.resume(folder)
    assert ("the weights of mixed images" in caplog.text) == warned


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rare_class_is_kept_by_what_chooses_the_epoch(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fashion-MNIST's pullovers against few coats: the kept epoch is about as good as the best on balanced test images.

    The test images choose nothing: every epoch's weights are measured on them only here.
    """
    (x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    places = np.concatenate([np.flatnonzero(y == 2)[:2000], np.flatnonzero(y == 4)[:40]])
    test_places = np.flatnonzero(np.isin(y_test, (2, 4)))
    train_data, test_data = (x[places], y[places] // 2 - 1), (x_test[test_places], y_test[test_places] // 2 - 1)
    recalls = []

    class Watched(Recorder):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            super().on_epoch_end(epoch, logs)
            right = (self.model.predict(test_data[0][..., None], verbose=0)[:, 0] > 0.5) == test_data[1]
            recalls.append([right[test_data[1] == label].mean() for label in (0, 1)])

    monkeypatch.setattr("trainkit.training._fit.Recorder", Watched)
    run = trainkit.train(
        (train_data, test_data),
        class_names=["pullover", "coat"],
        model="small-cnn",
        epochs=8,
        seed=seed,
        class_weights="balanced",
        settings={"model.filters": 8},
        experiments=tmp_path,
    )
    balanced = np.mean(recalls, axis=1)
    kept = run.result["best_epoch"] - 1
    assert balanced[kept] >= balanced.max() - 0.02, balanced
    assert recalls[kept][1] >= 0.25, recalls
    assert run.result["test_accuracy"] == pytest.approx(balanced[kept], abs=1e-9), "there are as many of both"
