"""What a graph makes of pixels is, on a CPU, what the host makes of them, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainkit.backend import keras, tf
from trainkit.data._augmentation._settings import Augmentation
from trainkit.models._pixel_model import PixelModel, can_be_made_in_graph
from trainkit.preprocessing import (
    PREPROCESSINGS,
    Preprocessing,
    build_preprocessing,
    needs_mean_image,
    needs_statistics,
)
from trainkit.training._feeding import Feed

HEIGHT, WIDTH = 7, 9
FLAT = Augmentation(
    horizontal_flip=True,
    vertical_flip=True,
    channel_shift_range=40.0,
    brightness_range=(0.6, 1.5),
    random_erasing=0.6,
)
AUGMENTATIONS = {
    "flips": Augmentation(horizontal_flip=True, vertical_flip=True),
    "shifted levels": Augmentation(channel_shift_range=60.0),
    "brightened": Augmentation(brightness_range=(0.3, 2.5)),
    "erased": Augmentation(random_erasing=1.0),
    "all without a warp": FLAT,
    "mixup": Augmentation(mixup=0.4),
    "cutmix": Augmentation(cutmix=1.0, horizontal_flip=True),
    "all of it": replace(FLAT, mixup=0.4, cutmix=1.0),
    "a warp, mixed": Augmentation(rotation_range=20, random_erasing=0.5, mixup=0.4, cutmix=1.0),
}


def build(name: str, color: str) -> Preprocessing:
    channels = 1 if color == "gray" else 3
    statistics = ((90.7, 120.3, 33.1)[:channels], (61.3, 20.9, 77.7)[:channels]) if needs_statistics(name) else None
    image = np.random.default_rng(1).uniform(60, 180, (HEIGHT, WIDTH, channels)).astype(np.float32)
    return build_preprocessing(
        name,
        height=HEIGHT,
        width=WIDTH,
        color=color,  # type: ignore[arg-type]
        statistics=statistics,
        mean_image=image if needs_mean_image(name) else None,
    )


def model_of(preprocessing: Preprocessing) -> PixelModel:
    inputs = keras.Input(preprocessing.shape)
    model = PixelModel(inputs, keras.layers.Flatten()(inputs))
    model.preprocessing = preprocessing
    return model


def all_levels(channels: int) -> np.ndarray:
    """Return pictures in which each channel has each level, in another order in each."""
    levels = np.stack([np.random.default_rng(seed).permutation(256) for seed in range(channels)], axis=1)
    padded = np.resize(levels, (5 * HEIGHT * WIDTH, channels))
    return padded.reshape(5, HEIGHT, WIDTH, channels).astype(np.uint8)


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize("name", [name for name in PREPROCESSINGS if not name.startswith("samplewise")])
def test_each_preprocessing_is_the_same_in_a_graph(name: str, color: str) -> None:
    if color == "gray" and name in ("caffe", "torch"):
        pytest.skip("of colours only")
    preprocessing = build(name, color)
    pixels = all_levels(preprocessing.channels)
    assert can_be_made_in_graph(preprocessing)
    made = tf.function(model_of(preprocessing).to_input)(tf.constant(pixels)).numpy()
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, preprocessing.to_input(pixels))


@given(
    st.lists(st.just(0.0) | st.floats(2**-10, 255, width=32), min_size=3, max_size=3),  # no denormal ones
    st.lists(st.floats(0.125, 300, width=32), min_size=3, max_size=3) | st.floats(0.125, 300, width=32),
)
@settings(deadline=None, max_examples=25)
def test_any_mean_and_deviation_is_the_same_in_a_graph(mean: list[float], std: list[float] | float) -> None:
    deviations = tuple(std) if isinstance(std, list) else (std,) * 3
    preprocessing = Preprocessing(height=HEIGHT, width=WIDTH, mean=tuple(mean), std=deviations)
    pixels = all_levels(3)
    made = model_of(preprocessing).to_input(tf.constant(pixels)).numpy()
    np.testing.assert_array_equal(made, preprocessing.to_input(pixels))


@pytest.mark.parametrize("name", ["samplewise-center", "samplewise-standardize"])
def test_what_is_added_up_over_an_image_stays_with_the_host(name: str) -> None:
    assert not can_be_made_in_graph(build(name, "rgb"))


def feeds(preprocessing: Preprocessing, augmentation: Augmentation, *, weighed: bool) -> tuple[Feed, Feed]:
    """Return the same feed twice: one makes its inputs itself, the other leaves them to a graph."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (23, *preprocessing.shape), np.uint8)
    host = Feed(
        examples=pixels,
        targets=np.eye(3, dtype=np.float32)[generator.integers(0, 3, len(pixels))],
        to_input=preprocessing.to_input,
        input_shape=preprocessing.shape,
        batch_size=8,
        shuffle_seed=4,
        weights=generator.uniform(0.5, 2, len(pixels)).astype(np.float32) if weighed else None,
        augmentation=augmentation,
    )
    return host, replace(host, to_input=None, augments_in_graph=not augmentation.warps)


@pytest.mark.parametrize("weighed", [False, True], ids=["plain", "weighed"])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
@pytest.mark.parametrize(("name", "color"), [("torch", "rgb"), ("unit", "gray")])
def test_a_batch_is_the_same_whoever_makes_it(name: str, color: str, augmentation: Augmentation, weighed: bool) -> None:
    if weighed and not augmentation.mixes:
        pytest.skip("weights matter to what is mixed")
    preprocessing = build(name, color)
    host, raw = feeds(preprocessing, augmentation, weighed=weighed)
    to_input = tf.function(model_of(preprocessing).to_input)
    changed = 0
    for host.epoch in range(2):
        raw.epoch = host.epoch
        for expected, (inputs, *rest) in zip(host.batches(), raw.dataset(), strict=True):
            np.testing.assert_array_equal(to_input(inputs).numpy(), expected[0])
            for one, other in zip(rest, expected[1:], strict=True):
                np.testing.assert_array_equal(one.numpy(), other)
            changed += len(expected[0])
    assert changed == 46


@pytest.mark.parametrize("weighed", [False, True], ids=["plain", "weighed"])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_epochs_at_the_end_see_the_images_as_they_are(augmentation: Augmentation, weighed: bool) -> None:
    preprocessing = build("torch", "rgb")
    to_input = tf.function(model_of(preprocessing).to_input)
    for feed in feeds(preprocessing, augmentation, weighed=weighed):
        feed.plain_from = 1
        for feed.epoch, is_plain in enumerate((False, True, True)):
            given, targets, *_ = next(feed.batches())
            places = feed.order()[: feed.batch_size]
            made = given if feed.to_input else to_input(given).numpy()
            assert np.array_equal(made, preprocessing.to_input(feed.examples[places])) == is_plain
            if is_plain:
                np.testing.assert_allclose(targets, feed.targets[places], rtol=1e-6)


def test_only_what_needs_no_warp_is_left_to_the_graph() -> None:
    assert [one.warps for one in AUGMENTATIONS.values()] == [False] * 8 + [True]
    for setting in ("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range"):
        assert Augmentation(**{setting: 0.2}).warps, setting
    assert Augmentation(random_resized_crop=(0.5, 1)).warps and Augmentation(engine="keras").warps


def test_pixels_go_up_as_bytes() -> None:
    _, raw = feeds(build("torch", "rgb"), Augmentation(), weighed=False)
    inputs, _ = next(raw.batches())
    assert inputs.dtype == np.uint8
    spec: Any = raw.dataset().element_spec[0]
    assert spec.dtype == tf.uint8


def test_a_model_fed_with_pixels_learns_and_answers_as_one_fed_with_inputs() -> None:
    preprocessing = build("torch", "rgb")
    host, raw = feeds(preprocessing, replace(FLAT, mixup=0.4), weighed=False)
    answers = []
    for feed in (host, raw):
        keras.utils.set_random_seed(0)
        inputs = keras.Input(preprocessing.shape)
        outputs = keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(inputs))
        model = PixelModel(inputs, outputs)
        if feed is raw:
            model.preprocessing = preprocessing
        model.compile("adam", "categorical_crossentropy")
        model.fit(feed.dataset(), epochs=2, shuffle=False, verbose=0)
        plain = feed.answering()
        answers.append(
            (
                *model.get_weights(),
                model.predict(plain.dataset(), verbose=0),
                model.evaluate(plain.dataset(), verbose=0),
            )
        )
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, other)
