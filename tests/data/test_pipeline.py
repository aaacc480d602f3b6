from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainkit.data import Part, load_dataset
from trainkit.data import _pipeline as pipeline
from trainkit.data._dataset import ArrayImages, ColorImages, FileImages, PackedImages, PackedPixels
from trainkit.data._pipeline import gather, read_pixels
from trainkit.errors import DataError, OutputError
from trainkit.preprocessing import build_preprocessing


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


GRAYS = np.random.default_rng(0).integers(0, 256, (70, 9, 6), np.uint8)
COLORS = np.random.default_rng(1).integers(0, 256, (70, 9, 6, 3), np.uint8)


@pytest.mark.parametrize("pixels", [GRAYS, COLORS], ids=["gray", "colour"])
@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(9, 6), (12, 11)], ids=["own", "another"])
def test_read_pixels_of_arrays_are_those_of_one_image_after_the_other(
    pixels: np.ndarray, color: str, resize: str, size: tuple[int, int]
) -> None:
    part = Part(ArrayImages(pixels), np.zeros(len(pixels), np.int64))
    preprocessing = build_preprocessing("unit", height=size[0], width=size[1], color=color, resize=resize)
    found = read_pixels(part, preprocessing)
    expected = np.stack([preprocessing.to_pixels(part.images[index]) for index in range(len(part))])
    np.testing.assert_array_equal(found, expected)
    assert not found.flags.writeable and found.dtype == np.uint8


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_gray_of_rgb_is_that_of_bgr_at_every_level(seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (300, 300, 3), np.uint8)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    np.testing.assert_array_equal(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))


def test_gray_of_gray_is_the_same_at_every_level() -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    colored = cv2.cvtColor(levels, cv2.COLOR_GRAY2BGR)
    np.testing.assert_array_equal(cv2.cvtColor(colored, cv2.COLOR_BGR2GRAY), levels)


def test_read_pixels_of_an_array_of_the_networks_size_are_not_copied() -> None:
    part = Part(ArrayImages(GRAYS), np.zeros(len(GRAYS), np.int64))
    found = read_pixels(part, build_preprocessing("unit", height=9, width=6, color="gray"))
    assert np.shares_memory(found, GRAYS) and not found.flags.writeable and GRAYS.flags.writeable


def cached(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()}


def test_files_are_decoded_once(tiny_dataset: Path, tmp_path: Path, cache: Path) -> None:
    shutil.copytree(tiny_dataset, tmp_path / "photos")
    preprocessing = build_preprocessing("unit", height=10, width=11)
    part = load_dataset(str(tmp_path / "photos")).parts["train"]
    first = read_pixels(part, preprocessing)
    before = cached(cache)
    paths = [part.path(index) for index in range(len(part))]
    again = read_pixels(load_dataset(str(tmp_path / "photos")).parts["train"], preprocessing)
    assert isinstance(first, np.memmap) and isinstance(again, np.memmap) and cached(cache) == before
    np.testing.assert_array_equal(first, again)
    assert all(path.is_file() for path in paths if path)


@pytest.mark.parametrize("changed", ["height", "width", "resize", "color"])
def test_another_geometry_is_read_anew(tiny_dataset: Path, changed: str) -> None:
    part = load_dataset(str(tiny_dataset)).parts["test"]
    geometry = {"height": 14, "width": 15, "resize": "stretch", "color": "rgb"}
    read_pixels(part, build_preprocessing("unit", **geometry))
    other = {**geometry, changed: {"height": 15, "width": 14, "resize": "pad", "color": "gray"}[changed]}
    preprocessing = build_preprocessing("unit", **other)
    expected = np.stack([preprocessing.to_pixels(part.images[index]) for index in range(len(part))])
    np.testing.assert_array_equal(read_pixels(part, preprocessing), expected)


def test_preprocessings_of_one_geometry_share_a_file(tiny_dataset: Path, cache: Path) -> None:
    part = load_dataset(str(tiny_dataset)).parts["test"]
    read_pixels(part, build_preprocessing("unit", height=9, width=13))
    before = cached(cache)
    read_pixels(part, build_preprocessing("caffe", height=9, width=13))
    assert cached(cache) == before


@pytest.mark.parametrize("known", [True, False], ids=["inspected", "paths only"])
def test_changed_file_is_read_anew(tiny_dataset: Path, tmp_path: Path, known: bool) -> None:
    shutil.copytree(tiny_dataset, tmp_path / "photos")
    preprocessing = build_preprocessing("unit", height=10, width=11)

    def part() -> Part:
        found = load_dataset(str(tmp_path / "photos"), validation=0).parts["train"]
        assert isinstance(found.images, FileImages) and len(found.images.contents) == len(found)
        return found if known else Part(FileImages(found.images.paths), found.labels)

    read_pixels(part(), preprocessing)
    path = part().path(3)
    assert path is not None
    status = path.stat()
    image = cv2.imread(str(path))
    image[:] = 77
    cv2.imwrite(str(path), image)
    if known:  # the same size and time: only the content tells
        os.truncate(path, status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = part()
    index = next((i for i in range(len(again)) if again.path(i) == path), None)
    found = read_pixels(again, preprocessing)
    if index is not None:
        assert (found[index] == 77).all()
    expected = np.stack([preprocessing.to_pixels(again.images[i]) for i in range(len(again))])
    np.testing.assert_array_equal(found, expected)


def test_large_arrays_that_are_resized_are_kept_on_disk(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(pipeline, "IN_MEMORY_BYTES", 1000)
    preprocessing = build_preprocessing("unit", height=8, width=8)
    part = Part(ArrayImages(COLORS), np.zeros(len(COLORS), np.int64))
    found = read_pixels(part, preprocessing)
    assert isinstance(found, np.memmap)
    other = COLORS.copy()
    other[5] ^= 1
    assert not np.array_equal(read_pixels(Part(ArrayImages(other), part.labels), preprocessing), found)
    np.testing.assert_array_equal(read_pixels(part, preprocessing), found)


def test_large_pictures_of_several_sizes_are_kept_on_disk(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(pipeline, "IN_MEMORY_BYTES", 10)
    shapes = np.array([[4, 6, 3], [5, 3, 1], [6, 4, 3]])
    flat = np.random.default_rng(3).integers(0, 256, int(shapes.prod(axis=1).sum()), np.uint8)
    preprocessing = build_preprocessing("unit", height=4, width=5)

    def read(values: np.ndarray) -> np.ndarray:
        images = PackedImages(PackedPixels.of(values, shapes), np.array([2, 0, 1]))
        found = read_pixels(Part(images, np.zeros(3, np.int64)), preprocessing)
        assert all(np.array_equal(found[index], preprocessing.to_pixels(images[index])) for index in range(3))
        return found

    first = read(flat)
    assert isinstance(first, np.memmap)
    np.testing.assert_array_equal(read(flat), first)
    assert not np.array_equal(read(flat[::-1].copy()), first)


def test_pixels_that_cannot_be_kept_stay_in_memory_where_they_are_few(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRAINKIT_CACHE", str(tmp_path / "file"))
    part = load_dataset(str(tiny_dataset)).parts["test"]
    preprocessing = build_preprocessing("unit", height=6, width=7)
    found = read_pixels(part, preprocessing)
    np.testing.assert_array_equal(found[0], preprocessing.to_pixels(part.images[0]))
    assert "TRAINKIT_CACHE. They are few enough to stay in memory" in caplog.text
    monkeypatch.setattr(pipeline, "IN_MEMORY_BYTES", 100)
    with pytest.raises(OutputError, match="TRAINKIT_CACHE"):
        read_pixels(part, preprocessing)


def test_images_of_many_sizes_are_read_into_memory() -> None:
    images = [np.full((side, side + 1, 3), side, np.uint8) for side in range(1, 40)]
    found = read_pixels(
        Part(ColorImages(images), np.zeros(len(images), np.int64)), build_preprocessing("unit", height=2, width=2)
    )
    assert found[:, 0, 0, 0].tolist() == list(range(1, 40))


def mapped(array: np.ndarray, folder: Path) -> np.ndarray:
    array.tofile(folder / "pixels")
    return np.memmap(folder / "pixels", np.uint8, "r", shape=array.shape)


@pytest.mark.parametrize("out", [False, True])
@pytest.mark.parametrize("kind", ["memory", "mapped", "part of a mapping", "not contiguous"])
def test_gather_copies_images_in_the_order_of_the_indices(tmp_path: Path, kind: str, out: bool) -> None:
    pixels = {
        "memory": lambda: COLORS,
        "mapped": lambda: mapped(COLORS, tmp_path),
        "part of a mapping": lambda: mapped(np.concatenate([GRAYS.repeat(3).reshape(COLORS.shape), COLORS]), tmp_path)[
            70:
        ],
        "not contiguous": lambda: np.ascontiguousarray(COLORS[..., ::-1])[..., ::-1],
    }[kind]()
    indices = np.array([69, 3, 3, 0])
    into = np.empty((4, 9, 6, 3), np.uint8) if out else None
    found = gather(pixels, indices, into)
    np.testing.assert_array_equal(found, COLORS[indices])
    assert type(found) is np.ndarray and found.flags.c_contiguous and found.flags.writeable
    assert not out or found is into


def test_gather_of_no_index_is_empty() -> None:
    assert gather(COLORS, np.array([], np.int64)).shape == (0, 9, 6, 3)


@pytest.mark.parametrize("index", [-1, 70])
def test_gather_refuses_what_is_beyond_the_images(index: int) -> None:
    with pytest.raises(IndexError, match=rf"Expected indices from 0 to 69\. Received: .*{index}"):
        gather(COLORS, np.array([1, index]))


def test_read_pixels_of_nothing_are_none() -> None:
    part = load_dataset("digits").sample(0)
    preprocessing = build_preprocessing("unit", height=8, width=6)
    assert read_pixels(part, preprocessing).shape == (0, 8, 6, 3)


def test_read_pixels_of_a_file_that_is_gone_names_it(tiny_dataset: Path, tmp_path: Path) -> None:
    present = next(iter((tiny_dataset / "red").iterdir()))
    part = Part(FileImages([present, tmp_path / "gone.png"]), np.array([0, 1]))
    with pytest.raises(DataError, match=r"OpenCV cannot read .*gone\.png"):
        read_pixels(part, build_preprocessing("unit", height=8, width=6))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what memory a process has")
def test_training_needs_no_memory_for_the_pixels_of_many_images() -> None:
    from bench.memory import measure

    _, many = measure((500, 5000))
    assert many["difference"] < 500, "their pixels are 750 MB"
