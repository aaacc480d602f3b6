"""How soon Fashion-MNIST is learned, beside the script that books have: each training in a process of its own.

    python tests/bench/training.py [--long]

The script: convolution 32, pooling, dense 100, dense 10; Adam, batches of 32, ten epochs of `fit` over NumPy arrays.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

RUNS = 3
SCRIPT = """
import json, os, time
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
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
    Contender(
        "the textbook network", ("fashion-mnist", "--epochs", "2", "--set", "training.label_smoothing=0"), 0.1, None
    ),
    Contender("the recipe fashion-mnist", ("fashion-mnist",), 0.25, 0.918),
    Contender("fashion-mnist-best", ("--recipe", "fashion-mnist-best"), 1.0, 0.922),
)
LONG = (Contender("fashion-mnist-long", ("--recipe", "fashion-mnist-long"), 10.0, 0.94),)


def _run_script(seed: int) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _run_ours(contender: Contender, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trainkit", "train", *contender.options, "--seed", str(seed), "--json"]
        started = time.monotonic()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        return {**json.loads(done.stdout), "process_seconds": time.monotonic() - started}


def rows(*, long: bool = False, runs: int = RUNS) -> list[dict[str, Any]]:
    """Return a row for each training: medians of `runs`, which take turns with the script's."""
    contenders = (*CONTENDERS, *(LONG if long else ()))
    script: list[dict[str, float]] = []
    ours: dict[str, list[dict[str, float]]] = {contender.name: [] for contender in contenders}
    for seed in range(runs):
        script.append(_run_script(seed))
        for contender in contenders:
            ours[contender.name].append(_run_ours(contender, seed))
    seconds = statistics.median(run["seconds"] for run in script)
    reached = statistics.median(run["test_accuracy"] for run in script)
    return [
        {
            "name": contender.name,
            "seconds": statistics.median(run["seconds"] for run in ours[contender.name]),
            "process_seconds": statistics.median(run["process_seconds"] for run in ours[contender.name]),
            "accuracy": statistics.median(run["test_accuracy"] for run in ours[contender.name]),
            "accuracies": [run["test_accuracy"] for run in ours[contender.name]],
            "script_seconds": seconds,
            "script_accuracy": reached,
            "time_bound": f"<= {contender.share}",
            "accuracy_bound": f">= {contender.accuracy or reached:.4f}",
        }
        for contender in contenders
    ]


if __name__ == "__main__":
    for row in rows(long="--long" in sys.argv):
        print(json.dumps(row))
