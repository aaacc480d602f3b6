"""Processes that train together, started bare, as TF_CONFIG has them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from trainkit.runs._run import Run, list_runs

SECONDS = 1200  # after which a process hangs


def free_addresses(count: int) -> list[str]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def tf_configs(count: int) -> list[str]:
    addresses = free_addresses(count)
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        for index in range(count)
    ]


def start(command: Sequence[str], configs: Sequence[str]) -> list[subprocess.Popen[str]]:
    """Start the same command in several processes, each with its TF_CONFIG; one that is empty is left out."""
    return [
        subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **({"TF_CONFIG": config} if config else {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for config in configs
    ]


def finish(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Wait for processes, and return their codes and what they wrote; none is left behind."""
    try:
        outputs = [process.communicate(timeout=SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


def train(arguments: Sequence[str], count: int) -> list[tuple[int, str]]:
    """Let several processes run `trainkit train` to its end."""
    return finish(start(["-m", "trainkit", "train", *arguments], tf_configs(count)))


def wait_for_epoch(experiments: Path, epoch: int) -> Run:
    """Wait until the only run has ended an epoch."""
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        for run in list_runs(experiments):
            if len(run.metrics) >= epoch:
                return run
        time.sleep(0.05)
    raise TimeoutError(f"no run in {experiments} has ended epoch {epoch}")


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)


def variables(run: Run) -> dict[str, np.ndarray]:
    """Return all that a training remembers: weights, generators, the optimizer's own."""
    with np.load(run.path / "state" / "training.npz") as found:
        return {name: found[name] for name in found.files if name.startswith("variable")}


def furthest(run: Run, other: Run) -> float:
    """Return by how much the last weights of two runs differ at most."""
    mine, others = variables(run), variables(other)
    assert mine.keys() == others.keys()
    return max(float(np.abs(mine[name].astype(np.float64) - others[name]).max()) for name in mine if mine[name].size)


def losses(run: Run) -> list[list[float]]:
    """Return the losses and accuracies of each epoch."""
    columns = [name for name in run.metrics[0] if name.endswith(("loss", "accuracy"))]
    return [[float(row[name]) for name in columns] for row in run.metrics]
