"""Whether a picture is as dark and light as the images that the network was trained on."""

from __future__ import annotations

import math
from typing import Any, Dict, List, NamedTuple, Sequence

import cv2
import numpy as np

from trainkit.deploy.python._schema import is_number

RANGES = 16  # of grey levels, which are counted
_LEAST_SHARE = 0.01  # of a range: what few training images have, or none, says little


class Brightness(NamedTuple):
    """How dark and light a picture is: its mean grey level, 0 to 255, and the share of its pixels in each range."""

    mean: float
    levels: List[float]


class TrainingPixels(NamedTuple):
    """What `extra.training_pixels` of a manifest says of the training images.

    Attributes:
        mean: of their mean grey levels.
        low: the least mean grey level that is usual.
        high: the greatest.
        levels: the share of the pixels in each range.
        inverted_above: the greatest `inverted_fit` that is usual.
    """

    mean: float
    low: float
    high: float
    levels: List[float]
    inverted_above: float


def measure_brightness(planes_bgr: Sequence[np.ndarray]) -> Brightness:
    """Measure a picture: one grey plane, or blue, green and red, of uint8 levels."""
    planes = np.stack([np.asarray(plane) for plane in planes_bgr])
    # In whole numbers, so that every language has the same: float32 has them all up to 2^24, a sum is 255,000 at most,
    # and what is cut off behind the point is right, because no quotient comes within a rounding of the next one.
    exact = planes[0] if len(planes) == 1 else _of_1000(planes) / np.float32(1000)
    counts = _count(exact.astype(np.uint8))
    in_ranges = counts.reshape(RANGES, -1).sum(axis=1) / exact.size
    return Brightness(float(counts @ np.arange(256)) / exact.size, in_ranges.tolist())


def _of_1000(planes_bgr: np.ndarray) -> np.ndarray:
    """Return a thousand times the grey levels, whole numbers as float32 `(H * W,)`."""
    return np.asarray(np.array([114, 587, 299], np.float32) @ planes_bgr.reshape(3, -1).astype(np.float32))


def _count(levels: np.ndarray) -> np.ndarray:
    """Return how often there is each level, int64 `(256,)`; OpenCV counts in float32, and three times as fast."""
    if levels.size >= 2**24:
        return np.asarray(np.bincount(levels.ravel(), minlength=256))
    counts = cv2.calcHist([levels.reshape(1, -1)], [0], None, [256], [0, 256])
    return np.asarray(counts.ravel().astype(np.int64))


def inverted_fit(levels: Sequence[float], training_levels: Sequence[float]) -> float:
    """Return how much likelier grey levels are among training images when they are inverted: a log ratio a pixel."""
    known = [share + _LEAST_SHARE for share in training_levels]
    return sum(share * math.log(known[-1 - i] / known[i]) for i, share in enumerate(levels))


def read_training_pixels(manifest: Dict[str, Any]) -> TrainingPixels | None:
    """Return what a manifest says of the training images; None where it says nothing, or not all in this form."""
    found = manifest.get("extra", {}).get("training_pixels")
    if not isinstance(found, dict):
        return None
    levels = found.get("levels")
    has_levels = (
        isinstance(levels, list) and len(levels) == RANGES and all(is_number(one) and one >= 0 for one in levels)
    )
    if not has_levels or not all(is_number(found.get(key)) for key in ("mean", "low", "high", "inverted_above")):
        return None
    return TrainingPixels(**{key: found[key] for key in TrainingPixels._fields})


def compare_brightness(picture: Brightness, training: TrainingPixels, *, inverted: bool) -> str | None:
    """Say that a picture is unlike the training images, and what may help; None where it is like them.

    Args:
        picture: as the network gets it.
        training: see `read_training_pixels`.
        inverted: whether the picture was inverted before.
    """
    turned = inverted_fit(picture.levels, training.levels) > training.inverted_above
    if not turned and training.low <= picture.mean <= training.high:
        return None
    fits = turned or training.low <= 255 - picture.mean <= training.high
    if not fits:
        advice = "The answer may mean little."
    elif inverted:
        advice = "As it is it would fit better: leave out --invert."
    else:
        advice = "Inverted it would fit better: try --invert."
    means = [math.floor(mean + 0.5) for mean in (picture.mean, training.mean)]
    return f"dark and light are not as in the training images (mean grey level {means[0]}, there {means[1]}). {advice}"
