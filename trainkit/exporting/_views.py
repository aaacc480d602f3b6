"""How the model means a value that is stored another way, and how one is stored as another is.

Sides are numbered as they are stored, the batch first: 0 is the batch, 1 the channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

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


@dataclass(frozen=True, slots=True)
class Cuts:
    """How stored sides are cut, and what the sides of a view are made of then."""

    lengths: list[list[int]]  # of the pieces of each stored side, the batch first
    groups: tuple[Group, ...]


def plan_cuts(stored: list[Side], groups: tuple[Group, ...], wanted: list[Side]) -> Cuts | None:
    """Return how to cut stored sides where they stand, so that a view has other sides; `None` where that is impossible.

    Args:
        stored: the sides of the value, the batch first.
        groups: of the view.
        wanted: its new sides, with as many numbers.
    """
    lengths: list[list[int]] = [[] for _ in stored]
    rest = [
        [axis, stored[axis][0], stored[axis][1]] for group in groups for axis in group if stored[axis] != (1, False)
    ]
    made: list[list[tuple[int, int]]] = []  # for each side its pieces: of which stored side, the how manieth
    for length, follows in wanted:
        pieces: list[tuple[int, int]] = []
        while rest and (length > 1 or follows):
            axis, own, is_batch = rest[0]
            taken = math.gcd(own, length)
            if is_batch and (not follows or taken != own):
                return None
            if taken == 1 and not is_batch:
                break
            pieces.append((axis, len(lengths[axis])))
            lengths[axis].append(taken)
            length, follows, rest[0][1] = length // taken, follows and not is_batch, own // taken
            if rest[0][1] > 1:
                break
            rest.pop(0)
        if length != 1 or follows:
            return None
        made.append(pieces)
    if rest:
        return None
    filled = [pieces or [1] for pieces in lengths]
    starts = [sum(len(pieces) for pieces in filled[:axis]) for axis in range(len(filled))]
    return Cuts(filled, tuple(tuple(starts[axis] + place for axis, place in pieces) for pieces in made))


Swap = tuple[Group, Group, Group, Group]  # what stays in front, the two that change places, what stays behind


@lru_cache(maxsize=1024)
def plan_swaps(order: Group) -> tuple[Swap, ...]:
    """Return the fewest swaps of neighbours, each of one stored side or several, that bring sides into an order.

    Args:
        order: stored sides, the batch first; those of length 1 may miss.
    """
    ranks = {side: rank for rank, side in enumerate(sorted(order))}
    blocks: list[Group] = []
    for side in order:
        if blocks and ranks[side] == ranks[blocks[-1][-1]] + 1:
            blocks[-1] = (*blocks[-1], side)
        else:
            blocks.append((side,))
    target = tuple(blocks)
    found: dict[tuple[Group, ...], tuple[Swap, ...]] = {tuple(sorted(blocks)): ()}
    for state in (waiting := list(found)):  # the nearest first: it grows while it is read
        if state == target:
            break
        for start, middle, end in combinations(range(1, len(state) + 1), 3):
            parts = (state[:start], state[start:middle], state[middle:end], state[end:])
            following = (*parts[0], *parts[2], *parts[1], *parts[3])
            if following not in found:
                front, one, other, back = (sum(part, ()) for part in parts)
                found[following] = (*found[state], (front, one, other, back))
                waiting.append(following)
    return found[target]


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
