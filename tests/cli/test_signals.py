"""SIGTERM, by which containers and schedulers end a process: as Ctrl-C, within the batch, with exit code 143."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from photographs import write_class_folders

import trainkit
from trainkit.cli._signals import taking_termination

pytestmark = pytest.mark.slow  # each starts the command, or a training, by itself

SETTINGS = ("--epochs", "40", "--set=model.dropout=0.3", "--set=augmentation.rotation_range=10", "--name", "long")


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trainkit", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(happened: Callable[[], object], process: subprocess.Popen[str]) -> None:
    for _ in range(12000):
        if happened() or process.poll() is not None:
            break
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


def test_sigterm_ends_training_within_the_batch_and_it_goes_on_bit_for_bit(tmp_path: Path) -> None:
    process = start("train", "digits", *SETTINGS, "--json", cwd=tmp_path)
    wait_until(lambda: list(tmp_path.glob("experiments/*-long/metrics.csv")), process)
    process.terminate()
    printed, chatter = process.communicate(timeout=300)
    assert process.returncode == 143, chatter
    assert json.loads(printed)["status"] == "interrupted"
    assert "Interrupted: kept the best weights so far. `trainkit train --resume" in chatter
    run = trainkit.find_run("long", tmp_path / "experiments")
    assert 1 <= run.result["epochs"] < 40
    resumed = trainkit.resume(run)
    whole = trainkit.train("digits", config=run.path / "config.toml", experiments=tmp_path / "whole")
    for key in ("status", "epochs", "best_epoch", "test_accuracy", "test_loss", "confusion_matrix"):
        assert resumed.result[key] == whole.result[key]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_long_command_ends_with_a_sentence_and_leaves_nothing(tmp_path: Path, trained_run, name: str) -> None:  # type: ignore[no-untyped-def]
    process = start("export", trained_run.path, "--name", "b", cwd=tmp_path)
    wait_until(lambda: list(tmp_path.glob("exported/.new-*/model.onnx")), process)
    process.send_signal(getattr(signal, name))
    printed, said = process.communicate(timeout=300)
    expected = {"SIGTERM": (143, "Terminated."), "SIGINT": (130, "Interrupted.")}[name]
    assert (process.returncode, said.splitlines()[-1]) == expected
    assert printed == ""
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_sigterm_does_not_wait_for_all_images(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "photos", count=700)
    process = start("data", "check", "photos", "--json", cwd=tmp_path)
    time.sleep(1.5)
    began = time.monotonic()
    process.terminate()
    printed, said = process.communicate(timeout=300)
    assert (process.returncode, printed, said) == (143, "", "Terminated.\n")
    assert time.monotonic() - began < 5


def test_handler_is_set_in_the_main_thread_only_and_taken_away() -> None:
    with taking_termination():
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def enter() -> None:
        with taking_termination() as termination:
            found.append((signal.getsignal(signal.SIGTERM), termination.requested))

    found: list[object] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [(signal.SIG_DFL, False)]


def test_the_same_request_twice_is_one() -> None:
    caught = 0
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with taking_termination() as termination:
            for _ in range(2):
                try:
                    signal.raise_signal(signal.SIGTERM)
                except KeyboardInterrupt:
                    caught += 1
            assert (caught, termination.requested) == (1, True)
            termination.at -= 2
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_a_thread_goes_on(tmp_path: Path) -> None:
    runs: list[trainkit.Run] = []
    thread = threading.Thread(
        target=lambda: runs.append(trainkit.train("digits", epochs=1, experiments=tmp_path / "experiments"))
    )
    thread.start()
    thread.join()
    assert [run.status for run in runs] == ["finished"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
