"""The examples of the manual run, and what they print and write is what its pages say."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import examples
import json_keys
import pytest
from examples import Ended, Executed
from filelock import FileLock
from generate import commands
from tables import codes, rows_of

import trainkit
from trainkit.runs._run import _EMPTY_RESULT

pytestmark = pytest.mark.slow  # the manual's commands take minutes

PAGES = examples.pages()
# Their examples need weights or photographs that are not here; their own tests compare what they print.
NEED_DOWNLOADS = {"classify", "faces"}
# They start processes, or decode what others do: the tests beside them call them.
ELSEWHERE = {"cache_pixels", "predict_blocks", "resume_on_workers", "sweep", "train_on_workers"}
RUN_HERE = [command for command in commands() if command not in NEED_DOWNLOADS]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    """The folder in which the manual's console blocks were run: once, however many processes share the tests."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return examples.run(tmp_path_factory.mktemp("manual"))
    base = tmp_path_factory.getbasetemp().parent
    record = base / "manual.json"
    with FileLock(base / "manual.lock"):
        if not record.exists():
            (base / "manual").mkdir()
            lines = [asdict(run) for run in examples.run(base / "manual").lines]
            record.write_text(json.dumps(lines), encoding="utf-8")
    return Executed(folder=base / "manual", lines=[Ended(**line) for line in json.loads(record.read_text("utf-8"))])


def test_console_lines_end_as_they_should(executed: Executed) -> None:
    lines = [run.line for run in executed.lines if run.line.startswith("trainkit")]
    assert {examples.command_of(line) for line in lines} == set(RUN_HERE)
    for run in executed.lines:
        assert run.code == run.expected_code, f"{run.page}: {run.line}\n{run.stdout}{run.stderr}"


def test_mistakes_say_what_the_manual_shows(executed: Executed) -> None:
    mistakes = [run for run in executed.lines if run.expected_code != 0]
    assert {run.expected_code for run in mistakes} == {1, 2}
    for run in mistakes:
        assert run.stderr == run.shown


def words(text: str) -> set[str]:
    """Return the words of an output: what a machine, a day or a version decides has digits in it."""
    return {word for word in re.findall(r"[^\s:,()]+", text) if re.fullmatch(r"[A-Za-z_]{3,}", word)}


def test_output_in_the_readme_has_the_words_that_are_printed(executed: Executed) -> None:
    shown = [run for run in executed.lines if run.page == "README.md"]
    assert len(shown) == 5
    for run in shown:
        assert words(run.shown) <= words(run.stdout + run.stderr), f"{run.line}\n{run.stdout}{run.stderr}"


@pytest.mark.parametrize("command", RUN_HERE)
def test_document_has_the_keys_of_the_manual(executed: Executed, command: str) -> None:
    described = json_keys.rows_of(json_keys.sections(PAGES["docs/json.md"])[command])
    document = executed.documents()[command]
    printed = list(json_keys.key_paths(document))
    assert {path for path, _ in printed} == {
        path for path in described if not path.startswith(tuple(json_keys.empty_paths(document)))
    }
    for path, value in printed:
        assert json_keys.fits(value, described[path][0]), f"{path}: {value!r} is not {described[path][0]}"


def test_tables_of_json_keys_are_as_they_are_written(executed: Executed) -> None:
    text = PAGES["docs/json.md"]
    assert json_keys.with_tables(text, executed.documents()) == text, "run `python docs/generate.py --json`"


@pytest.mark.parametrize("command", RUN_HERE)
def test_document_of_the_manual_looks_as_it_is_printed(executed: Executed, command: str) -> None:
    (run,) = [run for run in executed.lines if run.line.startswith(f"trainkit {command} ") and "--json" in run.line]
    keys = re.compile(r'^\s*"\w+": ', flags=re.M)
    shown, printed = keys.findall(run.shown), keys.findall(run.stdout)
    assert shown == printed[: len(shown)]
    assert len(shown) == len(printed) or run.shown.endswith("...\n")


def test_files_of_a_run_are_described(executed: Executed) -> None:
    folder = trainkit.find_run("digits", executed.folder / "experiments").path
    rows = rows_of(PAGES["docs/runs.md"], ["file", "what is in it"])
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    described = {codes(row[0])[0] for row in rows}
    elsewhere = {"mean_image.npy", "initial.keras", "data.npz", "tensorboard/", "augmentation.png"}  # of other settings
    assert described - there == elsewhere
    assert there <= described


def test_figures_of_a_run_are_described(executed: Executed) -> None:
    folder = trainkit.find_run("digits", executed.folder / "experiments").path
    text = PAGES["docs/runs.md"]
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        assert f"`{','.join(next(csv.reader(file)))}`" in text
    rows = rows_of(text, ["key of `result.json`", "meaning"])
    # Of runs of several labels only.
    several = {"mean_average_precision", "subset_accuracy", "macro_f1", "micro_f1", "images"}
    described = {key for row in rows for key in codes(row[0])}
    assert several <= described
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert described - several == set(result) == set(_EMPTY_RESULT)


def test_files_of_a_bundle_are_described(executed: Executed) -> None:
    folder = executed.folder / "exported" / "digits"
    rows = rows_of(PAGES["docs/bundle.md"], ["file", "what is in it"])
    described = {codes(row[0])[0] for row in rows}
    there = {path.name + ("/" if path.is_dir() else "") for path in folder.iterdir()}
    # `digits` are grey, and have no mean image; two clients were added.
    assert described - there == {"models.yml", "mean_image.npy", "node/"}
    assert there <= described


def test_manifest_that_was_written_has_no_other_keys(executed: Executed) -> None:
    manifest = json.loads((executed.folder / "exported" / "digits" / "manifest.json").read_text(encoding="utf-8"))
    (verified,) = manifest["opencv"].pop("verified").values()
    pixels = rows_of(PAGES["docs/bundle.md"], ["key", "meaning"])
    assert {key for row in pixels for key in codes(row[0])} == set(manifest["extra"].pop("training_pixels"))
    rows = rows_of(PAGES["docs/bundle.md"], ["manifest key", "type", "", "meaning"])
    notes = rows_of(PAGES["docs/bundle.md"], ["key below `extra`", "meaning"])
    printed = {path.removesuffix("[]") for path, _ in json_keys.key_paths(manifest)}
    assert printed <= {codes(row[0])[0] for row in [*rows, *notes]}
    assert list(verified) == codes(next(row[3] for row in rows if row[0] == "`opencv.verified`"))


def run_script(code: str, folder: Path) -> str:
    name = re.match(r"# (\w+\.py)\n", code)
    path = folder / (name[1] if name else "example.py")
    path.write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, path.name], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_of_the_manual_runs(executed: Executed) -> None:
    together, _ = examples.python_blocks()
    code = "\n".join(together)
    called = [name for name in trainkit.__all__ if callable(getattr(trainkit, name)) and name not in NEED_DOWNLOADS]
    functions = [name for name in called if name in examples_of_calls(code)]
    assert set(called) - set(functions) <= results_and_errors() | ELSEWHERE
    text = "".join(PAGES.values())
    assert all(f"trainkit.{name}" in text for name in ELSEWHERE)
    assert run_script(code, executed.folder).count("\n") >= 8


def examples_of_calls(code: str) -> set[str]:
    return set(re.findall(r"trainkit\.(\w+)\(", code))


def results_and_errors() -> set[str]:
    """Return the public names that nobody calls: what functions return, and what they raise."""
    classes = {name for name in trainkit.__all__ if isinstance(getattr(trainkit, name), type)}
    return classes - {"Augmentation", "Classifier", "Detector", "Preprocessing"}


def test_bare_opencv_gives_the_answer_of_keras(executed: Executed) -> None:
    (script,) = [script for script in examples.python_blocks()[1] if script.startswith("# bare.py")]
    assert "trainkit" not in script
    label, probability = run_script(script, executed.folder).split()
    bundle = executed.folder / "exported" / "digits"
    expected = json.loads((bundle / "selftest" / "selftest.json").read_text())["images"][0]["probabilities"]
    assert (bundle / "labels.txt").read_text().split()[expected.index(max(expected))] == label
    assert float(probability) == pytest.approx(max(expected), abs=1e-5)


def test_model_of_the_manual_can_be_added(executed: Executed) -> None:
    (script,) = [script for script in examples.python_blocks()[1] if script.startswith("# try_perceptron.py")]
    accuracy, difference = map(float, run_script(script, executed.folder).split())
    assert accuracy > 0.9
    assert difference <= 1e-5
