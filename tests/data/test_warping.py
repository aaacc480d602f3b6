from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trainkit
from trainkit.data._augmentation import _warping as augmenting
from trainkit.data._augmentation._draws import draw
from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._augmentation._warping import augment_batch
from trainkit.data._sources import load_sample_images

GEOMETRY: dict[str, Any] = {
    "rotation_range": 60,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 15,
    "zoom_range": 0.3,
    "horizontal_flip": True,
    "vertical_flip": True,
}
LEVELS: dict[str, Any] = {"channel_shift_range": 40, "brightness_range": (0.5, 1.6)}
# OpenCV 4 rounds coordinates to 1/32 of a pixel.
BOUND = 1 if int(cv2.__version__.partition(".")[0]) >= 5 else 6


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """uint8 (12, 48, 70, 3)."""
    images = load_sample_images().images
    pixels = np.stack([cv2.resize(images[index], (70, 48), interpolation=cv2.INTER_AREA) for index in range(12)])
    pixels.setflags(write=False)
    return pixels


def augmented(pixels: np.ndarray, augmentation: Augmentation, indices: Any = None, **where: int) -> np.ndarray:
    chosen = np.arange(len(pixels)) if indices is None else np.asarray(indices, int)
    return augment_batch(pixels[chosen], augmentation, seed=1, epoch=where.get("epoch", 2), indices=chosen)


def transforms(pixels: np.ndarray, augmentation: Augmentation) -> list[dict[str, Any]]:
    """Return what `augmented` does to each image."""
    count, height, width, channels = pixels.shape
    drawn = draw(augmentation, seed=1, epoch=2, indices=np.arange(count), height=height, width=width, channels=channels)
    return [drawn.transform_parameters(position) for position in range(count)]


RANGES = {
    "rotation_range": st.floats(0, 180),
    "width_shift_range": st.floats(0, 0.9),
    "height_shift_range": st.floats(0, 0.9),
    "shear_range": st.floats(0, 60),
    "zoom_range": st.floats(0, 0.9),
    "horizontal_flip": st.booleans(),
    "vertical_flip": st.booleans(),
    "channel_shift_range": st.floats(0, 255),
    "brightness_range": st.just(()) | st.tuples(st.floats(0, 1), st.floats(1, 3)),
    "random_resized_crop": st.just(()) | st.tuples(st.floats(0.1, 0.5), st.floats(0.5, 1)),
    "fill_mode": st.sampled_from(["nearest", "reflect", "wrap", "constant"]),
    "cval": st.floats(0, 255),
}


@given(settings=st.fixed_dictionaries({}, optional=RANGES), channels=st.sampled_from([1, 3]))
def test_apply_transform_makes_what_training_makes_of_the_same_draw(
    photos: np.ndarray, settings: dict[str, Any], channels: int
) -> None:
    pixels, augmentation = np.ascontiguousarray(photos[:4, ..., :channels]), Augmentation(**settings)
    batch = augmented(pixels, augmentation)
    assert batch.dtype == np.uint8 and batch.shape == pixels.shape
    for image, result, parameters in zip(pixels, batch, transforms(pixels, augmentation), strict=True):
        made = trainkit.apply_transform(image, parameters, fill_mode=augmentation.fill_mode, cval=augmentation.cval)
        np.testing.assert_array_equal(made, result)


@pytest.mark.parametrize("settings", [GEOMETRY, LEVELS, {"random_resized_crop": (0.3, 1)}, {"random_erasing": 1}])
def test_engine_of_keras_gives_the_same_pictures(photos: np.ndarray, settings: dict[str, Any]) -> None:
    ours = augmented(photos, Augmentation(**settings)).astype(int)
    keras = augmented(photos, Augmentation(**settings, engine="keras")).astype(int)
    assert np.abs(ours - keras).max() <= (2 if "brightness_range" in settings else 1) * BOUND
    assert (ours != photos).any()


def test_levels_without_a_move_are_those_of_keras_exactly(photos: np.ndarray) -> None:
    augmentation = Augmentation(brightness_range=(0.3, 2))
    ours, keras = (
        augmented(photos, augmentation),
        augmented(photos, Augmentation(brightness_range=(0.3, 2), engine="keras")),
    )
    np.testing.assert_array_equal(ours, keras)


ALL = Augmentation(**GEOMETRY, **LEVELS, random_erasing=0.5, random_resized_crop=(0.5, 1))


@pytest.mark.parametrize("engine", ["opencv", "keras"])
def test_order_and_batch_size_change_no_picture(photos: np.ndarray, engine: Any) -> None:
    augmentation = Augmentation(**{**ALL.to_settings(), "engine": engine})
    whole = augmented(photos, augmentation)
    order = np.random.default_rng(0).permutation(len(photos))
    for size in (1, 5):
        parts = [augmented(photos, augmentation, order[start : start + size]) for start in range(0, len(photos), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole[order])


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_number_of_threads_changes_no_picture(
    photos: np.ndarray, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = augmented(photos, ALL)
    with ThreadPoolExecutor(threads) as pool:
        monkeypatch.setattr(augmenting, "_CHUNK", 2 * photos[0].size)
        monkeypatch.setattr(augmenting, "_pool", lambda process: pool)
        inside = cv2.getNumThreads()
        for number in (1, inside):
            cv2.setNumThreads(number)
            np.testing.assert_array_equal(augmented(photos, ALL), expected)


def test_epochs_differ(photos: np.ndarray) -> None:
    first, second = augmented(photos, ALL, epoch=0), augmented(photos, ALL, epoch=1)
    assert all((one != other).any() for one, other in zip(first, second, strict=True))


def test_nothing_is_done_where_nothing_is_said(photos: np.ndarray) -> None:
    for augmentation in (Augmentation(), Augmentation(mixup=1, cutmix=1)):
        np.testing.assert_array_equal(augmented(photos, augmentation), photos)


def test_empty_batch_stays_empty(photos: np.ndarray) -> None:
    assert augmented(photos, ALL, []).shape == (0, 48, 70, 3)


def test_pixels_may_be_views_of_any_stride(photos: np.ndarray) -> None:
    views = np.concatenate([photos, photos], axis=2)[:, :, 35:105]
    expected = augmented(np.ascontiguousarray(views), ALL)
    np.testing.assert_array_equal(augment_batch(views, ALL, seed=1, epoch=2, indices=np.arange(12)), expected)
    indices = np.arange(12)
    from_right = photos[:, :, ::-1]
    np.testing.assert_array_equal(
        augment_batch(from_right, ALL, seed=1, epoch=2, indices=indices), augmented(from_right.copy(), ALL)
    )


def test_erased_rectangle_has_one_colour_and_the_rest_stays(photos: np.ndarray) -> None:
    augmentation = Augmentation(random_erasing=1)
    drawn = draw(augmentation, seed=1, epoch=2, indices=np.arange(12), height=48, width=70, channels=3)
    assert drawn.erased is not None and drawn.erased_levels is not None
    for image, result, (top, left, rows, columns), levels in zip(
        photos, augmented(photos, augmentation), drawn.erased, drawn.erased_levels, strict=True
    ):
        expected = image.copy()
        expected[top : top + rows, left : left + columns] = levels
        np.testing.assert_array_equal(result, expected)
        assert rows > 0
