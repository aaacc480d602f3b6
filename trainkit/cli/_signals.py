"""SIGTERM, by which containers and schedulers end a process, ends a command as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

INTERRUPTED = 130
TERMINATED = 143  # 128 and the number of the signal, as shells count
_TOGETHER_SECONDS = 1.0  # `timeout` sends the signal to the process and then to its group


@dataclass(slots=True)
class Termination:
    """Whether the end was asked for, and when."""

    requested: bool = False
    at: float = 0.0


@contextmanager
def taking_termination() -> Iterator[Termination]:
    """Treat SIGTERM as Ctrl-C is treated at that moment, while the block runs.

    Where the signal is ignored, or something else handles it, that is left as it is; in a thread that is not the main
    one too, which may set no handler.
    """
    termination = Termination()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield termination
        return

    def handle(number: int, frame: FrameType | None) -> None:
        now, before = time.monotonic(), termination.at
        if termination.requested and now - before < _TOGETHER_SECONDS:
            return
        termination.requested, termination.at = True, now
        on_interrupt = signal.getsignal(signal.SIGINT)
        if not callable(on_interrupt):  # in the background, shells have Ctrl-C ignored
            raise KeyboardInterrupt
        on_interrupt(number, frame)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
