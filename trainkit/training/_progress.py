"""What the user sees while a model is trained."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from trainkit.backend import keras
from trainkit.training._notebook_bar import NotebookBar


def _figures(logs: dict[str, float], names: tuple[str, ...]) -> str:
    return "  ".join(f"{name} {logs[name]:.4f}" for name in names if name in logs)


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]
    """Epoch, loss, accuracy and time left: on a terminal, with a line an epoch, and in a notebook.

    Where there is neither, it is the line an epoch alone. All but the notebook's bar goes to standard error.
    """

    def __init__(self, epochs: int, *, images: int, batch_size: int) -> None:
        """Show `epochs` of `images` each, trained on in batches of `batch_size`."""
        super().__init__()
        self._epochs, self._images, self._batch_size = epochs, images, batch_size
        self._notebook: NotebookBar | None = None
        self._in_notebook = Console().is_jupyter
        # A kernel's standard error says that it is a terminal, but knows none of what moves the bar.
        terminal = False if self._in_notebook else None
        self._console = Console(file=sys.stderr, force_jupyter=False, force_terminal=terminal)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Show an empty bar."""
        self._steps = self.params["steps"]
        if self._in_notebook:
            self._notebook = NotebookBar(self._epochs * self._steps)
        self._task = self._progress.add_task(
            "", total=self._epochs * self._steps, epoch=1, epochs=self._epochs, figures="", speed=""
        )
        self._progress.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Show the epoch's number, and start its clock."""
        self._first_step, self._started = epoch * self._steps, time.monotonic()
        self._progress.update(self._task, epoch=epoch + 1, completed=self._first_step)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Move the bar to the step that has just ended; Keras may make several at once."""
        self._trained = time.monotonic()
        images = min((batch + 1) * self._batch_size, self._images)
        completed = self._first_step + min(batch + 1, self._steps)  # the last steps at once may be fewer
        figures = _figures(logs or {}, ("loss", "accuracy"))
        speed = f"{images / max(self._trained - self._started, 1e-6):,.0f} images/s"
        self._progress.update(self._task, completed=completed, figures=figures, speed=speed)
        if self._notebook is not None:
            epoch = self._first_step // self._steps + 1
            self._notebook.show(completed, f"epoch {epoch}/{self._epochs}  {figures}  {speed}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Leave a line for the epoch; in a notebook it takes the place of the one before."""
        figures = _figures(logs or {}, ("loss", "accuracy", "val_loss", "val_accuracy"))
        speed = self._images / max(self._trained - self._started, 1e-6)
        line = f"epoch {epoch + 1}/{self._epochs}  {figures}  {speed:,.0f} images/s"
        if self._notebook is not None:
            self._notebook.show((epoch + 1) * self._steps, line, now=True)
            return
        self._console.print(line, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away, however training ended."""
        self._progress.stop()
        if self._notebook is not None:
            self._notebook.close()
