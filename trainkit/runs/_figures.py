"""What a share is worth: the interval it may really lie in, and whether two of them differ by more than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

SIDES = {"train": "training", "val": "validation", "test": "test"}
ALSO_CHOSE = "validation (these also chose the epoch)"


def wilson_interval(right: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval in which a share lies with a confidence, 0 to 1 each (Wilson 1927, JASA 22, 209-212).

    Unlike the share give or take some deviations, it holds for few images and beside 0 and 1 too.

    Args:
        right: how many of them.
        count: of how many; of none the share may be any.
        confidence: above 0 and below 1.

    Raises:
        ValueError: there are more right ones than all, or the confidence is none.
    """
    if not 0 <= right <= count:
        raise ValueError(f"`right` must be from 0 to `count`, {count}. Received: {right}")
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be above 0 and below 1. Received: {confidence}")
    if not count:
        return 0.0, 1.0
    square = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    share = right / count
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = math.sqrt(square * (share * (1 - share) / count + square / (4 * count**2))) / (1 + square / count)
    # Rounding alone would keep it off 0 and 1, where it begins and ends.
    return 0.0 if right == 0 else max(0.0, middle - half), 1.0 if right == count else min(1.0, middle + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return how probable it is that chance makes two runs differ so much on the same images (McNemar 1947).

    Images on which both are right, or both wrong, say nothing. Of the others, where the runs are equally good, each is
    as likely for the one as for the other: the exact binomial test, of both sides.

    Args:
        only_first: images on which only the first was right.
        only_second: images on which only the second was.
    """
    count, least = only_first + only_second, min(only_first, only_second)
    term, tail = 1, 1
    for number in range(least):
        term = term * (count - number) // (number + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << count))


def count_right(figures: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return how many images came out right, of how many, as far as figures of `evaluate` or `result.json` tell.

    Where an image may have several labels there is no such number: those of one image depend on each other.
    """
    matrix = figures.get("confusion_matrix") or []
    count = sum(map(sum, matrix))
    return (sum(row[number] for number, row in enumerate(matrix)), count) if count else None


def accuracy_interval(figures: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the 95% interval of `test_accuracy`, `None` where the figures do not tell how many images there were.

    With several labels an image it is that of as many answers as there are images: those of one image depend on each
    other, and of all of them it would be too narrow.
    """
    counts = count_right(figures)
    return wilson_interval(*counts) if counts else share_interval(figures, "test_accuracy")


def share_interval(figures: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """Return the 95% interval of a share of the images, of figures of several labels; else `None`."""
    share, count = figures.get(key), figures.get("images")
    return None if share is None or not count else wilson_interval(round(share * count), count)


def balanced_accuracy(figures: Mapping[str, Any]) -> float | None:
    """Return the mean recall of the classes that have images; `None` with several labels, and where it is not known."""
    recalls = [row["recall"] for row in figures["classes"] if row["images"]] if count_right(figures) else []
    return sum(recalls) / len(recalls) if recalls else None


def has_several_labels(figures: Mapping[str, Any]) -> bool:
    """Whether figures are of images that may have several classes."""
    return figures.get("subset_accuracy") is not None


def accuracy_in_words(figures: Mapping[str, Any]) -> str:
    """Return what `test_accuracy` is called: with several labels an image it is a share of answers, not of images."""
    return "right answers" if has_several_labels(figures) else "accuracy"


def interval_in_words(interval: tuple[float, float] | None, form: str = "{:.3f}") -> str:
    """Write an interval for a person, or a dash."""
    return "-" if interval is None else f"{form.format(interval[0])} to {form.format(interval[1])}"


def side_in_words(side: str | None) -> str:
    """Write what `test_split` says for a person: test images are called so, and those that chose the epoch are not."""
    return SIDES.get(side or "", side or "-")
