"""Nothing is silent: a bar on a terminal, a line elsewhere, and standard output stays clean."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from terminals import Session, on_terminal, trainkit_on_terminal

from trainkit._progress import Step
from trainkit.cli._progress import render

# A command whose library takes its time: its steps, and what it prints between and after them.
SLOW = """
import json, sys, time
from trainkit import cli
from trainkit._progress import counting, doing
from trainkit.cli._app import app

@app.command("slow")
def slow(fail: bool = False) -> None:
    with doing("Loading what is slow"):
        time.sleep(3)
    for number in counting(range(6), "Looking at the files", unit="files"):
        with doing("Decoding"):
            time.sleep(0.4)
        if fail and number == 4:
            raise cli._main.TrainkitError("The fifth file is damaged.")
    print(json.dumps({"files": 6}))

sys.argv = ["trainkit", "slow", *sys.argv[1:]]
cli._app.ORDER = (*cli._app.ORDER, "slow")
cli.main()
"""


def slow_on_terminal(*arguments: str, cwd: Path, **environment: str) -> Session:
    return on_terminal([sys.executable, "-c", SLOW, *arguments], cwd=cwd, **environment)


def slow_in_pipe(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SLOW, *arguments]
    known = {key: value for key, value in os.environ.items() if key != "TRAINKIT_PROGRESS"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env={**known, **environment})


@pytest.mark.slow
@pytest.mark.timing
def test_a_step_is_announced_within_two_seconds(tmp_path: Path) -> None:
    session = slow_on_terminal(cwd=tmp_path)
    assert session.code == 0
    assert session.gap_s < 2


# Opening a library holds up every thread of Python; here it is C that does not let go.
BLOCKING = """
import ctypes, sys
from trainkit import cli
from trainkit._progress import doing
from trainkit.cli._app import app

@app.command("slow")
def slow() -> None:
    with doing("Loading TensorFlow", blocks=True):
        ctypes.PyDLL(None).usleep(1_500_000)

sys.argv = ["trainkit", "slow"]
cli._app.ORDER = (*cli._app.ORDER, "slow")
cli.main()
"""


@pytest.mark.slow
def test_what_blocks_is_painted_at_once(tmp_path: Path) -> None:
    session = on_terminal([sys.executable, "-c", BLOCKING], cwd=tmp_path)
    assert session.code == 0, session.text
    assert "Loading TensorFlow" in session.raw.partition("trainkit slow")[0]
    assert session.text.strip() == ""


@pytest.mark.slow
def test_sentences_are_wrapped_on_a_terminal_alone(tmp_path: Path) -> None:
    folder = "a-folder-with-a-long-name/" * 3 + "none.csv"
    session = trainkit_on_terminal("train", folder, cwd=tmp_path, columns=60)
    lines = session.text.splitlines()
    assert session.code == 1 and len(lines) > 2
    assert any(line.endswith(f"{folder}.") for line in lines), "a path is never cut"
    assert all(len(line) <= 60 for line in lines if folder not in line)
    piped = subprocess.run(
        [sys.executable, "-m", "trainkit", "train", folder], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert piped.stderr == " ".join(lines) + "\n"


def test_a_terminal_shows_steps_and_leaves_only_the_result(tmp_path: Path) -> None:
    session = slow_on_terminal(cwd=tmp_path)
    assert "Loading what is slow" in session.raw
    assert re.search(r"Looking at the files .*\d/6 files, \d+ a second", session.raw)
    assert session.text == '{"files": 6}\n'


@pytest.mark.parametrize(
    ("done", "left"), [(999_000, "0 s left"), (700_000, "43 s left"), (123_456, "12 min left"), (5_000, "5.5 h left")]
)
def test_a_bar_says_how_long_it_will_take(done: int, left: str) -> None:
    step = Step("Classifying", total=1_000_000, unit="images", done=done, began=time.monotonic() - 100)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(step))
    assert re.search(rf"{done:,}/1,000,000 images, [\d,]+ a second, {left}\s*$", console.export_text())


@pytest.mark.slow
def test_an_error_finds_an_empty_line(tmp_path: Path) -> None:
    session = slow_on_terminal("--fail", cwd=tmp_path)
    assert session.code == 1
    assert "Looking at the files" in session.raw
    assert session.text == "The fifth file is damaged.\n"


def test_elsewhere_a_step_is_at_most_a_line_on_standard_error(tmp_path: Path) -> None:
    ended = slow_in_pipe(cwd=tmp_path)
    assert ended.stdout == '{"files": 6}\n'
    lines = ended.stderr.splitlines()
    assert lines[0] == "Loading what is slow ..."
    assert set(lines) <= {"Loading what is slow ...", "Looking at the files: 6 files ..."}
    assert len(lines) == len(set(lines))


@pytest.mark.slow
def test_progress_can_be_turned_off(tmp_path: Path) -> None:
    assert slow_in_pipe(cwd=tmp_path, TRAINKIT_PROGRESS="0").stderr == ""
    assert slow_on_terminal(cwd=tmp_path, TRAINKIT_PROGRESS="0").raw == '{"files": 6}\r\n'


@pytest.mark.slow
def test_a_terminal_that_knows_no_movement_gets_lines(tmp_path: Path) -> None:
    raw = slow_on_terminal(cwd=tmp_path, TERM="dumb").raw
    assert raw.startswith("Loading what is slow ...\r\n")
    assert "\x1b" not in raw


@pytest.mark.slow
@pytest.mark.timing
def test_no_command_is_silent_for_long(tmp_path: Path) -> None:
    """Two seconds on an idle machine: Python holds everything up while it opens TensorFlow's library."""
    commands = [
        ("train", "digits", "--epochs", 2, "--name", "digits"),
        ("evaluate", "latest"),
        ("report", "latest"),
        ("export", "latest", "--name", "digits"),
        ("check", "digits"),
        ("bench", "digits"),
        ("compare", "latest", "latest"),
        ("shapes", "mobilenet"),
    ]
    for command in commands:
        session = trainkit_on_terminal(*command, cwd=tmp_path)
        assert session.code == 0, session.text
        assert session.gap_s < 2, (command, session.gap_after)
