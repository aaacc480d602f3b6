"""The reliability of probabilities, against values counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trainkit.runs._calibration import measure_reliability
from trainkit.runs._figures import wilson_interval


def test_bins_hold_what_was_said_and_what_was_right() -> None:
    found = measure_reliability(np.array([0.55, 0.65, 0.95, 0.85]), np.array([True, False, True, True]), bins=2)
    assert found.edges == (0, 0.5, 1) and found.counts == (0, 4)
    assert found.confidence[1] == pytest.approx(0.75) and found.accuracy[1] == 0.75
    assert math.isnan(found.confidence[0]) and math.isnan(found.accuracy[0])
    assert found.expected_error == pytest.approx(0, abs=1e-12)


def test_expected_error_weighs_bins_by_their_answers() -> None:
    # Three answers at 0.9, of which one is right, and one at 0.3 that is: 3/4 * |0.9 - 1/3| + 1/4 * |0.3 - 1|.
    found = measure_reliability(np.array([0.9, 0.9, 0.9, 0.3]), np.array([True, False, False, True]), bins=10)
    assert found.expected_error == pytest.approx(0.75 * (0.9 - 1 / 3) + 0.25 * 0.7)


def test_answer_on_an_edge_belongs_below_it_and_the_ends_are_within() -> None:
    found = measure_reliability(np.array([0.0, 0.5, 1.0]), np.array([True, True, True]), bins=4)
    assert found.counts == (1, 1, 0, 1)


def test_intervals_are_wilsons_and_few_answers_are_unsure() -> None:
    confidence = np.repeat([0.3, 0.6, 0.9], [1, 60, 10])
    right = np.concatenate([[True], np.arange(60) % 2 == 0, np.ones(10, bool)])
    found = measure_reliability(confidence, right, bins=10)
    assert found.counts == (0, 0, 1, 0, 0, 60, 0, 0, 10, 0)
    for place, counts in {2: (1, 1), 5: (30, 60), 8: (10, 10)}.items():
        assert (found.low[place], found.high[place]) == wilson_interval(*counts)
    assert [place for place in (2, 5, 8) if found.unsure[place]] == [2]


def test_single_precision_stays_in_its_bin() -> None:
    certain = np.full(5, 1, np.float32)
    assert measure_reliability(certain, np.ones(5, bool)).counts[-1] == 5


def test_nothing_to_measure() -> None:
    found = measure_reliability(np.zeros(0), np.zeros(0, bool))
    assert found.expected_error == 0 and sum(found.counts) == 0
