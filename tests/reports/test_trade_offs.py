"""ROC and precision over recall, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from trainkit.reports._plots import SERIES, to_svg, trade_off_figures
from trainkit.reports._trade_offs import THRESHOLDS, TradeOff, hardest, measure_trade_offs

NAMES = ["cat", "dog", "owl"]


def answers(count: int = 400, *, decimals: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are often equal, and labels that they say something about."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, count)
    scores = random.random((count, 3)) + np.eye(3)[labels] * 0.6
    return np.round(scores / scores.sum(axis=1, keepdims=True), decimals), labels


@pytest.mark.parametrize("several", [False, True])
def test_areas_are_those_of_scikit_learn(several: bool) -> None:
    probabilities, labels = answers()
    truth = labels[:, None] == np.arange(3)
    if several:
        truth |= np.roll(truth, 1, axis=0)
    found = measure_trade_offs(probabilities, truth.astype(np.float32) if several else labels, NAMES)
    assert [one.class_name for one in found] == NAMES
    for index, one in enumerate(found):
        assert one.area == pytest.approx(roc_auc_score(truth[:, index], probabilities[:, index]), abs=1e-12)
        expected = average_precision_score(truth[:, index], probabilities[:, index])
        assert one.average_precision == pytest.approx(expected, abs=1e-12)


def test_points_are_what_the_thresholds_say() -> None:
    probabilities, labels = answers()
    for index, one in enumerate(measure_trade_offs(probabilities, labels, NAMES)):
        truth = labels == index
        assert [point.threshold for point in one.points] == list(THRESHOLDS)
        for point in (*one.points, one.best):
            named = probabilities[:, index] >= point.threshold
            assert point.recall == pytest.approx((named & truth).sum() / truth.sum())
            assert point.false_positive_rate == pytest.approx((named & ~truth).sum() / (~truth).sum())
            assert point.precision == (pytest.approx(truth[named].mean()) if named.any() else None)
        precision, recall, _ = precision_recall_curve(truth, probabilities[:, index])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        assert one.best.precision is not None
        best = 2 * one.best.precision * one.best.recall / (one.best.precision + one.best.recall)
        assert best == pytest.approx(f1.max())


def test_threshold_that_no_image_reaches_names_none() -> None:
    (one, _) = measure_trade_offs(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1]), NAMES[:2])
    assert one.points[-1].precision is None
    assert one.points[-1].recall == one.points[-1].false_positive_rate == 0


def test_curves_pass_where_those_of_scikit_learn_do() -> None:
    probabilities, labels = answers(5000, decimals=6)
    (one, *_) = measure_trade_offs(probabilities, labels, NAMES)
    expected = np.column_stack(roc_curve(labels == 0, probabilities[:, 0], drop_intermediate=False)[:2])
    apart = np.abs(expected[:, None] - one.roc).max(axis=2)
    assert apart.min(axis=0).max() < 1e-12, "each point is one of the curve"
    assert apart.min(axis=1).max() < 0.01, "and the curve goes nowhere else"
    assert one.roc[0].tolist() == [0, 0] and one.roc[-1].tolist() == [1, 1]
    assert one.precision_recall[-1].tolist() == [1, (labels == 0).mean()]
    assert len(one.roc) < 500, "of 5,000 points only those that are seen apart"
    assert np.abs(np.diff(one.roc, axis=0)).max() < 0.02


def test_class_that_all_or_no_images_have_is_left_out() -> None:
    probabilities = np.array([[0.5, 0.5, 0.1], [0.2, 0.7, 0.2]])
    labels = np.array([[1, 1, 0], [0, 1, 0]])
    (one,) = measure_trade_offs(probabilities, labels, NAMES)
    assert one.class_name == "cat" and one.area == one.average_precision == 1
    assert measure_trade_offs(probabilities, np.array([1, 1]), NAMES) == []


def trade_offs(count: int) -> list[TradeOff]:
    random = np.random.default_rng(1)
    labels = np.arange(count).repeat(10)
    probabilities = random.random((len(labels), count)) + np.eye(count)[labels] * np.linspace(0.1, 1, count)
    return measure_trade_offs(np.clip(probabilities, 0, 1), labels, [f"class {index}" for index in range(count)])


def test_of_many_classes_the_hardest_are_drawn() -> None:
    found = trade_offs(12)
    drawn = [one.class_name for one in hardest(found, len(SERIES))]
    assert len(drawn) == 8 and drawn == sorted(drawn, key=lambda name: int(name.split()[1]))
    least = max(one.average_precision for one in found if one.class_name in drawn)
    assert all(one.average_precision >= least for one in found if one.class_name not in drawn)
    for figure in trade_off_figures(found):
        legend = figure.axes[0].get_legend()
        assert legend is not None and [text.get_text() for text in legend.get_texts()] == drawn


@pytest.mark.parametrize(("count", "written"), [(2, True), (3, False)])
def test_thresholds_stand_at_the_curves_of_two_classes(count: int, written: bool) -> None:
    for figure in trade_off_figures(trade_offs(count)):
        drawing = to_svg(figure, "a chart")
        assert (">0.75</text>" in drawing) == written
        dots = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
        assert len(dots) == (10 if written else 3)
