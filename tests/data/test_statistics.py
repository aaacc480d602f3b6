from __future__ import annotations

import numpy as np
import pytest

from trainkit.data._dataset import ArrayImages, ColorImages, JoinedImages
from trainkit.data._statistics import channel_statistics, mean_image, measure_images
from trainkit.preprocessing import Color


def random_pixels(*shape: int, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, shape, np.uint8)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("shape", [(1, 1, 2, 3), (7, 5, 9, 3), (50, 64, 48, 3)])
def test_statistics_equal_those_of_numpy_in_the_order_of_the_colour(shape: tuple[int, ...], color: Color) -> None:
    pixels = random_pixels(*shape)
    pixels[..., 0] //= 4  # blue is dark, so that the order shows
    mean, std = channel_statistics(pixels, color)
    in_order = pixels[..., ::-1] if color == "rgb" else pixels
    np.testing.assert_allclose(mean, in_order.mean(axis=(0, 1, 2), dtype=np.float64), rtol=0, atol=1e-9)
    np.testing.assert_allclose(std, in_order.std(axis=(0, 1, 2), dtype=np.float64), rtol=0, atol=1e-9)
    assert (mean[2] < mean[0]) == (color == "rgb")


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_statistics_of_arrays_are_those_of_their_images_one_by_one(channels: tuple[int, ...], color: Color) -> None:
    pixels = random_pixels(300, 5, 7, *channels)
    pixels[:150] //= 3
    chosen = np.flatnonzero(np.arange(300) % 3)
    parts = [ArrayImages(pixels, chosen), ArrayImages(pixels[:71]), ArrayImages(pixels, chosen[::-1][:70])]
    one_by_one = ColorImages([part[index] for part in parts for index in range(len(part))])
    found = measure_images(JoinedImages([*parts]), color=color, with_image=True)
    expected = measure_images(one_by_one, color=color, with_image=True)
    assert found.images == expected.images == 341 and found.pixels == expected.pixels
    assert (found.mean, found.std) == (expected.mean, expected.std)
    np.testing.assert_array_equal(found.mean_image, expected.mean_image)
    of_two_sizes = JoinedImages([ArrayImages(pixels), ArrayImages(pixels[:, :4])])
    assert measure_images(of_two_sizes, color=color).pixels == 300 * (5 + 4) * 7


def test_joined_images_are_those_of_each_in_turn() -> None:
    parts = [ColorImages([*random_pixels(count, 2, 2, 3)]) for count in (3, 0, 2)]
    joined = JoinedImages([*parts])
    assert len(joined) == 5
    for index, image in enumerate([*parts[0].images, *parts[2].images]):
        np.testing.assert_array_equal(joined[index], image)
    assert [(start, count) for _, start, count in joined.pieces(1, 9)] == [(1, 2), (0, 2)]
    for index in (-1, 5):
        with pytest.raises(IndexError, match=f"Expected 0 to 4. Received: {index}"):
            joined[index]


def test_statistics_of_gray_have_one_channel() -> None:
    pixels = random_pixels(9, 8, 7, 1)
    mean, std = channel_statistics(pixels, "gray")
    np.testing.assert_allclose((*mean, *std), (pixels.mean(), pixels.std()), rtol=0, atol=1e-9)


def test_statistics_of_red_and_blue_are_not_exchanged() -> None:
    pixels = np.zeros((1, 2, 1, 3), np.uint8)
    pixels[0, :, 0] = [[10, 100, 200], [20, 100, 240]]  # blue, green, red
    pixels[0, 1, 0, 1] = 102
    assert channel_statistics(pixels, "rgb") == ((220.0, 101.0, 15.0), (20.0, 1.0, 5.0))
    assert channel_statistics(pixels, "bgr") == ((15.0, 101.0, 220.0), (5.0, 1.0, 20.0))


def test_statistics_of_one_odd_pixel_among_millions_are_exact() -> None:
    pixels = np.full((2000, 32, 32, 1), 255, np.uint8)
    pixels[0, 0, 0, 0] = 254
    count = pixels.size
    (mean,), (std,) = channel_statistics(pixels, "gray")
    assert mean == pytest.approx(255 - 1 / count, abs=1e-12)
    assert std == pytest.approx(np.sqrt(1 / count - 1 / count**2), rel=1e-12)


def test_statistics_of_more_pixels_than_float32_can_count_are_exact() -> None:
    # cv2.calcHist gives float32: 4097 * 4097 - 4096 black pixels of one image are odd, and more than 2**24.
    pixels = np.zeros((1, 4097, 4097, 1), np.uint8)
    pixels[0, 0, :4096] = 255
    share = 4096 / 4097**2
    (mean,), (std,) = channel_statistics(pixels, "gray")
    assert mean == pytest.approx(255 * share, rel=1e-12)
    assert std == pytest.approx(255 * np.sqrt(share - share**2), rel=1e-12)


def test_statistics_are_plain_numbers_that_json_has() -> None:
    mean, std = channel_statistics(random_pixels(2, 3, 4, 3), "rgb")
    assert {type(number) for number in (*mean, *std)} == {float}


@pytest.mark.parametrize("value", [0, 128, 255])
def test_statistics_of_a_constant_channel_have_no_deviation(value: int) -> None:
    pixels = random_pixels(3, 4, 5, 3)
    pixels[..., 1] = value
    mean, std = channel_statistics(pixels, "bgr")
    assert (mean[1], std[1]) == (value, 0)
    assert min(std[0], std[2]) > 0


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_mean_image_equals_that_of_numpy_in_the_order_of_the_colour(color: Color) -> None:
    pixels = random_pixels(300, 5, 9, 3)
    pixels[..., 0] //= 4
    mean = mean_image(pixels, color)
    in_order = pixels[..., ::-1] if color == "rgb" else pixels
    assert mean.dtype == np.float32 and mean.shape == (5, 9, 3)
    np.testing.assert_array_equal(mean, in_order.mean(axis=0, dtype=np.float64).astype(np.float32))


def test_mean_image_of_gray_has_one_channel_and_is_exact() -> None:
    pixels = np.full((70_001, 1, 2, 1), 255, np.uint8)
    pixels[0] = 254
    expected = np.float32(255 - 1 / 70_001)
    assert mean_image(pixels, "gray").tolist() == [[[expected], [expected]]]
