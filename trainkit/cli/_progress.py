"""What a person sees of the library's steps, on standard error: a bar on a terminal, a line elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from trainkit._progress import Step

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

VARIABLE = "TRAINKIT_PROGRESS"  # `0`: nothing is shown
_SILENT_SECONDS = 1.0  # on a terminal, without anything new, before the step is shown
_LINE_SECONDS = 2.0  # elsewhere, that a step has taken before there is a line of it
_SETTLED_SECONDS = 0.5
_TICK_SECONDS = 0.1
_SPINNER, _PLAIN_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "-\\|/"


class Display:
    """Shows the innermost of the steps that go on, once it has been silent for a while.

    The steps are those of the main thread; a thread of our own looks at them, because the main one is busy.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        """Show steps on a stream, standard error by default."""
        self._stream = stream
        self._lock = threading.RLock()
        self._steps: list[Step] = []
        self._written: set[int] = set()  # steps that have had their line
        self._live: Live | None = None
        self._hidden = 0
        self._last_seen = time.monotonic()
        self._watcher: threading.Thread | None = None

    @property
    def _out(self) -> TextIO:
        return self._stream or sys.stderr

    def began(self, step: Step) -> None:
        """Watch over a step."""
        if os.environ.get(VARIABLE) == "0":
            return
        with self._lock:
            self._steps.append(step)
            if self._watcher is None:
                if _moves(self._out):
                    # Here, because the watching thread must not import what Keras may be importing at that moment.
                    import rich.live
                    import rich.progress_bar  # noqa: F401
                self._watcher = threading.Thread(target=self._watch, name="progress", daemon=True)
                self._watcher.start()

    def ended(self, step: Step) -> None:
        """Take a step away; what the command prints next finds an empty line."""
        with self._lock:
            if step in self._steps:
                self._steps.remove(step)
                self._written.discard(id(step))
            if not self._steps:
                self._clear()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Leave the screen to somebody else while the block runs."""
        with self._lock:
            self._clear()
            self._hidden += 1
        try:
            yield
        finally:
            with self._lock:
                self._hidden -= 1
                self._last_seen = time.monotonic()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:  # an error keeps generators alive, and the steps in them
            self._steps.clear()
            self._written.clear()
            self._clear()

    def _watch(self) -> None:
        while True:
            time.sleep(_TICK_SECONDS)
            with self._lock:
                if self._steps and not self._hidden:
                    self._show(self._current())

    def _current(self) -> Step:
        """Return the innermost step that is not over at once, as the reading of one of many files is."""
        now = time.monotonic()
        return next((step for step in reversed(self._steps) if now - step.began >= _SETTLED_SECONDS), self._steps[0])

    def _show(self, step: Step) -> None:
        if not _moves(self._out):
            if id(step) not in self._written and time.monotonic() - step.began >= _LINE_SECONDS:
                self._written.add(id(step))
                print(f"{step} ...", file=self._out, flush=True)
        elif self._live is not None:
            self._live.refresh()
        elif time.monotonic() - self._last_seen >= _SILENT_SECONDS:
            self._live = self._open()

    def _open(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        live = Live(
            get_renderable=self._render,
            console=Console(file=self._out, force_terminal=True, force_jupyter=False),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        live.start(refresh=True)
        return live

    def _clear(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live, self._last_seen = None, time.monotonic()

    def _render(self) -> RenderableType:
        return render(self._current(), ascii_only=not _knows_unicode(self._out)) if self._steps else ""


def render(step: Step, *, ascii_only: bool = False) -> RenderableType:
    """Return a line for a step: what is done, and how far it is."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    seconds = time.monotonic() - step.began
    spinner = _PLAIN_SPINNER if ascii_only else _SPINNER
    cells: list[RenderableType] = [spinner[int(seconds / _TICK_SECONDS) % len(spinner)], Text(step.text)]
    if step.total:
        cells += [ProgressBar(total=step.total, completed=step.done, width=16), Text(_far(step, seconds))]
    else:
        cells.append(Text(f"{seconds:.0f} s"))
    line = Table.grid(padding=(0, 1))
    for _ in cells:
        line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_row(*cells)
    return line


def _far(step: Step, seconds: float) -> str:
    far = f"{step.done:,}/{step.total:,} {step.unit}"
    return f"{far}, {step.done / seconds:,.0f} a second" if step.done and seconds > 0 else far


def _moves(stream: TextIO) -> bool:
    """Whether a line can be written over: on a terminal, but not on one that knows no movement."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def _knows_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().startswith("utf")


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes log lines where no bar stands."""

    def __init__(self, display: Display) -> None:
        """Write to standard error, above what `display` shows."""
        super().__init__()
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        """Take the bar away for the line."""
        with self._display.hidden():
            super().emit(record)
