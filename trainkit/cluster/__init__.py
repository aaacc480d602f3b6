"""More than one training at a time, more than one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.cluster._workers import resume_on_workers, train_on_workers

__all__ = ["resume_on_workers", "train_on_workers"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "resume_on_workers": "trainkit.cluster._workers",
        "train_on_workers": "trainkit.cluster._workers",
    },
)
