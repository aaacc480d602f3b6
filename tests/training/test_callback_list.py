"""The training does not wait for its figures after each step."""

from __future__ import annotations

import time
from typing import Any

import pytest

from trainkit.backend import keras
from trainkit.training._callback_list import LOOK_EVERY_S, CallbackList


class Figure:
    """A figure that is still on the device, and counts how often it is fetched."""

    fetched = 0

    def __init__(self, value: float) -> None:
        self.value = value

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        import numpy as np

        Figure.fetched += 1
        return np.array(self.value, np.float32)


class Listening(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[int, dict[str, float]]] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.heard.append((batch, dict(logs or {})))


@pytest.fixture
def model() -> Any:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    return model


def test_figures_are_fetched_a_few_times_a_second(model: Any) -> None:
    listening = Listening()
    callbacks = CallbackList([listening], model=model, epochs=2, steps=100)
    Figure.fetched = 0
    callbacks.on_epoch_begin(0)
    started = time.monotonic()
    for batch in range(100):
        callbacks.on_train_batch_end(batch, {"loss": Figure(batch)})
    looks = 1 + int((time.monotonic() - started) / LOOK_EVERY_S)
    assert 1 <= Figure.fetched <= looks < 100
    assert [batch for batch, _ in listening.heard] == list(range(100)), "each step is heard of"
    assert listening.heard[0] == (0, {"loss": 0.0}) and set(listening.heard[-1][1]) == {"loss"}


def test_an_epoch_begins_without_the_figures_of_the_one_before(model: Any) -> None:
    listening = Listening()
    callbacks = CallbackList([listening], model=model, epochs=2, steps=2)
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        callbacks.on_train_batch_end(0, {"loss": Figure(epoch)})
    assert [figures for _, figures in listening.heard] == [{"loss": 0.0}, {"loss": 1.0}]
