"""More than one training at a time, more than one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.cluster._blocks import Blocks, predict_blocks
    from trainkit.cluster._decoding import CachedPixels, cache_pixels
    from trainkit.cluster._sweep import Sweep, sweep
    from trainkit.cluster._workers import resume_on_workers, train_on_workers

__all__ = [
    "Blocks",
    "CachedPixels",
    "Sweep",
    "cache_pixels",
    "predict_blocks",
    "resume_on_workers",
    "sweep",
    "train_on_workers",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Blocks": "trainkit.cluster._blocks",
        "CachedPixels": "trainkit.cluster._decoding",
        "Sweep": "trainkit.cluster._sweep",
        "cache_pixels": "trainkit.cluster._decoding",
        "predict_blocks": "trainkit.cluster._blocks",
        "resume_on_workers": "trainkit.cluster._workers",
        "sweep": "trainkit.cluster._sweep",
        "train_on_workers": "trainkit.cluster._workers",
    },
)
