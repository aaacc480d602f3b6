"""The learning rate over a training."""

from __future__ import annotations

import numpy as np
import pytest

from trainkit.backend import keras
from trainkit.runs._settings import OPTIMIZERS
from trainkit.training._plateau import PlateauSchedule
from trainkit.training._schedules import build_optimizer, build_schedule


def rates(name: str, *, warmup: float = 0.0, steps: int = 10, epochs: int = 4) -> np.ndarray:
    schedule = build_schedule(name, 0.1, steps_per_epoch=steps, epochs=epochs, warmup=warmup)
    count = steps * epochs
    return np.array([float(schedule(step)) if callable(schedule) else schedule for step in range(count)])


def test_constant_stays() -> None:
    assert set(rates("constant")) == {0.1}


def test_constant_rises_in_the_warmup() -> None:
    found = rates("constant", warmup=1.5)
    np.testing.assert_allclose(found[:15], 0.1 * np.arange(1, 16) / 15, rtol=1e-6)
    np.testing.assert_allclose(found[15:], 0.1, rtol=1e-6)


def test_cosine_falls_along_half_a_cosine() -> None:
    np.testing.assert_allclose(rates("cosine"), 0.05 * (1 + np.cos(np.pi * np.arange(40) / 40)), rtol=1e-4)


def test_cosine_rises_in_the_warmup() -> None:
    found = rates("cosine", warmup=1)
    assert (np.diff(found[:11]) > 0).all()
    assert found.argmax() == 10
    assert found.max() == pytest.approx(0.1)
    assert (np.diff(found[10:]) < 0).all()
    np.testing.assert_allclose(found[:11], 0.1 * np.arange(1, 12) / 11, rtol=1e-5)


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.1, 1.0, 3.5, 4.0, 9.0])
@pytest.mark.parametrize("name", ["constant", "cosine", "one-cycle"])
def test_every_step_trains(name: str, warmup: float) -> None:
    for steps, epochs in ((1, 1), (1, 2), (1, 4), (10, 4)):
        found = rates(name, warmup=warmup, steps=steps, epochs=epochs)
        assert (found > 0).all() and (found < 0.1001).all()


def one_cycle_of_pytorch(total: int, pct_start: float, step: int) -> float:
    """Return the rate of a step, as `torch.optim.lr_scheduler.OneCycleLR` with its defaults computes it."""
    highest, lowest, last = 0.1, 0.1 / 25, 0.1 / 25 / 1e4
    peak, end = pct_start * total - 1, total - 1.0
    start, stop, share = (
        (lowest, highest, step / peak) if step <= peak else (highest, last, (step - peak) / (end - peak))
    )
    return float(stop + (start - stop) / 2 * (1 + np.cos(np.pi * share)))


@pytest.mark.parametrize(("epochs", "warmup"), [(4, 0.0), (4, 2.0), (7, 0.0), (37, 0.0), (10, 0.3)])
def test_one_cycle_is_that_of_pytorch(epochs: int, warmup: float) -> None:
    total, pct_start = 10 * epochs, warmup / epochs or 0.3
    expected = [one_cycle_of_pytorch(total, pct_start, step) for step in range(total)]
    np.testing.assert_allclose(rates("one-cycle", warmup=warmup, epochs=epochs), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(("warmup", "peak"), [(0.0, 11), (2.0, 19)])
def test_one_cycle_rises_once_and_falls_to_nothing(warmup: float, peak: int) -> None:
    found = rates("one-cycle", warmup=warmup)
    assert found[0] == pytest.approx(0.004)
    assert found.argmax() == peak
    assert found[peak] == pytest.approx(0.1)
    assert (np.diff(found[: peak + 1]) > 0).all()
    assert (np.diff(found[peak:]) < 0).all()
    assert found[-1] < 1e-5


def test_one_cycle_of_a_single_step_is_finite() -> None:
    assert np.isfinite(rates("one-cycle", steps=1, epochs=1)).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_take_every_setting(name: str) -> None:
    optimizer = build_optimizer(name, 0.01, weight_decay=0.1, clip_norm=1.0, ema=0.9)
    assert optimizer.weight_decay == 0.1
    assert optimizer.global_clipnorm == 1.0
    assert optimizer.ema_momentum == 0.9


def test_weight_decay_leaves_biases_and_slopes_alone() -> None:
    layers = [keras.layers.Dense(2), keras.layers.BatchNormalization(), keras.layers.PReLU()]
    model = keras.Sequential([keras.Input((3,)), *layers])
    optimizer = build_optimizer("sgd", 1.0, weight_decay=0.5)
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape, np.float32))
    optimizer.build(model.trainable_variables)
    zeros = [np.zeros(variable.shape, np.float32) for variable in model.trainable_variables]
    optimizer.apply([keras.ops.convert_to_tensor(zero) for zero in zeros], model.trainable_variables)
    values = {
        variable.path.rpartition("/")[2]: float(variable.numpy().flat[0]) for variable in model.trainable_variables
    }
    assert values == {"kernel": 0.5, "bias": 1.0, "gamma": 1.0, "beta": 1.0, "alpha": 1.0}


def test_plateau_warms_up_then_falls() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    # A loss that no step changes.
    model.compile(build_optimizer("sgd", 0.1), loss=lambda truth, output: 0 * output + 1)
    callback = PlateauSchedule("loss", learning_rate=0.1, warmup_steps=4)
    seen = []

    class Watch(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
            seen.append(float(self.model.optimizer.learning_rate))

    x = np.zeros((4, 2), np.float32)
    model.fit(x, np.ones((4, 1)), batch_size=1, epochs=6, verbose=0, shuffle=False, callbacks=[callback, Watch()])
    np.testing.assert_allclose(seen[:4], [0.025, 0.05, 0.075, 0.1], rtol=1e-6)
    assert seen[-1] < seen[5]
