"""How the model means a value that is stored another way, and how one is stored as another is.

Sides are numbered as they are stored, the batch first: 0 is the batch, 1 the channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trainkit.exporting._graph import Shape

Side = tuple[int, bool]  # how long, and whether that is to be multiplied by the batch size
Group = tuple[int, ...]  # the stored sides that make up one side of the model's, slowest first


@dataclass(frozen=True, slots=True)
class View:
    """A value of the model as a stored one: for each of its sides the stored sides it is made of, slowest first.

    A stored value (N, C, H, W) that the model means as (N, H, W, C) is `((0,), (2,), (3,), (1,))`, as (N, H * W * C) it
    is `((0,), (2, 3, 1))`. A side of length 1 may be made of nothing.
    """

    name: str
    groups: tuple[Group, ...]


Value = View | np.ndarray  # an array is a constant, in the model's own order


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What turns one stored value into another: its sides in an order, then joined or cut to a shape."""

    order: list[int]  # sides of length 1 may miss
    shape: Shape  # without the batch


@dataclass(frozen=True, slots=True)
class _Filling:
    """What a side of the target is made of."""

    sources: Group = ()
    length: int = 1


def arrange_as(
    groups: tuple[Group, ...], stored: Shape, wanted_groups: tuple[Group, ...], wanted: Shape
) -> Arrangement | None:
    """Return what lets the sides of a value stand where those of another are stored; missing ones become 1.

    Args:
        groups: of the value.
        stored: its sides, 1 for the batch.
        wanted_groups: of the other value.
        wanted: the other's sides.

    Returns:
        `None` where the other has sides stored as one, or in an order, that this one cannot follow.
    """
    missing = ((),) * (len(wanted_groups) - len(groups))
    fillings: dict[int, _Filling] = {}
    for targets, group in zip(wanted_groups, (*missing, *groups), strict=True):
        sources = tuple(side for side in group if side == 0 or stored[side] > 1)
        found = _fill(targets, [wanted[side] for side in targets], sources, [stored[side] for side in sources])
        if found is None:
            return None
        fillings.update(found)
    filled = [fillings.get(side, _Filling()) for side in range(len(wanted))]
    order = [side for filling in filled for side in filling.sources]
    return Arrangement(order, tuple(filling.length for filling in filled[1:])) if order[:1] == [0] else None


def _fill(targets: Group, wanted: list[int], sources: Group, lengths: list[int]) -> dict[int, _Filling] | None:
    """Return what each target is made of, for one side of the model's; `None` where the sources do not fit.

    Args:
        targets: the sides that the other value has for it, of the lengths `wanted`.
        wanted: the lengths of these.
        sources: the sides, longer than 1, that the value itself has for it.
        lengths: the lengths of these.
    """
    if not sources:
        return {}
    if len(targets) == 1:  # joined
        return {targets[0]: _Filling(sources, math.prod(lengths))}
    if wanted == lengths:  # one by one
        return {target: _Filling((s,), length) for target, s, length in zip(targets, sources, lengths, strict=True)}
    if len(sources) == 1 and math.prod(wanted) == lengths[0] and _are_consecutive(targets):  # cut
        fillings = {target: _Filling((), length) for target, length in zip(targets, wanted, strict=True)}
        return {**fillings, targets[0]: _Filling(sources, wanted[0])}
    return None


def _are_consecutive(sides: Group) -> bool:
    return bool(sides) and sides == tuple(range(sides[0], sides[-1] + 1))


def arrange_constant(constant: np.ndarray, groups: tuple[Group, ...], stored: Shape) -> np.ndarray | None:
    """Return a constant in the order in which a value is stored, without the batch; `None` where it has more sides.

    Args:
        constant: in the model's own order.
        groups: of the value that it meets.
        stored: the sides of that value, 1 for the batch.
    """
    constant = constant.reshape((1,) * (len(groups) - constant.ndim) + constant.shape)
    if any(length > 1 and not group for length, group in zip(constant.shape, groups, strict=True)):
        return None
    pairs = list(zip(constant.shape, groups, strict=True))
    shape = [stored[side] if length > 1 else 1 for length, group in pairs for side in group]
    order = [side for group in groups for side in group]
    missing = [side for side in range(len(stored)) if side not in order]
    spread = constant.reshape(shape + [1] * len(missing))
    return np.asarray(spread.transpose(np.argsort(order + missing))[0])


def usual_order(order: list[int], shape: Shape) -> list[int]:
    """Return the turn between channels last and first where it is the same: sides of length 1 stand anywhere."""
    if len(shape) != 3:
        return order
    for usual in ([0, 2, 3, 1], [0, 3, 1, 2]):
        if _long_sides(usual, shape) == _long_sides(order, shape):
            return usual
    return order


def _long_sides(order: list[int], shape: Shape) -> list[int]:
    return [side for side in order[1:] if shape[side - 1] > 1]
