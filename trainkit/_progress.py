"""What the library is doing, for whoever wants to know: a step begins, goes on and ends.

Whoever shows it listens, as the command line does with a bar. Where nobody does, the beginning of each step is a line
of the logger `trainkit.progress`, at INFO; a training, which shows its epochs anyway, shows its long steps too.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO, TypeVar, cast

log = logging.getLogger("trainkit.progress")

VARIABLE = "TRAINKIT_PROGRESS"  # `0`: nothing is shown
_SILENT_SECONDS = 2.0  # after which there is a line of the step that goes on
_SETTLED_SECONDS = 0.5
_TICK_SECONDS = 0.1

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class Step:
    """Something that may take a while."""

    text: str  # what is being done: "Checking the bundle"
    total: int | None = None  # how much there is to do, where that is known
    unit: str = ""  # of `total`: "images"
    blocks: bool = False  # whether other threads stand still meanwhile: what shows it must do so at once
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def advance(self, count: int = 1) -> None:
        """Say that `count` more are done."""
        self.done += count

    def __str__(self) -> str:
        return self.text if self.total is None else f"{self.text}: {self.total:,} {self.unit}"


class Listener(Protocol):
    """Who is told of steps; those inside others end first."""

    def began(self, step: Step) -> None:
        """A step begins; what it counts is read from it."""

    def ended(self, step: Step) -> None:
        """A step is over, however it ended."""


class _Log:
    """Writes a line for each step."""

    def began(self, step: Step) -> None:
        log.info("%s ...", step)

    def ended(self, step: Step) -> None:
        pass


class Unbroken:
    """A stream that nobody has to be able to read: where nothing can be written any more, nothing ends for it."""

    def __init__(self, stream: TextIO | None) -> None:
        """Write on a stream; on none where it was closed before Python began."""
        self._stream = io.StringIO() if stream is None else stream

    def write(self, text: str) -> int:
        """Write, where that is possible."""
        with suppress(OSError, ValueError):  # the second where the stream was closed meanwhile
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Show what was written, where that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Lines:
    """Writes which step goes on, once nothing has been written for two seconds: at most a line for each step.

    The steps are those of the main thread; a thread of our own looks at them, because the main one is busy.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write on a stream."""
        self._stream = stream
        self._lock = threading.RLock()
        self._steps: list[Step] = []
        self._written: set[Step] = set()  # steps that have had their line
        self._last_seen = time.monotonic()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the steps while the block runs."""
        over = threading.Event()
        threading.Thread(target=self._watch, args=(over,), name="progress", daemon=True).start()
        try:
            yield
        finally:
            over.set()
            with self._lock:  # steps may be left: an error keeps the generators alive that it went through
                self._steps.clear()

    def began(self, step: Step) -> None:
        """Watch over a step."""
        with self._lock:
            self._steps.append(step)

    def ended(self, step: Step) -> None:
        """Take a step away."""
        with self._lock:
            self._written.discard(step)
            if step in self._steps:
                self._steps.remove(step)

    def shown(self) -> None:
        """Learn that something else was written: nobody waits for a line now."""
        self._last_seen = time.monotonic()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(_TICK_SECONDS):
            with self._lock:
                if not over.is_set():
                    self._look()

    def _look(self) -> None:
        """Write a line, where it is time for one."""
        step = self._current()
        if step is None or step in self._written or time.monotonic() - self._last_seen < _SILENT_SECONDS:
            return
        self._written.add(step)
        self._write(f"{step} ...")
        self.shown()

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def _current(self) -> Step | None:
        """Return the innermost step that is not over at once, as the reading of one of many files is."""
        now = time.monotonic()
        settled = (step for step in reversed(self._steps) if step.blocks or now - step.began >= _SETTLED_SECONDS)
        return next(settled, self._steps[0] if self._steps else None)


_listeners: list[Listener] = [_Log()]  # the last one is told
_watchers: list[Listener] = []  # are told too


@contextmanager
def _among(told: list[Listener], listener: Listener) -> Iterator[None]:
    told.append(listener)
    try:
        yield
    finally:
        told.remove(listener)


def listening(listener: Listener) -> AbstractContextManager[None]:
    """Tell `listener` of the steps, and nobody else, while the block runs."""
    return _among(_listeners, listener)


def watching(watcher: Listener) -> AbstractContextManager[None]:
    """Tell `watcher` of the steps too, whoever shows them, while the block runs: so a program can be timed."""
    return _among(_watchers, watcher)


class _Nobody:
    """Is told of steps, and shows nothing."""

    def began(self, step: Step) -> None:
        pass

    def ended(self, step: Step) -> None:
        pass


@contextmanager
def showing_nothing() -> Iterator[None]:
    """Show nothing of what the block does, because another process shows the same."""
    library = logging.getLogger("trainkit")
    before = library.level
    library.setLevel(logging.ERROR)
    try:
        with listening(_Nobody()):
            yield
    finally:
        library.setLevel(before)


@contextmanager
def showing_lines() -> Iterator[None]:
    """Write the steps of the block that take long on standard error, unless somebody sees them already."""
    seen = len(_listeners) > 1 or log.isEnabledFor(logging.INFO)
    if seen or sys.stderr is None or os.environ.get(VARIABLE) == "0":
        yield
        return
    with ExitStack() as stack:
        stream = sys.stderr
        if _descriptor(stream) == 2:  # where nothing is seen while TensorFlow is loaded
            stream = stack.enter_context(os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace"))
        lines = Lines(cast(TextIO, Unbroken(stream)))
        stack.enter_context(listening(lines))
        stack.enter_context(lines.watching())
        yield


def _descriptor(stream: TextIO) -> int | None:
    """Return the file that a stream writes to; `None` for one in memory or of a notebook."""
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def shown() -> None:
    """Tell who writes lines that something else was written just now."""
    if isinstance(listener := _listeners[-1], Lines):
        listener.shown()


@contextmanager
def doing(text: str, *, total: int | None = None, unit: str = "images", blocks: bool = False) -> Iterator[Step]:
    """Tell the listener that the block does something that may take a while.

    Args:
        text: what is being done: "Checking the bundle".
        total: how much there is to do; the block calls the step's `advance` as it goes on.
        unit: of `total`.
        blocks: whether other threads stand still meanwhile.
    """
    step, told = Step(text, total, unit, blocks), (_listeners[-1], *_watchers)
    for listener in told:
        listener.began(step)
    try:
        yield step
    finally:
        for listener in told:
            listener.ended(step)


def counting(items: Collection[Item], text: str, *, unit: str = "images") -> Iterator[Item]:
    """Yield the items, as a step that goes on by one with each."""
    with doing(text, total=len(items), unit=unit) as step:
        for item in items:
            yield item
            step.advance()


def counting_chunks(total: int, size: int, text: str, *, unit: str = "images") -> Iterator[int]:
    """Yield where each chunk of `size` begins, 0 to `total` - 1, as a step that goes on by as many with each."""
    with doing(text, total=total, unit=unit) as step:
        for first in range(0, total, size):
            yield first
            step.advance(min(size, total - first))
