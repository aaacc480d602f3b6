"""What the user sees while a model is trained."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainkit.backend import keras


def _figures(logs: dict[str, float], names: tuple[str, ...]) -> str:
    return "  ".join(f"{name} {logs[name]:.4f}" for name in names if name in logs)


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]
    """Epoch, loss, accuracy and time left on a terminal; a line an epoch where there is none. To standard error."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs
        self._console = Console(file=sys.stderr)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Show an empty bar."""
        total = self._epochs * self.params["steps"]
        self._task = self._progress.add_task("", total=total, epoch=1, epochs=self._epochs, figures="")
        self._progress.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Show the epoch's number."""
        self._progress.update(self._task, epoch=epoch + 1)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Move the bar."""
        self._progress.update(self._task, advance=1, figures=_figures(logs or {}, ("loss", "accuracy")))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Leave a line for the epoch."""
        figures = _figures(logs or {}, ("loss", "accuracy", "val_loss", "val_accuracy"))
        self._console.print(f"epoch {epoch + 1}/{self._epochs}  {figures}", highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away, however training ended."""
        self._progress.stop()
