from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from scipy import ndimage

import trainkit
from trainkit.backend import tf
from trainkit.data._augmentation._transforms import transform_matrices
from trainkit.errors import UsageError

ImageDataGenerator = tf.keras.preprocessing.image.ImageDataGenerator
# OpenCV 4 rounds coordinates to 1/32 of a pixel.
IS_EXACT = int(cv2.__version__.partition(".")[0]) >= 5
BOUND, BOUND_IN_NOISE = (1.0, 1.0) if IS_EXACT else (4.0, 7.0)
GEOMETRY: dict[str, Any] = {
    "rotation_range": 90,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 25,
    "zoom_range": 0.3,
    "horizontal_flip": True,
    "vertical_flip": True,
}
LEVELS: dict[str, Any] = {"channel_shift_range": 50, "brightness_range": (0.5, 1.6)}
SIZES = [(64, 64), (56, 80), (90, 40), (28, 28)]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """uint8 (427, 640, 3): edges, texture and even areas."""
    from trainkit.data._sources import load_sample_images

    return load_sample_images().images[0]


def draws(count: int, shape: tuple[int, ...], **settings: Any) -> list[dict[str, Any]]:
    """Let Keras draw its dictionaries."""
    generator = ImageDataGenerator(**settings)
    return [generator.get_random_transform(shape, seed) for seed in range(count)]


def resized(photo: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
    image = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA)
    return image if channels == 3 else image[:, :, 1:2].copy()


def largest_difference(ours: np.ndarray, keras: np.ndarray) -> float:
    assert ours.shape == keras.shape
    return float(np.abs(ours.astype(np.float64) - keras.astype(np.float64)).max())


@pytest.mark.parametrize("fill_mode", ["nearest", "reflect"])
@pytest.mark.parametrize("levels", [{}, LEVELS, {"channel_shift_range": 50}, {"brightness_range": (0.5, 1.6)}])
@pytest.mark.parametrize("channels", [1, 3])
def test_picture_is_that_of_keras(photo: np.ndarray, fill_mode: Any, levels: dict[str, Any], channels: int) -> None:
    generator = ImageDataGenerator(fill_mode=fill_mode)
    # Levels are whole between the warp and what changes them, as in training: that is multiplied by the brightness.
    bound = 2 * BOUND if levels else BOUND
    for size in SIZES:
        image = resized(photo, size, channels)
        for parameters in draws(20, image.shape, **GEOMETRY, **levels):
            for dtype in (np.uint8, np.float32):
                ours = trainkit.apply_transform(image.astype(dtype), parameters, fill_mode=fill_mode)
                assert ours.dtype == dtype
                # Also where Keras' generator makes float32 of uint8 first, as its `flow` does.
                for of_keras in {dtype, np.float32}:
                    keras = generator.apply_transform(image.astype(of_keras), parameters)
                    assert largest_difference(ours, keras) <= bound, parameters


def test_picture_is_that_of_keras_in_noise() -> None:
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    for parameters in draws(40, image.shape, **GEOMETRY, **LEVELS):
        keras = ImageDataGenerator().apply_transform(image.astype(np.float32), parameters)
        assert largest_difference(trainkit.apply_transform(image, parameters), keras) <= 2 * BOUND_IN_NOISE


def beyond_the_edge(parameters: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Return how many pixels each place of the result lies beyond the image."""
    arrays = {name: np.array([value]) for name, value in parameters.items()}
    matrix = transform_matrices(arrays, height, width)[0]
    rows, columns = np.mgrid[:height, :width]
    x, y = np.tensordot(matrix, np.stack([columns, rows, np.ones_like(rows)]), 1)
    return np.maximum.reduce([-x, x - (width - 1), -y, y - (height - 1)])


@pytest.mark.parametrize("size", SIZES)
def test_constant_differs_on_the_seam_only(photo: np.ndarray, size: tuple[int, int]) -> None:
    image = resized(photo, size, 3).astype(np.float32)
    differ = 0
    for parameters in draws(10, image.shape, **GEOMETRY):
        ours = trainkit.apply_transform(image, parameters, fill_mode="constant", cval=77)
        keras = ImageDataGenerator(fill_mode="constant", cval=77).apply_transform(image, parameters)
        beyond = beyond_the_edge(parameters, *size)
        off_the_seam = (beyond < -0.01) | (beyond > 1.01)
        assert largest_difference(ours[off_the_seam], keras[off_the_seam]) <= BOUND
        differ += int((np.abs(ours - keras) > BOUND).sum())
    assert differ > 0  # else the docstring names a difference that is none


@pytest.mark.parametrize("size", SIZES)
def test_wrap_differs_beyond_the_edge_only(photo: np.ndarray, size: tuple[int, int]) -> None:
    image = resized(photo, size, 3).astype(np.float32)
    for parameters in draws(10, image.shape, **GEOMETRY):
        ours = trainkit.apply_transform(image, parameters, fill_mode="wrap")
        keras = ImageDataGenerator(fill_mode="wrap").apply_transform(image, parameters)
        inside = beyond_the_edge(parameters, *size) < -0.01
        assert largest_difference(ours[inside], keras[inside]) <= BOUND


@pytest.mark.parametrize(("fill_mode", "of_scipy"), [("constant", "grid-constant"), ("wrap", "grid-wrap")])
def test_constant_and_wrap_are_what_the_docstring_says(photo: np.ndarray, fill_mode: Any, of_scipy: str) -> None:
    image = resized(photo, (56, 80), 3).astype(np.float32)
    for parameters in draws(10, image.shape, **GEOMETRY):
        parameters = parameters | {"flip_horizontal": False, "flip_vertical": False}
        (matrix,) = transform_matrices({name: np.array([value]) for name, value in parameters.items()}, 56, 80)
        swapped = matrix[::-1, [1, 0, 2]]  # rows first
        exact = [
            ndimage.affine_transform(
                image[..., channel].astype(np.float64),
                swapped[:, :2],
                swapped[:, 2],
                order=1,
                mode=of_scipy,
                cval=77,
            )
            for channel in range(3)
        ]
        ours = trainkit.apply_transform(image, parameters, fill_mode=fill_mode, cval=77)
        assert largest_difference(ours, np.stack(exact, -1)) <= BOUND


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_nothing_changes_nothing(street_image: np.ndarray, dtype: Any) -> None:
    image = street_image.astype(dtype)
    for parameters in ({}, {"theta": 0, "brightness": None}, {"zx": 1, "channel_shift_intensity": 0, "brightness": 1}):
        result = trainkit.apply_transform(image, parameters)
        np.testing.assert_array_equal(result, np.floor(image) if "brightness" in parameters else image)
        assert result is not image


def test_flips_are_exact(street_image: np.ndarray) -> None:
    for dtype in (np.uint8, np.float32):
        image = street_image.astype(dtype)
        flipped = trainkit.apply_transform(image, {"flip_horizontal": True})
        np.testing.assert_array_equal(flipped, image[:, ::-1])
        both = trainkit.apply_transform(image, {"flip_horizontal": True, "flip_vertical": True})
        np.testing.assert_array_equal(both, image[::-1, ::-1])


def test_levels_of_an_image_that_does_not_move_are_those_of_keras(street_image: np.ndarray) -> None:
    for parameters in ({"brightness": 0.4}, {"brightness": 1.7}, {"channel_shift_intensity": -33.0, "brightness": 2.3}):
        for dtype in (np.uint8, np.float32):
            image = street_image.astype(dtype)
            keras = ImageDataGenerator().apply_transform(image, parameters)
            np.testing.assert_array_equal(trainkit.apply_transform(image, parameters), keras)


def test_floats_beyond_grey_levels_are_brightened_as_keras_does(street_image: np.ndarray) -> None:
    image = street_image.astype(np.float32) / 127.5 - 1
    for brightness in (0.5, 1.5):
        parameters = {"brightness": brightness, "theta": 20}
        keras = ImageDataGenerator().apply_transform(image, parameters)
        assert largest_difference(trainkit.apply_transform(image, parameters), keras) <= 2.05 * BOUND * 2 / 255
    even = np.full((4, 4, 1), -3, np.float32)
    np.testing.assert_allclose(trainkit.apply_transform(even, {"brightness": 1.5}), even)


def test_image_of_one_pixel_stays(street_image: np.ndarray) -> None:
    image = street_image[:1, :1]
    for fill_mode in ("nearest", "reflect", "wrap"):
        result = trainkit.apply_transform(image, {"theta": 30, "tx": 3, "zy": 2}, fill_mode=fill_mode)
        np.testing.assert_array_equal(result, image)


def test_image_may_be_a_view(street_image: np.ndarray) -> None:
    view = street_image[::2, ::-1]
    parameters = {"theta": 12.0, "ty": 3.0}
    np.testing.assert_array_equal(
        trainkit.apply_transform(view, parameters), trainkit.apply_transform(view.copy(), parameters)
    )


@pytest.mark.parametrize(
    ("image", "arguments", "message"),
    [
        (np.zeros((4, 4), np.uint8), {}, r"shape \(height, width, 1 or 3\). Received: \(4, 4\)"),
        (np.zeros((4, 4, 2), np.uint8), {}, r"Received: \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), {}, r"Received: \(0, 4, 3\)"),
        ([[1]], {}, "Received: list"),
        (np.zeros((4, 4, 3), np.int32), {}, "uint8, or of floats from 0 to 255. Received: int32"),
        (np.zeros((4, 4, 3), np.uint8), {"angle": 3}, "Unknown transform parameter `angle`"),
        (np.zeros((4, 4, 3), np.uint8), {"teta": 3}, "Did you mean `theta`?"),
    ],
)
def test_mistake_is_explained(image: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trainkit.apply_transform(image, arguments)


def test_unknown_fill_mode_is_explained(street_image: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"Unknown fill_mode `mirror`\. Expected one of: constant, nearest"):
        trainkit.apply_transform(street_image, {}, fill_mode="mirror")  # type: ignore[arg-type]
