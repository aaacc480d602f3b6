"""Who started a training in another process, is told of its run, and may ask for its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from trainkit.runs._run import Run


@dataclass(frozen=True, slots=True)
class Watch:
    """What is asked of a training by whoever started it."""

    began: Callable[[Run], None] = lambda run: None  # is told of the run, by the process that writes it
    is_over: Callable[[], bool] = lambda: False  # whether to end after the running batch


_watch: ContextVar[Watch] = ContextVar("watch", default=Watch())  # noqa: B039 - it cannot be changed


@contextmanager
def watched_by(watch: Watch) -> Iterator[None]:
    """Let somebody watch the trainings of the block."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def watch() -> Watch:
    """Return who watches; nobody, most often."""
    return _watch.get()
