"""Writes a run down while it is trained: a row an epoch, the best weights, the state to go on from."""

from __future__ import annotations

import csv
import io
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

from trainkit.backend import keras
from trainkit.errors import TrainingError
from trainkit.files import replacing, write_text
from trainkit.runs._run import Run
from trainkit.training._averaging import averaged
from trainkit.training._model_file import ModelFile
from trainkit.training._monitor import score_epoch
from trainkit.training._state import STATE_FILE, Progress, save_state, take_state
from trainkit.training._watching import watch


class Interrupted(Exception):  # noqa: N818 - no error: the user wants it
    """The user pressed Ctrl-C while the model was trained."""


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Records the epochs of `fit` in a run; give it to `fit` behind the callbacks whose memory it saves.

    The best epoch is the one that is best by the monitor, of equal ones that with the lowest validation loss; without
    validation it is the last.
    """

    def __init__(
        self,
        run: Run,
        progress: Progress,
        *,
        monitor: str | None,
        model_to_save: Callable[[], Any],
        images: int,
        remembering: list[Any],
        began: float,
        writes: bool = True,
    ) -> None:
        """Record into `run`.

        Args:
            run: where to.
            progress: what happened so far; it is kept up to date.
            monitor: by what the best epoch is chosen, as `choose_monitor` returns it.
            model_to_save: returns what to save, which may be larger than the one that is fitted.
            images: trained on in an epoch.
            remembering: the callbacks whose state belongs to that of the training.
            began: when the time of the phase began to count, by `time.monotonic`.
            writes: whether this process writes the run; of several that train it, one does.
        """
        super().__init__()
        self._run, self._progress, self._monitor, self._model_to_save = run, progress, monitor, model_to_save
        self._images, self._remembering = images, remembering
        self._began = self._started = began
        self._writes = writes
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._writing: Future[None] | None = None
        self._file: ModelFile | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Let the other callbacks, which have just forgotten everything, go on where they were."""
        for callback in self._remembering:
            known, stored = _memory(callback), self._progress.callbacks.get(type(callback).__name__, {})
            vars(callback).update({name: value for name, value in stored.items() if name in known})

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the epoch's clock."""
        self._started = time.monotonic()
        self._trained = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """End training where the loss is no number any more."""
        self._trained = time.monotonic() - self._started
        self._check_loss(logs)

    def _check_loss(self, logs: dict[str, float] | None) -> None:
        """Raise where the loss, the mean over the epoch so far, is not finite: once it is not, it stays so."""
        if logs and not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"The loss is {logs['loss']} in epoch {self._progress.epochs + 1}: the learning rate is likely too "
                "high for this network, or its inputs are not scaled. Try a tenth of --learning-rate, or "
                "--preprocessing standardize."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save the epoch: its row, its weights if they are the best so far, and the state to go on from.

        The state is written while the next epoch is trained.
        """
        self._check_loss(logs)
        progress, figures = self._progress, {key: float(value) for key, value in (logs or {}).items()}
        now = time.monotonic()
        progress.epochs = epoch + 1
        progress.phase_epochs += 1
        progress.stopped = bool(self.model.stop_training)
        progress.seconds += now - self._began
        self._began = now
        progress.rows.append(
            {
                "epoch": epoch + 1,
                "phase": progress.phase,
                **figures,
                "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
                "seconds": round(now - self._started, 3),
                "images_per_second": round(self._images / max(self._trained, 1e-6), 1),
            }
        )
        if self._writes:
            write_rows(self._run, progress.rows)
        score = score_epoch(self._monitor, figures, epoch)
        if not progress.best_score or score > progress.best_score:
            progress.best_score, progress.best_epoch = score, epoch + 1
            self.save_best()
        progress.callbacks = {type(callback).__name__: _memory(callback) for callback in self._remembering}
        state = take_state(progress, self.model)
        if self._writes:
            self._wait()
            self._writing = self._writer.submit(save_state, self._run.path / STATE_FILE, state)

    def close(self) -> None:
        """Wait until the state of the last epoch is written, and write no more.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self._wait()
        finally:
            self._writer.shutdown()

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def save_best(self) -> None:
        """Save the whole model, with the averages of its weights where there are any, as the run's `model.keras`."""
        with averaged(self.model):
            model = self._model_to_save()
            if self._writes:
                self._file = self._file or ModelFile(self._run.model_path, self.model.weights)
                with replacing(self._run.model_path) as path:
                    self._file.save(model, path)


def _memory(callback: Any) -> dict[str, Any]:
    """Return what a callback of Keras remembers: the plain values among its attributes."""
    found = {name: value for name, value in vars(callback).items() if isinstance(value, (bool, int, float, type(None)))}
    return {name: value for name, value in found.items() if not name.startswith("_") and name != "model"}


def write_rows(run: Run, rows: list[dict[str, Any]]) -> None:
    """Write `metrics.csv`, a row an epoch, whole: a reader never sees half a row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(run.path / "metrics.csv", text.getvalue())


class Interruption(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends whatever Keras does after the running batch, once it was asked to.

    Several processes that train together agree on it after each batch: asked in one, all end.
    """

    def __init__(self, agree: Callable[[bool], bool] | None = None) -> None:
        """End by oneself, or, where `agree` tells whether one of several was asked to, together with them."""
        super().__init__()
        self.requested = False
        self._agree = agree
        self._in_common = 0

    def among(self, fewest: int, *, at_once: int) -> Interruption:
        """Return this, for a prediction of own images, of which each process has so many at least."""
        self._in_common = math.ceil(fewest / at_once)
        return self

    def _end_if_requested(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.requested = self.requested or watch().is_over()
        if self._agree is not None:
            self.requested = self._agree(self.requested)
        if self.requested:
            raise Interrupted

    on_train_batch_end = on_test_batch_end = _end_if_requested

    def on_predict_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """End after the batch; where a process has more of them than others, these are no longer asked."""
        if self._agree is None or batch < self._in_common:
            self._end_if_requested(batch)


@contextmanager
def catching_interrupt(agree: Callable[[bool], bool] | None = None) -> Iterator[Interruption]:
    """Let the first Ctrl-C request the end after the running batch; the second one ends it at once.

    Args:
        agree: as for `Interruption`.
    """
    interruption = Interruption(agree)
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
