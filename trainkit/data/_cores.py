"""Work on all cores that can be ended: by Ctrl-C, by SIGTERM, by the first thing that goes wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def all_cores() -> Iterator[ThreadPoolExecutor]:
    """Give a pool of a thread a core; where the block ends early, what has not begun never does."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # of a block that ended well, nothing is left
