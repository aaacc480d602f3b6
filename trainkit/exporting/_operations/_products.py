"""Products of matrices: with weights, as dense layers and 1x1 convolutions, and of two values, as in attention."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx

from trainkit.exporting._lowering import Lowering
from trainkit.exporting._observation import attribute_of
from trainkit.exporting._operations._arithmetic import with_constant
from trainkit.exporting._views import Group, Value, View


def lower_gemm(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write x @ (alpha * W) + beta * b."""
    weights, bias = lowering.constant(node, 1), lowering.constant(node, 2)
    if weights is None or attribute_of(node, "transA", 0):
        raise lowering.cannot(node, "a product of matrices of this kind")
    weights = weights.T if attribute_of(node, "transB", 0) else weights
    result = multiply(lowering, node, lowering.view(node), weights * attribute_of(node, "alpha", 1.0))
    if bias is None:
        return result
    return with_constant(lowering, node, "Add", result, bias * attribute_of(node, "beta", 1.0), constant_first=False)


def lower_matmul(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write x @ y, matrix by matrix where there are more sides than two."""
    one, other = (lowering.value(name) for name in node.input)
    ranks = [
        len(lowering.shape(name)) if name in lowering.sides else np.ndim(lowering.known[name]) for name in node.input
    ]
    if min(ranks) < 2:
        raise lowering.cannot(node, "a product with a vector that is computed")
    if isinstance(other, np.ndarray) and other.ndim == 2 and isinstance(one, View):
        return multiply(lowering, node, one, other)
    batch = [chr(ord("a") + side) for side in range(max(ranks) - 2)]
    letters = [[*batch[len(batch) - rank + 2 :], *own] for rank, own in zip(ranks, ("xy", "yz"), strict=True)]
    return _contract(lowering, node, [_Factor(one, letters[0]), _Factor(other, letters[1])], [*batch, "x", "z"])


def lower_einsum(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write a sum of products of two values, or of one and weights, as products of matrices."""
    sources, arrow, result = attribute_of(node, "equation", b"").decode().replace(" ", "").partition("->")
    terms = sources.split(",")
    values = [lowering.value(name) for name in node.input]
    letters = [*sources.replace(",", ""), *result]
    whole = all(len(set(term)) == len(term) for term in (*terms, result)) and all(map(str.isalpha, letters))
    if not arrow or len(values) != 2 or not whole:
        raise lowering.cannot(node, f"the sum of products {sources}{arrow}{result}")
    return _contract(lowering, node, [_Factor(v, list(term)) for v, term in zip(values, terms, strict=True)], [*result])


# With weights


def multiply(lowering: Lowering, node: onnx.NodeProto, view: View, weights: np.ndarray) -> View:
    """Multiply the last side by weights (inputs, outputs).

    Where the value has other sides than this one, it is a 1x1 convolution if they are stored behind it, as the pixels
    of an image are, and else a dense layer of so many rows: that is twice as fast as a convolution from 4.10 on.
    """
    *leading, last = view.groups
    stored = lowering.graph.shapes[view.name]
    if 0 in last:
        raise lowering.cannot(node, "a product over the batch")
    if any(axis and stored[axis - 1] > 1 for group in leading for axis in group):
        is_image = last == tuple(range(1, len(last) + 1))
        multiplied = _convolved if is_image or lowering.channels_last else _multiplied_in_rows
        return multiplied(lowering, view, weights.T)
    order = sorted(last)
    sides = [stored[axis - 1] for axis in last]
    by_stored = weights.reshape(*sides, -1).transpose(*(last.index(axis) for axis in order), len(last))
    flat = lowering.reshape(view.name, (math.prod(stored),))
    name = lowering.dense(flat, by_stored.reshape(weights.shape).T)
    return View(name, (*((0,) if 0 in group else () for group in leading), (1,)))


def multiply_side(lowering: Lowering, node: onnx.NodeProto, view: View, side: int, matrix: np.ndarray) -> View:
    """Multiply one side of a value by a matrix (new length, old length): to choose, repeat or add up along it."""
    others = [place for place in range(len(view.groups)) if place != side]
    turned = View(view.name, (*(view.groups[place] for place in others), view.groups[side]))
    product = multiply(lowering, node, turned, matrix.T)
    places = dict(zip((*others, side), product.groups, strict=True))
    return View(product.name, tuple(places[place] for place in range(len(view.groups))))


def _multiplied_in_rows(lowering: Lowering, view: View, weights: np.ndarray) -> View:
    """Multiply the last side of a value by weights (outputs, inputs), its other sides being rows of each image."""
    *leading, last = view.groups
    stored, rows = lowering.graph.shapes[view.name], lowering.graph.rows_of(view.name)
    rest = [axis for group in leading for axis in group if axis and stored[axis - 1] > 1]
    sides = tuple(stored[axis - 1] for axis in rest)
    name = lowering.reorder(view.name, [0, *rest, *last], (lowering.length(view, last),), rows * math.prod(sides))
    name = lowering.reshape(lowering.dense(name, weights), (*sides, len(weights)), rows)
    places = {axis: index for index, axis in enumerate([0, *rest])}
    groups = (tuple(places[axis] for axis in group if axis in places) for group in leading)
    return View(name, (*groups, (len(rest) + 1,)))


def _convolved(lowering: Lowering, view: View, weights: np.ndarray, groups: int = 1) -> View:
    """Multiply the last side of a value, as the channels of an image, by weights (outputs, inputs of a group)."""
    *leading, last = view.groups
    stored = lowering.graph.shapes[view.name]
    rest = [axis for group in leading for axis in group if axis and stored[axis - 1] > 1]
    sides = tuple(stored[axis - 1] for axis in rest)
    # Two sides stay apart, more become columns: OpenCV from 4.10 on is slow where a row is one number long.
    image = sides if len(sides) == 2 else (1, math.prod(sides))
    name = lowering.reorder(view.name, [0, *last, *rest], (lowering.length(view, last), *image))
    name = lowering.convolve(name, weights, groups=groups)
    if len(rest) > 2:
        name = lowering.reshape(name, (len(weights), *sides))
    first = 3 if len(rest) == 1 else 2
    positions = {axis: index + first for index, axis in enumerate(rest)} | {0: 0}
    return View(name, (*(tuple(positions[axis] for axis in group if axis in positions) for group in leading), (1,)))


# Of two values


@dataclass(slots=True)
class _Factor:
    """A value of a product, and a letter for each of its sides, as an einsum has them."""

    value: Value
    letters: list[str]

    def lengths(self, lowering: Lowering) -> dict[str, int]:
        """Return how long each side is, without the batch."""
        if isinstance(self.value, np.ndarray):
            return dict(zip(self.letters, self.value.shape, strict=True))
        return {
            letter: lowering.length(self.value, group)
            for letter, group in zip(self.letters, self.value.groups, strict=True)
        }

    def without(self, letters: set[str]) -> _Factor:
        """Return it without sides of length 1."""
        kept = [place for place, letter in enumerate(self.letters) if letter not in letters]
        names = [self.letters[place] for place in kept]
        if isinstance(self.value, np.ndarray):
            gone = tuple(place for place in range(len(self.letters)) if place not in kept)
            return _Factor(np.squeeze(self.value, gone), names)
        return _Factor(View(self.value.name, tuple(self.value.groups[place] for place in kept)), names)

    def groups(self) -> dict[str, Group]:
        """Return the stored sides of each."""
        assert isinstance(self.value, View)
        return dict(zip(self.letters, self.value.groups, strict=True))


def _contract(lowering: Lowering, node: onnx.NodeProto, factors: list[_Factor], result: list[str]) -> View:
    """Return the sum over the letters that are not in the result."""
    one, other = _without_repeats(lowering, factors)
    if isinstance(one.value, np.ndarray):
        one, other = other, one
    alone = (set(one.letters) ^ set(other.letters)) - set(result)
    one, other = (_summed(lowering, node, factor, alone) for factor in (one, other))
    if isinstance(other.value, np.ndarray):
        return _with_weights(lowering, node, one, other, result)
    return _of_two_values(lowering, one, other, result)


def _summed(lowering: Lowering, node: onnx.NodeProto, factor: _Factor, letters: set[str]) -> _Factor:
    """Add up the sides that neither the other value nor the result has."""
    found = letters & set(factor.letters)
    for letter in found:
        side, length = factor.letters.index(letter), factor.lengths(lowering)[letter]
        if isinstance(factor.value, np.ndarray):
            factor = _Factor(factor.value.sum(side, keepdims=True), factor.letters)
        else:
            ones = np.ones((1, length))
            factor = _Factor(multiply_side(lowering, node, factor.value, side, ones), factor.letters)
    return factor.without(found)


def _without_repeats(lowering: Lowering, factors: list[_Factor]) -> tuple[_Factor, _Factor]:
    """Leave out the sides of length 1 that the other value repeats."""
    batch = {
        x for factor in factors if isinstance(factor.value, View) for x, axes in factor.groups().items() if 0 in axes
    }
    lengths = [factor.lengths(lowering) for factor in factors]
    short: list[set[str]] = []
    for factor, own, others in zip(factors, lengths, lengths[::-1], strict=True):
        fixed = isinstance(factor.value, np.ndarray)
        shared = own.keys() & others.keys()
        short.append({x for x in shared if own[x] == 1 and (fixed if x in batch else others[x] > 1)})
    return factors[0].without(short[0]), factors[1].without(short[1])


def _with_weights(lowering: Lowering, node: onnx.NodeProto, one: _Factor, weights: _Factor, result: list[str]) -> View:
    """Multiply by weights; where they differ along a side of the value, as by head, in groups of a convolution."""
    assert isinstance(weights.value, np.ndarray) and isinstance(one.value, View)
    shared = [letter for letter in one.letters if letter in weights.letters]
    by, summed = [x for x in shared if x in result], [x for x in shared if x not in result]
    free = [letter for letter in weights.letters if letter not in one.letters]
    kept = [letter for letter in one.letters if letter not in shared]
    groups, lengths = one.groups(), {**weights.lengths(lowering), **one.lengths(lowering)}
    if not any(0 in groups[letter] for letter in kept):
        raise lowering.moves_the_batch()
    joined = tuple(axis for letter in (*by, *summed) for axis in groups[letter])
    turned = View(one.value.name, (*(groups[letter] for letter in kept), joined))
    matrices = weights.value.transpose([weights.letters.index(letter) for letter in (*by, *summed, *free)])
    count, inputs, outputs = (math.prod(lengths[x] for x in letters) for letters in (by, summed, free))
    matrices = matrices.reshape(count, inputs, outputs)
    if count == 1:
        product = multiply(lowering, node, turned, matrices[0])
    else:
        product = _convolved(lowering, turned, matrices.transpose(0, 2, 1).reshape(-1, inputs), count)
    inner, own = [lengths[letter] for letter in (*by, *free)], lowering.graph.shapes[product.name]
    *outer, (made,) = product.groups  # what was made is one stored side, which is cut where it stands
    shape = (*own[: made - 1], *inner, *own[made:]) or (1,)
    name = product.name if len(inner) == 1 else lowering.reshape(product.name, shape)
    moved = len(inner) - 1
    places = {
        letter: tuple(axis + moved if axis > made else axis for axis in group)
        for letter, group in zip(kept, outer, strict=True)
    }
    places |= {letter: (made + index,) for index, letter in enumerate((*by, *free))}
    return View(name, tuple(places[letter] for letter in result))


def _of_two_values(lowering: Lowering, one: _Factor, other: _Factor, result: list[str]) -> View:
    """Multiply matrix by matrix: what both have and the result too become rows of each image."""
    assert isinstance(one.value, View) and isinstance(other.value, View)
    first, second = one.groups(), other.groups()
    lengths = {**other.lengths(lowering), **one.lengths(lowering)}
    summed = [letter for letter in one.letters if letter in other.letters and letter not in result]
    by = sorted((x for x in result if x in first and x in second), key=lambda letter: 0 not in first[letter])
    left, right = ([x for x in factor if x not in by and x not in summed] for factor in (first, second))
    if not by or first[by[0]][:1] != (0,) or second[by[0]][:1] != (0,):
        raise lowering.moves_the_batch()
    names = [
        lowering.materialize(
            View(factor.name, tuple(tuple(a for x in letters for a in groups[x]) for letters in sides))
        )
        for factor, groups, sides in (
            (one.value, first, (by, left, summed)),
            (other.value, second, (by, summed, right)),
        )
    ]
    sides = [math.prod(lengths[letter] for letter in letters) for letters in (left, right)]
    name = lowering.emit("MatMul", names, (sides[0], sides[1]))
    whole = lowering.graph.rows_of(one.value.name) * lengths[by[0]]
    letters = [*by[1:], *left, *right]
    name = lowering.reshape(name, tuple(lengths[letter] for letter in letters) or (1,), whole)
    places = {by[0]: (0,), **{letter: (index + 1,) for index, letter in enumerate(letters)}}
    return View(name, tuple(places[letter] for letter in result))
