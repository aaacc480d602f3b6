"""More than one training at a time, more than one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.cluster._sweep import Sweep, sweep

__all__ = ["Sweep", "sweep"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Sweep": "trainkit.cluster._sweep",
        "sweep": "trainkit.cluster._sweep",
    },
)
