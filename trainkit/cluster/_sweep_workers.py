"""The processes of a sweep: started, watched, and ended in order."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import trainkit
from trainkit.cluster._sweep_study import Attempts, Plan, list_attempts
from trainkit.cluster._sweep_worker import ENDED_BY_SIGNAL, is_complete, work
from trainkit.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from optuna import Study

_LOOK_SECONDS = 1.0

log = logging.getLogger("trainkit")


def work_here(plan: Plan, study: Study) -> None:
    """Train trials in this process, until the study has enough of them."""
    with saying_what_ended(study, plan) as say:
        try:
            work(plan, after_each=say)
        except KeyboardInterrupt:
            say()
            log.info(how_far(study, plan))
            raise


def work_in_processes(plan: Plan, study: Study, *, workers: int, folder: Path) -> None:
    """Train trials in so many processes of this machine, until the study has enough of them.

    Args:
        plan: of the study.
        study: opened.
        workers: how many processes.
        folder: where each writes what it would say on a screen.

    Raises:
        KeyboardInterrupt: this process was asked to end; the others have ended in order.
        TrainingError: all processes have ended, and the study has not enough trials.
    """
    started = [_start(plan, folder / f"worker-{number}.log") for number in range(1, workers + 1)]
    log.info("%d workers train; what they say is in %s", workers, folder / "worker-*.log")
    try:
        with saying_what_ended(study, plan) as say:
            _watch(started, say)
    except BaseException:
        _end(started)
        log.info(how_far(study, plan))
        raise
    finally:
        for process in started:
            if process.stdin:
                process.stdin.close()
    if not is_complete(study, plan) and not plan.is_over:
        raise TrainingError(f"All workers have ended. {how_far(study, plan)}{_last_words(started, folder)}")


def work_on_cluster(plan: Plan, study: Study, *, workers: int | None, address: str) -> None:
    """Train trials in tasks of a Ray cluster, until the study has enough of them.

    Args:
        plan: of the study.
        study: opened.
        workers: how many tasks; one for each node without it.
        address: of the cluster, or `local`.

    Raises:
        KeyboardInterrupt: this process was asked to end; the tasks have ended in order.
        MissingPackageError: Ray is not installed.
        TrainkitError: there is no cluster, or all tasks have ended too early.
        UsageError: its nodes cannot reach the database.
    """
    from trainkit.cluster._engine import connected, count_machines, run_tasks

    with connected(address), saying_what_ended(study, plan) as say:
        machines = count_machines()
        if machines > 1 and plan.url.startswith("sqlite"):
            raise UsageError(
                f"The cluster has {machines} machines, and an SQLite file is for one. Expected --study with a database "
                "that all reach, such as postgresql://user@host/name."
            )
        try:
            run_tasks(work_as_task, plan.to_json(), count=workers or machines, after_each_second=say)
        except KeyboardInterrupt:
            log.info(how_far(study, plan))
            raise
    if not is_complete(study, plan) and not plan.is_over:
        raise TrainingError(f"All workers have ended. {how_far(study, plan)}")


def work_as_task(plan: dict[str, Any]) -> None:
    """Train trials in a process of the cluster."""
    try:
        work(Plan(**plan))
    except KeyboardInterrupt:  # it was cancelled, and has ended in order
        return


def _start(plan: Plan, said: Path) -> subprocess.Popen[bytes]:
    """Start a worker in a session of its own: a Ctrl-C is for this process, which passes it on."""
    package = str(Path(trainkit.__file__).parents[1])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", **os.environ, "PYTHONPATH": path}
    with said.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "trainkit.cluster._sweep_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=environment,
            start_new_session=True,
        )
    assert process.stdin is not None
    process.stdin.write(json.dumps(plan.to_json()).encode() + b"\n")
    process.stdin.flush()
    return process


def _watch(started: Sequence[subprocess.Popen[bytes]], say: Any) -> None:
    """Wait until all have ended, and say of one that was killed that the others go on."""
    running = list(started)
    while running:
        sleep(_LOOK_SECONDS)
        say()
        for process in [one for one in running if one.poll() is not None]:
            running.remove(process)
            if process.returncode not in (0, ENDED_BY_SIGNAL):
                others = f" The other {len(running)} go on, with its trial too." if running else ""
                log.warning("Worker %d %s.%s", process.pid, _how_it_ended(process.returncode), others)


def _how_it_ended(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"has ended with exit code {code}"


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let each end after its running batch; who asks again will not wait for that."""
    running = [process for process in started if process.poll() is None]
    try:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()
    except KeyboardInterrupt:
        for process in running:
            process.kill()


def _last_words(started: Sequence[subprocess.Popen[bytes]], folder: Path) -> str:
    """Return what a worker said before it ended with an error, where one did."""
    for number, process in enumerate(started, 1):
        if process.returncode not in (0, ENDED_BY_SIGNAL):
            path = folder / f"worker-{number}.log"
            lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return f" {lines[-1][:500]}" if lines else f" See {path}"
    return ""


@contextmanager
def saying_what_ended(study: Study, plan: Plan) -> Iterator[Any]:
    """Write a line for each trial that ends; gives what looks for them."""
    seen = {attempts.number for attempts in list_attempts(study) if attempts.ended}

    def say() -> None:
        for attempts in list_attempts(study):
            if attempts.ended and attempts.number not in seen:
                seen.add(attempts.number)
                log.info("%d of %d: %s", len(seen), plan.trials, _in_words(attempts, plan))

    yield say
    say()


def _in_words(attempts: Attempts, plan: Plan) -> str:
    trial = attempts.last
    if attempts.failure:
        return f"trial {attempts.number} failed: {attempts.failure}"
    epochs = len(trial.intermediate_values)
    value = "" if trial.value is None else f", {plan.monitor} {trial.value:.4f}"
    pruned = " pruned" if trial.state.name == "PRUNED" else ""
    return f"trial {attempts.number}{pruned} after {epochs} epoch{'' if epochs == 1 else 's'}{value} ({attempts.run})"


def how_far(study: Study, plan: Plan) -> str:
    """Say how many trials have ended, and how to go on."""
    ended = sum(attempts.ended is not None for attempts in list_attempts(study))
    return f"{ended} of {plan.trials} trials of the study {plan.study} have ended: the same command goes on."
