from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainkit.bundles._description import build_description
from trainkit.data._data_statistics import measure_data
from trainkit.data._inspection import read_image
from trainkit.deploy.python._pixels import apply_before_blob, pad_to_aspect
from trainkit.deploy.python._values import MAX_PIXELS, MAX_SIDE
from trainkit.errors import BundleError, TrainkitError, UsageError
from trainkit.preprocessing import (
    PREPROCESSINGS,
    Color,
    Preprocessing,
    Resize,
    Samplewise,
    build_from_json,
    build_preprocessing,
    load_mean_image,
    load_preprocessing,
    needs_mean_image,
    needs_statistics,
    parse_size,
    read_size,
    save_mean_image,
    save_preprocessing,
)
from trainkit.runs import shapes
from trainkit.runs._settings import build_config

COLORS, RESIZES, SAMPLEWISE = get_args(Color), get_args(Resize), get_args(Samplewise)
NAMED = [
    (name, color)
    for name in PREPROCESSINGS
    for color in COLORS
    if (name, color) not in [("caffe", "gray"), ("torch", "gray")]
]
STATISTICS = {
    "rgb": ((101.5, 120.25, 140.1), (48.5, 60.0, 71.3)),
    "bgr": ((140.1, 120.25, 101.5), (71.3, 60.0, 48.5)),
    "gray": ((117.3,), (55.5,)),
}
LEGAL: dict[str, Any] = {"height": 24, "width": 32, "mean": (0.0,) * 3, "std": (1.0,) * 3}


def named(name: str, color: str, *, width: int, height: int, resize: str = "stretch") -> Preprocessing:
    return build_preprocessing(
        name,
        height=height,
        width=width,
        resize=resize,
        color=color,
        statistics=STATISTICS[color],
        mean_image=some_mean_image(height, width, color),
    )


def some_mean_image(height: int, width: int, color: str, seed: int = 5) -> np.ndarray:
    shape = (height, width, 1 if color == "gray" else 3)
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)


def as_it_is(*, width: int, height: int, resize: str = "stretch", **changes: Any) -> Preprocessing:
    return Preprocessing(height=height, width=width, resize=resize, mean=(0.0,) * 3, std=(1.0,) * 3, **changes)


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def client_blob(image_bgr: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """What a program computes that knows the manifest's JSON only: one call."""
    steps, blob = json.loads(json.dumps([preprocessing.before_blob, preprocessing.blob]))
    blob["size"], blob["mean"] = tuple(blob["size"]), tuple(blob["mean"])
    return cv2.dnn.blobFromImage(apply_before_blob(image_bgr, steps, blob["size"]), **blob)


def resized_in_numpy(image: np.ndarray, height: int, width: int, scale: float | None = None) -> np.ndarray:
    """Bilinear on pixel centres; `scale` is new over old where it is not exactly the ratio of the sides."""

    def neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        position = (np.arange(new) + 0.5) * (old / new if scale is None else 1 / scale) - 0.5
        lower = np.floor(position).astype(int)
        return lower.clip(0, old - 1), (lower + 1).clip(0, old - 1), position - lower

    top, bottom, down = neighbours(image.shape[0], height)
    left, right, across = neighbours(image.shape[1], width)
    down, across, values = down[:, None, None], across[None, :, None], image.astype(float)
    upper = values[top][:, left] * (1 - across) + values[top][:, right] * across
    lower = values[bottom][:, left] * (1 - across) + values[bottom][:, right] * across
    return upper * (1 - down) + lower * down


def cropped_in_numpy(image: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = image.shape[:2]
    # OpenCV keeps the factor as a float32, and half of 45.49999 pixels is not half of 45.5.
    scale = float(max(np.float32(height) / np.float32(rows), np.float32(width) / np.float32(columns)))
    large = resized_in_numpy(image, round(rows * scale), round(columns * scale), scale)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]


def padded_in_numpy(image: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = image.shape[:2]
    new_rows = max(rows, int(np.floor(columns * height / width + 0.5)))
    new_columns = max(columns, int(np.floor(rows * width / height + 0.5)))
    canvas = np.full((new_rows, new_columns, 3), 255, np.uint8)
    top, left = (new_rows - rows) // 2, (new_columns - columns) // 2
    canvas[top : top + rows, left : left + columns] = image
    return resized_in_numpy(canvas, height, width)


@st.composite
def preprocessings(draw: st.DrawFn, most: int = MAX_SIDE) -> Preprocessing:
    color = draw(st.sampled_from(COLORS))

    def values(count: int, least: float) -> tuple[float, ...]:
        number = st.floats(least, 255) | st.integers(int(least) + 1, 255)
        return tuple(draw(st.lists(number, min_size=count, max_size=count)))

    channels = 1 if color == "gray" else 3
    return Preprocessing(
        height=draw(st.integers(1, most)),
        width=draw(st.integers(1, most)),
        resize=draw(st.sampled_from(RESIZES)),
        color=color,
        mean=values(channels, 0),
        std=values(channels, 1e-3),
        pad_color=values(3, 0),
        samplewise=draw(st.sampled_from(SAMPLEWISE)),
    )


@given(preprocessings())
@settings(deadline=None)
def test_json_of_a_preprocessing_leads_back_to_it(preprocessing: Preprocessing) -> None:
    text = json.dumps(preprocessing.to_json(), allow_nan=False)
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing
    assert Preprocessing.from_json(text) == preprocessing
    assert json.loads(text) == preprocessing.to_json()


@given(preprocessings())
@settings(deadline=None)
def test_blob_of_a_preprocessing_is_json_as_it_stands(preprocessing: Preprocessing) -> None:
    for part in (preprocessing.blob, preprocessing.before_blob):
        assert json.loads(json.dumps(part, allow_nan=False)) == part
    assert list(preprocessing.blob) == ["scalefactor", "size", "mean", "swapRB", "crop"]
    assert len(preprocessing.blob["mean"]) == 4, (
        "a Scalar has four values, and a shorter one is not taken by every OpenCV"
    )
    assert preprocessing.blob["size"] == [preprocessing.width, preprocessing.height]


@pytest.mark.parametrize("key", [*LEGAL, "resize", "color", "pad_color"])
def test_from_json_refuses_a_missing_key(key: str) -> None:
    data = Preprocessing(**LEGAL).to_json()
    del data[key]
    with pytest.raises(UsageError, match=rf"has the keys \[.*'{key}'.*\]\. Received: (?!.*'{key}')"):
        Preprocessing.from_json(data)


@pytest.mark.parametrize("data", [{**Preprocessing(**LEGAL).to_json(), "gamma": 1}, [1], "[1]", "null", {}])
def test_from_json_refuses_what_is_not_exactly_the_fields(data: Any) -> None:
    with pytest.raises(UsageError, match=r"A preprocessing has the keys \['color', 'height', .*\]\. Received: "):
        Preprocessing.from_json(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, r"`height` must be a whole number of pixels, 1 to 16384\. Received: 0"),
        ({"width": 16385}, r"`width` must be .* Received: 16385"),
        ({"width": 32.0}, r"`width` must be .* Received: 32\.0"),
        ({"width": True}, r"`width` must be .* Received: True"),
        ({"height": "24"}, r"`height` must be .* Received: '24'"),
        ({"resize": "padd"}, r"Unknown resize `padd`\. Did you mean `pad`\? Expected one of: crop, pad, stretch"),
        ({"color": "grey"}, r"Unknown color `grey`\. Did you mean `gray`\? Expected one of: bgr, gray, rgb"),
        ({"mean": (0.0,)}, r"`mean` needs 3 finite numbers for rgb\. Received: \(0\.0,\)"),
        ({"mean": (0.0, float("nan"), 0.0)}, r"`mean` needs 3 finite numbers .*nan"),
        ({"mean": [0.0, 0.0, 0.0]}, r"`mean` needs 3 finite numbers .* Received: \["),
        ({"mean": (0.0, True, 0.0)}, r"`mean` needs 3 finite numbers .* Received: .*True"),
        ({"std": (1.0, 1.0, float("inf"))}, r"`std` needs 3 finite numbers .*inf"),
        ({"std": (1.0, 0.0, 1.0)}, r"`std` must be above 0 in every channel\. Received: \(1\.0, 0\.0, 1\.0\)"),
        ({"std": (1.0, -2.0, 1.0)}, r"`std` must be above 0 in every channel"),
        ({"color": "gray"}, r"`mean` needs 1 finite numbers for gray\. Received: \(0\.0, 0\.0, 0\.0\)"),
        ({"pad_color": (0, 0)}, r"`pad_color` needs 3 finite numbers"),
        (
            {"pad_color": (0, 256, 0)},
            r"`pad_color` must be red, green and blue from 0 to 255\. Received: \(0, 256, 0\)",
        ),
        ({"pad_color": (0, -1, 0)}, r"`pad_color` must be red, green and blue from 0 to 255"),
        ({"samplewise": "centre"}, r"Unknown samplewise `centre`\. Did you mean `center`\?"),
        ({"mean_image": 5}, r"`mean_image` must be a float32 array \(24, 32, 3\)\. Received: int"),
        ({"mean_image": np.zeros((24, 32, 3))}, r"`mean_image` must be .* Received: float64 \(24, 32, 3\)"),
        ({"mean_image": np.zeros((32, 24, 3), np.float32)}, r"`mean_image` must be .* Received: float32 \(32, 24, 3\)"),
        ({"mean_image": np.full((24, 32, 3), np.nan, np.float32)}, "grey levels, 0 to 255. Received: nan to nan"),
        ({"mean_image": np.full((24, 32, 3), 256, np.float32)}, "`mean_image` must be grey levels, 0 to 255"),
        ({"mean_image": np.full((24, 32, 3), -1, np.float32)}, "`mean_image` must be grey levels, 0 to 255"),
    ],
)
def test_preprocessing_refuses_an_impossible_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Preprocessing(**{**LEGAL, **changes})


def test_preprocessing_refuses_a_whole_number_beyond_any_float() -> None:
    with pytest.raises(UsageError, match="`mean` needs 3 finite numbers"):
        Preprocessing(**{**LEGAL, "mean": (10**400, 0, 0)})


def test_preprocessing_changes_by_replace_only() -> None:
    preprocessing = Preprocessing(**LEGAL)
    with pytest.raises(FrozenInstanceError):
        preprocessing.width = 3  # type: ignore[misc]
    with pytest.raises(UsageError, match="`width` must be"):
        replace(preprocessing, width=0)
    assert replace(preprocessing, width=3).shape == (24, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "standardise"},
            r"Unknown preprocessing `standardise`\. Did you mean `standardize`\? .*caffe, center",
        ),
        ({"name": "unit", "color": "grey"}, r"Unknown color `grey`\. Did you mean `gray`\?"),
        ({"name": "caffe", "color": "gray"}, "`caffe` has a mean for red, green and blue, none for gray"),
        ({"name": "torch", "color": "gray"}, "`torch` has a mean for red, green and blue, none for gray"),
        ({"name": "center"}, "`center` needs the `statistics` of the training set"),
        ({"name": "standardize"}, "`standardize` needs the `statistics` of the training set"),
        ({"name": "mean-image"}, "`mean-image` needs the `mean_image` of the training set"),
        ({"name": "center", "statistics": ((1.0,), (2.0,))}, "`mean` needs 3 finite numbers for rgb"),
        ({"name": "unit", "resize": "zoom"}, "Unknown resize `zoom`"),
    ],
)
def test_build_preprocessing_refuses_what_it_cannot_build(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_preprocessing(arguments.pop("name"), height=24, width=32, **arguments)


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_build_preprocessing_asks_for_statistics_where_they_are_needed(name: str) -> None:
    if needs_statistics(name):
        mean, std = STATISTICS["rgb"]
        built = build_preprocessing(name, height=24, width=32, statistics=(mean, std))
        assert (built.mean, built.std) == (mean, std if name == "standardize" else (1.0,) * 3)
    elif needs_mean_image(name):
        image = some_mean_image(24, 32, "rgb")
        built = build_preprocessing(name, height=24, width=32, mean_image=image)
        assert (built.mean, built.std) == ((0.0,) * 3, (1.0,) * 3)
        np.testing.assert_array_equal(built.mean_image, image)
    else:
        with_statistics = build_preprocessing(name, height=24, width=32, statistics=STATISTICS["rgb"])
        assert build_preprocessing(name, height=24, width=32) == with_statistics


@pytest.mark.parametrize("color", get_args(Color))
@pytest.mark.parametrize(
    ("name", "black", "white"),
    [
        ("unit", 0.0, 1.0),
        ("symmetric", -1.0, 1.0),
        ("none", 0.0, 255.0),
        ("samplewise-center", 0.0, 1.0),  # before each image's own mean goes off
        ("samplewise-standardize", 0.0, 1.0),
    ],
)
def test_black_and_white_become_the_ends_of_the_range_that_the_name_has(
    name: str, color: Color, black: float, white: float
) -> None:
    built = build_preprocessing(name, height=24, width=32, color=color)
    channels = 1 if color == "gray" else 3
    ends = np.subtract.outer((0.0, 255.0), built.mean) / built.std
    np.testing.assert_allclose(ends, [[black] * channels, [white] * channels])


def test_mean_of_caffe_begins_with_blue_in_bgr_and_with_red_in_rgb() -> None:
    assert named("caffe", "bgr", width=3, height=3).mean == (103.939, 116.779, 123.68)
    assert named("caffe", "rgb", width=3, height=3).mean == (123.68, 116.779, 103.939)


def test_mean_and_deviation_of_torch_are_in_the_order_of_the_colour() -> None:
    rgb, bgr = (named("torch", color, width=3, height=3) for color in ("rgb", "bgr"))
    assert rgb.mean == pytest.approx((123.675, 116.28, 103.53)) and rgb.std == pytest.approx((58.395, 57.12, 57.375))
    assert (bgr.mean, bgr.std) == (rgb.mean[::-1], rgb.std[::-1])


@pytest.mark.parametrize("size_wh", [(32, 24), (17, 40), (200, 120), (256, 256)])
@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize(("name", "color"), NAMED)
def test_blob_in_two_halves_equals_the_single_call(
    street_image: np.ndarray, name: str, color: str, resize: str, size_wh: tuple[int, int]
) -> None:
    preprocessing = named(name, color, width=size_wh[0], height=size_wh[1], resize=resize)
    blob = preprocessing.to_blob([preprocessing.to_pixels(street_image)])
    assert blob.dtype == np.float32 and blob.shape == (1, preprocessing.channels, size_wh[1], size_wh[0])
    assert np.abs(blob - client_blob(street_image, preprocessing)).max() == 0
    assert np.ptp(blob) > 0, "a comparison of constants would prove nothing"


@given(preprocessings(most=60), st.integers(1, 60), st.integers(1, 60), st.integers(0, 9))
@settings(deadline=None, max_examples=200)
def test_blob_in_two_halves_equals_the_single_call_for_any_preprocessing_and_size(
    preprocessing: Preprocessing, height: int, width: int, seed: int
) -> None:
    image = random_image(height, width, seed)
    pixels = preprocessing.to_pixels(image)
    assert pixels.dtype == np.uint8 and pixels.shape == preprocessing.shape
    np.testing.assert_array_equal(preprocessing.to_blob([pixels]), client_blob(image, preprocessing))


@pytest.mark.parametrize("color", COLORS)
def test_blob_of_many_images_is_that_of_each(street_image: np.ndarray, color: str) -> None:
    preprocessing = named("standardize", color, width=31, height=22, resize="crop")
    images = [street_image, street_image[::-1], street_image[:50, 30:90]]
    pixels = [preprocessing.to_pixels(image) for image in images]
    together = preprocessing.to_blob(pixels)
    np.testing.assert_array_equal(together, np.concatenate([preprocessing.to_blob([one]) for one in pixels]))
    np.testing.assert_array_equal(together, preprocessing.to_blob(np.stack(pixels)))


@pytest.mark.parametrize(("name", "color"), [pair for pair in NAMED if not pair[0].startswith("samplewise")])
def test_input_is_pixel_minus_mean_over_deviation_in_the_order_of_the_colour(name: str, color: str) -> None:
    image = random_image(30, 41)
    preprocessing = named(name, color, width=41, height=30)
    pixels = {"rgb": image[..., ::-1], "bgr": image, "gray": cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]}[color]
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    if name == "mean-image":
        mean = some_mean_image(30, 41, color).astype(float)
    batch = preprocessing.to_input([preprocessing.to_pixels(image)])
    assert batch.dtype == np.float32 and batch.shape == (1, 30, 41, preprocessing.channels)
    error_in_gray_levels = np.abs(batch[0].astype(float) - (pixels - mean) / std) * std
    assert error_in_gray_levels.max() <= 1e-4


def test_gray_is_the_brightness_of_red_green_and_blue() -> None:
    image = random_image(30, 41)
    preprocessing = named("none", "gray", width=41, height=30)
    brightness = image.astype(float) @ [0.114, 0.587, 0.299]
    assert np.abs(preprocessing.to_pixels(image)[..., 0] - brightness).max() <= 0.51


@given(preprocessings())
@settings(deadline=None)
def test_gain_and_scalefactor_make_up_the_deviation(preprocessing: Preprocessing) -> None:
    gain = preprocessing.gain or (1.0,) * preprocessing.channels
    scale = np.array(gain) * preprocessing.blob["scalefactor"]
    np.testing.assert_allclose(scale * preprocessing.std, 1, rtol=1e-12)
    assert (preprocessing.gain is None) == (len(set(preprocessing.std)) == 1)


@pytest.mark.parametrize(
    ("name", "mode", "color"),
    [
        ("caffe", "caffe", "bgr"),
        ("caffe", "caffe", "rgb"),
        ("torch", "torch", "rgb"),
        ("torch", "torch", "bgr"),
        ("symmetric", "tf", "rgb"),
    ],
)
def test_input_equals_that_of_keras_preprocess_input(name: str, mode: str, color: str) -> None:
    from trainkit.backend import keras

    image = random_image(30, 41)
    rgb = image[..., ::-1].astype(np.float32)
    expected = keras.applications.imagenet_utils.preprocess_input(rgb.copy(), data_format="channels_last", mode=mode)
    if color != ("bgr" if mode == "caffe" else "rgb"):
        expected = expected[..., ::-1]
    preprocessing = named(name, color, width=41, height=30)
    np.testing.assert_allclose(preprocessing.to_input([preprocessing.to_pixels(image)])[0], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("resize", "reference"), [("crop", cropped_in_numpy), ("pad", padded_in_numpy)])
@given(sides=st.tuples(*[st.integers(1, 70)] * 4), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=150)
def test_geometry_equals_that_of_numpy(resize: str, reference: Any, sides: tuple[int, ...], seed: int) -> None:
    height, width, rows, columns = sides
    image = random_image(rows, columns, seed)
    pixels = as_it_is(width=width, height=height, resize=resize).to_pixels(image)
    # OpenCV weighs the neighbours in whole numbers of 11 bits: up to a grey level away.
    assert np.abs(pixels - reference(image, height, width)).max() < 1


@given(sides=st.tuples(*[st.integers(1, 70)] * 4), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=100)
def test_stretching_equals_that_of_numpy(sides: tuple[int, ...], seed: int) -> None:
    height, width, rows, columns = sides
    image = random_image(rows, columns, seed)
    pixels = as_it_is(width=width, height=height).to_pixels(image)
    assert np.abs(pixels - resized_in_numpy(image, height, width)).max() < 1


@pytest.mark.parametrize(
    ("image_hw", "target_hw", "top_left"),
    [
        ((10, 7), (10, 10), (0, 1)),
        ((10, 8), (10, 10), (0, 1)),
        ((7, 10), (10, 10), (1, 0)),
        ((10, 20), (15, 20), (2, 0)),
        ((13, 9), (13, 40), (0, 15)),
        ((10, 10), (10, 10), (0, 0)),
    ],
)
def test_padding_is_centred_white_and_odd_to_the_right_and_below(
    image_hw: tuple[int, int], target_hw: tuple[int, int], top_left: tuple[int, int]
) -> None:
    image = random_image(*image_hw)
    expected = np.full((*target_hw, 3), 255, np.uint8)
    (top, left), (rows, columns) = top_left, image_hw
    expected[top : top + rows, left : left + columns] = image
    pixels = as_it_is(height=target_hw[0], width=target_hw[1], resize="pad").to_pixels(image)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("image_hw", "target_hw", "top_left"),
    [
        ((30, 51), (30, 20), (0, 15)),
        ((30, 50), (30, 20), (0, 15)),
        ((51, 30), (20, 30), (15, 0)),
        ((31, 20), (20, 20), (5, 0)),
        ((20, 20), (20, 20), (0, 0)),
    ],
)
def test_crop_is_centred_and_an_odd_pixel_falls_off_the_right_or_below(
    image_hw: tuple[int, int], target_hw: tuple[int, int], top_left: tuple[int, int]
) -> None:
    image = random_image(*image_hw)
    (top, left), (rows, columns) = top_left, target_hw
    pixels = as_it_is(height=rows, width=columns, resize="crop").to_pixels(image)
    np.testing.assert_array_equal(pixels, image[top : top + rows, left : left + columns])


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))
@settings(deadline=None)
def test_padded_image_has_the_aspect_to_half_a_pixel(rows: int, columns: int, width: int, height: int) -> None:
    padded = pad_to_aspect(np.zeros((rows, columns, 3), np.uint8), width, height, (1, 2, 3))
    assert padded.shape[0] == rows or padded.shape[1] == columns, "only one direction is extended"
    if padded.shape[1] > columns:
        assert abs(padded.shape[1] - rows * width / height) <= 0.5
    if padded.shape[0] > rows:
        assert abs(padded.shape[0] - columns * height / width) <= 0.5


def test_pad_color_is_red_green_blue_and_comes_before_gray() -> None:
    image = np.zeros((10, 4, 3), np.uint8)
    colored = as_it_is(width=10, height=10, resize="pad", pad_color=(255, 100, 10))
    assert colored.before_blob == [{"step": "pad", "color_bgr": [10, 100, 255]}]
    assert colored.to_pixels(image)[0, 0].tolist() == [10, 100, 255], "pixels stay in the order B, G, R"
    assert colored.to_input([colored.to_pixels(image)])[0, 0, 0].tolist() == [255, 100, 10]
    gray = Preprocessing(
        height=10, width=10, resize="pad", color="gray", mean=(0.0,), std=(1.0,), pad_color=(255.0, 0.0, 0.0)
    )
    assert [step["step"] for step in gray.before_blob] == ["pad", "gray"]
    assert gray.to_pixels(image)[0, 0, 0] == 76, "0.299 x 255: red was padded, then turned grey"


def test_padding_that_would_fill_the_memory_is_refused() -> None:
    assert 20_000 * MAX_SIDE > MAX_PIXELS
    with pytest.raises(BundleError, match=r"1x20000 padded to 16384:1 has more than 268435456 pixels\. Cut it"):
        as_it_is(width=MAX_SIDE, height=1, resize="pad").to_pixels(np.zeros((20_000, 1, 3), np.uint8))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 3, 3), np.uint8),
        np.zeros((3, 3), np.uint8),
        np.zeros((3, 3, 1), np.uint8),
        np.zeros((3, 3, 4), np.uint8),
        np.zeros((1, 3, 3, 3), np.uint8),
        np.zeros((3, 3, 3), np.float32),
        np.zeros((3, 3, 3), np.uint16),
    ],
    ids=lambda image: f"{image.dtype}-{image.shape}",
)
@pytest.mark.parametrize("resize", RESIZES)
def test_pixels_of_what_is_no_bgr_image_are_refused(image: np.ndarray, resize: str) -> None:
    with pytest.raises(ValueError, match=r"Expected a uint8 image of shape \(height, width, 3\), BGR.*Received: "):
        as_it_is(width=3, height=3, resize=resize).to_pixels(image)


@pytest.mark.parametrize("image", [None, [[[1, 2, 3]]], "photo.jpg"])
def test_pixels_of_what_is_no_array_are_refused(image: Any) -> None:
    with pytest.raises(TypeError, match=r"Expected an image as cv2\.imread returns it.*Received: "):
        as_it_is(width=3, height=3).to_pixels(image)


@pytest.mark.parametrize("resize", RESIZES)
def test_pixels_of_a_view_are_those_of_its_copy(street_image: np.ndarray, resize: str) -> None:
    preprocessing = as_it_is(width=33, height=20, resize=resize)
    for view in (street_image[::-1], street_image[:, ::-2], street_image[..., ::-1], street_image.transpose(1, 0, 2)):
        expected = preprocessing.to_pixels(np.ascontiguousarray(view))
        np.testing.assert_array_equal(preprocessing.to_pixels(view), expected)


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("resize", RESIZES)
def test_pixels_leave_the_image_alone_and_are_their_own(street_image: np.ndarray, color: str, resize: str) -> None:
    before = street_image.copy()
    height, width = street_image.shape[:2]
    pixels = named("none", color, width=width, height=height, resize=resize).to_pixels(street_image)
    assert pixels.flags.c_contiguous and not np.shares_memory(pixels, street_image)
    pixels[:] = 0
    np.testing.assert_array_equal(street_image, before)


def test_gray_of_a_gray_picture_in_a_png_is_the_picture(tmp_path: Path) -> None:
    picture = np.arange(256, dtype=np.uint8).reshape(8, 32)
    Image.fromarray(picture).save(tmp_path / "gray.png")
    preprocessing = named("none", "gray", width=32, height=8)
    np.testing.assert_array_equal(preprocessing.to_pixels(read_image(tmp_path / "gray.png"))[..., 0], picture)


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("samplewise-center", {"samplewise_center": True}),
        ("samplewise-standardize", {"samplewise_center": True, "samplewise_std_normalization": True}),
    ],
)
def test_samplewise_input_equals_that_of_the_image_data_generator(
    street_image: np.ndarray, name: str, arguments: dict[str, bool], color: str
) -> None:
    from trainkit.backend import tf

    preprocessing = named(name, color, width=41, height=30)
    # Two images, so that a mean over the batch would show.
    pixels = [preprocessing.to_pixels(image) for image in (street_image, street_image[:40, 100:] // 3)]
    generator = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255, **arguments)
    in_order = [image[..., ::-1] if color == "rgb" else image for image in pixels]
    expected = [generator.standardize(image.astype(np.float32)) for image in in_order]
    actual = preprocessing.to_input(pixels)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("samplewise", SAMPLEWISE)
@pytest.mark.parametrize("with_mean_image", [False, True])
@pytest.mark.parametrize("std", [(2.0, 2.0, 2.0), (50.0, 60.0, 75.5)])
def test_finish_in_keras_equals_that_in_numpy(
    street_image: np.ndarray, samplewise: Samplewise, with_mean_image: bool, std: tuple[float, ...]
) -> None:
    from trainkit.backend import keras

    preprocessing = Preprocessing(
        height=30,
        width=41,
        mean=(1.0, 20.0, 300.0),
        std=std,
        samplewise=samplewise,
        mean_image=some_mean_image(30, 41, "rgb") if with_mean_image else None,
    )
    pixels = [preprocessing.to_pixels(street_image), preprocessing.to_pixels(street_image[::-1, :60])]
    blob_nhwc = preprocessing.to_blob(pixels).transpose(0, 2, 3, 1)
    inputs = keras.Input(preprocessing.shape)
    in_graph = np.array(keras.Model(inputs, preprocessing.after_blob(inputs, keras.ops))(blob_nhwc))
    expected = (np.stack(pixels)[..., ::-1] - np.array(preprocessing.mean)) / std
    if with_mean_image:
        expected -= preprocessing.mean_image / np.array(std)
    if samplewise != "none":
        expected -= expected.mean(axis=(1, 2, 3), keepdims=True)
    if samplewise == "standardize":
        expected /= expected.std(axis=(1, 2, 3), keepdims=True) + 1e-6
    scale = np.abs(expected).max()
    np.testing.assert_allclose(preprocessing.to_input(pixels), expected, rtol=0, atol=1e-6 * scale)
    np.testing.assert_allclose(in_graph, expected, rtol=0, atol=1e-6 * scale)
    unfinished = with_mean_image or samplewise != "none" or len(set(std)) > 1
    assert preprocessing.blob_is_input == (not unfinished)
    assert np.array_equal(in_graph, blob_nhwc) == preprocessing.blob_is_input


def test_the_names_of_0_1_still_work() -> None:
    preprocessing = named("torch", "rgb", width=8, height=6)
    blob_nhwc = np.random.default_rng(0).normal(0, 1, (2, 6, 8, 3)).astype(np.float32)
    with pytest.warns(DeprecationWarning, match=r"Preprocessing\.finish is now Preprocessing\.after_blob"):
        np.testing.assert_array_equal(preprocessing.finish(blob_nhwc), preprocessing.after_blob(blob_nhwc))
    with pytest.warns(DeprecationWarning, match=r"finished_by_blob is now Preprocessing\.blob_is_input"):
        assert preprocessing.finished_by_blob == preprocessing.blob_is_input


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_blob_is_the_input_unless_something_is_left(name: str) -> None:
    left = name in ("standardize", "torch", "mean-image", "samplewise-center", "samplewise-standardize")
    assert named(name, "rgb", width=8, height=6).blob_is_input != left


def test_mean_image_is_a_copy_that_nobody_changes() -> None:
    image = some_mean_image(24, 32, "rgb")
    preprocessing = Preprocessing(**LEGAL, mean_image=image)
    before = hash(preprocessing)
    image[:] = 0
    assert preprocessing.mean_image is not None and preprocessing.mean_image.max() > 100
    with pytest.raises(ValueError, match="read-only"):
        preprocessing.mean_image[0] = 0
    assert hash(preprocessing) == before


def test_preprocessings_are_equal_where_their_mean_images_are() -> None:
    def build(seed: int) -> Preprocessing:
        return Preprocessing(**LEGAL, mean_image=some_mean_image(24, 32, "rgb", seed))

    plain = Preprocessing(**LEGAL)
    assert build(1) == build(1) and hash(build(1)) == hash(build(1))
    assert len({build(1), build(1), build(2), plain, Preprocessing(**LEGAL, samplewise="center")}) == 4
    assert build(1) != plain
    assert plain != "plain"
    assert replace(build(1), mean_image=None) == plain
    assert replace(build(1), std=(2.0,) * 3).mean_image is not None


def test_json_leaves_out_what_earlier_versions_do_not_know() -> None:
    assert not {"mean_image", "samplewise"} & set(Preprocessing(**LEGAL).to_json())
    full = Preprocessing(**LEGAL, samplewise="center", mean_image=some_mean_image(24, 32, "rgb"))
    assert (full.to_json()["samplewise"], full.to_json()["mean_image"]) == ("center", "mean_image.npy")
    assert Preprocessing.from_json(full.to_json(), mean_image=full.mean_image) == full


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("name", ["unit", "mean-image", "samplewise-standardize"])
def test_saved_preprocessing_comes_back(tmp_path: Path, name: str, color: str) -> None:
    preprocessing = named(name, color, width=32, height=24)
    save_preprocessing(tmp_path, preprocessing)
    names = {"preprocessing.json"} | ({"mean_image.npy"} if name == "mean-image" else set())
    assert {path.name for path in tmp_path.iterdir()} == names
    assert load_preprocessing(tmp_path) == preprocessing


def test_mean_image_without_its_file_or_its_name_is_refused() -> None:
    preprocessing = named("mean-image", "rgb", width=32, height=24)
    with pytest.raises(
        UsageError, match=r"`mean_image` must be mean_image\.npy, .* Received: 'mean_image\.npy' and no"
    ):
        Preprocessing.from_json(preprocessing.to_json())
    with pytest.raises(UsageError, match="Received: None and an array"):
        Preprocessing.from_json(Preprocessing(**LEGAL).to_json(), mean_image=preprocessing.mean_image)


@pytest.mark.parametrize("name", ["../mean_image.npy", "/etc/passwd", "", 5, None, ["mean_image.npy"]])
def test_mean_image_of_another_name_is_not_opened(tmp_path: Path, name: Any) -> None:
    save_mean_image(tmp_path / "mean_image.npy", some_mean_image(24, 32, "rgb"))
    data = {**Preprocessing(**LEGAL).to_json(), "mean_image": name}
    if name is None:
        assert build_from_json(data, tmp_path).mean_image is None
    else:
        with pytest.raises(UsageError, match=r"`mean_image` must be mean_image\.npy"):
            build_from_json(data, tmp_path)


def npy_header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        b"\x80\x04N.",
        b"PK\x03\x04",
        b"\x93NUMPY\x02\x00",
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 5, 3), }\n"),
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 5, 3), }\n") + b"\0" * 239,
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 5, 3), }\n") + b"\0" * 241,
        npy_header("{'descr': '<f4', 'fortran_order': True, 'shape': (4, 5, 3), }\n") + b"\0" * 240,
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 4, 3), }\n") + b"\0" * 240,
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999, 3), }\n"),
        npy_header("{'descr': '|O', 'fortran_order': False, 'shape': (4, 5, 3), }\n") + b"\0" * 240,
        npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (4, 5, 3), }\n") + b"\0" * 480,
        npy_header("__import__('os').abort()\n"),
        npy_header("(" * 5000),
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 5, 3), }\n") + b"\0\0\xc0\x7f" * 60,
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 5, 3), }\n") + b"\0\0\x80\x7f" * 60,
        None,
    ],
)
def test_mean_image_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mean_image.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainkitError, match=r"mean_image\.npy holds no mean image of 5x4 with 3 channels \(.*Copy it"):
        load_mean_image(path, (4, 5, 3))


@pytest.mark.parametrize("std", [(1e-6, 1.0, 1e6), (1e6,) * 3])
def test_std_may_go_to_its_bounds(std: tuple[float, ...]) -> None:
    assert Preprocessing(**{**LEGAL, "std": std}).std == std


@pytest.mark.parametrize("std", [(1.0, 1.0, 1.0001e6), (1e9, 1.0, 1.0), (0.9999e-6, 1.0, 1.0)])
def test_std_beyond_its_bounds_is_refused(std: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=r"`std` must be from 1e-6 to 1e6 grey levels in every channel\. Received: "):
        Preprocessing(**{**LEGAL, "std": std})


@pytest.mark.parametrize("color", COLORS)
def test_samplewise_standardized_image_of_one_grey_level_is_nothing(color: str) -> None:
    """What float32 leaves of a mean that was taken away once, the division by its own deviation would enlarge."""
    preprocessing = named("samplewise-standardize", color, width=64, height=48)
    levels = [preprocessing.to_pixels(np.full((48, 64, 3), level, np.uint8)) for level in range(256)]
    assert np.abs(preprocessing.to_input(levels)).max() < 1e-6


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("224x224", (224, 224)),
        ("40X24", (40, 24)),
        ("16384x1", (16384, 1)),
        ((40, 24), (40, 24)),
        ([40, 24], (40, 24)),
        ((np.int64(40), 24), (40, 24)),
    ],
)
def test_size_is_width_and_height(size: Any, expected: tuple[int, int]) -> None:
    found = read_size(size)
    assert found == parse_size(size) == expected
    assert all(type(side) is int for side in found)


NO_SIZES = [
    *("", "x", "40", "40x", "x24", "40x24x3", "-4x5", "+4x5", "0x5", "00x5", "040x24", "4_0x24", "4e1x24", "40.0x24"),
    *(" 224x224", "224x224 ", "224x224\n", "224 x 224", "224×224", "٢٢٤x٢٢٤", "16385x1", "20000x20000", "999999x5"),
    *((), (40,), (40, 24, 3), (0, 5), (-4, 5), (10.5, 5), (224.0, 224.0), ("40", "24"), (True, 5), (None, 5)),
    *((1, 16385), (20000, 20000), (10**400, 5), 40, 4.5, True, {}, {40, 24}, b"40x24", np.array([40, 24])),
]


@pytest.mark.parametrize("size", NO_SIZES, ids=repr)
def test_what_is_not_a_size_is_refused_wherever_one_is_read(size: Any, tmp_path: Path) -> None:
    expected = r"must be WIDTHxHEIGHT in pixels, such as 224x224, each side from 1 to 16384\. Received: "
    with pytest.raises(UsageError, match=f"^`size` {expected}"):
        parse_size(size)
    with pytest.raises(UsageError, match=f"^`preprocessing.size` {expected}"):
        build_config({"data": "digits", "preprocessing.size": size})
    with pytest.raises(UsageError, match=f"^`size` {expected}"):
        shapes("small-cnn", size=size)
    with pytest.raises(UsageError, match=f"^`size` {expected}"):
        measure_data("digits", size=size)
    with pytest.raises(UsageError, match=f"^`size` {expected}"):
        build_description(preprocessing="unit", size=size)


def test_no_size_stays_none() -> None:
    assert parse_size(None) is None
