"""From data and a model's name to a run in `experiments/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.training._suggestion import LearningRates
    from trainkit.training._train import find_learning_rate, resume, train

__all__ = ["LearningRates", "find_learning_rate", "resume", "train"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "LearningRates": "trainkit.training._suggestion",
        "find_learning_rate": "trainkit.training._train",
        "resume": "trainkit.training._train",
        "train": "trainkit.training._train",
    },
)
