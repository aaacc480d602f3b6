"""What the library is doing, for whoever wants to know: a step begins, goes on and ends.

Whoever shows it listens, as the command line does with a bar. Where nobody does, the beginning of each step is a line
of the logger `trainkit.progress`, at INFO.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

log = logging.getLogger("trainkit.progress")

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class Step:
    """Something that may take a while."""

    text: str  # what is being done: "Checking the bundle"
    total: int | None = None  # how much there is to do, where that is known
    unit: str = ""  # of `total`: "images"
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


_listeners: list[Listener] = [_Log()]  # the last one is told


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of the steps, and nobody else, while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def doing(text: str, *, total: int | None = None, unit: str = "images") -> Iterator[Step]:
    """Tell the listener that the block does something that may take a while.

    Args:
        text: what is being done: "Checking the bundle".
        total: how much there is to do; the block calls the step's `advance` as it goes on.
        unit: of `total`.
    """
    step, listener = Step(text, total, unit), _listeners[-1]
    listener.began(step)
    try:
        yield step
    finally:
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
