"""The grid of augmentations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._sources import load_dataset
from trainkit.errors import OutputError, UsageError
from trainkit.preprocessing import build_preprocessing
from trainkit.reports._augmentations import captions, draw_augmentations, grid

GAP, LINE = 4, 18  # pixels: between tiles, and of the caption below each


def test_original_comes_first_and_the_epochs_follow(tiny_dataset: Path) -> None:
    part = load_dataset(str(tiny_dataset)).parts["train"]
    preprocessing = build_preprocessing("none", height=160, width=192)
    sheet = grid(part, preprocessing, Augmentation(horizontal_flip=True), index=3, count=8)
    assert sheet.dtype == np.uint8
    tiles = [
        sheet[top : top + 160, left : left + 192]
        for top in range(GAP, sheet.shape[0] - 160, 160 + LINE + GAP)
        for left in range(GAP, sheet.shape[1] - 192, 192 + GAP)
    ]
    original = preprocessing.to_pixels(part.images[3])
    np.testing.assert_array_equal(tiles[0], original)
    kinds = {"same" if np.array_equal(tile, original) else "mirrored" for tile in tiles[1:9]}
    assert kinds == {"same", "mirrored"}
    assert any(np.array_equal(tile, original[:, ::-1]) for tile in tiles[1:9])


def test_each_tile_has_its_caption(tiny_dataset: Path) -> None:
    part = load_dataset(str(tiny_dataset)).parts["train"]
    preprocessing = build_preprocessing("none", height=160, width=192)
    sheet = grid(part, preprocessing, Augmentation(), index=3, count=3)  # two columns and two rows
    lines = [
        sheet[top : top + LINE, left : left + 192]
        for top in (GAP + 160, GAP + 160 + LINE + GAP + 160)
        for left in (GAP, GAP + 192 + GAP)
    ]
    assert all((line < 128).any() and (line > 250).mean() > 0.8 for line in lines), "dark letters on white"
    assert len({line.tobytes() for line in lines}) == 4
    assert list(zip(range(3), captions(), strict=False)) == [(0, "original"), (1, "epoch 1"), (2, "epoch 2")]


def test_command_writes_a_new_picture(tiny_dataset: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainkit", "data", "augment", str(tiny_dataset), "--out", "grid.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    image = cv2.imread(str(tmp_path / "grid.png"))
    assert min(image.shape[:2]) > 400
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "exists already" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"out": "grid.xyz"}, UsageError, "must be one of .png"),
        ({"out": "nowhere/grid.png"}, OutputError, "there is no folder"),
        ({"index": 1000}, UsageError, "training images, from 0 to"),
        ({"settings": {"augmentation.rotation_rang": 3}}, UsageError, "Did you mean `rotation_range`"),
    ],
)
def test_mistakes_are_said(
    tiny_dataset: Path, tmp_path: Path, arguments: dict, error: type[Exception], message: str
) -> None:
    out = tmp_path / arguments.pop("out", "grid.png")
    with pytest.raises(error, match=message):
        draw_augmentations(tiny_dataset, out, **arguments)
    assert list(tmp_path.iterdir()) == []
