"""Runs that are damaged in any way: what reads them answers, or says what is wrong in a sentence."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutated_runs import RUN, mutated_run

import trainkit
from trainkit.errors import RunError, TrainkitError, UsageError
from trainkit.reports import write_report
from trainkit.runs._run import Run, summarize_runs
from trainkit.training._state import STATE_FILE, load_progress

SEEDS = 300


def look(folder: Path, *, page: bool) -> None:
    """Do all that reads a run's documents; the page takes a second."""
    (row,) = summarize_runs(folder.parent)
    run = Run(folder)
    shown = repr(run), run._repr_html_(), row
    assert shown
    json.dumps(row, allow_nan=False)
    page_of_it = [lambda: write_report(folder)] if page else []
    reads: list[Callable[[], Any]] = [
        lambda: run.config,
        lambda: run.preprocessing,
        lambda: run.environment,
        lambda: run.result,
        lambda: run.metrics,
        lambda: run.class_names,
        lambda: load_progress(folder / STATE_FILE),
        *page_of_it,
    ]
    for read in reads:
        try:
            read()
        except TrainkitError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("seed", range(0, SEEDS, 25))
def test_damaged_run_raises_nothing_but_sentences(tmp_path: Path, seed: int) -> None:
    for number in range(seed, seed + 25):
        folder, change = mutated_run(tmp_path / str(number), number)
        began = time.perf_counter()
        try:
            look(folder, page=number % 25 == 0)
        except Exception as error:
            raise AssertionError(f"seed {number}, {change}") from error
        assert number % 25 == 0 or time.perf_counter() - began < 5, f"seed {number}, {change}"


def test_damaged_runs_are_compared(tmp_path: Path) -> None:
    shutil.copytree(RUN, tmp_path / "good")
    folders = [mutated_run(tmp_path, number)[0] for number in range(SEEDS, SEEDS + 20)]
    comparison = trainkit.compare([tmp_path / "good", *folders], html=tmp_path / "page.html")
    json.dumps(comparison.to_json(), allow_nan=False)


def test_report_of_a_config_nested_deep_is_a_sentence(tmp_path: Path) -> None:
    run = Path(shutil.copytree(RUN, tmp_path / "run"))
    (run / "config.toml").write_text("size = " + "[" * 100_000)
    with pytest.raises(RunError, match=r"Cannot read .*config\.toml: maximum recursion depth"):
        write_report(run)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("work", ["evaluate", "report", "export", "resume"])
def test_damaged_run_is_worked_with(tmp_path: Path, work: str) -> None:
    calls: dict[str, Callable[[Path], Any]] = {
        "evaluate": trainkit.evaluate,
        "report": trainkit.report,
        "export": lambda folder: trainkit.export(folder, exported=tmp_path / "exported"),
        "resume": trainkit.resume,
    }
    for number in range(60):
        folder, change = mutated_run(tmp_path, number + 1000)
        if work == "resume":
            result = json.loads((RUN / "result.json").read_text()) | {"status": "killed"}
            if not change.startswith("result.json"):
                (folder / "result.json").write_text(json.dumps(result))
        try:
            calls[work](folder)
        except (TrainkitError, UsageError):
            continue
        except Exception as error:
            raise AssertionError(f"seed {number + 1000}, {change}") from error


def damaged(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> Run:
    run = Path(shutil.copytree(RUN, folder / "run"))
    values = json.loads((run / name).read_text())
    change(values)
    (run / name).write_text(json.dumps(values))
    return Run(run)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("confusion_matrix", "text", r"`confusion_matrix` must be rows of whole numbers from 0, .*Received: 'text'"),
        ("confusion_matrix", [[1, 2]], "`confusion_matrix` must be rows"),
        ("confusion_matrix", [["a"]], "`confusion_matrix` must be rows"),
        ("classes", [1], "`classes` must be a list of classes, each with `label` and numbers"),
        ("classes", [{"label": "a", "f1": "b"}], "`classes` must be a list of classes"),
        ("epochs", -1, "`epochs` must be a whole number from 0 or null. Received: -1"),
        ("seconds", "1", "`seconds` must be a finite number or null. Received: '1'"),
        ("test_accuracy", True, "`test_accuracy` must be a finite number or null. Received: True"),
        ("test_loss", float("nan"), "NaN is no JSON number"),
        ("status", 5, "`status` must be a text. Received: 5"),
        ("keras_sha256", [], "`keras_sha256` must be a text or null"),
        ("monitor", 1, "`monitor` must be a text or null. Received: 1"),
        ("mean_average_precision", "a", "`mean_average_precision` must be a finite number or null"),
        ("best_epoch", 10**400, "`best_epoch` must be a whole number from 0 or null"),
    ],
)
def test_result_that_is_damaged_names_the_key(tmp_path: Path, key: str, value: Any, message: str) -> None:
    run = damaged(tmp_path, "result.json", lambda values: values.update({key: value}))
    with pytest.raises(RunError, match=rf"The run run is damaged: result\.json: {message}"):
        _ = run.result
    assert summarize_runs(tmp_path)[0]["status"] == "damaged"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "it is nested too deep"),
        ("[1]", r"it must be an object\. Received: \[1\]"),
        ('{"epochs": 1' + "0" * 5000 + "}", "Exceeds the limit"),
        ("\x1b", "Expecting value"),
    ],
    ids=["deep", "list", "digits", "control"],
)
@pytest.mark.parametrize("name", ["result.json", "environment.json"])
def test_document_that_is_none_is_damaged_at_once(tmp_path: Path, name: str, text: str, message: str) -> None:
    run = Run(Path(shutil.copytree(RUN, tmp_path / "run")))
    (run.path / name).write_text(text)
    began = time.perf_counter()
    with pytest.raises(RunError, match=rf"damaged: {name}: {message}"):
        _ = run.result if name == "result.json" else run.environment
    assert time.perf_counter() - began < 5  # a second, where the machine is idle


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"versions": "text"}, "`versions` must be an object. Received: 'text'"),
        ({"machine": {"cores": []}}, r"`machine.cores` must be a text, a number, true or false. Received: \[\]"),
        ({"data": 5}, "`data` must be a text or null. Received: 5"),
    ],
)
def test_environment_that_is_damaged_names_the_key(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    run = damaged(tmp_path, "environment.json", lambda found: found.update(values))
    with pytest.raises(RunError, match=rf"damaged: environment\.json: {message}"):
        _ = run.environment


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,training,1", r"row 1: `epoch` must be a finite number\. Received: 'x'"),
        ("1.5,training,1", r"row 1: `epoch` must be a whole number from 1\. Received: '1\.5'"),
        ("nan,training,1", r"row 1: `epoch` must be a finite number"),
        ("1,training,high", r"row 1: `loss` must be a finite number\. Received: 'high'"),
        ("1,training,nan,inf", r"row 1: `seconds` must be a finite number\. Received: 'inf'"),
        ("1,training," + "1" * 200_000, "field larger than field limit"),
    ],
)
def test_metrics_that_are_damaged_name_the_column(tmp_path: Path, row: str, message: str) -> None:
    run = Run(Path(shutil.copytree(RUN, tmp_path / "run")))
    (run.path / "metrics.csv").write_text(f"epoch,phase,loss,seconds\n{row}\n")
    with pytest.raises(RunError, match=rf"damaged: metrics\.csv: {message}"):
        _ = run.metrics


def write_state(folder: Path, **values: Any) -> Path:
    with np.load(RUN / STATE_FILE) as archive:
        arrays = dict(archive)
    progress = json.loads(arrays["progress"].tobytes()) | values
    arrays["progress"] = np.frombuffer(json.dumps(progress).encode(), np.uint8)
    np.savez(folder / "state.npz", **arrays)
    return folder / "state.npz"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": [1]}, "`rows` has what is no row of numbers by column"),
        ({"rows": [{"epoch": "one", "phase": "training"}]}, "`rows` has what is no row of numbers by column"),
        ({"rows": 5}, r"`rows` must be a list\. Received: 5"),
        ({"epochs": "three"}, r"`epochs` must be a whole number from 0\. Received: 'three'"),
        ({"phase_index": -1}, "`phase_index` must be a whole number from 0"),
        ({"best_score": ["a"]}, "`best_score` has what is no number"),
        ({"stopped": 1}, "`stopped` must be true or false"),
        ({"callbacks": {"EarlyStopping": {"best": []}}}, "`callbacks` has what 'EarlyStopping' cannot remember"),
        ({"other": 1}, "it has the unknown key 'other'"),
    ],
)
def test_state_that_is_damaged_names_the_key(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    path = write_state(tmp_path, **values)
    with pytest.raises(RunError, match=rf"state\.npz is damaged \({message}.*\): this training cannot be resumed"):
        load_progress(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_state_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "state.npz")
    with pytest.raises(RunError, match=r"state\.npz is damaged \(it is no file\)"):
        load_progress(tmp_path / "state.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_result_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(RUN, tmp_path / "run")))
    (run.path / "result.json").unlink()
    os.mkfifo(run.path / "result.json")
    with pytest.raises(RunError, match=r"is damaged: result\.json is no file\."):
        _ = run.result
    (run.path / "config.toml").unlink()
    os.mkfifo(run.path / "config.toml")
    with pytest.raises(RunError, match=r"is damaged: config\.toml is no file\."):
        _ = run.config


def test_state_may_hold_what_json_has_not(tmp_path: Path) -> None:
    path = write_state(
        tmp_path, callbacks={"PlateauSchedule": {"best": float("inf")}}, rows=[{"val_loss": float("nan")}]
    )
    assert load_progress(path).callbacks["PlateauSchedule"]["best"] == float("inf")


@pytest.mark.parametrize("names", ["", "0\n1\n", "a\n" * 10])
def test_labels_of_another_run_are_damaged(tmp_path: Path, names: str) -> None:
    run = Run(Path(shutil.copytree(RUN, tmp_path / "run")))
    (run.path / "labels.txt").write_text(names)
    for work in (trainkit.evaluate, trainkit.export):
        with pytest.raises(RunError, match=r"damaged: labels\.txt does not have the classes of result\.json"):
            work(run)


def test_model_of_another_run_is_damaged(tmp_path: Path) -> None:
    def without_figures(values: dict[str, Any]) -> None:
        values.update(classes=[], confusion_matrix=[], status="interrupted")

    run = damaged(tmp_path, "result.json", without_figures)
    (run.path / "labels.txt").write_text("0\n1\n2\n")
    with pytest.raises(RunError, match=r"its model gives \(None, 10\), and labels\.txt has 3 class names"):
        trainkit.export(run, exported=tmp_path / "exported")


@pytest.mark.parametrize("name", ["config.toml", "preprocessing.json", "result.json"])
def test_document_that_is_huge_is_not_read(tmp_path: Path, name: str) -> None:
    run = Run(Path(shutil.copytree(RUN, tmp_path / "run")))
    with (run.path / name).open("wb") as file:
        file.truncate(2**33)  # a hole: it takes no room
    with pytest.raises(RunError, match=r"The run run is damaged: .*(it )?has more than \d+ bytes"):
        _ = run.config, run.preprocessing, run.result
