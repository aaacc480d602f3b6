"""Plain JPEGs are read as all others are, and nothing else is taken for one."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from photographs import draw_photo
from PIL import Image

from trainkit.cluster._classifying import _read
from trainkit.cluster._plain_jpeg import read_plain_jpeg
from trainkit.data._inspection import read_checked_image
from trainkit.errors import DataError

WRITTEN = {
    "usual": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 4],
    "sampling": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
}


def write(path: Path, parameters: list[int], *, gray: bool = False) -> Path:
    image = draw_photo(1, (30, 50, 210))
    cv2.imwrite(str(path), image[..., 0] if gray else image, parameters)
    return path


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("way", WRITTEN)
def test_plain_jpegs_have_the_same_pixels(way: str, gray: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", WRITTEN[way], gray=gray)
    image = read_plain_jpeg(str(path))
    assert image is not None
    assert np.array_equal(image, cv2.imread(str(path), cv2.IMREAD_COLOR))


def test_what_has_more_in_it_is_left_to_others(tmp_path: Path) -> None:
    picture, exif = Image.fromarray(draw_photo(1, (30, 50, 210))), Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.save(tmp_path / "a.png")
    picture.convert("CMYK").save(tmp_path / "four.jpg")
    (tmp_path / "folder").mkdir()
    for name in ("turned.jpg", "a.png", "four.jpg", "folder", "none"):
        assert read_plain_jpeg(str(tmp_path / name)) is None
    assert np.array_equal(_read(str(tmp_path / "turned.jpg")), cv2.imread(str(tmp_path / "turned.jpg")))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert read_plain_jpeg(str(tmp_path / "pipe.jpg")) is None


def test_damaged_files_are_judged_as_by_predict(tmp_path: Path) -> None:
    """Cut anywhere, and with any byte of the header changed, a file is an image or an error as it is for `predict`."""
    path, data = tmp_path / "a.jpg", write(tmp_path / "whole.jpg", []).read_bytes()
    header = data.index(b"\xff\xda") + 14
    cut = [data[:length] for length in (*range(0, header, 7), *range(header, len(data), 97), len(data) - 1)]
    changed = [data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1 :] for at in range(0, header, 3)]
    seen = set()
    for damaged in [*cut, *changed]:
        path.write_bytes(damaged)
        found = _read(str(path))
        seen.add(isinstance(found, str))
        try:
            expected = read_checked_image(path)
        except DataError as error:
            assert found == str(error)
        else:
            assert not isinstance(found, str)
            assert np.array_equal(found, expected)
    assert seen == {True, False}
