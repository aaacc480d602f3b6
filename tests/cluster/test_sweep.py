"""Sweeps in this process: what they train, compare, prune, keep and write."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest
from slopes import RATES, arrays

import trainkit
from trainkit.cluster import _sweep_trial
from trainkit.cluster._sweep import read_duration
from trainkit.cluster._sweep_plan import OTHERS, SETTINGS
from trainkit.cluster._sweep_study import list_attempts
from trainkit.errors import DataError, MissingPackageError, TrainingError, UsageError
from trainkit.runs._rules import RULES
from trainkit.runs._run import Run, list_runs, summarize_runs

pytestmark = [pytest.mark.usefixtures("undrawn"), pytest.mark.cluster]


def sweep(folder: Path, **options: Any) -> trainkit.Sweep:
    default = {"trials": 2, "model": "fashion-mnist", "epochs": 2, "validation": 0.3, "space": RATES, "name": "tiny"}
    return trainkit.sweep(arrays(), experiments=folder / "runs", **{**default, **options})


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[trainkit.Sweep, Path]:
    folder = tmp_path_factory.mktemp("swept")
    return sweep(folder, trials=3, pruning=False), folder


def test_each_trial_is_a_whole_run_of_the_study(swept: tuple[trainkit.Sweep, Path]) -> None:
    found, folder = swept
    runs = list_runs(folder / "runs")
    assert [run.name.split("-", 2)[2] for run in runs] == ["tiny-trial-0", "tiny-trial-1", "tiny-trial-2"]
    assert [trial.run for trial in found.trials] == [run.path for run in runs]
    for number, run in enumerate(runs):
        assert (run.status, run.result["study"], run.result["trial"]) == ("finished", "tiny", number)
        assert {"model.keras", "metrics.csv", "report.html", "curves.png"} <= {path.name for path in run.path.iterdir()}
        assert len(run.metrics) == 2
    assert len(summarize_runs(folder / "runs", filters=["study=tiny"])) == 3
    assert summarize_runs(folder / "runs", filters=["study=other"]) == []


def test_value_is_that_of_the_best_epoch_on_validation_images(swept: tuple[trainkit.Sweep, Path]) -> None:
    found, _ = swept
    assert found.monitor == "accuracy"
    for trial in found.trials:
        assert trial.run is not None
        assert trial.value == max(row["val_accuracy"] for row in Run(trial.run).metrics)
        assert trial.value == pytest.approx(
            Run(trial.run).result["test_accuracy"] if trial != found.best else trial.value
        )
    assert found.best is not None and found.best.value == max(trial.value or 0 for trial in found.trials)


def test_images_for_testing_see_the_winner_alone(swept: tuple[trainkit.Sweep, Path]) -> None:
    found, _ = swept
    for trial in found.trials:
        assert trial.run is not None
        result = Run(trial.run).result
        assert result["test_split"] == ("test" if trial == found.best else "val")
        assert (sum(map(sum, result["confusion_matrix"])) == 30) == (trial == found.best)


def test_first_trial_is_the_training_without_a_sweep(swept: tuple[trainkit.Sweep, Path]) -> None:
    found, _ = swept
    assert found.trials[0].settings["training.learning_rate"] == 0.001
    assert found.trials[0].settings["training.batch_size"] in (16, 32)  # 64 is not among the choices
    assert len({trial.settings["training.learning_rate"] for trial in found.trials}) == 3


def test_settings_of_the_winner_can_be_trained_again(swept: tuple[trainkit.Sweep, Path]) -> None:
    found, folder = swept
    assert found.config is not None and found.best is not None and found.best.run is not None
    written = tomllib.loads(found.config.read_text(encoding="utf-8"))
    assert written["training"]["learning_rate"] == found.best.settings["training.learning_rate"]
    assert written["name"] == "tiny"
    again = trainkit.train(config=found.config, experiments=folder / "again")
    strip = ("seconds", "images_per_second")
    rows = [
        [{k: v for k, v in row.items() if k not in strip} for row in run.metrics]
        for run in (again, Run(found.best.run))
    ]
    assert rows[0] == rows[1]
    assert again.result["test_accuracy"] == Run(found.best.run).result["test_accuracy"]


def test_json_and_page_tell_what_was_found(swept: tuple[trainkit.Sweep, Path]) -> None:
    found, _ = swept
    document = json.loads(json.dumps(found.to_json()))
    assert document["study"] == "tiny"
    assert [trial["status"] for trial in document["trials"]] == ["finished"] * 3
    assert {"run", "status", "value"} <= document["trials"][0].keys()
    assert found.best is not None and document["best"]["run"] == str(found.best.run)
    assert document["best"]["test_split"] == "test"
    page = found.page.read_text(encoding="utf-8")
    assert page.endswith("</html>") and "parallel" not in page.split("<main>")[0]
    for text in ("History", "Settings and values", "The best runs", "tiny-trial-2", "learning rate"):
        assert text in page
    assert str(found.page.parent) not in page
    assert repr(found).startswith("Sweep(tiny: 3 trials, best accuracy ")


def test_same_call_adds_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    first = sweep(tmp_path)
    again = sweep(tmp_path)
    assert again == first and len(list_runs(tmp_path / "runs")) == 2
    more = sweep(tmp_path, trials=3)
    assert more.trials[:2] == first.trials and len(more.trials) == 3


def test_best_settings_are_written_where_their_run_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = sweep(tmp_path)
    assert first.best and first.best.run and first.config
    written = first.config.read_text(encoding="utf-8")
    shutil.rmtree(first.best.run)
    first.config.unlink()
    again = sweep(tmp_path)
    assert again.config and again.config.read_text(encoding="utf-8") == written
    assert again.best and again.best.value == first.best.value and again.to_json()["best"]["test_split"] is None
    assert f"The best run, {first.best.run}, is not here, and was not measured: it was removed, or is" in caplog.text


def test_what_promises_little_is_pruned_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optuna.trial.Trial.should_prune", lambda trial: trial.number == 1)
    found = sweep(tmp_path, trials=2, epochs=3)
    kept, pruned = (Run(trial.run) for trial in found.trials if trial.run)
    assert (kept.status, pruned.status) == ("finished", "pruned")
    assert len(pruned.metrics) == found.trials[1].epochs == 1
    assert pruned.result["test_split"] == "val" and pruned.result["keras_sha256"]
    assert found.trials[1].value == pruned.metrics[0]["val_accuracy"]
    assert found.best == found.trials[0]
    pruned.check_usable()
    assert summarize_runs(tmp_path / "runs", filters=["status=pruned"])[0]["epochs"] == 1
    resumed = trainkit.resume(pruned)
    assert (resumed.status, len(resumed.metrics)) == ("finished", 3)


def test_last_epoch_is_not_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optuna.trial.Trial.should_prune", lambda trial: True)
    found = sweep(tmp_path, trials=1, epochs=1)
    assert found.trials[0].status == "finished"


def test_interrupted_trial_goes_on_in_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sweep(tmp_path / "whole", trials=1)
    judging = _sweep_trial._judging

    def press_ctrl_c(plan: Any, trial: Any) -> Any:
        judge = judging(plan, trial)

        def told(epoch: int, value: float) -> bool:
            signal.raise_signal(signal.SIGINT)
            return judge(epoch, value)

        return told

    with monkeypatch.context() as patched:
        patched.setattr(_sweep_trial, "_judging", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            sweep(tmp_path, trials=1)
    (run,) = list_runs(tmp_path / "runs")
    assert (run.status, len(run.metrics)) == ("interrupted", 1)
    found = sweep(tmp_path, trials=1)
    (run,) = list_runs(tmp_path / "runs")
    assert run.status == "finished" and [trial.value for trial in found.trials] == [
        trial.value for trial in whole.trials
    ]
    assert [row["loss"] for row in run.metrics] == [row["loss"] for row in Run(whole.trials[0].run).metrics]  # type: ignore[arg-type]


def test_trial_that_fails_has_its_reason_and_the_sweep_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = _sweep_trial.fit

    def fail_once(config: Any, *arguments: Any, trial: Any, **options: Any) -> Any:
        if trial.number == 0:
            raise TrainingError("The loss is nan in epoch 1.")
        return fit(config, *arguments, trial=trial, **options)

    monkeypatch.setattr(_sweep_trial, "fit", fail_once)
    found = sweep(tmp_path, trials=2)
    assert [(trial.status, trial.value is None) for trial in found.trials] == [("failed", True), ("finished", False)]
    assert found.best == found.trials[1]


def test_sweep_ends_where_all_its_first_trials_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise TrainingError("The loss is nan in epoch 1.")

    monkeypatch.setattr(_sweep_trial, "fit", fail)
    with pytest.raises(TrainingError, match=r"The first 3 trials have all failed\. The last one: The loss is nan"):
        sweep(tmp_path, trials=9)


def test_trial_waits_where_something_in_the_world_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise DataError("The disk with the images is gone.")

    with monkeypatch.context() as patched:
        patched.setattr(_sweep_trial, "fit", fail)
        with pytest.raises(DataError, match="The disk"):
            sweep(tmp_path, trials=1)
    assert [trial.status for trial in sweep(tmp_path, trials=1).trials] == ["finished"]


def test_trials_are_drawn_anew_in_the_same_way(swept: tuple[trainkit.Sweep, Path], tmp_path: Path) -> None:
    again = sweep(tmp_path, trials=2, pruning=False)
    assert [trial.settings for trial in again.trials] == [trial.settings for trial in swept[0].trials[:2]]
    assert [trial.value for trial in again.trials] == [trial.value for trial in swept[0].trials[:2]]


def test_no_trial_begins_after_the_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trainkit")
    found = sweep(tmp_path, trials=5, time=0.001)
    assert found.trials == [] and found.best is None and found.config is None
    assert "The time is over. 0 of 5 trials of the study tiny have ended" in caplog.text
    assert found.to_json()["best"] is None and "tiny" in found.page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1.5h", 5400), (60, 60), ("7", 7)]
)
def test_duration_is_read(text: str | float, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2 weeks", "h", "-1h", 0, True, "1h30"])
def test_wrong_duration_is_refused(text: Any) -> None:
    with pytest.raises(UsageError, match=r"`time` must be such as 2h, 90m, 1h30m or a number of seconds above 0"):
        read_duration(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, r"`trials` must be a whole number from 1\. Received: 0"),
        ({"workers": 0}, r"`workers` must be a whole number from 1\. Received: 0"),
        ({"nonsense": 1}, r"A sweep takes the settings that `train` takes, and `nonsense` is none of them"),
        ({"study": "study.db"}, r"--study takes the URL of a database"),
        ({"validation": 0}, r"compares its trials on validation images, and there are none"),
        ({"epochs": -1}, r"`training\.epochs` must be a whole number from 1"),
        ({"space": {"training.epoch": [1]}}, r"Unknown setting `training\.epoch`"),
        ({"space": {"model.name": ["small-cnn"]}}, r"has other models than --model\. Received: fashion-mnist"),
    ],
)
def test_wrong_argument_is_refused_before_anything_is_written(tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sweep(tmp_path, **options)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_study_of_other_settings_is_refused(tmp_path: Path) -> None:
    sweep(tmp_path, trials=1)
    with pytest.raises(UsageError, match=r"The study tiny is one of other settings: .*`training\.epochs` is 2 there"):
        sweep(tmp_path, trials=2, epochs=3)


def test_missing_optuna_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r'needs the package optuna, .*: pip install "trainkit\[sweep\]"'):
        sweep(tmp_path)


def test_every_argument_of_train_that_sets_something_is_one_of_a_sweep() -> None:
    import inspect

    own = {"data", "settings", "experiments"}
    more = {"workers", "cluster"}  # which mean something else there
    assert set(inspect.signature(trainkit.train).parameters) - own - more == {*SETTINGS, *OTHERS}
    assert set(SETTINGS.values()) <= set(RULES)


def test_several_models_are_tried(tmp_path: Path) -> None:
    space = {"model.name": ["fashion-mnist", "small-cnn"], "model.filters": [4]}
    found = sweep(tmp_path, trials=4, model=None, space=space, epochs=1)
    for trial in found.trials:
        assert ("model.filters" in trial.settings) == (trial.settings["model.name"] == "small-cnn")
        assert trial.run is not None and Run(trial.run).config.model.name == trial.settings["model.name"]
    assert found.trials[0].settings["model.name"] == "fashion-mnist"
    study = open_study_of(tmp_path)
    assert all(attempts.ended for attempts in list_attempts(study))


def open_study_of(folder: Path) -> Any:
    import optuna

    return optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder}/runs/sweeps/tiny/study.db")
