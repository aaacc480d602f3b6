"""Which number is the largest: sorting by comparing every two numbers, since no OpenCV before 4.11 sorts rightly.

Of K numbers, g_ij is 1 where x_i is above x_j. The rank of x_i is how many are above it, or equal and before it; all of
that is linear in g, and what has the rank r is the sum of x_i * max(1 - |rank_i - r|, 0).
"""

from __future__ import annotations

import numpy as np
import onnx

from trainkit.exporting._lowering import Lowering
from trainkit.exporting._observation import attribute_of
from trainkit.exporting._operations._arithmetic import at_least, combine_views, is_positive
from trainkit.exporting._operations._products import multiply_side
from trainkit.exporting._views import Value, View

_MOST = 100  # numbers that are sorted: the matrices have its third power
_PAIRS = 2_000_000  # that are compared for one image


def lower_top_k(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Return the largest numbers along a side, or the smallest, in their order; or the places where they stood."""
    count = lowering.constant(node, 1)
    assert count is not None
    side = int(attribute_of(node, "axis", -1)) % len(lowering.view(node).groups)
    largest = bool(attribute_of(node, "largest", 1))
    values = list(node.output).index(lowering.asked) == 0
    return _ranked(lowering, node, side, int(count.reshape(-1)[0]), largest=largest, values=values)


def lower_arg_max(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Return where the largest number along a side stands, the first of several."""
    side = int(attribute_of(node, "axis", 0)) % len(lowering.view(node).groups)
    found = _ranked(lowering, node, side, 1, largest=node.op_type == "ArgMax", values=False)
    if attribute_of(node, "keepdims", 1):
        return found
    return View(found.name, tuple(group for place, group in enumerate(found.groups) if place != side))


def _ranked(lowering: Lowering, node: onnx.NodeProto, side: int, count: int, *, largest: bool, values: bool) -> View:
    view = lowering.view(node)
    if 0 in view.groups[side]:
        raise lowering.moves_the_batch()
    length = lowering.length(view, view.groups[side])
    if length > _MOST or length * lowering.graph.size(view.name) > _PAIRS:
        places = lowering.graph.size(view.name) // length
        raise lowering.cannot(node, f"a sort of {length} numbers, {places} times an image")

    def multiply(one: View, matrix: np.ndarray) -> View:
        return multiply_side(lowering, node, one, side, matrix)

    each = np.eye(length)
    pairs = (each[:, None] - each[None]).reshape(-1, length)  # x_i - x_j
    above = is_positive(lowering, multiply(view, pairs if largest else -pairs))
    before = np.tri(length, k=-1)  # j < i
    rank = multiply(above, _rank_matrix(length))
    spread = multiply(rank, np.tile(each, (count, 1)))
    shift = np.repeat(np.arange(count), length) - np.tile(before.sum(1), count)  # those before count as equal at first
    distance = _shifted(lowering, spread, side, -shift)
    shape = lowering.graph.shapes[distance.name]
    absolute = View(lowering.emit("Abs", [distance.name], shape), distance.groups)
    chosen = at_least(lowering, lowering.affine(absolute, -1, 1), 0.0)
    if not values:
        return multiply(chosen, np.kron(np.eye(count), np.arange(length)[None]))
    chosen = combine_views(lowering, "Mul", chosen, multiply(view, np.tile(each, (count, 1))))
    return multiply(chosen, np.kron(np.eye(count), np.ones((1, length))))


def _rank_matrix(length: int) -> np.ndarray:
    """Return what makes ranks, less how many stand before, of g: (length, length * length)."""
    each, before = np.eye(length), np.tri(length, k=-1)
    above = (1 - before)[:, :, None] * each[:, None, :]  # g_ji of the others; of those before, which may be equal,
    below = before[:, None, :] * each[:, :, None]  # 1 - g_ji - g_ij counts instead
    return (above - below).reshape(length, -1)


def _shifted(lowering: Lowering, view: View, side: int, shift: np.ndarray) -> View:
    """Add a constant to each number along a side."""
    shape = [1] * len(view.groups)
    shape[side] = len(shift)
    return lowering.affine(view, 1, lowering.relayout_constant_as(shift.reshape(shape), view))
