"""Thumbnails, mosaics, and filters as pictures."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from trainkit.reports._pictures import SIDE, compose, filter_pictures, thumbnail, to_data_uri


def decode(uri: str) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR))


def test_thumbnail_keeps_the_proportions_and_never_grows(street_image: np.ndarray) -> None:
    assert thumbnail(street_image).shape == (96, SIDE, 3)
    assert thumbnail(street_image, 50).shape == (30, 50, 3)
    assert thumbnail(street_image[:40, :30]).shape == (40, 30, 3)
    assert thumbnail(np.zeros((1, 4000, 3), np.uint8)).shape == (1, SIDE, 3)


def test_address_is_the_picture_itself(street_image: np.ndarray) -> None:
    small = street_image[:20, :30]
    assert to_data_uri(small).startswith("data:image/png;")
    np.testing.assert_array_equal(decode(to_data_uri(small)), small)
    assert to_data_uri(street_image).startswith("data:image/jpeg;")
    smooth = cv2.GaussianBlur(street_image, (0, 0), 5)
    assert np.abs(decode(to_data_uri(smooth)).astype(int) - smooth).mean() < 3


def test_mosaic_is_transparent_around_the_pictures(street_image: np.ndarray) -> None:
    mosaic, texts = compose([[(street_image, "a\nb"), (street_image[:8, :8], "")]], side=40)
    assert texts[0][2] == "a\nb" and len(texts) == 2
    shown = mosaic[..., 3] > 0
    assert shown.sum() == 24 * 40 + 40 * 40  # the street keeps its proportions, eight pixels become forty
    assert not shown[:5].any() and not shown[:, :5].any()
    y, x = np.argwhere(shown)[-1]
    assert mosaic[y, x, :3].tolist() == street_image[7, 7, ::-1].tolist()  # red comes first


def test_rows_of_a_mosaic_are_no_higher_than_their_pictures(street_image: np.ndarray) -> None:
    mosaic, texts = compose([[(street_image, "a")], [(street_image, "b")]], side=40)
    (_, first, _), (_, second, _) = texts
    assert second - first == 24 + 10 + 20  # of the picture, the margin, and a line of text
    assert not (mosaic[..., 3] > 0)[int(first) : int(first) + 20].any()


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
def test_filters_have_the_colours_that_they_look_for(color: str) -> None:
    from trainkit.backend import keras

    channels = 1 if color == "gray" else 3
    model = keras.Sequential([keras.Input((8, 8, channels)), keras.layers.Conv2D(2, 3)])
    kernel = np.zeros((3, 3, channels, 2), np.float32)
    kernel[0, 1, 0, 0], kernel[2, 2, 0, 1] = 0.5, -2  # upwards and downwards, each as far as it goes
    model.layers[-1].set_weights([kernel, np.zeros(2)])
    first, second = filter_pictures(model, color)
    touched = {"rgb": [2], "bgr": [0], "gray": [0, 1, 2]}[color]
    assert first.shape == (3, 3, 3) and first.dtype == np.uint8
    assert [first[0, 1, channel] for channel in touched] == [255] * len(touched)
    assert [second[2, 2, channel] for channel in touched] == [0] * len(touched)
    assert np.delete(first[0, 1], touched).tolist() == [128] * (3 - len(touched)) and (first[1] == 128).all()


def test_filters_of_a_dense_layer_are_as_large_as_the_image() -> None:
    from trainkit.backend import keras

    model = keras.Sequential([keras.Input((5, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    kernel = np.zeros((20, 3), np.float32)
    kernel[2 * 4 + 1, 0] = 1
    model.layers[-1].set_weights([kernel, np.zeros(3)])
    pictures = filter_pictures(model, "gray")
    assert [picture.shape for picture in pictures] == [(5, 4, 3)] * 3
    assert np.argwhere(pictures[0][..., 0] == 255).tolist() == [[2, 1]]


def test_filters_of_depthwise_layers_have_no_colour() -> None:
    from trainkit.backend import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.DepthwiseConv2D(3, depth_multiplier=2)])
    pictures = filter_pictures(model, "rgb")
    assert len(pictures) == 6
    assert all((picture == picture[..., :1]).all() for picture in pictures)


def test_filters_within_a_nested_network_and_of_none() -> None:
    from trainkit.backend import keras

    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.BatchNormalization(), keras.layers.Conv2D(4, 5)])
    assert len(filter_pictures(keras.Sequential([keras.Input((8, 8, 3)), inner]), "rgb")) == 4
    flat = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    assert filter_pictures(flat, "rgb") == []
