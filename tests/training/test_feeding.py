from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainkit.backend import keras
from trainkit.data._augmentation._settings import Augmentation
from trainkit.preprocessing import build_preprocessing
from trainkit.runs._evaluation import predict_pixels
from trainkit.training._compilation import class_weights
from trainkit.training._feeding import EpochSetter, Feed
from trainkit.training._preparation import build_targets


def as_float(chosen: np.ndarray) -> np.ndarray:
    return chosen.astype(np.float32)


def numbered(
    count: int,
    batch_size: int,
    seed: int | None = None,
    to_input: Callable[[np.ndarray], np.ndarray] = as_float,
) -> Feed:
    """Feed the numbers 0, 1, 2, ..., each with itself and 1000 as its target."""
    return Feed(
        examples=np.arange(count)[:, None],
        targets=1000 + np.arange(count),
        to_input=to_input,
        input_shape=(1,),
        batch_size=batch_size,
        shuffle_seed=seed,
    )


def order(feed: Feed, epoch: int = 0) -> list[int]:
    feed.epoch = epoch
    return [int(number) for inputs, _ in feed.batches() for number in inputs[:, 0]]


def orders(feed: Feed, epochs: int) -> list[list[int]]:
    return [order(feed, epoch) for epoch in range(epochs)]


@given(st.integers(0, 200), st.integers(1, 40), st.none() | st.integers(0, 2**32), st.integers(0, 9))
@settings(deadline=None)
def test_an_epoch_has_each_example_once_and_a_shorter_last_batch(
    count: int, batch_size: int, seed: int | None, epoch: int
) -> None:
    feed = numbered(count, batch_size, seed)
    assert sorted(order(feed, epoch)) == list(range(count))
    sizes = [len(inputs) for inputs, _ in feed.batches()]
    assert sizes == [batch_size] * (count // batch_size) + [count % batch_size] * (count % batch_size > 0)
    assert len(sizes) == feed.steps


def test_every_target_stays_with_its_example() -> None:
    feed = numbered(50, 7, seed=3)
    for epoch in range(3):
        feed.epoch = epoch
        for inputs, targets in feed.batches():
            assert targets.tolist() == [1000 + int(number) for number in inputs[:, 0]]


def test_without_a_seed_the_order_stays() -> None:
    assert orders(numbered(20, 6), 3) == [list(range(20))] * 3


def test_order_of_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    expected = orders(numbered(40, 8, seed=5), 4)
    assert len({tuple(one) for one in expected}) == 4, "every epoch has its own"
    for disturbance in range(2):
        random.seed(disturbance)
        np.random.seed(disturbance)
        keras.utils.set_random_seed(disturbance)
        assert orders(numbered(40, 3, seed=5), 4) == expected
    assert order(numbered(40, 8, seed=5), 3) == expected[3], "whatever was read before"
    assert orders(numbered(40, 8, seed=6), 4)[0] not in expected


def test_dataset_has_the_batches_of_the_epoch() -> None:
    feed = numbered(20, 7, seed=1)
    dataset = feed.dataset()
    for epoch in (2, 0):
        feed.epoch = epoch
        found = [int(number) for inputs, _ in dataset for number in inputs.numpy()[:, 0]]
        assert found == order(feed, epoch)
    assert int(dataset.cardinality()) == feed.steps == 3


def test_no_thread_tunes_what_the_next_epoch_would_wait_for() -> None:
    assert numbered(20, 7).dataset().options().autotune.enabled is False


def test_fit_trains_on_each_example_once_an_epoch() -> None:
    seen: list[int] = []

    def to_input(chosen: np.ndarray) -> np.ndarray:
        seen.extend(chosen[:, 0].tolist())
        return as_float(chosen)

    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    feed = numbered(10, 4, seed=3, to_input=to_input)
    model.fit(feed.dataset(), epochs=3, shuffle=False, verbose=0, callbacks=[EpochSetter(feed)])
    assert [seen[:10], seen[10:20], seen[20:]] == orders(numbered(10, 4, seed=3), 3)


@pytest.mark.parametrize("count", [1, 64, 130])
def test_predictions_are_those_of_the_inputs_of_the_preprocessing(count: int) -> None:
    preprocessing = build_preprocessing("torch", height=8, width=6)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 6, 3), np.uint8)
    model = keras.Sequential([keras.Input((8, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    expected = model(preprocessing.to_input(pixels)).numpy()
    np.testing.assert_allclose(predict_pixels(model, pixels, preprocessing), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mix", [Augmentation(mixup=0.4), Augmentation(cutmix=1.0), Augmentation(mixup=1, cutmix=1)])
@pytest.mark.parametrize("units", [1, 2])
def test_class_weights_hold_for_both_partners(mix: Augmentation, units: int) -> None:
    """At 199:1 each class has half of the label mass that the loss weighs, over many epochs."""
    labels = np.repeat([0, 1], [1990, 10])
    feed = Feed(
        examples=np.zeros((2000, 2, 2, 1), np.float32),
        targets=build_targets(labels, units, shares=True),
        to_input=as_float,
        input_shape=(2, 2, 1),
        batch_size=500,
        shuffle_seed=0,
        weights=class_weights(labels, 2),
        augmentation=mix,
    )
    mass, images = np.zeros(2), 0
    for feed.epoch in range(40):
        for inputs, targets, weights in feed.batches():
            shares = np.column_stack([1 - targets, targets]) if units == 1 else targets
            mass += weights @ shares
            images += len(inputs)
            assert targets.dtype == weights.dtype == np.float32 and targets.shape == (len(inputs), units)
            np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(mass / mass.sum(), 0.5, atol=0.02)
    assert mass.sum() / images == pytest.approx(1, abs=0.02), "the loss is as large as without mixing"


def test_weight_and_target_of_a_mixed_image_are_those_of_its_partners() -> None:
    """The loss of the mixed target is the sum of the partners' losses, by their shares and weights."""
    labels, own = np.array([0, 0, 0, 1, 2]), np.array([1, 2, 3, 10, 20], np.float32)
    pixels = np.eye(5, dtype=np.float32)[:, None, :, None]
    feed = Feed(
        examples=pixels,
        targets=np.eye(3, dtype=np.float32)[labels],
        to_input=as_float,
        input_shape=(1, 5, 1),
        batch_size=5,
        shuffle_seed=1,
        weights=own,
        augmentation=Augmentation(mixup=1.0),
    )
    logs = np.log([0.2, 0.3, 0.5])
    for feed.epoch in range(5):
        ((inputs, targets, weights),) = feed.batches()
        shares = inputs[:, 0, :, 0]  # of each image in the mixed one
        assert ((shares > 0) & (shares < 1)).any()
        np.testing.assert_allclose(weights * (targets @ logs), shares @ (own * logs[labels]), rtol=1e-5)
