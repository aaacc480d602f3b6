"""The networks that trainkit builds, and Keras files of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.models._builders import BUILDERS, Builder
    from trainkit.models._layers import build_classes, load_weights
    from trainkit.models._summary import sum_multiply_adds, trace_shapes

__all__ = ["BUILDERS", "Builder", "build_classes", "load_weights", "sum_multiply_adds", "trace_shapes"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "BUILDERS": "trainkit.models._builders",
        "Builder": "trainkit.models._builders",
        "build_classes": "trainkit.models._layers",
        "load_weights": "trainkit.models._layers",
        "sum_multiply_adds": "trainkit.models._summary",
        "trace_shapes": "trainkit.models._summary",
    },
)
