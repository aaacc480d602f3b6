"""Bundles whose manifest decides what is answered, and what each client must then say: the words of Python's own."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from client import edit, run_script
from photographs import COLORS_BGR, draw_photo

from trainkit.bundles._brightness import describe_brightness
from trainkit.deploy import Classifier
from trainkit.deploy.python._brightness import measure_brightness
from trainkit.deploy.python._media import read_image
from trainkit.deploy.python._values import NONE_OF_THESE, NOTHING_FOUND

NAMES = ("rejects", "thresholds")


def write_images(folder: Path) -> list[Path]:
    """Write pictures of every class and between them, none of them square."""
    folder.mkdir(parents=True)
    ends = [np.array(color) for color in COLORS_BGR.values()]
    colors = [first + (second - first) * share for first in ends for second in ends for share in (0, 0.4)]
    for number, color in enumerate(colors):
        cv2.imwrite(str(folder / f"{number:02}.png"), draw_photo(number, tuple(color), 49 + number, 82 - number))
    return sorted(folder.iterdir())


def decide(tiny_bundle: Path, folder: Path, images: list[Path], name: str) -> Path:
    """Return a copy of the bundle of three classes that turns some of the images away, or has thresholds between them.

    No bound is near a probability, so that the rounding of another OpenCV decides nothing.
    """
    classifier = Classifier(tiny_bundle)
    rows = np.array([classifier.probabilities(read_image(path)) for path in images])
    thresholds = [_between(row, share) for row, share in zip(rows.T, (0.2, 0.5, 0.8), strict=True)]
    several: dict[str, Any] = {"kind": "sigmoid", "multi_label": True, "thresholds": thresholds}
    output = {"reject_below": _between(rows.max(axis=1), 0.5)} if name == "rejects" else several
    bundle = shutil.copytree(tiny_bundle, folder / name)
    edit(bundle, output=output)
    return set_schema(bundle, "trainkit/2")


def _between(values: np.ndarray, share: float) -> float:
    """Return a number above about a share of others: the middle of the widest gap there."""
    place = round(share * len(values))
    inner = np.sort(values)[place - 3 : place + 3]
    gap = int(np.diff(inner).argmax())
    return round(float(inner[gap] + inner[gap + 1]) / 2, 6)


def set_schema(bundle: Path, schema: str) -> Path:
    path = bundle / "manifest.json"
    manifest = {**json.loads(path.read_text(encoding="utf-8")), "schema": schema}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return bundle


def learn_brightness(tiny_bundle: Path, folder: Path) -> Path:
    """Return a copy of the bundle whose manifest says that the training images were dark."""
    bundle = shutil.copytree(tiny_bundle, folder / "dark")
    classifier = Classifier(bundle)
    dark = [draw_dark(seed) for seed in range(40)]
    measured = [measure_brightness(list(classifier.to_pixels(image)[0][::-1])) for image in dark]
    return edit(bundle, extra={"training_pixels": describe_brightness(measured)})


def draw_dark(seed: int) -> np.ndarray:
    """Return a picture that is mostly black, with a light square somewhere."""
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 30, (48, 64, 3)).astype(np.uint8)
    top, left = generator.integers(0, (28, 44))
    image[top : top + 20, left : left + 20] = generator.integers(200, 256, 3)
    return image


def write_light_and_dark(folder: Path) -> dict[str, Path]:
    """Write a picture as the training images of `learn_brightness` were, one inverted, and one all grey."""
    folder.mkdir(parents=True)
    usual = draw_dark(100)
    pictures = {"usual": usual, "inverted": 255 - usual, "grey": np.full_like(usual, 100)}
    for name, image in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), image)
    return {name: folder / f"{name}.png" for name in pictures}


def words_of_python(bundle: Path, images: list[Path], *options: str) -> tuple[list[str], list[str]]:
    """Return what a bundle's own classify.py says on both streams, without the digits of probabilities."""
    done = run_script(bundle, *map(str, images), *options)
    assert done.returncode == 0, done.stderr
    return without_digits(done.stdout), without_digits(done.stderr)[:-1]  # less how many a second there were


def without_digits(text: str) -> list[str]:
    return re.sub(r" [01]\.\d{4}(?=,|$)", " #", text, flags=re.M).splitlines()


def assert_decides(lines: list[str], name: str) -> None:
    """So that equal lines say something: some images are turned away, or have fewer classes, and some not."""
    if name == "rejects":
        turned_away = sum(line.endswith(f": {NONE_OF_THESE} #") for line in lines)
        assert 0 < turned_away < len(lines)
    else:
        counts = {0 if line.endswith(NOTHING_FOUND) else line.count("#") for line in lines}
        assert len(counts) > 1 and min(counts) < 3, counts
