from __future__ import annotations

import random
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainkit.data._folds import assign_folds, hold_out
from trainkit.errors import DataError


@given(
    counts=st.lists(st.integers(10, 60), min_size=2, max_size=5), folds=st.integers(2, 10), seed=st.integers(0, 10**6)
)
def test_every_class_is_spread_evenly_where_each_image_stands_alone(counts: list[int], folds: int, seed: int) -> None:
    labels = [[f"class-{number}"] for number, count in enumerate(counts) for _ in range(count)]
    keys = [f"{seed}-{index}" for index in range(len(labels))]
    chosen = assign_folds(keys, labels, folds)
    for number, count in enumerate(counts):
        of_fold = Counter(chosen[[name == [f"class-{number}"] for name in labels]].tolist())
        assert sum(of_fold.values()) == count
        assert max(of_fold.values()) - min(of_fold.get(fold, 0) for fold in range(folds)) <= 1
    sizes = np.bincount(chosen, minlength=folds)
    assert sizes.max() - sizes.min() <= len(counts)


@given(seed=st.integers(0, 10**6), folds=st.integers(2, 5))
def test_folds_follow_from_the_images_whatever_their_order(seed: int, folds: int) -> None:
    draw = random.Random(seed)
    keys = [f"key-{draw.randrange(40)}" for _ in range(200)]
    labels = [[f"class-{draw.randrange(3)}"] for _ in keys]
    chosen = assign_folds(keys, labels, folds)
    order = draw.sample(range(len(keys)), len(keys))
    again = assign_folds([keys[index] for index in order], [labels[index] for index in order], folds)
    assert again.tolist() == chosen[order].tolist()
    assert len(set(zip(keys, chosen.tolist(), strict=True))) == len(set(keys)), "a group is in one fold"


def test_groups_of_different_sizes_are_spread_so_that_folds_are_alike() -> None:
    draw = random.Random(0)
    keys = [f"person-{person}" for person in range(50) for _ in range(draw.randrange(1, 12))]
    labels = [[draw.choice(["ill", "well"])] for _ in keys]
    chosen = assign_folds(keys, labels, 5)
    for name in ("ill", "well"):
        shares = np.bincount(chosen[[of_image == [name] for of_image in labels]], minlength=5)
        assert shares.max() < 1.3 * shares.min()


def test_labels_may_be_several_or_none() -> None:
    labels = [["a", "b"], ["a"], ["b"], []] * 10
    chosen = assign_folds([str(index) for index in range(40)], labels, 5)
    assert np.bincount(chosen).tolist() == [8] * 5
    assert all(sum("a" in labels[index] for index in np.flatnonzero(chosen == fold)) == 4 for fold in range(5))


def test_too_few_groups_is_a_sentence() -> None:
    with pytest.raises(DataError, match=r"There are 3 groups of pictures that stay together. Expected at least 5"):
        assign_folds(["x", "y", "z"] * 5, [["a"], ["b"], ["a"]] * 5, 5)


def test_class_of_one_group_is_a_sentence() -> None:
    with pytest.raises(DataError, match="class `rare` are all of one group that stays together"):
        assign_folds(["x", "x", *map(str, range(20))], [["rare"]] * 2 + [["often"]] * 20, 5)


def test_each_image_is_held_out_once_and_its_group_is_never_learned_meanwhile() -> None:
    draw = random.Random(1)
    keys = [f"{draw.randrange(60):064x}" for _ in range(300)]
    labels = [[f"class-{draw.randrange(3)}"] for _ in keys]
    held_out = Counter()
    for fold in range(1, 6):
        sides, warnings = hold_out(keys, labels, fold=fold, folds=5, validation=0.2)
        assert not warnings and set(sides) == {"train", "val", "test"}
        assert len(set(zip(keys, sides, strict=True))) == len(set(keys))
        held_out.update(index for index, side in enumerate(sides) if side == "test")
    assert held_out == Counter(range(300))


def test_class_in_fewer_groups_than_folds_is_warned_of() -> None:
    keys = ["x", "y", "z", *map(str, range(40))]
    labels = [["rare"]] * 3 + [["often"]] * 40
    said = [hold_out(keys, labels, fold=fold, folds=5, validation=0.0)[1] for fold in range(1, 6)]
    assert sum(map(len, said)) == 2
    assert re.match("Fold . of 5 holds out no image of `rare`", next(filter(None, said))[0])


def test_fold_that_cannot_be_trained_is_refused_before_the_first() -> None:
    keys, labels = ["1" * 64, "2" * 64, *(f"{index:064x}" for index in range(40))], [["rare"]] * 2 + [["often"]] * 40
    with pytest.raises(DataError, match="Class `rare` has 1 groups of images outside of the fold that is held out"):
        hold_out(keys, labels, fold=1, folds=3, validation=0.1)
