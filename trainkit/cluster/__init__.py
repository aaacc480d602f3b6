"""More than one training at a time, more than one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.cluster._blocks import Blocks, predict_blocks
    from trainkit.cluster._sweep import Sweep, sweep

__all__ = ["Blocks", "Sweep", "predict_blocks", "sweep"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Blocks": "trainkit.cluster._blocks",
        "Sweep": "trainkit.cluster._sweep",
        "predict_blocks": "trainkit.cluster._blocks",
        "sweep": "trainkit.cluster._sweep",
    },
)
