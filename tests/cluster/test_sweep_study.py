"""The study by itself: what counts, what is taken back, who gets which trial. Nothing is trained here."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from trainkit.cluster import _sweep_study as module
from trainkit.cluster._sweep_study import (
    BEGAN,
    ENDED_IN_ORDER,
    RUN,
    SURPLUS,
    Plan,
    list_attempts,
    retry,
    studying,
    take_back_lost,
)
from trainkit.cluster._sweep_url import checked_url, url_of_file, with_driver, without_password
from trainkit.errors import TrainkitError, UsageError
from trainkit.runs._settings import build_config

pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")


def make_plan(folder: Path, **changes: Any) -> Plan:
    base = build_config({"data": "digits", "training.monitor": "accuracy"}).values
    plan = Plan(
        study="digits",
        url=f"sqlite:///{folder}/study.db",
        experiments=str(folder),
        bases={"small-cnn": base},
        space={"training.batch_size": [16, 32]},
        monitor="accuracy",
        images="a",
        trials=3,
    )
    return replace(plan, **changes)


def open_study(plan: Plan) -> optuna.Study:
    return module.open_study(plan, module.open_storage(plan.url))


def test_study_goes_on_where_it_is_opened_again(tmp_path: Path) -> None:
    open_study(make_plan(tmp_path)).tell(open_study(make_plan(tmp_path)).ask(), 0.5)
    study = open_study(make_plan(tmp_path, trials=9, prunes=False, experiments="elsewhere"))
    assert [trial.value for trial in study.get_trials()] == [0.5]
    assert study.direction.name == "MAXIMIZE"
    assert open_study(make_plan(tmp_path, study="loss", monitor="loss")).direction.name == "MINIMIZE"


@pytest.mark.parametrize(("epochs", "judged_from"), [(2, 1), (5, 1), (12, 2), (30, 5)])
def test_where_there_are_many_epochs_a_trial_is_judged_later(tmp_path: Path, epochs: int, judged_from: int) -> None:
    plan = make_plan(tmp_path, trials=9)
    bases = {name: {**base, "training.epochs": epochs} for name, base in plan.bases.items()}
    study = open_study(replace(plan, bases=bases, prunes=True))
    for value in (0.5, 0.6, 0.7, 0.8, 0.1):
        trial, pruned = study.ask(), []
        for epoch in range(1, epochs + 1):
            trial.report(value, epoch)
            if trial.should_prune():
                pruned.append(epoch)
        study.tell(trial, value)
    assert pruned == list(range(judged_from, epochs + 1))


def test_study_of_other_settings_images_or_space_is_refused(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    open_study(plan)
    other = {"small-cnn": {**plan.bases["small-cnn"], "training.epochs": 7}}
    with pytest.raises(
        UsageError,
        match=r"The study digits is one of other settings: .*`training\.epochs` is 20 there "
        r"and 7 here\. Repeat the command .* with --name\.",
    ):
        open_study(replace(plan, bases=other))
    with pytest.raises(UsageError, match=r"`training\.batch_size` is \[16, 32\] there and \[16, 64\] here"):
        open_study(replace(plan, space={"training.batch_size": [16, 64]}))
    with pytest.raises(UsageError, match=r"is one of other images\. Put them back"):
        open_study(replace(plan, images="b"))


def test_data_may_lie_elsewhere_on_another_machine(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, bases={"small-cnn": {"data": "/here/photos", "model.name": "small-cnn"}})
    open_study(plan)
    open_study(replace(plan, bases={"small-cnn": {"data": "/there/photos", "model.name": "small-cnn"}}))
    with pytest.raises(UsageError, match=r"`data` is 'photos' there and 'others' here"):
        open_study(replace(plan, bases={"small-cnn": {"data": "/there/others", "model.name": "small-cnn"}}))


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("study.db", UsageError, r"--study takes the URL of a database, such as sqlite:///study\.db .*: study\.db$"),
        ("nosuch://host/x", UsageError, r"--study takes the URL of a database"),
        ("sqlite:////no/such/folder/x.db", TrainkitError, r"The database sqlite:.* cannot be used: unable to open"),
        ("postgresql://me:secret@127.0.0.1:1/x", TrainkitError, r"postgresql://me:\*\*\*@127\.0\.0\.1:1/x cannot be"),
    ],
)
def test_database_that_cannot_be_used_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, kind: type[Exception], message: str
) -> None:
    monkeypatch.setattr(module, "_TRIES", 1)
    with pytest.raises(kind, match=message) as caught:
        open_study(make_plan(tmp_path, url=url))
    assert "secret" not in str(caught.value)


def test_url_names_the_driver_of_the_extra() -> None:
    assert with_driver("postgres://a@b/c") == with_driver("postgresql://a@b/c") == "postgresql+psycopg://a@b/c"
    assert with_driver("postgresql+asyncpg://a@b/c") == "postgresql+asyncpg://a@b/c"
    assert without_password("postgresql://a:b@c/d") == "postgresql://a:***@c/d"
    assert without_password("postgresql://a@c/d") == "postgresql://a@c/d"
    assert without_password("postgresql:///d?password=b&user=a") == "postgresql:///d?password=***&user=a"


def test_url_of_a_file_has_its_whole_path_whatever_letters_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "50%20 of #1?"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert checked_url("sqlite:///study.db") == url_of_file(folder / "study.db")
    open_study(make_plan(tmp_path, url=url_of_file(Path("study.db"))))
    assert [path.name for path in folder.iterdir()] == ["study.db"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("study.db", r"--study takes the URL of a database, such as sqlite:///study\.db .*Received: study\.db"),
        ("http://host/name", r"--study takes the URL of a database"),
        ("postgresql://user:secret@host:port/name", r"--study takes the URL of a database.*user:\*\*\*@host:port"),
        ("sqlite://", r"A study in memory is gone with its process.*Received: sqlite://$"),
        ("sqlite:///:memory:", r"Expected a file, such as sqlite:///study\.db"),
        ("sqlite:///file:x?mode=memory&uri=true", r"A study in memory"),
    ],
)
def test_url_that_no_other_process_can_open_is_refused(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        checked_url(url)


def test_database_of_something_else_is_named(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("create table studies (number int)")
    plan = make_plan(tmp_path, url=url_of_file(tmp_path / "other.db"))
    with (
        pytest.raises(TrainkitError, match=r"other\.db cannot be used: (no such column|table studies has no column)"),
        studying(plan),
    ):
        pass


def test_retries_count_as_one_trial_with_one_run(tmp_path: Path) -> None:
    study = open_study(make_plan(tmp_path))
    first = study.ask()
    first.set_user_attr(RUN, "run-0")
    study.tell(first, state=TrialState.FAIL)
    retry(study, study.get_trials()[0])
    surplus = study.ask(), study.ask()
    surplus[1].set_user_attr(SURPLUS, True)
    again, _ = surplus
    (attempts,) = list_attempts(study)
    assert (attempts.number, attempts.run, attempts.ended, attempts.is_open, attempts.kills) == (
        0,
        "run-0",
        None,
        True,
        1,
    )
    study.tell(again, 0.7)
    (attempts,) = list_attempts(study)
    assert attempts.ended and attempts.ended.value == 0.7 and not attempts.is_open


def test_trial_that_was_ended_in_order_was_not_killed(tmp_path: Path) -> None:
    study = open_study(make_plan(tmp_path))
    for count in range(1, 6):
        trial = study.ask()
        trial.set_user_attr(ENDED_IN_ORDER, count)
        study.tell(trial, state=TrialState.FAIL)
        retry(study, study.get_trials()[-1])
    (attempts,) = list_attempts(study)
    assert (attempts.kills, attempts.is_hopeless) == (0, False)
    for _ in range(4):
        study.tell(study.ask(), state=TrialState.FAIL)
        retry(study, study.get_trials()[-1])
    (attempts,) = list_attempts(study)
    assert (attempts.kills, attempts.is_hopeless) == (4, True)


def age(folder: Path, statement: str) -> None:
    """Change times in the database, as if a minute or more had gone by."""
    import sqlite3

    with sqlite3.connect(folder / "study.db") as connection:
        connection.execute(statement)


def test_trial_without_heartbeats_waits_again(tmp_path: Path) -> None:
    study = open_study(make_plan(tmp_path))
    for _ in range(2):
        trial = study.ask()
        study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
        trial.set_user_attr(BEGAN, trial.number)
    age(tmp_path, "update trial_heartbeats set heartbeat = datetime('now', '-1 minute') where trial_id = 1")
    take_back_lost(study)
    assert [trial.state.name for trial in study.get_trials()] == ["FAIL", "RUNNING", "WAITING"]
    assert [attempts.is_waiting for attempts in list_attempts(study)] == [True, False]


def test_trial_that_was_killed_before_its_first_heartbeat_waits_again(tmp_path: Path) -> None:
    study = open_study(make_plan(tmp_path))
    study.ask()
    take_back_lost(study)
    assert [trial.state.name for trial in study.get_trials()] == ["RUNNING"]
    then = (datetime.now() - timedelta(seconds=200)).isoformat(sep=" ")
    age(tmp_path, f"update trials set datetime_start = '{then}'")
    take_back_lost(open_study(make_plan(tmp_path)))
    then = (datetime.now() - timedelta(seconds=60)).isoformat(sep=" ")
    age(tmp_path, f"update trials set datetime_complete = '{then}'")
    study = open_study(make_plan(tmp_path))
    take_back_lost(study)
    assert [trial.state.name for trial in study.get_trials()] == ["FAIL", "WAITING"]


TAKE = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from test_sweep_study import make_plan, open_study
study = open_study(make_plan(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
print(*(study.ask().number for _ in range(20)))
"""


@pytest.mark.cluster
def test_no_two_processes_get_the_same_waiting_trial(tmp_path: Path) -> None:
    study = open_study(make_plan(tmp_path))
    for _ in range(60):
        study.enqueue_trial({})
    command = [sys.executable, "-c", TAKE, str(tmp_path), str(Path(__file__).parent)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    numbers = [int(number) for process in processes for number in process.communicate()[0].split()]
    assert sorted(numbers) == list(range(60))


def test_optuna_says_nothing_of_its_own(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_study(make_plan(tmp_path))
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR


def test_setting_that_makes_other_images_is_named(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    open_study(plan)
    bases = {"small-cnn": {**plan.bases["small-cnn"], "training.validation": 0.2}}
    with pytest.raises(UsageError, match=r"`training\.validation` is 0\.1 there and 0\.2 here"):
        open_study(replace(plan, bases=bases, images="b"))
