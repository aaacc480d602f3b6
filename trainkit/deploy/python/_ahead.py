"""Reading ahead: a thread makes ready what comes next while the last is being answered."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Callable, Deque, Generator, Iterator, NamedTuple, Tuple

from trainkit.deploy.python._values import BundleError

AHEAD_BYTES = 2**24  # that wait: some dozens of small photographs, or one of a telephone, however large it is
AHEAD_ITEMS = 64  # that wait, however small they are

Complain = Callable[[BundleError, Any], None]


class _Complaint(NamedTuple):
    """What could not be read, in its place among the others."""

    error: BundleError
    source: Any


class _Ended(NamedTuple):
    """The end of what there is to read, and the error that ended it."""

    error: BaseException | None


def read_ahead(
    read: Callable[[Complain], Iterator[Any]], complain: Complain, bytes_of: Callable[[Any], int]
) -> Generator[Any, None, None]:
    """Yield what another thread reads, in its order; it is ahead by `AHEAD_BYTES` at most, or by one.

    Close it where it may not be exhausted: it ends the thread.

    Args:
        read: is called in that thread with what it complains to, see `read_pictures`, and returns what it reads.
        complain: is called by whoever takes the items, between those before and those behind what is missing.
        bytes_of: how much memory an item takes.

    Raises:
        BaseException: what `read` raised, behind the items before it.
    """
    shelf = _Shelf()
    thread = threading.Thread(target=_fill, args=(shelf, read, bytes_of), name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = shelf.take()
            if isinstance(item, _Ended):
                break
            if isinstance(item, _Complaint):
                complain(*item)
            else:
                yield item
            del item  # or it would wait here beside the next one
        if item.error is not None:
            raise item.error
    finally:
        shelf.close()
        thread.join()  # a process that ends must not decode meanwhile


def _fill(shelf: _Shelf, read: Callable[[Complain], Iterator[Any]], bytes_of: Callable[[Any], int]) -> None:
    """Put on the shelf what is read, until there is no more or nobody takes it."""

    def complain(error: BundleError, source: Any) -> None:
        shelf.put(_Complaint(error, source), 0)

    ended = _Ended(None)
    try:
        items = read(complain)
        for item in items:
            shelf.put(item, bytes_of(item))
            del item  # or it would wait here beside the next one
            if shelf.closed:
                break
        del items  # which closes a film in the thread that opened it
    except BaseException as error:  # whoever takes the items gets it
        ended = _Ended(error)
    shelf.put(ended, 0)


class _Shelf:
    """Where items wait, so many as there is room for, but always one."""

    def __init__(self) -> None:
        self.closed = False
        self._items: Deque[Tuple[Any, int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    def put(self, item: Any, size: int) -> None:
        """Add an item as soon as there is room for it; forget it where the shelf is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._has_room(size))
            if not self.closed:
                self._items.append((item, size))
                self._bytes += size
                self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        return not self._items or (len(self._items) < AHEAD_ITEMS and self._bytes + size <= AHEAD_BYTES)

    def take(self) -> Any:
        """Return the first item, as soon as there is one."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items))
            item, size = self._items.popleft()
            self._bytes -= size
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Take nothing more."""
        with self._changed:
            self.closed = True
            self._items.clear()
            self._changed.notify_all()
