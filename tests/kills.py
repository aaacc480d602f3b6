"""Processes that are killed at any moment, and what goes on after them: `python tests/kills.py --count 100 --seed 1`.

Trainings go on bit for bit, the pixel cache holds what was written or nothing, an export is whole or is not there, a
report can be written anew; nothing is left for good, and nobody sees a traceback.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from photographs import write_class_folders

# Everything that a training remembers from one step to the next, in several ways to train.
WAYS: dict[str, list[str]] = {
    "plateau": [
        *("digits", "--epochs", "12", "--learning-rate", "0.01"),
        *("--set=model.filters=8", "--set=model.dropout=0.4", "--set=augmentation.rotation_range=15"),
        *("--set=augmentation.mixup=0.2", "--set=training.schedule=plateau", "--set=training.warmup=1.5"),
        *("--set=training.early_stopping=4", "--set=training.ema=0.95"),
    ],
    "photographs": [
        *("photos", "--epochs", "10", "--size", "32x24", "--preprocessing", "standardize"),
        *("--class-weights", "balanced", "--set=augmentation.horizontal_flip=true", "--set=augmentation.cutmix=0.5"),
    ],
    "all images": ["digits", "--epochs", "8", "--validation", "0", "--set=model.filters=8", "--set=model.dropout=0.2"],
}
CLOCKS = ("seconds", "images_per_second")  # what no two trainings have in common
KINDS = ("train", "cache", "export", "report")

CACHE = """
import hashlib, sys
import numpy as np
from trainkit.data._cache import map_pixels

def read(seed):
    def fill(first, out):
        for index in range(len(out)):
            out[index] = np.random.default_rng((seed, first + index)).integers(0, 256, out.shape[1:], np.uint8)
    return fill

for seed in map(int, sys.argv[1:]):
    pixels = map_pixels(f"key-{seed}", (96, 64, 64, 3), read(seed))
    print(seed, hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest(), flush=True)
"""


class Kills:
    """A folder in which processes are killed, and how many were."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.counts = dict.fromkeys(KINDS, 0)
        self.seconds: dict[str, float] = {}  # that a command takes to its end, by its name
        write_class_folders(folder / "photos", count=20)
        self.environment = {**os.environ, "TRAINKIT_CACHE": str(folder / "cache"), "TRAINKIT_PROGRESS": "0"}

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def to_end(self, *command: str, **environment: str) -> str:
        """Run a command to its end, and return what it printed."""
        process = self.start(*command, **environment)
        printed, said = process.communicate()
        assert process.returncode == 0, said
        assert "Traceback" not in said, said
        return printed

    def trainkit(self, *arguments: str) -> str:
        began = time.monotonic()
        printed = self.to_end("-m", "trainkit", *arguments)
        self.seconds[arguments[0]] = time.monotonic() - began
        return printed

    def kill(self, kind: str, *command: str, within: float, **environment: str) -> bool:
        """Start a command and kill it at a random time; return whether it still ran."""
        process = self.start(*command, **environment)
        try:
            process.wait(self.random.uniform(0, within))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert "Traceback" not in said, said
        killed = process.returncode == -signal.SIGKILL
        assert killed or process.returncode == 0, said
        self.counts[kind] += killed
        print(f"{kind}: {self.counts[kind]} kills", end="\r", file=sys.stderr, flush=True)
        return killed


def figures_of(run: Path) -> dict[str, Any]:
    """Return all that must be equal in two trainings: weights as bits, epochs, results."""
    from trainkit.models._outputs import load_keras_model

    with (run / "metrics.csv").open(newline="") as file:
        rows = [{key: row[key] for key in row if key not in CLOCKS} for row in csv.DictReader(file)]
    result = json.loads((run / "result.json").read_text())
    keys = ("status", "epochs", "best_epoch", "test_accuracy", "test_loss", "confusion_matrix", "classes")
    weights = [
        hashlib.sha256(np.ascontiguousarray(one)).hexdigest()
        for one in load_keras_model(run / "model.keras").get_weights()
    ]
    return {"rows": rows, "weights": weights, **{key: result[key] for key in keys}}


def leftovers(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob(".*") if path.name != ".lock"]


def find(kills: Kills, name: str) -> Path | None:
    """Return the run of this name, where it came to be."""
    return next(iter(kills.folder.glob(f"experiments/*-{name}")), None)


def train(kills: Kills, count: int) -> None:
    """Kill trainings and go on with them until each is finished, `count` kills in all or a few more."""
    wholes: dict[str, dict[str, Any]] = {}
    number = 0
    while kills.counts["train"] < count:
        way = list(WAYS)[number % len(WAYS)]
        if way not in wholes:
            whole = f"whole-{number}"
            kills.trainkit("train", *WAYS[way], "--name", whole)
            found = find(kills, whole)
            assert found is not None
            wholes[way] = figures_of(found)
        name, number = f"killed-{number}", number + 1
        going_on = True
        while going_on:
            run = find(kills, name)
            command = ["train", "--resume", name] if run else ["train", *WAYS[way], "--name", name]
            # The longer half of the time, so that most of them come as far as an epoch.
            going_on = kills.kill("train", "-m", "trainkit", *command, within=1.1 * kills.seconds["train"])
            run = find(kills, name)
            finished = run and json.loads((run / "result.json").read_text())["status"] == "finished"
            if going_on and finished:  # while the page was drawn
                kills.trainkit("report", name)
                going_on = False
        run = find(kills, name)
        assert run is not None
        assert figures_of(run) == wholes[way], name
        assert not leftovers(run), leftovers(run)
        assert {"curves.png", "report.html", "model.keras"} <= {path.name for path in run.iterdir()}
    assert not [path for path in leftovers(kills.folder / "experiments") if ".new-" not in path]


def cache(kills: Kills, count: int) -> None:
    """Kill processes that write pixels, and sweep what others wrote, two at a time."""
    folder = kills.folder / "small-cache"
    room = {"TRAINKIT_CACHE": str(folder), "TRAINKIT_CACHE_GB": "0.004"}  # three files of eight
    seeds = [str(seed) for seed in range(8)]
    expected = dict(line.split() for line in kills.to_end("-c", CACHE, *seeds, **room).splitlines())
    while kills.counts["cache"] < count:
        order = kills.random.sample(seeds * 2, 16)
        other = kills.start("-c", CACHE, *order[::-1], **room)
        kills.kill("cache", "-c", CACHE, *order, within=2.5, **room)
        printed, said = other.communicate()
        assert other.returncode == 0, said
        found = [line.split() for line in printed.splitlines()]
        assert len(found) == 16
        assert all(expected[seed] == checksum for seed, checksum in found)
    for path in folder.glob(".*"):
        os.utime(path, (0, 0))  # as a minute later
    found = dict(line.split() for line in kills.to_end("-c", CACHE, *seeds, **room).splitlines())
    assert found == expected
    assert not list(folder.glob(".*"))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6


@contextmanager
def finished_run(kills: Kills) -> Iterator[Path]:
    kills.trainkit("train", "digits", "--epochs", "1", "--name", "finished")
    run = find(kills, "finished")
    assert run is not None
    before = {
        path.name: path.read_bytes() for path in run.iterdir() if path.suffix in (".json", ".toml", ".csv", ".keras")
    }
    yield run
    assert before == {name: (run / name).read_bytes() for name in before}


def export(kills: Kills, count: int) -> None:
    """Kill exports: a bundle is there as a whole or not at all, and the next export clears what is left."""
    exported = kills.folder / "exported"
    with finished_run(kills) as run:
        kills.trainkit("export", run.name, "--name", "whole", "--clients", "python,cpp")
        model = (exported / "whole" / "model.onnx").read_bytes()
        number = 0
        while kills.counts["export"] < count:
            name, number = f"b{number}", number + 1
            command = ("-m", "trainkit", "export", run.name, "--name", name, "--clients", "python,cpp")
            kills.kill("export", *command, within=1.05 * kills.seconds["export"])
            there = (exported / name).exists()
            assert not there or (exported / name / "model.onnx").read_bytes() == model
            assert len(list(exported.glob(".*"))) <= 1
        kills.trainkit("export", run.name, "--name", "last")
        assert (exported / "last" / "model.onnx").read_bytes() == model
        assert not leftovers(exported)
        for bundle in exported.iterdir():
            kills.to_end(str(bundle / "classify.py"), "--selftest")


def report(kills: Kills, count: int) -> None:
    """Kill reports: the run stays as it is, and the next report repairs its pictures."""
    with finished_run(kills) as run:
        kills.trainkit("report", run.name)
        pictures = {path.name for path in run.glob("*.png")}
        while kills.counts["report"] < count:
            kills.kill("report", "-m", "trainkit", "report", run.name, within=1.05 * kills.seconds["report"])
            assert (run / "report.html").read_text(encoding="utf-8").endswith("</html>")
        kills.trainkit("report", run.name)
        assert pictures == {path.name for path in run.glob("*.png")}
        assert all(re.match(b"\x89PNG.*IEND", path.read_bytes(), re.DOTALL) for path in run.glob("*.png"))
        assert not leftovers(run), leftovers(run)


WORK: dict[str, Callable[[Kills, int], None]] = {"train": train, "cache": cache, "export": export, "report": report}
SHARES = {"train": 0.4, "cache": 0.2, "export": 0.2, "report": 0.2}


def main() -> None:
    """Kill as many as are asked for, and print how many there were of each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=KINDS, action="append")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills = Kills(Path(folder), options.seed)
        for kind in options.kind or KINDS:
            WORK[kind](kills, max(1, round(options.count * SHARES[kind])))
            print(f"{kind}: {kills.counts[kind]} kills, all went on as if nothing had happened", flush=True)


if __name__ == "__main__":
    main()
