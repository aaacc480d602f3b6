from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainkit.backend import keras
from trainkit.data import Part, load_dataset
from trainkit.data.pipeline import Batches, read_pixels
from trainkit.data.sources import FileImages
from trainkit.errors import DataError
from trainkit.preprocessing import build_preprocessing


def numbered(count: int, batch_size: int, seed: int | None = None, labels: bool = True) -> Batches:
    """Batches of the numbers 0, 1, 2, ..., each labelled with itself and 1000."""
    examples = np.arange(count)[:, None]
    return Batches(
        examples,
        1000 + np.arange(count) if labels else None,
        to_input=lambda chosen: chosen.astype(np.float32),
        batch_size=batch_size,
        shuffle_seed=seed,
    )


def order(batches: Batches) -> list[int]:
    return [int(number) for index in range(len(batches)) for number in batches[index][0][:, 0]]


def orders(batches: Batches, epochs: int) -> list[list[int]]:
    found = []
    for _ in range(epochs):
        found.append(order(batches))
        batches.on_epoch_end()
    return found


@given(st.integers(0, 200), st.integers(1, 40), st.none() | st.integers(0, 2**32))
@settings(deadline=None)
def test_batches_have_each_example_once_an_epoch_and_a_shorter_last_one(
    count: int, batch_size: int, seed: int | None
) -> None:
    batches = numbered(count, batch_size, seed)
    for _ in range(3):
        assert sorted(order(batches)) == list(range(count))
        sizes = [len(batches[index][0]) for index in range(len(batches))]
        assert sizes == [batch_size] * (count // batch_size) + [count % batch_size] * (count % batch_size > 0)
        batches.on_epoch_end()


def test_batches_keep_every_label_with_its_example() -> None:
    batches = numbered(50, 7, seed=3)
    for _ in range(3):
        for index in range(len(batches)):
            inputs, labels = batches[index]
            assert labels.tolist() == [1000 + int(number) for number in inputs[:, 0]]
        batches.on_epoch_end()


def test_batches_without_labels_are_inputs_only() -> None:
    (inputs,) = numbered(5, 3, labels=False)[1]
    assert inputs.dtype == np.float32 and inputs[:, 0].tolist() == [3, 4]


def test_batches_without_a_seed_keep_their_order() -> None:
    assert orders(numbered(20, 6), 3) == [list(range(20))] * 3


def test_order_of_an_epoch_depends_on_seed_and_epoch_only() -> None:
    expected = orders(numbered(40, 8, seed=5), 4)
    assert len({tuple(one) for one in expected}) == 4, "every epoch has its own"
    for disturbance in range(2):
        random.seed(disturbance)
        np.random.seed(disturbance)
        keras.utils.set_random_seed(disturbance)
        assert orders(numbered(40, 3, seed=5), 4) == expected
    assert orders(numbered(40, 8, seed=6), 4)[0] not in expected


def test_order_of_an_epoch_does_not_depend_on_what_was_read_before() -> None:
    skipped, read = numbered(40, 8, seed=5), numbered(40, 8, seed=5)
    order(read)
    skipped.on_epoch_end()
    read.on_epoch_end()
    assert order(skipped) == order(read)


def test_fit_trains_on_each_example_once_an_epoch_in_an_order_that_repeats() -> None:
    def trained_on() -> list[list[int]]:
        seen: list[int] = []

        def to_input(chosen: np.ndarray) -> np.ndarray:
            seen.extend(chosen[:, 0].tolist())
            return chosen.astype(np.float32)

        model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(2)])
        model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        examples = np.arange(10)[:, None]
        batches = Batches(examples, np.arange(10) % 2, to_input=to_input, batch_size=4, shuffle_seed=3)
        model.fit(batches, epochs=3, shuffle=False, verbose=0)
        # Before the first epoch Keras looks at a batch or two, to learn their shapes.
        return [seen[-30:-20], seen[-20:-10], seen[-10:]]

    first = trained_on()
    assert all(sorted(epoch) == list(range(10)) for epoch in first)
    assert first[0] != first[1] != first[2] != first[0]
    assert trained_on() == first


@pytest.mark.parametrize(("color", "resize"), [("rgb", "stretch"), ("bgr", "crop"), ("gray", "pad")])
def test_read_pixels_are_those_of_one_image_after_the_other(tiny_dataset: Path, color: str, resize: str) -> None:
    part = load_dataset(str(tiny_dataset)).parts["train"]
    preprocessing = build_preprocessing("unit", height=20, width=30, color=color, resize=resize)
    pixels = read_pixels(part, preprocessing)
    assert pixels.dtype == np.uint8 and pixels.shape == (len(part), *preprocessing.shape)
    for index in range(len(part)):
        image = cv2.imread(str(part.path(index)), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(pixels[index], preprocessing.to_pixels(image))


def test_read_pixels_of_gray_digits_are_the_digits() -> None:
    part = load_dataset("digits").parts["test"]
    pixels = read_pixels(part, build_preprocessing("unit", height=8, width=8, color="gray"))
    np.testing.assert_array_equal(pixels[..., 0], part.images.pixels)


def test_read_pixels_of_nothing_are_none() -> None:
    part = load_dataset("digits").sample(0)
    preprocessing = build_preprocessing("unit", height=8, width=6)
    assert read_pixels(part, preprocessing).shape == (0, 8, 6, 3)


def test_read_pixels_of_a_file_that_is_gone_names_it(tiny_dataset: Path, tmp_path: Path) -> None:
    present = next(iter((tiny_dataset / "red").iterdir()))
    part = Part(FileImages([present, tmp_path / "gone.png"]), np.array([0, 1]))
    with pytest.raises(DataError, match=r"OpenCV cannot read .*gone\.png"):
        read_pixels(part, build_preprocessing("unit", height=8, width=6))


def test_batches_of_pixels_are_the_inputs_of_the_preprocessing(tiny_dataset: Path) -> None:
    part = load_dataset(str(tiny_dataset)).sample(7)
    preprocessing = build_preprocessing("torch", height=8, width=6)
    pixels = read_pixels(part, preprocessing)
    batches = Batches(pixels, part.labels, to_input=preprocessing.to_input, batch_size=3)
    together = np.concatenate([batches[index][0] for index in range(len(batches))])
    assert together.dtype == np.float32 and together.shape == (7, 8, 6, 3)
    np.testing.assert_array_equal(together, preprocessing.to_input(pixels))
