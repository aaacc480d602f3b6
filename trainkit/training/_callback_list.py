"""Callbacks that do not make the training wait for the device."""

from __future__ import annotations

import time
from typing import Any

from trainkit.backend import keras

LOOK_EVERY_S = 0.25


class CallbackList(keras.callbacks.CallbackList):  # type: ignore[misc]
    """Keras' list, but that figures are fetched from the device a few times a second, not after each step.

    Keras turns them into numbers whenever a callback wants to hear of a batch, and a GPU has nothing to do until the
    next step is sent. In between, callbacks are told the last figures that were looked at; those of an epoch are always
    its own.
    """

    def __init__(self, callbacks: list[Any], *, model: Any, epochs: int, steps: int) -> None:
        """Call `callbacks` in the training of a compiled model.

        Args:
            callbacks: of Keras.
            model: that is trained.
            epochs: the number of the last one.
            steps: batches an epoch.
        """
        super().__init__(callbacks, add_history=True, model=model, verbose=0, epochs=epochs, steps=steps)
        self._figures: dict[str, float] = {}
        self._looked = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Forget the figures of the epoch before."""
        self._figures, self._looked = {}, 0.0
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell the callbacks of a batch, with figures that may be a moment old."""
        now = time.monotonic()
        if logs and now - self._looked >= LOOK_EVERY_S:
            self._figures = {name: float(keras.ops.convert_to_numpy(value)) for name, value in logs.items()}
            self._looked = now
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs=self._figures)
