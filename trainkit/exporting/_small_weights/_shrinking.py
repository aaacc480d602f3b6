"""A Keras model whose kernels are what their small form brings back, for as long as something is done with it.

It is the model itself, with other numbers in its variables: what leaves is made of it, and what leaves is held against
it. So the comparison is one with Keras, as for any other bundle, and nothing of ours stands on both sides of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from trainkit._progress import doing
from trainkit.exporting._conversion import build_graph
from trainkit.exporting._graph import Graph
from trainkit.exporting._onnx_graph import to_onnx
from trainkit.exporting._small_weights._choosing import store_in_8_bits, store_in_16_bits, worth_8_bits
from trainkit.exporting._small_weights._kernels import StoredKernel, kernel_readers
from trainkit.exporting._small_weights._moments import measure_moments
from trainkit.exporting._small_weights._origins import Origins, find_origins, holding, kernels_of_both
from trainkit.exporting._tracing import Traced

WEIGHTS = ("float32", "float16", "int8")
_CLOSE = 1e-5  # of a kernel's largest weight, how far the rebuilt one may be from what is stored
_FAR = 0.25  # of a kernel's largest weight, how far rounding may move one


@dataclass(frozen=True, slots=True, eq=False)
class Shrunk:
    """Which kernels of a graph are stored as whole numbers, and where they come from in the Keras model."""

    graph: Graph  # with the model's own weights
    origins: Origins
    kernels: Mapping[str, StoredKernel]  # of the graph
    broadcast: bool

    @contextmanager
    def held(self, traced: Traced) -> Iterator[tuple[Graph, dict[str, StoredKernel]]]:
        """Let the Keras model have the small weights while the block runs; yield its graph, and how that is stored."""
        wanted = {name: (self.graph.constants[name], kernel.restored) for name, kernel in self.kernels.items()}
        with holding(self.origins.variables, self.origins.restored(wanted)):
            with doing("Converting the graph with small weights"):
                graph = build_graph(traced, broadcast=self.broadcast)
            names = {name: other for name, other in kernels_of_both(self.graph, graph) if name in self.kernels}
            stored = {other: self.kernels[name] for name, other in names.items()}
            yield graph, {name: one for name, one in stored.items() if _is_close(graph.constants[name], one.restored)}


def _is_close(one: np.ndarray, other: np.ndarray, share: float = _CLOSE) -> bool:
    return one.shape == other.shape and bool(np.abs(one - other).max() <= share * np.abs(one).max())


def shrink(
    traced: Traced, weights_as: str, blobs: Iterable[np.ndarray], *, broadcast: bool, other_bytes: int = 0
) -> Shrunk:
    """Choose how the kernels of a model are stored.

    Args:
        traced: the model.
        weights_as: `float16` or `int8`.
        blobs: images on which the rounding looks, (N, C, H, W), some at a time.
        broadcast: as `build_graph` takes it.
        other_bytes: of a file, what is in it beside the graph.
    """
    with doing("Converting the graph"):
        graph = build_graph(traced, broadcast=broadcast)
    readers = kernel_readers(graph)
    with doing("Finding the weights of the Keras model in the graph"):
        origins = find_origins(traced.model, graph, list(readers), lambda: build_graph(traced, broadcast=broadcast))
    readers = {name: nodes for name, nodes in readers.items() if name in origins.places}
    if weights_as == "float16":
        return Shrunk(graph, origins, store_in_16_bits(graph, readers), broadcast)
    float_bytes = len(to_onnx(graph, traced.activation, {}).SerializeToString()) + other_bytes
    with doing("Rounding the weights"):
        moments = measure_moments(graph, worth_8_bits(graph, readers), blobs)
        return Shrunk(graph, origins, store_in_8_bits(graph, readers, moments, float_bytes), broadcast)


def find_shrunk(traced: Traced, stored: Mapping[str, StoredKernel], *, broadcast: bool) -> Shrunk | None:
    """Find in a model the kernels that a file holds as whole numbers; nothing where they are not the model's.

    Args:
        traced: the model, with its own weights.
        stored: what `read_stored` has found in the file.
        broadcast: as `build_graph` took it.
    """
    graph = build_graph(traced, broadcast=broadcast)
    readers = kernel_readers(graph)
    waiting = list(stored.values())
    kernels: dict[str, StoredKernel] = {}
    for name in readers:  # both are in the order of the graph
        if waiting and _is_close(graph.constants[name], waiting[0].restored, _FAR):
            kernels[name] = waiting.pop(0)
    if waiting:
        return None
    origins = find_origins(traced.model, graph, list(readers), lambda: build_graph(traced, broadcast=broadcast))
    if not set(kernels) <= set(origins.places):
        return None
    return Shrunk(graph, origins, kernels, broadcast)
