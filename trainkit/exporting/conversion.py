"""From a traced Keras model to the graph that leaves: convert, lower, fold."""

from __future__ import annotations

import numpy as np

from trainkit.exporting.folding import fold
from trainkit.exporting.graph import Graph
from trainkit.exporting.operations import lower
from trainkit.exporting.tracing import Traced


def build_graph(traced: Traced) -> Graph:
    """Return the graph that leaves, from the blob `(N, C, H, W)` to logits `(N, classes)`.

    A single sigmoid `p` becomes two, `[1 - p, p]`, so that every client's argmax is right: sigmoid(-x) is
    1 - sigmoid(x), so a second column with the opposite sign is all it takes.

    Raises:
        ExportError: a layer cannot be expressed.
    """
    graph = lower(traced.to_onnx(), traced.model.layers)
    if traced.units == 1:
        constants = [graph.constant(np.array([[-1.0], [1.0]])), graph.constant(np.zeros(2))]
        graph.output = graph.emit("Gemm", [graph.output, *constants], (2,))
    fold(graph)
    return graph
