"""What the user sees while a model is trained."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from trainkit._progress import Unbroken, shown
from trainkit.backend import keras
from trainkit.training._monitor import FIGURES
from trainkit.training._notebook_bar import NotebookBar

_OPTIONAL = ("speed", "loss", "val_loss", "accuracy", "val_accuracy")  # what is left out first on a narrow terminal
_BAR, _TIME_LEFT = 20, len(" 00:00:00 left")


def _figures(logs: dict[str, float], names: tuple[str, ...]) -> dict[str, str]:
    return {name: f"{name} {logs[name]:.4f}" for name in names if name in logs}


def _within(width: int | None, parts: dict[str, str]) -> str:
    """Return the parts as a line of at most `width` letters; some are left out rather than cut.

    Args:
        width: of the terminal; `None` elsewhere, and the line has everything.
        parts: by name.
    """
    for count in range(len(_OPTIONAL) + 1):
        line = "  ".join(text for name, text in parts.items() if name not in _OPTIONAL[:count])
        if width is None or len(line) <= width:
            break
    return line


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
        stream = cast(TextIO, Unbroken(sys.stderr))  # a training does not end because nobody can read how far it is
        self._console = Console(file=stream, force_jupyter=False, force_terminal=terminal)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=_BAR),
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
            "", total=self._epochs * self._steps, epoch=1, epochs=self._epochs, figures=""
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
        parts = _figures(logs or {}, ("loss", "accuracy"))
        parts["speed"] = f"{images / max(self._trained - self._started, 1e-6):,.0f} images/s"
        epoch = f"epoch {self._first_step // self._steps + 1}/{self._epochs}"
        room = self._width and self._width - len(epoch) - _BAR - _TIME_LEFT - 2
        self._progress.update(self._task, completed=completed, figures=_within(room, parts))
        if self._notebook is not None:
            self._notebook.show(completed, _within(None, {"epoch": epoch, **parts}))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Leave a line for the epoch; in a notebook it takes the place of the one before."""
        parts = {"epoch": f"epoch {epoch + 1}/{self._epochs}"}
        parts |= _figures(logs or {}, ("loss", "accuracy", "val_loss", "val_accuracy", *FIGURES))
        parts["speed"] = f"{self._images / max(self._trained - self._started, 1e-6):,.0f} images/s"
        line = _within(self._width, parts)
        if self._notebook is not None:
            self._notebook.show((epoch + 1) * self._steps, line, now=True)
            return
        self._console.print(line, highlight=False, soft_wrap=True)
        shown()

    @property
    def _width(self) -> int | None:
        """How many letters a line of the terminal has; `None` where there is no terminal."""
        return self._console.width if self._console.is_terminal else None

    def close(self) -> None:
        """Take the bar away, however training ended."""
        self._progress.stop()
        if self._notebook is not None:
            self._notebook.close()
