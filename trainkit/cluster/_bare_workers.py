"""Several processes of this machine that train together, without Ray."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from trainkit import errors
from trainkit.cluster._work import Work
from trainkit.errors import TrainingError, UsageError
from trainkit.files import scratch_folder
from trainkit.runs._run import Run
from trainkit.training._tasks import LOST, VARIABLE

_GRACE_SECONDS = 60.0  # in which the others notice that one has gone
_TICK_SECONDS = 0.1
INTERRUPTED = 130  # as shells count


def run_bare(work: Work, workers: int) -> Run:
    """Let processes of this machine do the work; where one is lost, all end.

    Raises:
        TrainkitError: what one of them raised; or one was lost, and how to go on.
        KeyboardInterrupt: they were asked twice to end, or before there was a run.
    """
    with scratch_folder() as folder:
        asked = {"work": work, "level": logging.getLogger("trainkit").getEffectiveLevel()}
        (folder / "work.pickle").write_bytes(_pickled(asked))
        with _started(folder, workers) as processes:
            _wait(processes)
        outcomes = [_outcome(folder, rank) for rank in range(workers)]
        return _result(folder, processes, outcomes)


def _pickled(asked: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps(asked)
    except (pickle.PicklingError, TypeError, AttributeError) as error:  # the last two for what is open, or local
        raise UsageError(
            f"These data or options cannot be given to other processes ({error}). Expected a folder, a file, or arrays."
        ) from error


@contextmanager
def _started(folder: Path, workers: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start the processes; none is left behind. They end where this one does: their standard input does then."""
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(workers)]
    processes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        try:
            for rank in range(workers):
                errors_of = stack.enter_context((folder / f"stderr-{rank}").open("wb"))
                config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "trainkit.cluster._bare_worker", str(folder), str(rank)],
                        env={**os.environ, VARIABLE: json.dumps(config)},
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=_screen() if rank == 0 else errors_of,
                        start_new_session=True,  # Ctrl-C on the terminal is passed on, once
                    )
                )
            yield processes
        finally:
            for process in processes:
                process.kill()
                process.communicate()


def _screen() -> int | None:
    """Return the file of standard error, which in the command is not 2; `None`, for 2, where it has none."""
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # in memory, or of a notebook
        return None


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended; pass Ctrl-C on, and end those that do not notice that another one has gone."""
    lost_at = None
    while True:
        try:
            if all(process.poll() is not None for process in processes):
                return
            time.sleep(_TICK_SECONDS)
        except KeyboardInterrupt:
            for process in processes:
                process.send_signal(signal.SIGINT)
        if lost_at is None and any(process.poll() for process in processes):
            lost_at = time.monotonic()
        if lost_at is not None and time.monotonic() - lost_at > _GRACE_SECONDS:
            return


def _outcome(folder: Path, rank: int) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return dict(json.loads((folder / f"outcome-{rank}.json").read_text(encoding="utf-8")))
    return {}


def _result(folder: Path, processes: Sequence[subprocess.Popen[bytes]], outcomes: Sequence[dict[str, Any]]) -> Run:
    """Return the run, or raise what was wrong first: the others only miss the one that has gone."""
    run = _begun(folder)
    lost = [rank for rank, outcome in enumerate(outcomes) if not outcome]
    failed = [outcome for outcome in outcomes if "error" in outcome and LOST not in outcome["message"]]
    if failed:
        raise getattr(errors, failed[0]["error"])(failed[0]["message"])
    ends = (INTERRUPTED, -signal.SIGINT)  # the second one before there was a handler
    if any(processes[rank].returncode in ends for rank in lost):
        raise KeyboardInterrupt
    if lost:
        raise TrainingError(_lost_in_words(folder, lost[0], processes[lost[0]].returncode, run, len(processes)))
    if run is None or any("error" in outcome for outcome in outcomes):
        raise TrainingError(next(outcome["message"] for outcome in outcomes if "error" in outcome))
    return Run(run)


def _begun(folder: Path) -> Path | None:
    """Return the run, where its folder is there."""
    with suppress(OSError):
        return Path((folder / "run").read_text(encoding="utf-8"))
    return None


def _lost_in_words(folder: Path, rank: int, code: int, run: Path | None, workers: int) -> str:
    lines = (folder / f"stderr-{rank}").read_text(encoding="utf-8", errors="replace").split("\n")
    said = next((f": {line.strip():.200}" for line in reversed(lines) if line.strip()), "")
    how = f"was killed by the signal {-code}" if code < 0 else f"ended with the code {code}{said}"
    ways = f" `trainkit train --resume {run.name} --workers {workers}` goes on after the last epoch." if run else ""
    return f"Worker {rank} of {workers} {how}.{ways}"
