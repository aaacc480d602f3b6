"""Steps, and who is told of them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainkit import _progress
from trainkit._progress import Step, counting, counting_chunks, doing, listening, showing_lines, shown, watching


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.steps: list[Step] = []

    def began(self, step: Step) -> None:
        self.told.append(("began", step.text))
        self.steps.append(step)

    def ended(self, step: Step) -> None:
        self.told.append(("ended", step.text))


def test_a_listener_is_told_of_steps_inside_others() -> None:
    listener = Listener()
    with listening(listener), doing("outer"), doing("inner"):
        pass
    assert listener.told == [("began", "outer"), ("began", "inner"), ("ended", "inner"), ("ended", "outer")]


def test_a_step_ends_with_an_error_too() -> None:
    listener = Listener()
    with listening(listener), pytest.raises(ValueError, match="spoiled"), doing("outer"):
        raise ValueError("spoiled")
    assert listener.told[-1] == ("ended", "outer")


def test_a_watcher_is_told_too_while_it_watches() -> None:
    shows, watches = Listener(), Listener()
    with listening(shows):
        with watching(watches), doing("outer"):
            pass
        with doing("later"):
            pass
    assert watches.told == [("began", "outer"), ("ended", "outer")]
    assert shows.told == [*watches.told, ("began", "later"), ("ended", "later")]


def test_counting_goes_on_by_one_with_each_item() -> None:
    listener, seen = Listener(), []
    with listening(listener):
        for letter in counting("abc", "Reading", unit="letters"):
            seen.append((letter, listener.steps[0].done))
    assert seen == [("a", 0), ("b", 1), ("c", 2)]
    assert (listener.steps[0].done, listener.steps[0].total) == (3, 3)
    assert str(listener.steps[0]) == "Reading: 3 letters"


def test_chunks_go_on_by_as_many_as_they_hold() -> None:
    listener, seen = Listener(), []
    with listening(listener):
        for first in counting_chunks(70, 32, "Comparing"):
            seen.append((first, listener.steps[0].done))
    assert seen == [(0, 0), (32, 32), (64, 64)]
    assert listener.steps[0].done == 70


def test_without_a_listener_steps_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "trainkit.progress"), doing("Loading TensorFlow"):
        pass
    assert caplog.messages == ["Loading TensorFlow ..."]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has turned progress off, and half a second of silence is long."""
    monkeypatch.delenv("TRAINKIT_PROGRESS")
    monkeypatch.setattr(_progress, "_SILENT_SECONDS", 0.5)
    monkeypatch.setattr(_progress, "_SETTLED_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
def test_short_steps_are_announced_once_they_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    with showing_lines():
        for number in range(5):
            with doing(f"Step {number}"):
                time.sleep(0.2)
    assert capsys.readouterr().err in ("Step 2 ...\n", "Step 3 ...\n", "Step 2 ...\nStep 4 ...\n")


@pytest.mark.usefixtures("impatient")
def test_nothing_is_announced_while_something_else_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with showing_lines(), doing("Step"):
        for _ in range(8):
            time.sleep(0.1)
            shown()
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("impatient")
def test_a_step_has_one_line_however_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with showing_lines(), doing("Step"):
        time.sleep(1.4)
    assert capsys.readouterr().err == "Step ...\n"


@pytest.mark.usefixtures("impatient")
def test_nothing_is_written_where_somebody_listens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(Listener()), showing_lines(), doing("Step"):
        time.sleep(0.8)
    monkeypatch.setenv("TRAINKIT_PROGRESS", "0")
    with showing_lines(), doing("Step"):
        time.sleep(0.8)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_training_from_python_shows_its_steps(tmp_path: Path) -> None:
    script = """
from trainkit import _progress, train

_progress._SILENT_SECONDS = 0.2
train("digits", epochs=1, size=(8, 8), settings={"model.filters": 1})
"""
    known = {key: value for key, value in os.environ.items() if key != "TRAINKIT_PROGRESS"}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, env=known
    )
    written = ended.stderr.splitlines()
    assert written[0] == "Loading TensorFlow ..."
    assert any(line.startswith("epoch 1/1  ") for line in written)
    assert ended.stdout == ""


def test_a_step_of_the_library_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    from trainkit.data._inspection import inspect_files

    listener = Listener()
    with listening(listener):
        inspect_files([])
    assert listener.told == [("began", "Looking at the files"), ("ended", "Looking at the files")]
    assert capsys.readouterr() == ("", "")
