"""Whether trainkit does on a GPU what it promises, and how fast, beside Keras' own `fit` on the same data.

    python tests/gpu [--require-gpu] [--minutes 8]

Trains, kills, resumes, exports and checks, measures, and prints one JSON document; ends with 1 where something is not
as it should be. Without a GPU it does all of that on the CPU with tiny sizes, whose speeds say nothing.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import workloads

TRAINKIT = (sys.executable, "-m", "trainkit")
WORKLOADS = str(Path(__file__).with_name("workloads.py"))
# Trainings that are killed after an epoch and resumed: all that a training remembers, and depthwise kernels, of which
# TensorFlow has no deterministic gradient on a GPU.
RESUMED = {
    "small-resnet": (
        *("--model", "small-resnet", "--epochs", "6", "--set=training.mixed_precision=auto"),
        *(
            "--set=model.dropout=0.3",
            "--set=augmentation.horizontal_flip=true",
            "--set=augmentation.random_erasing=0.5",
        ),
        *("--set=augmentation.mixup=0.2", "--set=training.ema=0.9", "--set=training.schedule=one-cycle"),
    ),
    "mobilenet": (
        *("--model", "mobilenet", "--weights", "none", "--alpha", "0.25", "--size", "32x32", "--epochs", "4"),
        *("--set=training.mixed_precision=auto", "--set=augmentation.brightness_range=[0.8,1.2]"),
    ),
}


class Failed(Exception):  # noqa: N818 - what it says is the failure
    """Something is not as it should be."""


def run(*command: str, within_s: float) -> str:
    """Return what a command prints.

    Raises:
        Failed: it did not end well, or not in time.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, within_s), check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"`{' '.join(command[1:6])} ...` was not done within {within_s:.0f} s") from error
    if done.returncode:
        raise Failed(f"`{' '.join(command[1:6])} ...` ended with {done.returncode}: {done.stderr.strip()[-600:]}")
    return done.stdout


def train_killed(folder: Path, options: Sequence[str], *, within_s: float) -> Path:
    """Kill a training after its first epoch, resume it, and return its run."""
    command = [*TRAINKIT, "train", "digits", *options, "--name", "killed", "--experiments", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + within_s
    while process.poll() is None and not list(folder.glob("*-killed/state/training.npz")):
        if time.monotonic() > until:
            process.kill()
            raise Failed(f"No epoch of {options[1]} was trained within {within_s:.0f} s")
        time.sleep(0.01)
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (trained,) = folder.glob("*-killed")
    with (trained / "metrics.csv").open(encoding="utf-8") as file:
        epochs = len(list(csv.DictReader(file)))
    if process.returncode != -signal.SIGKILL:
        raise Failed(f"{options[1]} ended by itself, after {epochs} epochs, before it could be killed")
    run(*TRAINKIT, "train", "--resume", str(trained), within_s=until - time.monotonic())
    return trained


def weights_of(trained: Path) -> dict[str, bytes]:
    """Return the bytes of each array in a run's model, by its place there."""
    found: dict[str, bytes] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes()

    with zipfile.ZipFile(trained / "model.keras") as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as file:
        file.visititems(take)
    return found


def check_resuming(folder: Path, *, left: Callable[[], float]) -> tuple[dict[str, bool], Path]:
    """Train each of `RESUMED` at once and with a break; return whether the weights are equal, and one of the runs."""
    equal: dict[str, bool] = {}
    first: Path | None = None
    for name, options in RESUMED.items():
        runs = folder / name
        run(*TRAINKIT, "train", "digits", *options, "--name", "whole", "--experiments", str(runs), within_s=left())
        (whole,) = runs.glob("*-whole")
        weights = weights_of(whole)
        equal[name] = bool(weights) and weights == weights_of(train_killed(runs, options, within_s=left()))
        first = first or whole
    assert first is not None
    return equal, first


def check_export(trained: Path, folder: Path, *, left: Callable[[], float]) -> dict[str, Any]:
    """Export a run, and have its bundle checked once more."""
    run(*TRAINKIT, "export", str(trained), "--exported", str(folder), within_s=left())
    (bundle,) = (path for path in folder.iterdir() if path.is_dir())
    from_run = ("--keras", str(trained / "model.keras"), "--data", "digits")
    found: dict[str, Any] = json.loads(run(*TRAINKIT, "check", str(bundle), *from_run, "--json", within_s=left()))
    return found


def measure(name: str, by: str, *, tiny: bool, left: Callable[[], float]) -> dict[str, Any]:
    """Return what `workloads` measures in a process of its own."""
    found = run(sys.executable, WORKLOADS, name, by, *(["--tiny"] if tiny else []), within_s=left())
    measured: dict[str, Any] = json.loads(found.splitlines()[-1])
    return measured


def main() -> None:
    """Do all of it, print the document, and end with 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--require-gpu", action="store_true", help="end with 1 where there is none")
    parser.add_argument("--minutes", type=float, default=8.0, help="it may take (default: %(default)s)")
    arguments = parser.parse_args()
    started = time.monotonic()

    def left() -> float:
        return 60 * arguments.minutes - (time.monotonic() - started)

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    failures: list[str] = []
    document: dict[str, Any] = {
        "device": None,
        "images_per_second": {},
        "keras_images_per_second": {},
        "resume_bit_equal": False,
        "resumed": {},
        "check": None,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            device = document["device"] = json.loads(run(sys.executable, WORKLOADS, "device", "-", within_s=left()))
            if tiny := device["kind"] != "GPU":
                failures += ["no GPU was found"] if arguments.require_gpu else []
                print("No GPU was found: everything runs on the CPU, in tiny sizes.", file=sys.stderr)
            print("Training, killing and resuming ...", file=sys.stderr)
            document["resumed"], trained = check_resuming(folder / "experiments", left=left)
            document["resume_bit_equal"] = all(document["resumed"].values())
            failures += [
                f"{one} is not the same after a break" for one, same in document["resumed"].items() if not same
            ]
            print("Exporting and checking ...", file=sys.stderr)
            document["check"] = check_export(trained, folder / "exported", left=left)
            for workload in workloads.NAMES:
                for by, key in (("trainkit", "images_per_second"), ("keras", "keras_images_per_second")):
                    print(f"Measuring {workload} by {by} ...", file=sys.stderr)
                    measured = measure(workload, by, tiny=tiny, left=left)
                    document[key][workload] = round(statistics.median(measured["images_per_second"]), 1)
                    if measured["trained_on"] != device["kind"]:
                        failures.append(f"{workload} was trained by {by} on the {measured['trained_on']}")
        except Failed as error:
            failures.append(str(error))
        except Exception as error:  # such as an answer that is no JSON: the document is printed all the same
            failures.append(f"{type(error).__name__}: {error}")
    document |= {"seconds": round(time.monotonic() - started, 1), "failures": failures}
    if left() < 0:
        failures.append(f"it took longer than {arguments.minutes:g} minutes")
    print(json.dumps(document, indent=2))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
