"""A process of a sweep: it trains trial after trial until the study has as many as it shall have.

`python -m trainkit.cluster._sweep_worker` reads its plan from standard input, and ends in order when that is closed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from trainkit._progress import doing
from trainkit.cluster._sweep_study import Plan, list_attempts, studying, take_back_lost
from trainkit.errors import TrainingError, TrainkitError

if TYPE_CHECKING:
    from optuna import Study

ENDED_BY_SIGNAL = 143  # as shells count SIGTERM
_PAUSE_SECONDS = 1.0
_TOGETHER_SECONDS = 1.0  # `timeout` sends the signal to the process and then to its group
_FAILED_BEFORE_THE_END = 3  # trials that fail, none having a value: it is not the settings that are drawn

log = logging.getLogger("trainkit")


def work(plan: Plan, *, after_each: Callable[[], None] = lambda: None) -> None:
    """Train trials until the study has enough of them, or the time is over.

    Args:
        plan: of the study.
        after_each: is called after each trial.

    Raises:
        KeyboardInterrupt: it was asked to end; what it was training waits for another process.
        TrainkitError: something in the world is wrong.
    """
    from trainkit.cluster._sweep_trial import train_next
    from trainkit.data._sources import load_dataset
    from trainkit.runs._sections import Config

    config = Config.from_values(next(iter(plan.bases.values())))
    dataset = load_dataset(config.data, validation=config.training.validation, reading=config.reading)
    with studying(plan) as study:
        while not plan.is_over and not is_complete(study, plan):
            take_back_lost(study)
            if _has_work(study, plan):
                train_next(study, plan, dataset)
                after_each()
                _check_hope(study)
            else:
                _wait(study, plan)


def _wait(study: Study, plan: Plan) -> None:
    """Wait while others train the last trials; one of them may have been killed, which is known by its silence."""
    with doing("Waiting for the trials of other processes"):
        while not (plan.is_over or is_complete(study, plan) or _has_work(study, plan)):
            time.sleep(_PAUSE_SECONDS)
            take_back_lost(study)


def is_complete(study: Study, plan: Plan) -> bool:
    """Whether so many trials have ended as there shall be."""
    return sum(attempts.ended is not None for attempts in list_attempts(study)) >= plan.trials


def _has_work(study: Study, plan: Plan) -> bool:
    known = list_attempts(study)
    return len(known) < plan.trials or any(attempts.is_waiting for attempts in known)


def _check_hope(study: Study) -> None:
    """Raise where all that has ended has failed.

    Raises:
        TrainingError: says why the last one did.
    """
    ended = [attempts for attempts in list_attempts(study) if attempts.ended]
    failures = [attempts.failure for attempts in ended if attempts.failure]
    if len(failures) == len(ended) >= _FAILED_BEFORE_THE_END:
        raise TrainingError(f"The first {len(failures)} trials have all failed. The last one: {failures[-1]}")


def _take_termination() -> None:
    """Let SIGTERM do what Ctrl-C does at that moment: a training ends after the running batch."""
    last = 0.0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal last
        now, before = time.monotonic(), last
        if before and now - before < _TOGETHER_SECONDS:
            return
        last = now
        on_interrupt = signal.getsignal(signal.SIGINT)
        if not callable(on_interrupt):
            raise KeyboardInterrupt
        on_interrupt(number, frame)

    signal.signal(signal.SIGTERM, handle)


def _end_with(descriptor: int) -> None:
    """End in order once whoever holds the other end of a pipe has gone."""
    while os.read(descriptor, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _read_plan(descriptor: int) -> Plan:
    """Read a line; not by `sys.stdin`, whose lock a thread would hold that reads on."""
    text = b""
    while not text.endswith(b"\n"):
        read = os.read(descriptor, 65536)
        if not read:
            raise SystemExit("Expected a plan on standard input.")
        text += read
    return Plan(**json.loads(text))


def main() -> int:
    """Work on the plan that standard input has; return the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("trainkit").setLevel(logging.INFO)
    _take_termination()
    plan = _read_plan(0)
    threading.Thread(target=_end_with, args=(0,), daemon=True).start()
    try:
        work(plan)
    except KeyboardInterrupt:
        return ENDED_BY_SIGNAL
    except TrainkitError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
