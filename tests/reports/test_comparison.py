"""Runs side by side."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from drawings import nothing_drawn

import trainkit
from trainkit.errors import OutputError, RunError, UsageError
from trainkit.reports._comparison import sparkline
from trainkit.runs._run import Run


@pytest.fixture(scope="module")
def runs(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    experiments = tmp_path_factory.mktemp("compared") / "experiments"
    with nothing_drawn():
        return [
            trainkit.train(tiny_dataset, size=(24, 16), epochs=epochs, name=f"e{epochs}", experiments=experiments)
            for epochs in (1, 3)
        ]


def test_what_differs_is_said(runs: list[Run]) -> None:
    found = trainkit.compare(runs)
    assert found.names == [run.name for run in runs]
    assert found.settings == {"training.epochs": [1, 3]}
    assert found.figures["test_accuracy"] == [run.result["test_accuracy"] for run in runs]
    assert [len(curve) for curve in found.curves["val_loss"]] == [1, 3]
    json.dumps(found.to_json(), allow_nan=False)


def test_page_has_the_curves_and_loads_nothing(runs: list[Run], tmp_path: Path) -> None:
    trainkit.compare(runs, html=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert all(run.name in page for run in runs)
    with pytest.raises(OutputError, match="exists already"):
        trainkit.compare(runs, html=tmp_path / "page.html")


def test_damaged_run_is_said_and_shown(runs: list[Run], tmp_path: Path) -> None:
    damaged = Run(shutil.copytree(runs[0].path, tmp_path / "damaged"))
    (damaged.path / "result.json").write_text("{")
    found = trainkit.compare([damaged, runs[1]])
    assert found.figures["status"] == ["damaged", "finished"]
    assert "damaged" in found.notes[0]


def test_settings_of_a_damaged_run_are_not_held_against_the_others(runs: list[Run], tmp_path: Path) -> None:
    damaged = Run(shutil.copytree(runs[0].path, tmp_path / "damaged"))
    (damaged.path / "config.toml").write_text("[", encoding="utf-8")
    assert trainkit.compare([damaged, *runs]).settings == {"training.epochs": [None, 1, 3]}


def test_what_is_no_number_is_left_out_of_the_curves(runs: list[Run], tmp_path: Path) -> None:
    astray = Run(shutil.copytree(runs[0].path, tmp_path / "astray"))
    (astray.path / "metrics.csv").write_text("epoch,loss\n1,2.5\n2,nan\n3,inf\n", encoding="utf-8")
    found = trainkit.compare([astray, runs[1]], html=tmp_path / "page.html")
    assert found.curves["loss"][0] == [(1, 2.5)]
    json.dumps(found.to_json(), allow_nan=False)


def test_text_among_the_numbers_is_damage_and_named(runs: list[Run], tmp_path: Path) -> None:
    damaged = Run(shutil.copytree(runs[0].path, tmp_path / "damaged"))
    (damaged.path / "metrics.csv").write_text("epoch,loss\n1,2.5\n2,x\n", encoding="utf-8")
    found = trainkit.compare([damaged, runs[1]])
    assert found.curves["loss"][0] == []
    assert any(re.search(r"metrics\.csv: row 2: `loss` must be a finite number", note) for note in found.notes)


def test_one_run_is_too_few(runs: list[Run]) -> None:
    with pytest.raises(UsageError, match=r"two runs or more to compare. Received: 1"):
        trainkit.compare(runs[:1])
    with pytest.raises(RunError, match="No run nothing"):
        trainkit.compare(["nothing", runs[0]])


def test_command_prints_a_table(runs: list[Run]) -> None:
    command = [sys.executable, "-m", "trainkit", "compare", "e1", "e3", "--experiments", str(runs[0].path.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[1:]}
    assert lines["training.epochs"] == ["1", "3"]


def test_command_writes_values_as_settings_take_them(runs: list[Run], tmp_path: Path) -> None:
    other = Run(shutil.copytree(runs[0].path, tmp_path / "experiments" / runs[0].name))
    shutil.copytree(runs[1].path, tmp_path / "experiments" / runs[1].name)
    config = other.path / "config.toml"
    text = re.sub(r"^learning_rate = .*", "learning_rate = 1e-05", config.read_text(encoding="utf-8"), flags=re.M)
    config.write_text(text.replace("tensorboard = false", "tensorboard = true"), encoding="utf-8")
    (other.path / "metrics.csv").write_text("epoch,loss,learning_rate\n1,2.5,1e-05\n2,2.5,0.0\n", encoding="utf-8")
    command = [sys.executable, "-m", "trainkit", "compare", "e1", "e3", "--experiments", str(other.path.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[1:]}
    assert lines["training.learning_rate"][0] == "1e-05"
    assert lines["learning_rate"][1:4] == ["1e-05", "to", "0"], "a schedule ended there"
    assert lines["training.tensorboard"] == ["true", "false"]
    assert "█" in done.stdout


def test_curve_of_letters() -> None:
    assert sparkline([1, 2, 3, 8]) == "▁▂▃█"
    assert sparkline([5.0]) == "▁"
    assert sparkline([]) == ""
    assert len(sparkline(list(range(1000)))) == 24
