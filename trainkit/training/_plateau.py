"""A learning rate that falls where the loss no longer does."""

from __future__ import annotations

from typing import Any

from trainkit.backend import keras

PATIENCE = 2  # epochs without a better loss
FACTOR = 0.3  # of the rate, each time


class PlateauSchedule(keras.callbacks.ReduceLROnPlateau):  # type: ignore[misc]
    """Keras' `ReduceLROnPlateau`, after a warm-up: a schedule cannot do both, because it cannot be changed."""

    def __init__(self, monitor: str, *, learning_rate: float, warmup_steps: int) -> None:
        """Watch `monitor`, a loss; rise to `learning_rate` in the first `warmup_steps`."""
        super().__init__(monitor=monitor, factor=FACTOR, patience=PATIENCE, min_delta=0.0)
        self._highest, self._warmup_steps = learning_rate, warmup_steps

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Rise, as long as the warm-up lasts."""
        step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))  # may be mirrored
        if step < self._warmup_steps:
            self.model.optimizer.learning_rate = self._highest * (step + 1) / self._warmup_steps
        elif step == self._warmup_steps and step:
            self.model.optimizer.learning_rate = self._highest
