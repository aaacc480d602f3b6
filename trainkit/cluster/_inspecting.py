"""Files looked at on a cluster, as `trainkit data check` looks at them on the cores of one machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from trainkit._progress import doing
from trainkit.cluster._actors import spread_over_actors
from trainkit.cluster._engine import LOCAL, connected
from trainkit.cluster._rows import Block
from trainkit.cluster._spreading import Advance, Opened, Work
from trainkit.data._inspection import ImageFile, inspect_on, inspecting_by

_FILES_A_BLOCK = 250

Inspected = tuple[int, list[ImageFile]]  # the place of the first file, and what is in them


@dataclass(frozen=True, slots=True)
class Inspection:
    """The work: look at the files of a block."""

    def open(self, threads: int) -> Opened[Inspected]:
        """Return what looks at files on so many threads."""
        return _Inspector(threads)


class _Inspector:
    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads)

    def run(self, block: Block, advance: Advance | None = None) -> Inspected:
        """Look at files, in their order."""
        found = list(inspect_on(self._pool, [Path(path) for path in block.paths]))
        if advance is not None:
            advance(len(found))
        return block.first, found

    def close(self) -> None:
        """End; what has not begun never does."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def inspecting_on(address: str) -> Iterator[None]:
    """Look at all files of the block on a Ray cluster, whose machines see the same paths; `local` starts one here.

    Raises:
        TrainkitError: there is no cluster, or some files ended their process again and again.
        MissingPackageError: Ray is not installed.
    """
    with ExitStack() as stack:
        with doing("Starting Ray" if address == LOCAL else "Joining the cluster"):
            stack.enter_context(connected(address))
        stack.enter_context(inspecting_by(lambda paths: _inspect(paths, address)))
        yield


def _inspect(paths: Sequence[Path], address: str) -> list[ImageFile]:
    work: Work[Inspected] = Inspection()
    blocks = list(into_blocks(paths))
    if not blocks:
        return []
    with doing("Looking at the files", total=len(paths), unit="files") as step:
        spread = spread_over_actors(work, blocks, address=address, actors=None, most=len(blocks), advance=step.advance)
        with closing(spread) as results:
            return in_order(paths, results)


def into_blocks(paths: Sequence[Path], size: int = _FILES_A_BLOCK) -> Iterator[Block]:
    """Yield the files in blocks, absolute."""
    for first in range(0, len(paths), size):
        yield Block(first, tuple(str(path.absolute()) for path in paths[first : first + size]))


def in_order(paths: Sequence[Path], results: Iterator[Inspected]) -> list[ImageFile]:
    """Return what is in all files, in the order of the paths, and called as they are."""
    found = dict(results)
    files = (file for first in sorted(found) for file in found[first])
    return [replace(file, path=path) for file, path in zip(files, paths, strict=True)]
