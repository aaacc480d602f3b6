"""Runs that version 0.1 wrote are read as they were by it: `tests/data/run-v1`, and one that was killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import trainkit as command

import trainkit
from trainkit.files import sha256_of
from trainkit.models._outputs import load_keras_model
from trainkit.runs._config_file import read_config

pytestmark = pytest.mark.usefixtures("undrawn")

DATA = Path(__file__).parents[1] / "data"
FINISHED, KILLED = "20261129-140852-v1", "20261129-140910-v1-unfinished"
CHOSEN_SINCE = {"training.deterministic": True, "training.plain_epochs": 0}  # what is asked for where nothing is said
ACCURACY = 0.9638888888888889  # of 360 test images, as version 0.1 measured it


@pytest.fixture
def experiments(tmp_path: Path) -> Iterator[Path]:
    """A folder with copies of both runs, under the names that they had."""
    folder = tmp_path / "experiments"
    for kept, name in (("run-v1", FINISHED), ("run-v1-unfinished", KILLED)):
        shutil.copytree(DATA / kept, folder / name)
    yield folder


def test_runs_are_found_and_listed(experiments: Path) -> None:
    assert [run.name for run in trainkit.list_runs(experiments)] == [FINISHED, KILLED]
    assert trainkit.find_run("v1", experiments).name == FINISHED
    rows = json.loads(command("runs", "--json", cwd=experiments.parent).stdout)
    assert [(row["run"], row["data"], row["model"], row["epochs"], row["status"]) for row in rows] == [
        (FINISHED, "digits", "small-cnn", 8, "finished"),
        (KILLED, "digits", "small-cnn", 3, "killed"),
    ]


def test_every_setting_is_what_the_file_says() -> None:
    for folder in (DATA / "run-v1", DATA / "run-v1-unfinished"):
        config = trainkit.find_run(folder).config
        assert config.values == read_config(folder / "config.toml")
        assert config.to_toml() == (folder / "config.toml").read_text(encoding="utf-8")
    run = trainkit.find_run(DATA / "run-v1")
    assert (run.config.model.filters, run.config.model.alpha, run.config.fine_tuning) == (4, None, None)
    assert (run.config.preprocessing.size, run.preprocessing.shape) == ((8, 8), (8, 8, 1))
    assert run.config.augmentation.width_shift_range == 1
    assert run.config.training.learning_rate == 0.01


def test_run_is_evaluated_and_exported(experiments: Path, tmp_path: Path) -> None:
    run = trainkit.find_run(FINISHED, experiments)
    assert run.result["test_accuracy"] == ACCURACY
    assert trainkit.evaluate(run)["test_accuracy"] == pytest.approx(ACCURACY, abs=1 / 360)  # an image, on another CPU
    bundle = trainkit.export(run, exported=tmp_path / "exported")
    assert bundle.agreement.ok


def test_run_is_reported(experiments: Path) -> None:
    trainkit.report(experiments / FINISHED)
    page = (experiments / FINISHED / "report.html").read_text(encoding="utf-8")
    assert "0.964" in page or "96.4" in page


def test_run_is_repeated(experiments: Path) -> None:
    again = trainkit.train(config=experiments / FINISHED / "config.toml", epochs=1, experiments=experiments)
    old = trainkit.find_run(FINISHED, experiments)
    assert again.config.values == {**old.config.values, "training.epochs": 1, **CHOSEN_SINCE}
    assert again.metrics[0]["loss"] == pytest.approx(old.metrics[0]["loss"], rel=1e-3)


def test_killed_run_goes_on(experiments: Path) -> None:
    before = trainkit.find_run(KILLED, experiments)
    rows, weights = before.metrics, sha256_of(before.model_path)
    run = trainkit.resume(KILLED, experiments=experiments)
    assert run.status == "finished"
    assert run.result["epochs"] == 6
    assert run.metrics[:3] == rows
    assert run.result["test_accuracy"] > 0.9
    assert sha256_of(run.model_path) != weights
    assert all(np.isfinite(array).all() for array in load_keras_model(run.model_path).get_weights())
