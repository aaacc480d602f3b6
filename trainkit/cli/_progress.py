"""What a person sees of the library's steps, on standard error: a bar on a terminal, a line elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from trainkit._progress import VARIABLE, Lines, Step, listening
from trainkit.deploy.python._showing import harmless

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_SILENT_SECONDS = 1.0  # on a terminal, without anything new, before the step is shown
_TICK_SECONDS = 0.1
_SPINNER, _PLAIN_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "-\\|/"
_CLEAR_LINE = "\r\x1b[2K"
_BAR_WIDTH = 12  # leaves room for the time left in 80 columns


@contextmanager
def showing_progress(arguments: Sequence[str]) -> Iterator[None]:
    """Show what a command does while the block runs; whatever is printed meanwhile finds an empty line.

    Args:
        arguments: of the command line, which name what is done where the library says nothing.
    """
    if os.environ.get(VARIABLE) == "0":
        with listening(_Nobody()):
            yield
        return
    words = [word for word in arguments if not word.startswith("-")]
    command = words[: 2 if words[:1] == ["data"] else 1]
    display = Display(sys.stderr, Step(" ".join(["trainkit", *command])))
    with listening(display), display.on_screen():
        yield


class _Nobody:
    """Shows nothing."""

    def began(self, step: Step) -> None:
        pass

    def ended(self, step: Step) -> None:
        pass


class Display(Lines):
    """Shows the innermost of the steps that go on: in a bar on a terminal, in lines elsewhere."""

    def __init__(self, stream: TextIO, command: Step) -> None:
        """Show steps on a stream; the command itself, on a terminal only, where there are none."""
        super().__init__(stream)
        self._command = command
        self._live: Live | None = None
        self._moves = _moves(stream)

    @contextmanager
    def on_screen(self) -> Iterator[None]:
        """Watch the steps while the block runs, and notice or make way for whatever is printed."""
        before = (sys.stdout, sys.stderr, _log_stream())
        if self._moves and sys.stdout.isatty():
            sys.stdout = cast(TextIO, _Screen(sys.stdout, self))
        sys.stderr = cast(TextIO, _Screen(self._stream, self))
        _log_to(sys.stderr)
        try:
            with self.watching():
                yield
        finally:
            with self._lock:
                self._make_way()
            sys.stdout, sys.stderr, log_stream = before
            _log_to(log_stream)

    def began(self, step: Step) -> None:
        """Watch over a step."""
        if self._moves:
            # Here, because the watching thread must not import what Keras may be importing at that moment.
            import rich.live
            import rich.progress_bar  # noqa: F401
        super().began(step)
        if self._moves and step.blocks:
            with self._lock:
                self._paint()

    def print_on(self, stream: TextIO, text: str) -> int:
        """Write a text where no bar stands."""
        with self._lock:
            self._make_way()
            return stream.write(text)

    def _write(self, line: str) -> None:
        super()._write(harmless(line))

    def _make_way(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        self.shown()

    def _look(self) -> None:
        if not self._moves:
            super()._look()
        elif self._live is not None or time.monotonic() - self._last_seen >= _SILENT_SECONDS:
            self._paint()

    def _paint(self) -> None:
        if self._live is not None:
            self._live.refresh()
        else:
            self._live = self._open()

    def _open(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        self._stream.write(_CLEAR_LINE)  # of a bar that stands still, such as Keras' of a download
        plain = not _knows_unicode(self._stream)
        live = Live(
            get_renderable=lambda: render(self._current() or self._command, ascii_only=plain),
            console=Console(file=self._stream, force_terminal=True, force_jupyter=False),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        live.start(refresh=True)
        return live


class _Screen:
    """A stream of the terminal for which a display makes way."""

    def __init__(self, stream: TextIO, display: Display) -> None:
        self._stream, self._display = stream, display

    def write(self, text: str) -> int:
        """Write where no bar stands."""
        return self._display.print_on(self._stream, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _log_stream() -> TextIO | None:
    handlers = logging.getLogger().handlers
    return handlers[0].stream if handlers and isinstance(handlers[0], logging.StreamHandler) else None


def _log_to(stream: TextIO | None) -> None:
    handlers = logging.getLogger().handlers
    if stream is not None and handlers and isinstance(handlers[0], logging.StreamHandler):
        handlers[0].setStream(stream)


def render(step: Step, *, ascii_only: bool = False) -> RenderableType:
    """Return a line for a step: what is done, and how far it is."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    seconds = time.monotonic() - step.began
    spinner = _PLAIN_SPINNER if ascii_only else _SPINNER
    cells: list[RenderableType] = [spinner[int(seconds / _TICK_SECONDS) % len(spinner)], Text(harmless(step.text))]
    if step.total:
        cells += [ProgressBar(total=step.total, completed=step.done, width=_BAR_WIDTH), Text(_far(step, seconds))]
    elif not step.blocks:  # of which the clock would stand still
        cells.append(Text(f"{seconds:.0f} s"))
    line = Table.grid(padding=(0, 1))
    for _ in cells:
        line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_row(*cells)
    return line


def _far(step: Step, seconds: float) -> str:
    far = f"{step.done:,}/{step.total:,} {step.unit}"
    if not step.done or seconds <= 0:
        return far
    left = seconds * ((step.total or 0) - step.done) / step.done
    return f"{far}, {step.done / seconds:,.0f} a second, {_duration(left)} left"


def _duration(seconds: float) -> str:
    """Write how long something takes, in at most eight letters."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _moves(stream: TextIO) -> bool:
    """Whether a line can be written over: on a terminal, but not on one that knows no movement."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def _knows_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().startswith("utf")
