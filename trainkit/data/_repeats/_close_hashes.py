"""Pairs of close 64-bit hashes among very many, in a time and a memory that grow as their number does.

All pairs of 100,000 hashes are 5,000,000,000. Hashes that differ in few bits stand near each other in many of the
orders that one gets by sorting them with their bits shuffled (Charikar, "Similarity estimation techniques from rounding
algorithms", 2002), so only neighbours in such orders are compared, as many however alike all the pictures are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

FARTHEST = 16  # bits: what a cut of a tenth changes, at most
# Of 50,000 random hashes with a copy each, all copies 8 bits away are found, 95 % of those 12 bits away.
_ORDERS = 64
_NEIGHBOURS = 8  # in an order, on either side
_BLOCK = 8192  # hashes, which are shuffled within the cache
_PAIRS, _PAIRS_EACH = 20_000, 3  # that are kept, the closest: in all, and for each hash


def close_pairs(hashes: np.ndarray) -> np.ndarray:
    """Return pairs of hashes that differ in few bits, the closest first.

    Args:
        hashes: uint64 `(N,)`.

    Returns:
        int32 `(pairs, 2)`, the smaller index first; at most 20,000 + 3 N of them.
    """
    count = len(hashes)
    most = _PAIRS + _PAIRS_EACH * count
    kept = np.empty(0, np.int64)  # pairs as numbers, whose order is that of the distance, the first and the second
    waiting: list[np.ndarray] = []
    farthest = FARTHEST
    for order in _orders(hashes):
        for step in range(1, min(_NEIGHBOURS + 1, count)):
            waiting.append(_pairs_of_neighbours(hashes, order, step, farthest))
            if sum(map(len, waiting)) > most // 2:
                kept, waiting = _merge(kept, waiting), []
                if len(kept) > most:
                    kept, farthest = _closest(kept, most, count)
    kept, _ = _closest(_merge(kept, waiting), most, count)
    pairs = np.empty((len(kept), 2), np.int32)
    np.divmod(kept % max(1, count**2), max(1, count), out=(pairs[:, 0], pairs[:, 1]), casting="unsafe")
    return pairs


def _orders(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield orders of the hashes, each sorted by its bits in another sequence; equal hashes keep theirs."""
    generator = np.random.default_rng(0)  # the same pictures give the same groups
    shuffled = np.empty(len(hashes), np.uint64)
    for _ in range(_ORDERS):
        tables = _tables(generator.permutation(64))
        for first in range(0, len(hashes), _BLOCK):
            shuffled[first : first + _BLOCK] = _shuffle(hashes[first : first + _BLOCK], tables)
        yield np.argsort(shuffled, kind="stable")


def _tables(sequence: np.ndarray) -> np.ndarray:
    """Return what each value of each byte of a hash becomes, uint64 `(8, 256)`, its bits in another sequence."""
    values, tables = np.arange(256, dtype=np.uint64), np.zeros((8, 256), np.uint64)
    for place, source in enumerate(sequence.tolist()):  # 0 for the highest bit
        bit = values >> np.uint64(7 - source % 8) & np.uint64(1)
        tables[source // 8] |= bit << np.uint64(63 - place)
    return tables


def _shuffle(hashes: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Return hashes with their bits in another sequence."""
    of_bytes = hashes.astype(">u8").view(np.uint8).reshape(-1, 8).T
    shuffled = tables[0][of_bytes[0]]
    for table, values in zip(tables[1:], of_bytes[1:], strict=True):
        shuffled |= table[values]
    return np.asarray(shuffled)


def _pairs_of_neighbours(hashes: np.ndarray, order: np.ndarray, step: int, farthest: int) -> np.ndarray:
    count, ordered = len(hashes), hashes[order]
    distances = np.bitwise_count(ordered[step:] ^ ordered[:-step])
    close = np.flatnonzero(distances <= farthest)
    first, second = order[close], order[close + step]
    pairs = np.minimum(first, second) * count + np.maximum(first, second)
    return np.asarray(distances[close].astype(np.int64) * count**2 + pairs)


def _closest(numbers: np.ndarray, most: int, count: int) -> tuple[np.ndarray, int]:
    """Return the closest pairs, and how many bits may differ in another that is closer than the farthest of them."""
    if len(numbers) <= most:
        return numbers, FARTHEST
    distance = int(numbers[most] // count**2)
    closer, equal = np.searchsorted(numbers, (distance * count**2, (distance + 1) * count**2))
    room = most - closer
    spread = numbers[closer + np.arange(room) * (equal - closer) // room]  # of equals, some of each picture
    return np.concatenate([numbers[:closer], spread]), distance - 1


def _merge(numbers: np.ndarray, more: list[np.ndarray]) -> np.ndarray:
    """Return all the numbers sorted, each once."""
    merged = np.concatenate([numbers, *more])
    merged.sort()
    is_new = np.ones(len(merged), bool)
    is_new[1:] = merged[1:] != merged[:-1]
    return np.asarray(merged[is_new])
