"""Pictures whose class is a coloured square, a quarter of the side, at a random place on a photograph."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from photographs import COLORS_BGR, draw_scene


class Square(NamedTuple):
    """A picture, uint8 `(side, side, 3)`, BGR; its class, and where the square lies."""

    image: np.ndarray
    label: str
    left: int
    top: int
    side: int

    def holds_peak(self, heat: np.ndarray) -> bool:
        """Whether the largest value of a map lies in the square."""
        row, column = np.unravel_index(int(heat.argmax()), heat.shape)
        return bool(
            self.top <= row < self.top + self.side
            and self.left <= column < self.left + self.side
            and heat.max() > heat.min()
        )


def backgrounds(side: int, count: int) -> list[np.ndarray]:
    """Return photographs, or where there are none pictures of shapes, paled: a shape may not be what a class is."""
    shared = os.environ.get("TRAINKIT_SHARED")
    if not shared:
        scenes = (cv2.resize(draw_scene(seed), (side, side), interpolation=cv2.INTER_AREA) for seed in range(count))
        return [(0.3 * scene + 0.7 * scene.mean(axis=2, keepdims=True)).astype(np.uint8) for scene in scenes]
    files = sorted(Path(shared, "data", "cats-dogs").rglob("*.jpg"))
    chosen = [files[index] for index in np.random.default_rng(0).permutation(len(files))[:count]]
    return [cv2.resize(cv2.imread(str(path)), (side, side), interpolation=cv2.INTER_AREA) for path in chosen]


def draw_squares(photographs: list[np.ndarray], seed: int) -> list[Square]:
    """Put a square on each photograph, the classes in turn."""
    generator, names = np.random.default_rng(seed), sorted(COLORS_BGR)
    found = []
    for number, photograph in enumerate(photographs):
        side = len(photograph)
        square, label = side // 4, names[number % len(names)]
        left, top = (int(generator.integers(side - square + 1)) for _ in range(2))
        image = photograph.copy()
        color = np.array(COLORS_BGR[label]) + generator.normal(0, 12, (square, square, 3))
        image[top : top + square, left : left + square] = np.clip(color, 0, 255).astype(np.uint8)
        found.append(Square(image, label, left, top, square))
    return found


def write_squares(folder: Path, squares: list[Square]) -> Path:
    """Write the pictures into class folders."""
    for number, square in enumerate(squares):
        (folder / square.label).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / square.label / f"{number:04}.png"), square.image)
    return folder
