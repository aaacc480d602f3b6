"""A picture that is read once, without a look at it before, held against one that is looked at first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mutated_pictures import mutated_picture
from PIL import Image

from trainkit.data._inspection import check_image_file, read_checked_image, read_image
from trainkit.errors import DataError


def outcome(read: Callable[[Path], np.ndarray], path: Path) -> str:
    try:
        image = read(path)
    except DataError as error:
        return str(error)
    return f"{image.shape} {hashlib.sha256(image.tobytes()).hexdigest()}"


def look_and_read(path: Path) -> np.ndarray:
    check_image_file(path)
    return read_image(path)


def turned(path: Path, orientation: int) -> Path:
    """Write a JPEG that EXIF turns."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    Image.fromarray(picture).save(path, exif=exif)
    return path


def test_picture_read_once_is_what_two_looks_make_of_it(tmp_path: Path) -> None:
    paths = [mutated_picture(tmp_path, seed)[0] for seed in range(120)]
    (tmp_path / "empty.jpg").touch()
    paths += [turned(tmp_path / f"turned-{way}.jpg", way) for way in range(9)]
    paths += [tmp_path / "empty.jpg", tmp_path, tmp_path / "gone.png", tmp_path / ("x" * 300)]
    outcomes = {path: outcome(read_checked_image, path) for path in paths}
    assert outcomes == {path: outcome(look_and_read, path) for path in paths}
    assert 20 < sum(said.startswith("(") for said in outcomes.values()) < 100
