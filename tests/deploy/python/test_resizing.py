"""Resizing without OpenCV, for machines on which OpenCV resizes otherwise than on x86."""

from __future__ import annotations

import platform
from pathlib import Path

import cv2
import numpy as np
import pytest
from photographs import draw_photo

from trainkit import Preprocessing
from trainkit.deploy import Classifier
from trainkit.deploy.python import _resizing
from trainkit.deploy.python._resizing import RESIZES_AS_ON_X86, fit_to_blob, resize_as_on_x86

on_x86 = pytest.mark.skipif(not RESIZES_AS_ON_X86, reason="what OpenCV does on x86 is the measure")


def sizes() -> list[tuple[int, int, int, int]]:
    """Return rows and columns of images and of blobs: any, halves, one side as it is, and sides of one pixel."""
    random = np.random.default_rng(3)
    drawn = [tuple(int(side) for side in random.integers(1, 130, 4)) for _ in range(150)]
    halved = [(2 * rows + odd, 2 * columns, rows, columns) for _, odd, rows, columns in drawn[:20] for odd in (0, 1, 3)]
    kept = [(rows, columns, rows, other) for rows, columns, other, _ in drawn[20:40]]
    narrow = [(1, 50, 28, 28), (50, 1, 28, 28), (1, 1, 5, 7), (90, 120, 1, 1), (3000, 2000, 224, 224)]
    return [*drawn, *halved, *kept, *narrow]


@on_x86
@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_pixels_are_those_of_opencv_on_x86(channels: tuple[int, ...], crop: bool) -> None:
    random = np.random.default_rng(4)
    for rows, columns, height, width in sizes():
        image = random.integers(0, 256, (rows, columns, *channels), dtype=np.uint8)
        blob = cv2.dnn.blobFromImage(image, 1.0, (width, height), crop=crop, ddepth=cv2.CV_8U)
        resized = resize_as_on_x86(image, (width, height), crop=crop)
        assert resized.dtype == np.uint8
        assert resized.shape == (height, width, *channels)
        expected = blob[0].transpose(1, 2, 0).reshape(resized.shape)
        np.testing.assert_array_equal(resized, expected, err_msg=f"{image.shape} to {width}x{height}")


def test_where_opencv_resizes_as_on_x86_it_does() -> None:
    assert platform.machine().lower() in ("x86_64", "amd64", "i386", "i686", "x86") or not RESIZES_AS_ON_X86
    image = draw_photo(1, (10, 20, 30), 40, 30)
    assert (fit_to_blob(image, (20, 20), crop=False) is image) == RESIZES_AS_ON_X86


@on_x86
def test_a_network_elsewhere_sees_the_same(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = draw_photo(5, (30, 50, 210), 47, 120)
    classifier = Classifier(tiny_bundle)
    blob, pixels, found = classifier.to_blob([image]), classifier.to_pixels(image), classifier.predict(image)
    monkeypatch.setattr(_resizing, "RESIZES_AS_ON_X86", False)
    prepared = classifier.prepare(image)
    assert prepared.shape[1::-1] == tuple(classifier.manifest["blob"]["size"])
    np.testing.assert_array_equal(classifier.to_blob([image]), blob)
    np.testing.assert_array_equal(classifier.to_pixels(image), pixels)
    assert classifier.predict(image) == found


@on_x86
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_training_elsewhere_sees_the_same(resize: str, color: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 1 if color == "gray" else 3
    preprocessing = Preprocessing(
        height=24, width=32, resize=resize, color=color, mean=(0.0,) * count, std=(1.0,) * count
    )  # type: ignore[arg-type]
    images = [draw_photo(seed, (30, 50, 210), 47 + seed, 120) for seed in range(3)]
    expected = [preprocessing.to_pixels(image) for image in images]
    monkeypatch.setattr(_resizing, "RESIZES_AS_ON_X86", False)
    for image, pixels in zip(images, expected, strict=True):
        np.testing.assert_array_equal(preprocessing.to_pixels(image), pixels)
