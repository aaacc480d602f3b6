"""A training that is one of the trials of a study: somebody watches its epochs, and may end it early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainkit.backend import keras
from trainkit.runs._run import Run
from trainkit.training._monitor import score_epoch
from trainkit.training._state import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A trial of a study, and who watches it."""

    study: str  # its name
    number: int  # in the study
    began: Callable[[Run], None]  # is told of the run, once its folder is there
    judge: Callable[[int, float], bool]  # is told of an epoch and its value; returns whether to end here


class Pruned(Exception):  # noqa: N818 - no error: the study is better off without the rest
    """The training is not worth going on with."""


def monitored_value(monitor: str | None, score: float) -> float:
    """Return what is monitored, of an epoch's score: a loss as it is, of which less is better."""
    return -score if monitor == "loss" else score


def judge_last_epoch(trial: Trial, progress: Progress, monitor: str | None) -> None:
    """Tell who watches of the last epoch that has ended.

    Raises:
        Pruned: it is the last one.
    """
    row = progress.rows[-1]
    value = monitored_value(monitor, score_epoch(monitor, row, progress.epochs - 1)[0])
    if trial.judge(progress.epochs, value):
        raise Pruned


class Judgement(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells who watches of each epoch; it stands behind the recorder, so that what is ended is written down."""

    def __init__(self, trial: Trial, progress: Progress, monitor: str | None, *, epochs: int) -> None:
        """Watch a training.

        Args:
            trial: who is told.
            progress: what the recorder keeps up to date.
            monitor: as `choose_monitor` returns it.
            epochs: after so many the training is over, and nothing is gained by an early end.
        """
        super().__init__()
        self._trial, self._progress, self._monitor, self._epochs = trial, progress, monitor, epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Pass on the epoch's value, and end the training where that is asked for."""
        try:
            judge_last_epoch(self._trial, self._progress, self._monitor)
        except Pruned:
            if epoch + 1 < self._epochs:
                raise
