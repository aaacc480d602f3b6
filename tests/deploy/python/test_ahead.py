"""The thread that reads ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from trainkit.deploy.python._ahead import AHEAD_BYTES, AHEAD_ITEMS, Complain, read_ahead
from trainkit.errors import BundleError


def nothing(error: BundleError, source: Any) -> None:
    raise AssertionError(source)


def is_reading() -> bool:
    return any(thread.name == "read-ahead" for thread in threading.enumerate())


def wait_until_still(counts: list[int]) -> int:
    """Return the length of a list once it has not grown for a while."""
    before = -1
    while len(counts) != before:
        before = len(counts)
        time.sleep(0.3)
    return before


def test_items_and_complaints_come_in_their_order_to_whoever_takes_them() -> None:
    seen: list[Any] = []

    def complain(error: BundleError, source: Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        seen.append((source, str(error)))

    def read(complain: Complain) -> Iterator[int]:
        assert threading.current_thread() is not threading.main_thread()
        for number in range(200):
            if number % 7 == 3:
                complain(BundleError("bad"), number)
            else:
                yield number

    for item in read_ahead(read, complain, lambda _: 1):
        seen.append(item)
    assert seen == [(number, "bad") if number % 7 == 3 else number for number in range(200)]
    assert not is_reading()


def test_what_reading_raises_comes_behind_what_was_read() -> None:
    def read(complain: Complain) -> Iterator[int]:
        yield 1
        raise KeyError("film")

    items = read_ahead(read, nothing, lambda _: 1)
    assert next(items) == 1
    with pytest.raises(KeyError, match="film"):
        next(items)
    assert not is_reading()


@pytest.mark.parametrize(
    ("size", "most"), [(1, AHEAD_ITEMS), (AHEAD_BYTES // 4, 4), (AHEAD_BYTES, 1), (10 * AHEAD_BYTES, 1)]
)
def test_no_more_waits_than_there_is_room_for(size: int, most: int) -> None:
    begun: list[int] = []

    def read(complain: Complain) -> Iterator[int]:
        for number in range(1000):
            begun.append(number)
            yield number

    items = read_ahead(read, nothing, lambda _: size)
    assert next(items) == 0
    # One is taken, some wait, and one more is read and waits for room.
    assert wait_until_still(begun) == 1 + most + 1
    items.close()


def test_reading_ends_where_nobody_takes_the_rest() -> None:
    closed_in: list[str] = []

    def read(complain: Complain) -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed_in.append(threading.current_thread().name)

    items = read_ahead(read, nothing, lambda _: 1)
    assert next(items) == 0
    items.close()
    assert not is_reading()
    assert closed_in == ["read-ahead"], "as a film must be"
