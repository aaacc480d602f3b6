"""From a Keras model to the file that OpenCV reads: trace it, make one small graph of it, write that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.exporting._conversion import build_graph
    from trainkit.exporting._frozen_graph import save_frozen_graph
    from trainkit.exporting._graph import Graph
    from trainkit.exporting._onnx_graph import save_onnx
    from trainkit.exporting._tracing import Traced, trace

__all__ = ["Graph", "Traced", "build_graph", "save_frozen_graph", "save_onnx", "trace"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Graph": "trainkit.exporting._graph",
        "Traced": "trainkit.exporting._tracing",
        "build_graph": "trainkit.exporting._conversion",
        "save_frozen_graph": "trainkit.exporting._frozen_graph",
        "save_onnx": "trainkit.exporting._onnx_graph",
        "trace": "trainkit.exporting._tracing",
    },
)
