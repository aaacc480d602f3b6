"""Intervals of shares and McNemar's test, against independent code and published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from trainkit.runs._figures import (
    accuracy_interval,
    balanced_accuracy,
    count_right,
    interval_in_words,
    mcnemar,
    share_interval,
    wilson_interval,
)


def test_interval_of_91_5_percent_of_153() -> None:
    low, high = wilson_interval(140, 153)
    assert (f"{low:.0%}", f"{high:.0%}") == ("86%", "95%")


@pytest.mark.parametrize(
    ("right", "count", "expected"),
    [  # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_interval_is_the_published_one(right: int, count: int, expected: tuple[float, float]) -> None:
    assert wilson_interval(right, count) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (0, 7), (7, 7), (3, 7), (999, 1000), (9_001, 10_000)])
def test_interval_is_that_of_scipy(right: int, count: int, confidence: float) -> None:
    expected = binomtest(right, count).proportion_ci(confidence, method="wilson")
    assert wilson_interval(right, count, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_interval_of_no_images_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("right", "count"), [(2, 1), (-1, 5)])
def test_interval_of_an_impossible_share(right: int, count: int) -> None:
    with pytest.raises(ValueError, match="must be from 0 to `count`"):
        wilson_interval(right, count)
    with pytest.raises(ValueError, match="`confidence` must be above 0 and below 1"):
        wilson_interval(1, 5, 95)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    for truth in (0.1, 0.5, 0.97):
        drawn = generator.binomial(60, truth, 4000)
        covered = [low <= truth <= high for low, high in (wilson_interval(int(right), 60) for right in drawn)]
        assert 0.92 <= np.mean(covered) <= 0.98, truth


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (5, 0), (12, 5), (5, 12), (40, 40), (150, 60), (900, 0)])
def test_mcnemar_is_the_binomial_test_of_scipy(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_very_many_pairs() -> None:
    assert mcnemar(20_000, 20_100) == pytest.approx(binomtest(20_000, 40_100).pvalue, rel=1e-9)


def test_accuracy_interval_is_that_of_the_matrix() -> None:
    figures = {"confusion_matrix": [[70, 6], [7, 70]]}
    assert count_right(figures) == (140, 153)
    assert accuracy_interval(figures) == wilson_interval(140, 153)
    assert accuracy_interval({"confusion_matrix": []}) is None and accuracy_interval({}) is None
    assert interval_in_words(accuracy_interval(figures)) == "0.860 to 0.950"
    assert interval_in_words(None) == "-"


def test_interval_of_several_labels_counts_an_image_once() -> None:
    figures = {"test_accuracy": 0.95, "subset_accuracy": 0.85, "images": 20, "confusion_matrix": []}
    assert accuracy_interval(figures) == wilson_interval(19, 20)
    assert share_interval(figures, "subset_accuracy") == wilson_interval(17, 20)
    assert accuracy_interval({**figures, "images": None}) is None, "a run of an earlier version"


def test_balanced_accuracy_leaves_out_classes_without_images() -> None:
    classes = [{"recall": 0.5, "images": 2}, {"recall": 1.0, "images": 1}, {"recall": 0.0, "images": 0}]
    assert balanced_accuracy({"classes": classes, "confusion_matrix": [[1, 1, 0], [0, 1, 0], [0, 0, 0]]}) == 0.75
    assert balanced_accuracy({"classes": classes, "confusion_matrix": []}) is None
