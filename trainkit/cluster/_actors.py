"""Blocks spread over actors of Ray Core: one a CPU, each with its own network; Ray begins a killed one anew."""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from typing import Any, TypeVar

from trainkit._progress import doing
from trainkit.cluster import _places
from trainkit.cluster._engine import LOCAL, connected, import_ray
from trainkit.cluster._rows import Block
from trainkit.cluster._spreading import Advance, Opened, Work
from trainkit.errors import DataError, TrainkitError

Result = TypeVar("Result")

_RETRIES = 3  # of a block whose actor was killed


class BlockActor:
    """What an actor keeps between two blocks."""

    def __init__(self, work: Work[Any]) -> None:
        self._work = work
        self._opened: Opened[Any] | None = None

    def run(self, block: Block, seen: bool) -> Any:
        """Do the work with a block; what cannot be opened is raised here, where the driver is told of it.

        Args:
            block: what is to be done.
            seen: whether the driver sees any of its files.
        """
        if seen:
            _check_is_seen(block)
        if self._opened is None:
            self._opened = self._work.open(1)
        return self._opened.run(block)


def _is_seen(block: Block) -> bool:
    return any(_places.is_there(path) for path in block.paths)


def _check_is_seen(block: Block) -> None:
    """Raise where a machine sees none of the files that the driver sees: the machine lacks something, not the files."""
    if not _is_seen(block):
        rows = f"{block.first} to {block.first + len(block.paths) - 1}"
        raise DataError(
            f"None of the files in the rows {rows} is there on {socket.gethostname()}, such as {block.paths[0]}. "
            "Expected paths that all machines of the cluster see, or addresses such as s3://bucket/folder."
        )


def spread_over_actors(
    work: Work[Result], blocks: Iterable[Block], *, address: str, actors: int | None, most: int, advance: Advance
) -> Generator[Result, None, None]:
    """Do the work on a cluster, and yield what comes of each block, in no order.

    Args:
        work: what is to be done.
        blocks: with what.
        address: of the cluster; `local` for one on this machine.
        actors: how many; by default one for each CPU of the cluster.
        most: of them that can be of use.
        advance: is told how many images more are done.

    Raises:
        TrainkitError: there is no cluster, or a block ended its actor again and again.
        DataError: a machine sees none of the files of a block.
        MissingPackageError: Ray is not installed.
    """
    with ExitStack() as stack:
        with doing("Starting Ray" if address == LOCAL else "Joining the cluster"):
            stack.enter_context(connected(address))
        ray = import_ray()
        yield from _spread(ray, work, blocks, _count(ray, actors, most), advance)


def _count(ray: Any, actors: int | None, most: int) -> int:
    cpus = int(ray.cluster_resources().get("CPU", 0))
    return max(1, min(actors or cpus, cpus, most))


def _spread(
    ray: Any, work: Work[Result], blocks: Iterable[Block], count: int, advance: Advance
) -> Generator[Result, None, None]:
    """Give each actor the next block as soon as it has ended one; when there are none, others may need its CPU."""
    kind = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=_RETRIES)(BlockActor)
    idle: list[Any] = [kind.remote(work) for _ in range(count)]
    running: dict[Any, tuple[Any, Block]] = {}
    for block in blocks:
        if not idle:
            actor, ended, result = _next(ray, running)
            advance(len(ended.paths))
            yield result
            idle.append(actor)
        actor = idle.pop()
        running[actor.run.remote(block, _is_seen(block))] = (actor, block)
    while running:
        while idle:
            ray.kill(idle.pop())
        actor, ended, result = _next(ray, running)
        idle.append(actor)
        advance(len(ended.paths))
        yield result


def _next(ray: Any, running: dict[Any, tuple[Any, Block]]) -> tuple[Any, Block, Any]:
    """Wait for a block, and return its actor, the block and what came of it."""
    (reference, *_), _ = ray.wait(list(running))
    actor, block = running.pop(reference)
    try:
        return actor, block, ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause or error) from error
    except ray.exceptions.RayActorError as error:
        raise TrainkitError(
            f"The rows {block.first} to {block.first + len(block.paths) - 1} ended the process that classified them "
            f"{_RETRIES + 1} times, as Linux does where memory ends. Give Ray fewer CPUs a machine, or look at these "
            "images. What is written stays."
        ) from error
