"""Writes a run down while it is trained: a row an epoch, the best weights, the last state."""

from __future__ import annotations

import csv
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from trainkit.backend import keras
from trainkit.errors import TrainingError
from trainkit.files import cannot_write, replacing
from trainkit.runs import Run


class Interrupted(Exception):  # noqa: N818 - no error: the user wants it
    """The user pressed Ctrl-C while the model was trained."""


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Records the epochs of `fit` in a run.

    The best epoch is the one with the highest validation accuracy, of equal ones that with the lowest validation loss;
    without validation it is the last.

    Args:
        run: where to.
        model: the one to save, which may be larger than the one that is fitted.
    """

    def __init__(self, run: Run, model: Any) -> None:
        super().__init__()
        self.epochs = 0
        self.best_epoch: int | None = None
        self._run, self._whole_model = run, model
        self._best = (-math.inf, -math.inf)
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the epoch's clock."""
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """End training where the loss is no number any more."""
        if logs and not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"The loss is {logs['loss']} in epoch {self.epochs + 1}: the learning rate is likely too high for this "
                "network, or its inputs are not scaled. Try a tenth of --learning-rate, or --preprocessing standardize."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save the epoch: its row, its weights if they are the best so far, and the state to go on from."""
        figures = dict(logs or {})
        self.epochs = epoch + 1
        self._write_row(
            {
                "epoch": epoch + 1,
                **figures,
                "learning_rate": float(self.model.optimizer.learning_rate),
                "seconds": round(time.monotonic() - self._started, 3),
            }
        )
        score = (figures.get("val_accuracy", float(epoch)), -figures.get("val_loss", 0.0))
        if score > self._best:
            self._best, self.best_epoch = score, epoch + 1
            self.save_best()
        state = self._run.path / "state"
        state.mkdir(exist_ok=True)
        with replacing(state / "model.keras") as path:
            self.model.save(path)

    def _write_row(self, row: dict[str, Any]) -> None:
        path = self._run.path / "metrics.csv"
        try:
            first = not path.exists()
            with path.open("a", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, row, lineterminator="\n")
                if first:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise cannot_write(path, error) from error

    def save_best(self) -> None:
        """Save the whole model as the run's `model.keras`."""
        with replacing(self._run.model_path) as path:
            self._whole_model.save(path)


class Interruption(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends whatever Keras does after the running batch, once it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.requested = False

    def _end_if_requested(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.requested:
            raise Interrupted

    on_train_batch_end = on_test_batch_end = on_predict_batch_end = _end_if_requested


@contextmanager
def catching_interrupt() -> Iterator[Interruption]:
    """Let the first Ctrl-C request the end after the running batch; the second one ends it at once."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption  # only the main thread may set a handler
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if interruption.requested:
            raise KeyboardInterrupt
        interruption.requested = True

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)
