"""Blocks spread over what computes: the threads of this process, several processes, or the actors of a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from trainkit.cluster._rows import Block
from trainkit.errors import TrainkitError

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
Advance = Callable[[int], None]

_IN_FLIGHT = 2  # blocks: while the last images of one are waited for, the cores have the next one's


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # on Linux, where a container may be given some of them
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Opened(Protocol[Result_co]):
    """What does something with blocks, in one process."""

    def run(self, block: Block, advance: Advance | None = None) -> Result_co:
        """Do it."""

    def close(self) -> None:
        """End; what has not begun never does."""


class Work(Protocol[Result_co]):
    """What is to be done with blocks; it can be sent to other processes."""

    def open(self, threads: int) -> Opened[Result_co]:
        """Make ready for blocks, on so many threads."""


def spread_over_threads(
    work: Work[Result], blocks: Iterable[Block], *, threads: int, advance: Advance
) -> Generator[Result, None, None]:
    """Do the work in this process, and yield what comes of each block, in no order."""
    opened, lock = work.open(threads), threading.Lock()

    def count(images: int) -> None:
        with lock:
            advance(images)

    runners = ThreadPoolExecutor(_IN_FLIGHT)
    try:
        yield from _in_flight(_IN_FLIGHT, blocks, lambda block: runners.submit(opened.run, block, count))
    finally:
        opened.close()
        runners.shutdown(cancel_futures=True)


def spread_over_processes(
    work: Work[Result], blocks: Iterable[Block], *, processes: int, threads: int, advance: Advance
) -> Generator[Result, None, None]:
    """Do the work in several processes, and yield what comes of each block, in no order.

    Raises:
        TrainkitError: one of them was killed, or the script that called this calls it again as it is imported.
    """
    with _ending_children():
        context = multiprocessing.get_context("spawn")  # a fork would inherit threads of OpenCV that are not there
        pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(work, threads))
        try:
            for block_rows, result in _in_flight(processes, blocks, lambda block: pool.submit(_run_in_process, block)):
                advance(block_rows)
                yield result
        except BrokenProcessPool as error:
            raise TrainkitError(
                "A process that classified images was killed, as Linux does where memory ends. What is written stays: "
                "run the same command again, with fewer --workers. (In a script of your own, several workers need "
                'their call below `if __name__ == "__main__":`.)'
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_flight(most: int, blocks: Iterable[Block], submit: Callable[[Block], Future[Any]]) -> Iterator[Any]:
    """Yield results as they come, with at most so many blocks begun and not ended."""
    running: set[Future[Any]] = set()
    for block in blocks:
        running.add(submit(block))
        if len(running) == most:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (one.result() for one in done)
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        yield from (one.result() for one in done)


@contextmanager
def _ending_children() -> Iterator[None]:
    """End the processes that were started in the block and still run, as they do when it ends early."""
    before = set(multiprocessing.active_children())
    try:
        yield
    finally:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()


_opened: list[Opened[Any]] = []  # in a process of several, what it keeps between two blocks


def _begin(work: Work[Any], threads: int) -> None:
    """Make a process ready: Ctrl-C is the parent's to hear, and where the parent is killed, the child ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # as the parent does
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    _opened.append(work.open(threads))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_in_process(block: Block) -> tuple[int, Any]:
    return len(block.paths), _opened[0].run(block)
