"""The moving average of the weights (Polyak and Juditsky 1992), which the optimizer keeps beside them.

Keras' `SwapEMAWeights` swaps the two by adding and subtracting, which rounds: a training that is evaluated would go on
with other weights than one that is not, and a restored one with others than were saved. Here they are exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from trainkit.backend import keras


def inner_optimizer(model: Any) -> Any:
    """Return the optimizer that moves the weights, without the one around it that scales the loss for float16."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


@contextmanager
def averaged(model: Any) -> Iterator[None]:
    """Put the average into a model while the block runs, where its optimizer keeps one."""
    swap(model)
    try:
        yield
    finally:
        swap(model)


def swap(model: Any) -> None:
    """Exchange a model's weights and their average; twice is nothing."""
    optimizer = inner_optimizer(model)
    if not getattr(optimizer, "use_ema", False) or not optimizer.built:
        return
    for variable, average in zip(
        optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True
    ):
        kept = np.array(keras.ops.convert_to_numpy(variable))
        variable.assign(keras.ops.convert_to_numpy(average))
        average.assign(kept)


class AveragedValidation(keras.callbacks.Callback):  # type: ignore[misc]
    """Lets `fit` validate the average, because that is what will be kept."""

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Put the average in."""
        swap(self.model)

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Put the weights back."""
        swap(self.model)
