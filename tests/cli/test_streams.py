"""Streams that are closed, full or read by nobody: a sentence or silence, the right exit code, the answer not lost."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import trainkit

pytestmark = pytest.mark.slow  # each starts the command, or a training, by itself

LOST = "The answer cannot be written to standard output: "
COMMANDS = ("--version", "train --help", "data check photos --json", "predict b p.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path, tiny_bundle: Path) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    (folder / "photos").symlink_to(tiny_dataset)
    (folder / "exported").mkdir()
    (folder / "exported" / "b").symlink_to(tiny_bundle)
    (folder / "p.png").symlink_to(next((tiny_bundle / "selftest").glob("*.png")))
    return folder


def shell(arguments: str, streams: str, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command with its streams as a shell makes them; the exit code is its own."""
    line = f"{shlex.quote(sys.executable)} -m trainkit {arguments} {streams}; exit ${{PIPESTATUS[0]}}"
    return subprocess.run(["bash", "-c", line], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("streams", "reason"), [(">/dev/full", "No space left on device"), (">&-", "it is closed")])
def test_lost_answer_is_said_once(place: Path, command: str, streams: str, reason: str) -> None:
    ended = shell(command, streams, cwd=place)
    assert ended.returncode == 1
    said = [line for line in ended.stderr.splitlines() if "images/s" not in line and not line.endswith(" ...")]
    assert said == [f"{LOST}{reason}. Send it to a file on a disk with room."]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("streams", ["2>/dev/full", "<&- 2>&-"])
def test_answer_arrives_when_only_the_others_are_gone(place: Path, command: str, streams: str) -> None:
    ended, whole = shell(command, streams, cwd=place), shell(command, "", cwd=place)
    assert (ended.returncode, ended.stdout) == (0, whole.stdout)
    assert ended.stdout
    assert not ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("streams", ["2>&1 | true", "<&- >&- 2>&-"])
def test_nobody_to_tell_is_told_nothing(place: Path, command: str, streams: str) -> None:
    ended = shell(command, streams, cwd=place)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")


@pytest.mark.parametrize("streams", [">/dev/full", "2>/dev/full", "2>&1 | true", "<&- >&- 2>&-"])
def test_mistake_keeps_its_exit_code(place: Path, streams: str) -> None:
    ended = shell("train --epochs none", streams, cwd=place)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("streams", ["2>&-", "2> >(head -c 1 >/dev/null)"])
def test_training_is_not_ended_by_a_broken_progress_stream(tmp_path: Path, streams: str) -> None:
    ended = shell("train digits --epochs 2 --json", streams, cwd=tmp_path)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["status"] == "finished"


def test_training_in_python_is_not_ended_by_a_broken_progress_stream(tmp_path: Path) -> None:
    code = "import trainkit; print(trainkit.train('digits', epochs=1).status)"
    for streams in ("2>&-", "2> >(true)"):
        line = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} {streams}"
        ended = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.stdout == "finished\n"


def test_trained_run_stays_when_nobody_reads_the_answer(tmp_path: Path) -> None:
    ended = shell("train digits --epochs 1", ">/dev/full", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(LOST)
    (run,) = trainkit.list_runs(tmp_path / "experiments")
    assert run.status == "finished"
