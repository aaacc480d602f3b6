"""How soon cats and dogs are told apart by a head on MobileNet 0.75, and where the seconds go.

    python tests/bench/transfer.py [--seeds N] [--older-cpu]

Each training is `trainkit train` in a process of its own, from its start to its end, in a folder of its own and with
nothing decoded before. Seconds of a stage are those in which nothing but it was done; CPU seconds are those of all
threads, which say more where other processes run on the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import machine

SEEDS = 5
OPTIONS = ("--model", "mobilenet", "--alpha", "0.75", "--json")
ACCURACY, SECONDS, SECONDS_WITHOUT_AVX512 = 0.97, 20, 25
# The stage of each step of the library, by how its text begins; the others belong to what is around them.
STAGES = {
    "Looking at the files": "data",
    "Looking for near-duplicates": "data",
    "Loading TensorFlow": "imports",
    "Looking for cached pixels": "decoding",
    "Decoding": "decoding",
    "Building the network": "network",
    "Loading the ImageNet weights": "network",
    "Preparing the training": "features",
    "Features": "features",
    "Loading the best weights": "testing",
    "Evaluating": "testing",
    "Drawing": "report",
}
# What is done behind a stage and is no step.
BEHIND = {"": "imports", "imports": "imports", "features": "head", "testing": "testing", "report": "end"}
ORDER = ("imports", "data", "decoding", "network", "features", "head", "testing", "report", "end")


class Stopwatch:
    """Notes the time, and that of the CPU, whenever a step begins or ends."""

    def __init__(self) -> None:
        self.events: list[tuple[float, float, str]] = []
        self._open: list[str] = []

    def note(self) -> None:
        """Note what is done from now on."""
        self.events.append((time.time(), time.process_time(), self._open[-1] if self._open else ""))

    def began(self, step: Any) -> None:
        """Go into a step."""
        self._open.append(step.text)
        self.note()

    def ended(self, step: Any) -> None:
        """Go out of a step."""
        self._open.pop()
        self.note()


def _timed(file: str, *arguments: str) -> None:
    """Be the command `trainkit` with these arguments, and write what a stopwatch has noted."""
    from trainkit._progress import watching
    from trainkit.cli import main

    stopwatch = Stopwatch()
    sys.argv = ["trainkit", *arguments]
    try:
        with watching(stopwatch):
            main()
    finally:
        stopwatch.note()
        Path(file).write_text(json.dumps(stopwatch.events))


def by_stage(
    events: list[tuple[float, float, str]], started: float, ended: float, cpu: float
) -> dict[str, list[float]]:
    """Return the seconds and the CPU seconds of each stage of a process, of which these are the times."""
    found = {stage: [0.0, 0.0] for stage in ORDER}
    at, at_cpu, stage, text = started, 0.0, "", ""
    for now, now_cpu, after in [*events, (ended, cpu, "")]:
        part = next((one for begin, one in STAGES.items() if text.startswith(begin)), None) or BEHIND.get(stage, stage)
        found[part][0] += now - at
        found[part][1] += now_cpu - at_cpu
        if text:
            stage = part
        at, at_cpu, text = now, now_cpu, after
    return found


def run(data: Path, seed: int, environment: Mapping[str, str]) -> dict[str, Any]:
    """Train once in an environment, and return seconds, CPU seconds, accuracy and stages."""
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder, "times.json")
        command = [sys.executable, __file__, "--timed", str(times), "train", str(data), *OPTIONS, "--seed", str(seed)]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
        done = subprocess.run(
            command,
            cwd=folder,
            env={**environment, "TRAINKIT_CACHE": str(Path(folder, "cache"))},
            capture_output=True,
            text=True,
        )
        ended, after = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(done.stderr)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {
            "seconds": ended - started,
            "cpu_seconds": cpu,
            "accuracy": json.loads(done.stdout)["test_accuracy"],
            "stages": by_stage(json.loads(times.read_text()), started, ended, cpu),
        }


def has_avx512(environment: Mapping[str, str]) -> bool:
    """Whether TensorFlow computes with AVX-512: the processor has it, and oneDNN is not told otherwise."""
    limit = environment.get("ONEDNN_MAX_CPU_ISA", "").upper()
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and "avx512" in cpu.read_text() and (not limit or "AVX512" in limit or limit == "DEFAULT")


def measure(seeds: int = SEEDS, *, older_cpu: bool = False) -> dict[str, Any]:
    """Return the medians over some seeds, and what is wanted of them, perhaps as on a CPU without AVX-512."""
    environment = {**os.environ, **(machine.OLDER_CPU["ours"] if older_cpu else {})}
    data = Path(os.environ["TRAINKIT_SHARED"], "data", "cats-dogs").resolve()
    runs = []
    for seed in range(seeds):
        print(f"Training with seed {seed} ...", file=sys.stderr)
        runs.append(run(data, seed, environment))
    stages = {stage: [statistics.median(run["stages"][stage][i] for run in runs) for i in (0, 1)] for stage in ORDER}
    medians = {key: statistics.median(run[key] for run in runs) for key in ("seconds", "cpu_seconds", "accuracy")}
    limit = SECONDS if has_avx512(environment) else SECONDS_WITHOUT_AVX512
    return {
        **medians,
        "accuracies": [run["accuracy"] for run in runs],
        "stages": stages,
        "time_bound": f"<= {limit}",
        "accuracy_bound": f">= {ACCURACY}",
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--timed"]:
        _timed(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of which the medians are told (default: %(default)s)")
    parser.add_argument("--older-cpu", action="store_true", help="as on a CPU without AVX-512, where this one has it")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.seeds, older_cpu=arguments.older_cpu), indent=2))
