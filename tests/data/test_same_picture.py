from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from photographs import draw_scene, encoded_again

from trainkit.data._repeats._same_picture import SIDE, TINY, is_same_picture, to_thumbnail


def is_same(first: np.ndarray, second: np.ndarray) -> bool:
    return is_same_picture(to_thumbnail(first), to_thumbnail(second))


def draw_shirt(seed: int) -> np.ndarray:
    """Return a tiny picture of clothes: all of one outline, each of its own cloth."""
    shirt = np.zeros((28, 28), np.float32)
    shirt[3:25, 8:20] = shirt[5:11, 2:26] = 150
    cloth = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 60, (28, 28)).astype(np.float32), (0, 0), 2)
    return np.where(shirt > 0, np.clip(shirt + cloth, 1, 255), 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "side"), [((300, 400, 3), SIDE), ((300, 400), SIDE), ((60, 90, 3), 60), ((28, 28), 28), ((1, 5, 3), 1)]
)
def test_thumbnail_is_square_grey_and_no_larger_than_the_picture(shape: tuple[int, ...], side: int) -> None:
    thumbnail = to_thumbnail(np.zeros(shape, np.uint8))
    assert thumbnail.shape == (side, side) and thumbnail.dtype == np.uint8


@pytest.mark.parametrize(
    "change",
    [
        lambda scene: encoded_again(scene, 30),
        lambda scene: cv2.resize(scene, (200, 150), interpolation=cv2.INTER_AREA),
        lambda scene: cv2.resize(scene, (60, 45), interpolation=cv2.INTER_AREA),
        lambda scene: scene[8:-8, 10:-10],
        lambda scene: scene[15:, 20:],
        lambda scene: np.clip(scene.astype(int) + 40, 0, 255).astype(np.uint8),
        lambda scene: cv2.cvtColor(encoded_again(scene[6:, :-8], 60), cv2.COLOR_BGR2GRAY),
    ],
    ids=["quality 30", "half", "a seventh", "cut by 5 %", "cut at a corner", "brighter", "several"],
)
def test_copy_is_the_same_picture_and_another_is_not(change: Callable[[np.ndarray], np.ndarray]) -> None:
    for seed in range(10):
        copy = np.ascontiguousarray(change(draw_scene(seed)))
        assert is_same(draw_scene(seed), copy) and is_same(copy, draw_scene(seed))
        assert not is_same(draw_scene(seed + 100), copy)


def test_mostly_plain_picture_is_judged_by_the_part_that_is_not() -> None:
    sky = np.full((300, 400, 3), 200, np.uint8)
    birds = [sky.copy() for _ in range(2)]
    for seed, bird in enumerate(birds):
        bird[100:190, 150:270] = draw_scene(seed, 90, 120)
    noisy = np.clip(encoded_again(birds[0], 50) + np.random.default_rng(0).normal(0, 1, sky.shape), 0, 255)
    assert is_same(birds[0], noisy.astype(np.uint8))
    assert not is_same(*birds)


@pytest.mark.parametrize(("side", "same"), [(TINY - 1, True), (TINY, False), (300, False)])
def test_flat_pictures_have_nothing_to_be_compared_by_unless_they_are_tiny(side: int, same: bool) -> None:
    flat = to_thumbnail(np.full((side, side), 128, np.uint8))
    assert is_same_picture(flat, flat) is same


@pytest.mark.parametrize("side", [1, 3, 15, 16])
def test_very_few_pixels_say_no_more_than_a_fingerprint(side: int) -> None:
    few = cv2.resize(draw_scene(0), (side, side), interpolation=cv2.INTER_AREA)
    assert is_same(draw_scene(0), few) and is_same(few, draw_scene(0))
    assert is_same(draw_scene(1), few) is (side < 16)


def test_tiny_pictures_of_one_outline_are_told_apart() -> None:
    shirts = [draw_shirt(seed) for seed in range(30)]
    for index, shirt in enumerate(shirts):
        bgr = cv2.cvtColor(shirt, cv2.COLOR_GRAY2BGR)
        assert is_same(shirt, encoded_again(bgr, 90))
        assert is_same(shirt, np.clip(bgr * 1.2, 0, 255).astype(np.uint8)), "clipped, where it was white"
        assert is_same(shirt, np.clip(bgr.astype(int) - 40, 0, 255).astype(np.uint8))
        assert not is_same(shirt, shirts[index - 1])
