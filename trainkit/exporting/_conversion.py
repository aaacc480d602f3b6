"""From a traced Keras model to the graph that leaves: convert, lower, fold."""

from __future__ import annotations

import numpy as np

from trainkit.exporting._folding import fold, take_pixels_for_rows
from trainkit.exporting._graph import Graph
from trainkit.exporting._operations._table import lower
from trainkit.exporting._tracing import Traced

# OpenCV 4.5.5 and 4.6 fail on (N, C, H, W) with (N, C, 1, 1) for more than one image; from here on all are right.
# With (N, 1, H, W) the new engine of 5.0.0 still is not.
BROADCASTS_SINCE = (4, 8, 1)


def build_graph(traced: Traced, *, broadcast: bool = False, channels_last: bool = False) -> Graph:
    """Return the graph that leaves, from the blob `(N, C, H, W)` to logits `(N, classes)`.

    A single sigmoid `p` becomes two, `[1 - p, p]`, so that every client's argmax is right: sigmoid(-x) is
    1 - sigmoid(x), so a second column with the opposite sign is all it takes.

    Args:
        traced: the model.
        broadcast: leave it to the reader to combine an image with one value a channel.
        channels_last: the file's order is (N, H, W, C), as in a frozen graph.

    Raises:
        ExportError: a layer cannot be expressed.
    """
    graph = lower(traced.to_onnx(), traced.model.layers, broadcast=broadcast, channels_last=channels_last)
    if traced.units == 1:
        constants = [graph.constant(np.array([[-1.0], [1.0]])), graph.constant(np.zeros(2))]
        graph.output = graph.emit("Gemm", [graph.output, *constants], (2,))
    fold(graph)
    if broadcast:
        take_pixels_for_rows(graph)
    return graph
