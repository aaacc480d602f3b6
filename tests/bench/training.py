"""How soon Fashion-MNIST is learned, beside the script that books have: each training in a process of its own.

    python tests/bench/training.py [--long] [--runs N] [--older-cpu]

The script: convolution 32, pooling, dense 100, dense 10; Adam, batches of 32, ten epochs of `fit` over NumPy arrays. It
runs as its user would run it, with TensorFlow's own choices. Seconds are those of fitting, process seconds those from
start to end: imports, data, testing and all that is written.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import machine

RUNS = 3
SCRIPT = """
import json, os, sys, time
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
keras.utils.set_random_seed(int(sys.argv[1]))
(x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
x, x_test = x[..., None].astype("float32") / 255, x_test[..., None].astype("float32") / 255
model = keras.Sequential([
    keras.Input((28, 28, 1)),
    keras.layers.Conv2D(32, 3, activation="relu", kernel_initializer="he_uniform"),
    keras.layers.MaxPooling2D(2),
    keras.layers.Flatten(),
    keras.layers.Dense(100, activation="relu", kernel_initializer="he_uniform"),
    keras.layers.Dense(10, activation="softmax"),
])
model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
started = time.monotonic()
model.fit(x, y, batch_size=32, epochs=10, verbose=0)
seconds = time.monotonic() - started
print(json.dumps({"seconds": seconds, "test_accuracy": model.evaluate(x_test, y_test, verbose=0)[1]}))
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """A training, and what is wanted of it."""

    name: str
    options: tuple[str, ...]  # of `trainkit train`
    share: float  # of the script's time, at most
    accuracy: float | None  # of the test images, at least; None: the script's own


CONTENDERS = (
    Contender("the textbook network", ("fashion-mnist", "--epochs", "2"), 0.08, None),
    Contender("the recipe fashion-mnist", ("fashion-mnist",), 0.25, 0.918),
    Contender("fashion-mnist-best", ("--recipe", "fashion-mnist-best"), 1.0, 0.925),
)
LONG = (Contender("fashion-mnist-long", ("--recipe", "fashion-mnist-long"), 10.0, 0.946),)


def _run(command: Sequence[str], changed: Mapping[str, str]) -> dict[str, float]:
    """Run a command in a folder that goes away, and return what it prints and how long it took.

    Args:
        command: of Python.
        changed: what is another in its environment.
    """
    # Which trainkit sets where it is imported, here too.
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, env={**environment, **changed}, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(done.stderr)
        return {**json.loads(done.stdout), "process_seconds": time.monotonic() - started}


def rows(*, long: bool = False, runs: int = RUNS, older_cpu: bool = False) -> list[dict[str, Any]]:
    """Return a row for each training: medians of `runs`, which take turns with the script's.

    Args:
        long: the trainings that take ten times the script's time, too.
        runs: of which the medians are taken, a seed each.
        older_cpu: imitate one without AVX-512, as `machine.OLDER_CPU` has it.
    """
    changed = machine.OLDER_CPU if older_cpu else {"ours": {}, "other": {}}
    contenders = (*CONTENDERS, *(LONG if long else ()))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ("", *(one.name for one in contenders))}
    for seed in range(runs):
        found[""].append(_run(["-c", SCRIPT, str(seed)], changed["other"]))
        for contender in contenders:
            command = ["-m", "trainkit", "train", *contender.options, "--seed", str(seed), "--json"]
            found[contender.name].append(_run(command, changed["ours"]))
    script = {f"script_{key}": value for key, value in _medians(found[""]).items()}
    return [
        {
            "name": contender.name,
            **_medians(found[contender.name]),
            "accuracies": [run["test_accuracy"] for run in found[contender.name]],
            **script,
            "time_bound": f"<= {contender.share}",
            "accuracy_bound": f">= {contender.accuracy or script['script_accuracy']:.4f}",
        }
        for contender in contenders
    ]


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    keys = {"seconds": "seconds", "process_seconds": "process_seconds", "accuracy": "test_accuracy"}
    return {name: statistics.median(run[key] for run in runs) for name, key in keys.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="the training that takes ten times the script's time, too")
    parser.add_argument("--runs", type=int, default=RUNS, help="of which the medians are told (default: %(default)s)")
    parser.add_argument("--older-cpu", action="store_true", help="as on a CPU without AVX-512, where this one has it")
    arguments = parser.parse_args()
    print(machine.in_words(machine.describe(older_cpu=arguments.older_cpu)))
    for row in rows(long=arguments.long, runs=arguments.runs, older_cpu=arguments.older_cpu):
        print(json.dumps(row))
