"""Which weights of the Keras model a kernel of the graph is made of, number by number.

Between the two are transposes, joins, cuts, and factors a channel from normalisations. They are not followed one by
one: the model's weights are multiplied by factors that count them, the graph is built again, and its kernels are seen
to be multiplied by those factors. What is a product of several weights shows no such factor, and has no origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainkit.exporting._graph import Graph

_BASE = 2**17  # a factor is 1 + digit / _BASE: float32 tells those apart after several roundings
_DIGITS = 2
_NEAR = 0.25  # how far from a digit a factor may be
_SMALLEST = 1e-30  # below, nothing is said: float32 loses digits


@dataclass(frozen=True, slots=True, eq=False)
class Origins:
    """The weights of a model in one row, and where the numbers of each kernel stand there."""

    variables: list[Any]  # of the Keras model, of two sides and more
    places: dict[str, np.ndarray]  # kernel: int64, in its shape; below 0 for a zero

    def restored(self, kernels: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """Return what the variables must hold for kernels to be others.

        Args:
            kernels: name: what it is, and what it is to be.
        """
        flat = np.concatenate([np.asarray(one, np.float64).reshape(-1) for one in self.variables])
        for name, (own, wanted) in kernels.items():
            places = self.places[name].reshape(-1)
            known = places >= 0
            before, after = (one.astype(np.float64).reshape(-1)[known] for one in (own, wanted))
            flat[places[known]] *= after / before
        ends = np.cumsum([int(np.prod(one.shape)) for one in self.variables])
        return [
            part.reshape(tuple(one.shape)).astype(np.float32)
            for part, one in zip(np.split(flat, ends[:-1]), self.variables, strict=True)
        ]


def find_origins(model: Any, graph: Graph, kernels: list[str], build: Callable[[], Graph]) -> Origins:
    """Find what kernels of a graph are made of.

    Args:
        model: the Keras model.
        graph: that was made of it.
        kernels: constants of the graph.
        build: makes the graph again, of what the model's weights are then.
    """
    variables = [one.value for one in model.weights if len(one.shape) > 1 and "float" in str(one.dtype)]
    count = sum(int(np.prod(one.shape)) for one in variables)
    places = {name: np.zeros(graph.constants[name].shape, np.int64) for name in kernels}
    valid = set(kernels)
    for digit in range(_DIGITS):
        digits = np.arange(1, count + 1) // _BASE**digit % _BASE  # from 1: what has no origin shows a 0
        with _multiplied(variables, 1 + digits / _BASE):
            counted = build()
        valid &= _read_digits(graph, counted, places, valid, _BASE**digit)
    found = {name: places[name] - 1 for name in kernels if name in valid and (places[name] != 0).all()}
    return Origins(variables, _unshared(found, count))


def _read_digits(graph: Graph, counted: Graph, places: dict[str, np.ndarray], valid: set[str], unit: int) -> set[str]:
    """Add a digit to the places of each kernel, and return those where it was one."""
    found = set()
    for name, counted_name in kernels_of_both(graph, counted):
        own, other = graph.constants[name].astype(np.float64), counted.constants[counted_name].astype(np.float64)
        if name not in valid or own.shape != other.shape:
            continue
        known = np.abs(own) > _SMALLEST
        exact = (np.divide(other, own, out=np.ones_like(own), where=known) - 1) * _BASE
        digits = np.rint(exact)
        if (np.abs(exact - digits) < _NEAR).all() and digits.min() >= 0 and digits.max() < _BASE:
            places[name] = np.where(known, places[name] + digits.astype(np.int64) * unit, -1)
            found.add(name)
    return found


def kernels_of_both(graph: Graph, other: Graph) -> list[tuple[str, str]]:
    """Return the names of each kernel in two graphs of one model; nothing where they have not the same operations."""
    if [node.op for node in graph.nodes] != [node.op for node in other.nodes]:
        return []
    pairs = [(a.inputs[1], b.inputs[1]) for a, b in zip(graph.nodes, other.nodes, strict=True) if len(a.inputs) > 1]
    return [(a, b) for a, b in dict.fromkeys(pairs) if a in graph.constants and b in other.constants]


def _unshared(places: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Return the kernels that no other one shares a weight with, and that have none twice."""
    used = np.zeros(count, np.int64)
    for one in places.values():
        np.add.at(used, one[one >= 0], 1)
    return {name: one for name, one in places.items() if used[one[one >= 0]].max(initial=0) <= 1}


@contextmanager
def _multiplied(variables: list[Any], factors: np.ndarray) -> Iterator[None]:
    before = [one.numpy() for one in variables]
    ends = np.cumsum([one.size for one in before])
    parts = [part.reshape(one.shape) for part, one in zip(np.split(factors, ends[:-1]), before, strict=True)]
    with holding(variables, [(one * part).astype(np.float32) for one, part in zip(before, parts, strict=True)]):
        yield


@contextmanager
def holding(variables: list[Any], values: list[np.ndarray]) -> Iterator[None]:
    """Let variables hold other values while the block runs."""
    before = [one.numpy() for one in variables]
    try:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
