from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from trainkit.data._repeats._close_hashes import FARTHEST, close_pairs


def draw_hashes(count: int, *, bits: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**bits, count, dtype=np.uint64)


def change(hashes: np.ndarray, bits: int) -> np.ndarray:
    """Return each hash with so many of its bits turned."""
    generator = np.random.default_rng(1)
    places = np.argsort(generator.random((len(hashes), 64)), axis=1)[:, :bits].astype(np.uint64)
    return hashes ^ np.bitwise_or.reduce(np.uint64(1) << places, axis=1, initial=0)


def distances(hashes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.asarray(np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_hashes_have_few_pairs(count: int) -> None:
    assert close_pairs(np.zeros(count, np.uint64)).tolist() == ([[0, 1]] if count == 2 else [])


def test_pairs_are_close_different_and_sorted() -> None:
    hashes = draw_hashes(500, bits=24)
    pairs = close_pairs(hashes)
    assert 0 < len(pairs) <= 20_000 + 3 * 500 and len(np.unique(pairs, axis=0)) == len(pairs)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert (np.diff(distances(hashes, pairs).astype(int)) >= 0).all() and distances(hashes, pairs).max() <= FARTHEST


def test_pairs_of_few_hashes_are_those_of_a_plain_loop() -> None:
    originals = draw_hashes(200)
    hashes = np.concatenate([originals, change(originals, 10)])
    expected = {
        (first, second)
        for first in range(400)
        for second in range(first + 1, 400)
        if int(hashes[first] ^ hashes[second]).bit_count() <= FARTHEST
    }
    assert {tuple(pair) for pair in close_pairs(hashes).tolist()} == expected and len(expected) >= 200


@pytest.mark.parametrize(("bits", "least"), [(0, 1.0), (4, 1.0), (8, 0.999), (12, 0.99), (16, 0.9)])
def test_copies_among_very_many_are_found(bits: int, least: float) -> None:
    originals = draw_hashes(5_000)
    pairs = close_pairs(np.concatenate([originals, change(originals, bits)]))
    found = pairs[pairs[:, 1] - pairs[:, 0] == 5_000]
    assert len(found) >= least * 5_000


@pytest.mark.parametrize("bits", [1, 8, 20, 64])
def test_pairs_grow_as_the_hashes_do_however_alike_these_are(bits: int) -> None:
    tracemalloc.start()
    pairs = close_pairs(draw_hashes(30_000, bits=bits))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(pairs) <= 20_000 + 3 * 30_000
    assert peak < 200 * 30_000, "bytes"


def test_equal_hashes_stay_linked_where_not_all_pairs_are_kept() -> None:
    groups = np.arange(20_000)
    for first, second in close_pairs(np.zeros(20_000, np.uint64)).tolist():
        groups[second] = min(groups[first], groups[second])
    assert (groups == 0).mean() > 0.99


@pytest.mark.timing
@pytest.mark.parametrize("bits", [16, 64])
def test_time_grows_as_the_hashes_do(bits: int) -> None:
    durations = []
    for count in (2_000, 20_000):
        hashes = draw_hashes(count, bits=bits)
        start = time.perf_counter()
        close_pairs(hashes)
        durations.append(time.perf_counter() - start)
    assert durations[1] < 20 * durations[0], "all pairs are a hundred times as many"
