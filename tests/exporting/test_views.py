"""Each way in which a stored value takes the place of another, held against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trainkit.exporting._views import Arrangement, Group, arrange_as, arrange_constant, usual_order

BATCH = 2
Groups = tuple[Group, ...]
ROW: Groups = ((0,), (1,))
IMAGE: Groups = ((0,), (1,), (2,), (3,))
CHANNELS_LAST: Groups = ((0,), (2,), (3,), (1,))
FLATTENED: Groups = ((0,), (2, 3, 1))  # an image whose numbers the model means in the order of TensorFlow


def store(value: np.ndarray, groups: Groups, stored: tuple[int, ...]) -> np.ndarray:
    """Return a value of the model as it is stored: the sides of each group apart, in the order of the store."""
    order = [side for group in groups for side in group]
    missing = [side for side in range(len(stored)) if side not in order]
    apart = value.reshape([BATCH if side == 0 else stored[side] for side in order] + [1] * len(missing))
    return apart.transpose(np.argsort(order + missing))


def arrange(array: np.ndarray, arrangement: Arrangement) -> np.ndarray:
    """Do what an arrangement says."""
    missing = [side for side in range(array.ndim) if side not in arrangement.order]
    assert all(array.shape[side] == 1 for side in missing)
    return array.transpose(arrangement.order + missing).reshape(array.shape[0], *arrangement.shape)


@pytest.mark.parametrize(
    ("groups", "stored", "wanted_groups", "wanted"),
    [
        # One side for one side, in another order.
        (CHANNELS_LAST, (1, 4, 2, 3), ((0,), (1,), (2,), (3,)), (1, 2, 3, 4)),
        (IMAGE, (1, 4, 2, 3), CHANNELS_LAST, (1, 3, 4, 2)),
        # Several sides joined to one.
        (FLATTENED, (1, 4, 2, 3), ROW, (1, 24)),
        (((0,), (1, 2, 3)), (1, 4, 2, 3), ROW, (1, 24)),
        # Several sides for as many.
        (FLATTENED, (1, 4, 2, 3), FLATTENED, (1, 4, 2, 3)),
        (((0,), (1, 2, 3)), (1, 2, 3, 4), FLATTENED, (1, 4, 2, 3)),
        # One side cut into those that follow each other.
        (ROW, (1, 24), ((0,), (1, 2, 3)), (1, 4, 2, 3)),
        (((0,), (1,), (2,)), (1, 24, 5), ((0,), (1, 2), (3,)), (1, 4, 6, 5)),
        # Sides of length 1, which either may lack.
        (((0,), (), (), (1,)), (1, 4), CHANNELS_LAST, (1, 4, 1, 1)),
        (((0,), (2,), (3,), (1,)), (1, 4, 1, 1), ((0,), (), (), (1,)), (1, 4)),
        (((0,), (1,)), (1, 4, 1, 1), ROW, (1, 4)),
    ],
)
def test_a_value_stands_where_the_other_one_does(
    groups: Groups, stored: tuple[int, ...], wanted_groups: Groups, wanted: tuple[int, ...]
) -> None:
    size = BATCH * math.prod(stored)
    sides = [math.prod(BATCH if side == 0 else stored[side] for side in group) for group in groups]
    value = np.arange(size).reshape(sides)
    arrangement = arrange_as(groups, stored, wanted_groups, wanted)
    assert arrangement is not None
    np.testing.assert_array_equal(
        arrange(store(value, groups, stored), arrangement), store(value, wanted_groups, wanted)
    )


@pytest.mark.parametrize(
    ("groups", "stored", "shape"),
    [
        (((0,), (), (), (1,)), (1, 4), (4, 1, 1)),  # a value a channel
        (((1,),), (1, 4), None),  # without the batch
        (((), (1,)), (1, 4), None),
        (((0,), (2,), (), ()), (1, 1, 5), (1, 5, 1)),  # a value a row
    ],
)
def test_missing_sides_become_one(groups: Groups, stored: tuple[int, ...], shape: tuple[int, ...] | None) -> None:
    arrangement = arrange_as(groups, stored, CHANNELS_LAST, (1, 4, 5, 6))
    assert (arrangement.shape if arrangement else None) == shape


def test_fewer_sides_are_the_last_ones() -> None:
    assert arrange_as(((0, 2), (1,)), (1, 4, 3), ((), (0, 1), (2,)), (1, 3, 4)) == Arrangement([0, 2, 1], (3, 4))


@pytest.mark.parametrize(
    ("groups", "stored", "wanted_groups", "wanted"),
    [
        (ROW, (1, 24), FLATTENED, (1, 4, 2, 3)),  # the pieces would stand in another order
        (ROW, (1, 24), ((0,), (1, 3)), (1, 4, 2, 6)),  # with a side between
        (ROW, (1, 24), ((0,), (1, 2)), (1, 4, 5)),  # not as many
        (((0,), (1, 2)), (1, 4, 6), ((0,), (1, 2)), (1, 6, 4)),  # cut elsewhere
        (((0,), (1, 2)), (1, 24, 5), ((0,), (1, 2)), (1, 4, 6)),  # more of them
        (((1,), (0,)), (1, 4), ROW, (1, 4)),  # the batch is another side
        (((0,), (1,)), (1, 4), ((), (1,)), (1, 4)),  # the other one has no batch
        (((0,), (1,)), (1, 4), ((0,), ()), (1, 4)),  # the other one has no such side
    ],
)
def test_what_cannot_follow_is_said(
    groups: Groups, stored: tuple[int, ...], wanted_groups: Groups, wanted: tuple[int, ...]
) -> None:
    assert arrange_as(groups, stored, wanted_groups, wanted) is None


def test_a_constant_stands_as_the_value_that_it_meets() -> None:
    stored = (1, 4, 2, 3)
    of_channels, of_pixels = np.arange(4.0), np.arange(24.0).reshape(2, 3, 4)
    arranged = arrange_constant(of_channels, CHANNELS_LAST, stored)
    assert arranged is not None
    np.testing.assert_array_equal(arranged, of_channels.reshape(4, 1, 1))
    arranged = arrange_constant(of_pixels, CHANNELS_LAST, stored)
    assert arranged is not None
    np.testing.assert_array_equal(arranged, of_pixels.transpose(2, 0, 1))
    arranged = arrange_constant(of_pixels.reshape(-1), FLATTENED, stored)
    assert arranged is not None
    np.testing.assert_array_equal(arranged, of_pixels.transpose(2, 0, 1))


def test_a_constant_has_no_more_sides_than_the_value_that_it_meets() -> None:
    assert arrange_constant(np.arange(3.0), ((0,), (1,), ()), (1, 4)) is None
    arranged = arrange_constant(np.arange(4.0), ((0,), (), (), (1,)), (1, 4, 1, 1))
    assert arranged is not None
    np.testing.assert_array_equal(arranged, np.arange(4.0).reshape(4, 1, 1))


@pytest.mark.parametrize(
    ("order", "shape", "usual"),
    [
        ([0, 2, 3, 1], (4, 5, 6), [0, 2, 3, 1]),
        ([0, 3, 2, 1], (4, 1, 6), [0, 2, 3, 1]),  # the same, where there is one row only
        ([0, 2, 1, 3], (4, 5, 1), [0, 2, 3, 1]),
        ([0, 3, 2, 1], (1, 5, 6), [0, 3, 1, 2]),
        ([0, 3, 2, 1], (4, 5, 6), [0, 3, 2, 1]),
        ([0, 2, 1], (4, 5), [0, 2, 1]),
    ],
)
def test_a_turn_is_the_usual_one_where_it_can_be(order: list[int], shape: tuple[int, ...], usual: list[int]) -> None:
    assert usual_order(order, shape) == usual
