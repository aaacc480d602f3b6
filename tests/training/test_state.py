"""A training that was ended early goes on as if nothing had happened."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import without_coverage
from drawings import nothing_drawn

import trainkit
from trainkit.backend import keras
from trainkit.errors import DataError, RunError
from trainkit.models._outputs import load_keras_model
from trainkit.runs._run import Run
from trainkit.training._state import STATE_FILE, Progress, load_progress, restore_variables, save_state, take_state

pytestmark = pytest.mark.usefixtures("undrawn")

# Everything that a training remembers from one step to the next: dropout, what is drawn for each image, a plateau's
# patience, that of early stopping, averages of the weights, a warm-up, the best balanced accuracy.
REMEMBERS = {
    "model.filters": 8,
    "model.dropout": 0.4,
    "augmentation.rotation_range": 15,
    "augmentation.mixup": 0.2,
    "training.class_weights": "balanced",
    "training.schedule": "plateau",
    "training.warmup": 1.5,
    "training.early_stopping": 4,
    "training.ema": 0.95,
    "training.epochs": 12,
    "training.learning_rate": 0.01,
}


def rows(run: Run) -> list[dict[str, str]]:
    with (run.path / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key not in ("seconds", "images_per_second")} for row in found]


def weights(run: Run) -> list[np.ndarray]:
    return load_keras_model(run.model_path).get_weights()


def assert_equal_runs(one: Run, other: Run) -> None:
    assert rows(one) == rows(other)
    assert all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
    for key in ("status", "epochs", "best_epoch", "test_accuracy", "test_loss", "confusion_matrix"):
        assert one.result[key] == other.result[key]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trainkit", "train", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_after(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill a process after so many seconds; return whether it still ran."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(6000):
        if path.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    assert path.exists(), process.communicate()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was never ended early."""
    with nothing_drawn():
        return trainkit.train("digits", name="whole", settings=REMEMBERS, experiments=tmp_path_factory.mktemp("whole"))


@pytest.mark.slow
def test_killed_run_goes_on_bit_for_bit(whole: Run, tmp_path: Path) -> None:
    settings = [f"--set={key}={value}" for key, value in REMEMBERS.items()]
    process = start(tmp_path, "digits", "--name", "killed", *settings)
    for _ in range(6000):
        if process.poll() is not None or list(tmp_path.glob("experiments/*/state/training.npz")):
            break
        time.sleep(0.05)
    assert kill_after(process, random.uniform(0, 0.5))
    run = trainkit.find_run("killed", tmp_path / "experiments")
    assert run.status == "killed"
    with pytest.raises(RunError, match=r"is not finished \(status: killed\).*--resume"):
        trainkit.evaluate(run)
    assert_equal_runs(trainkit.resume(run), whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_run_killed_at_any_moment_goes_on_bit_for_bit(whole: Run, tmp_path: Path, seed: int) -> None:
    generator = random.Random(seed)
    settings = [f"--set={key}={value}" for key, value in REMEMBERS.items()]
    process = start(tmp_path, "digits", "--name", "killed", *settings)
    for _ in range(6000):
        if list(tmp_path.glob("experiments/*-killed")):
            break
        time.sleep(0.05)
    kills = 0
    while kill_after(process, generator.uniform(0.2, 9) if kills else generator.uniform(0, 2)):
        kills += 1
        process = start(tmp_path, "--resume", "killed")
    run = trainkit.find_run("killed", tmp_path / "experiments")
    assert kills
    assert not [path for path in run.path.rglob(".*") if path.name != ".lock"]
    assert_equal_runs(run, whole)


@pytest.mark.slow
def test_interrupted_run_goes_on(whole: Run, tmp_path: Path) -> None:
    settings = [f"--set={key}={value}" for key, value in REMEMBERS.items()]
    process = start(tmp_path, "digits", "--name", "stopped", "--json", *settings)
    for _ in range(6000):
        if process.poll() is not None or list(tmp_path.glob("experiments/*/metrics.csv")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, chatter = process.communicate(timeout=300)
    assert json.loads(printed)["status"] == "interrupted", chatter
    assert_equal_runs(trainkit.resume("stopped", experiments=tmp_path / "experiments"), whole)


def test_finished_run_cannot_go_on(trained_run: Run) -> None:
    with pytest.raises(RunError, match=r"is finished. Train anew with more epochs: `--epochs`, or `epochs=` in Python"):
        trainkit.resume(trained_run)


@pytest.mark.slow
def test_second_process_on_a_run_is_refused(tmp_path: Path) -> None:
    process = start(tmp_path, "digits", "--name", "busy", "--epochs", "500")
    try:
        for _ in range(6000):
            if list(tmp_path.glob("experiments/*/metrics.csv")):
                break
            time.sleep(0.05)
        run = trainkit.find_run("busy", tmp_path / "experiments")
        assert run.status == "running"
        with pytest.raises(RunError, match=r"is being trained by another process. Wait for it, or end it"):
            trainkit.resume(run)
    finally:
        process.kill()
        process.communicate()


def test_changed_images_are_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(tiny_dataset, tmp_path / "photos")
    run = trainkit.train(folder, size=(16, 16), epochs=1, experiments=tmp_path / "experiments")
    run.set_result(status="interrupted")
    next((folder / "red").iterdir()).unlink()
    with pytest.raises(DataError, match=r"no longer those that it began with. Put them back, or train anew"):
        trainkit.resume(run)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and nothing that belongs to it"])
def test_damaged_state_is_said(tiny_dataset: Path, tmp_path: Path, damage: bytes) -> None:
    run = trainkit.train(tiny_dataset, size=(16, 16), epochs=1, experiments=tmp_path)
    run.set_result(status="interrupted")
    (run.path / STATE_FILE).write_bytes(damage)
    with pytest.raises(RunError, match=r"training.npz is damaged .*: this training cannot be resumed. Train anew"):
        trainkit.resume(run)


def compiled(units: int) -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(units)])
    model.compile(keras.optimizers.Adam(use_ema=True), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_state_holds_every_variable(tmp_path: Path) -> None:
    model, other = compiled(3), compiled(3)
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    save_state(tmp_path / "state.npz", take_state(Progress(phase="head", epochs=3, rows=[{"loss": 0.1}]), model))
    restore_variables(tmp_path / "state.npz", other)
    assert load_progress(tmp_path / "state.npz") == Progress(phase="head", epochs=3, rows=[{"loss": 0.1}])
    for one, two in zip(
        [*model.variables, *model.optimizer.variables], [*other.variables, *other.optimizer.variables], strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_state_of_another_network_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path / "state.npz", take_state(Progress(), compiled(3)))
    with pytest.raises(RunError, match="belongs to another network"):
        restore_variables(tmp_path / "state.npz", compiled(2))


@pytest.mark.slow
def test_full_disk_ends_training_with_a_sentence(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "sys.argv = ['trainkit', 'train', 'digits', '--epochs', '2', '--set', 'model.filters=64']\n"
        "from trainkit.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=without_coverage(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    (run,) = trainkit.list_runs(tmp_path / "experiments")
    assert run.status in ("failed", "killed")
    names = {path.name for path in run.path.rglob("*") if path.is_file()}
    assert not names & {"model.keras", "training.npz"}
    assert not [name for name in names if name.startswith(".") and name != ".lock"]
