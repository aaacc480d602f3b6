from __future__ import annotations

import csv
import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from commands import trainkit as run
from drawings import nothing_drawn

import trainkit
from trainkit.data._reading import Reading
from trainkit.errors import TrainingError, UsageError
from trainkit.training import _cross_validation as module

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = {"epochs": 2, "size": (16, 12)}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def validated(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("validated")
    with nothing_drawn():
        found = trainkit.cross_validate(
            tiny_dataset, folds=3, predictions=folder / "p.csv", experiments=folder / "experiments", **QUICK
        )
    return found, folder


def test_each_fold_is_a_run_and_every_image_is_answered_once(validated, tiny_dataset: Path) -> None:  # type: ignore[no-untyped-def]
    found, folder = validated
    assert [one.name.split("-", 2)[2] for one in found.runs] == [f"photos-small-cnn-fold-{k}-of-3" for k in (1, 2, 3)]
    assert all(one.status == "finished" and one.result["test_split"] == "test" for one in found.runs)
    rows = rows_of(folder / "p.csv")
    files = {str(path) for path in tiny_dataset.rglob("*.png")}
    assert Counter(row["file"] for row in rows) == Counter(files)
    assert all(row["true"] == Path(row["file"]).parent.name for row in rows)
    right = [row["true"] == row["predicted"] for row in rows]
    assert found.figures["test_accuracy"]["mean"] == pytest.approx(np.mean(right), abs=1e-9), "folds of equal size"


def test_figures_are_mean_and_deviation_over_the_folds(validated) -> None:  # type: ignore[no-untyped-def]
    found, _ = validated
    losses = [one.result["test_loss"] for one in found.runs]
    assert found.figures["test_loss"] == {
        "mean": pytest.approx(sum(losses) / 3),
        "deviation": pytest.approx((sum((loss - sum(losses) / 3) ** 2 for loss in losses) / 2) ** 0.5),
    }
    assert set(found.figures) == {"test_accuracy", "test_loss", "balanced_accuracy", "macro_f1"}
    assert repr(found).startswith("CrossValidation(3 folds of ")


def test_run_of_a_fold_is_evaluated_on_its_own_fold_again(validated) -> None:  # type: ignore[no-untyped-def]
    found, _ = validated
    second = found.runs[1]
    assert second.config.reading.held_out == "2/3"
    assert trainkit.evaluate(second)["test_accuracy"] == pytest.approx(second.result["test_accuracy"])
    held_out = {path for part in [second.load_data().parts["test"]] for path in map(part.path, range(len(part)))}
    answers = {row["file"] for row in rows_of(second.path / "predictions.csv")}
    assert answers == {str(path) for path in held_out}


@pytest.mark.slow
def test_arrays_are_called_by_their_numbers(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = (draw.integers(0, 90, (40, 8, 8)) + 160 * y[:, None, None]).astype(np.uint8)
    other = (draw.integers(0, 255, (4, 8, 8), np.uint8), np.array([0, 1, 0, 1]))
    trainkit.cross_validate(
        ((x, y), other), folds=4, epochs=1, predictions=tmp_path / "p.csv", experiments=tmp_path / "runs"
    )
    rows = rows_of(tmp_path / "p.csv")
    assert sorted(row["file"] for row in rows) == sorted(f"train[{number}]" for number in range(40))
    assert all(row["true"] == str(y[int(row["file"][6:-1])]) for row in rows)
    np.savez(tmp_path / "same.npz", x=x, y=y)
    assert trainkit.find_label_errors(tmp_path / "same.npz", predictions=tmp_path / "p.csv").images == 40


def test_several_labels_have_their_own_figures(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    y = draw.integers(0, 2, (60, 3))
    x = draw.integers(0, 255, (60, 8, 8), np.uint8)
    found = trainkit.cross_validate((x, y), folds=2, epochs=1, experiments=tmp_path / "runs")
    assert {"mean_average_precision", "subset_accuracy"} <= set(found.figures)
    assert found.predictions().probabilities.shape == (60, 3)


def test_interruption_says_what_is_there(tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, trained = module.train, []

    def train(*arguments: object, **options: object):  # type: ignore[no-untyped-def]
        found = real(*arguments, **options)  # type: ignore[arg-type]
        trained.append(found)
        if len(trained) == 2:
            found.set_result(status="interrupted")
        return found

    monkeypatch.setattr(module, "train", train)
    with pytest.raises(TrainingError, match=r"Fold 2 of 3 was interrupted\. Finished: \S+-fold-1-of-3\.") as raised:
        trainkit.cross_validate(tiny_dataset, folds=3, experiments=tmp_path / "runs", **QUICK)
    assert f"`trainkit train --resume {trained[1].path}` ends this one" in str(raised.value)
    assert "--set reading.held_out=3/3" in str(raised.value)


def test_warning_is_given_once_for_all_folds(caplog: pytest.LogCaptureFixture) -> None:
    with module._warning_once():
        for _ in range(3):
            logging.getLogger("trainkit").warning("the same")
    logging.getLogger("trainkit").warning("the same")
    assert [record.getMessage() for record in caplog.records] == ["the same"] * 2


def test_what_cannot_be_is_refused_before_anything_is_trained(tiny_dataset: Path, tmp_path: Path) -> None:
    for folds in (1, 0, 2.5, True):
        with pytest.raises(UsageError, match="`folds` must be a whole number from 2 to 9999"):
            trainkit.cross_validate(tiny_dataset, folds=folds, experiments=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"`reading\.held_out` is what a cross-validation sets"):
        trainkit.cross_validate(tiny_dataset, reading=Reading(held_out="1/3"), experiments=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_command_prints_a_row_a_fold_and_json(tiny_dataset: Path, tmp_path: Path) -> None:
    options = ["--folds", 2, "--epochs", 1, "--size", "16x12", "--predictions", "p.csv", "--group-by", r"(\d\d\d)"]
    document = json.loads(run("cross-validate", tiny_dataset, *options, "--json", cwd=tmp_path).stdout)
    assert document["folds"] == len(document["runs"]) == 2 and (tmp_path / "p.csv").is_file()
    assert document["figures"]["test_accuracy"].keys() == {"mean", "deviation"}
    config = (Path(document["runs"][0]["run"]) / "config.toml").read_text(encoding="utf-8")
    assert 'held_out = "1/2"' in config and "group_by" in config
    folds = [{row["file"][-7:-4] for row in rows_of(Path(one["run"]) / "predictions.csv")} for one in document["runs"]]
    assert not folds[0] & folds[1], "a number is in one fold, whatever the class"
