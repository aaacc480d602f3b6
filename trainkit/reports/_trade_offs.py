"""What a threshold costs: how many of a class's images are found, and what is named wrongly with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)
_FINENESS = 200  # of a curve: points that are nearer than this part of a side are one


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What comes of naming a class wherever its probability is the threshold or more."""

    threshold: float
    recall: float  # of the images of the class, the share that is named
    false_positive_rate: float  # of the other images, the share that is named
    precision: float | None  # of the named images, the share that is of the class; None where none is named


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeOff:
    """A class against all others, over all thresholds."""

    class_name: str
    roc: np.ndarray  # float (N, 2): false positive rate and recall, the highest threshold first
    precision_recall: np.ndarray  # float (N, 2): recall and precision, the highest threshold first
    area: float  # under the ROC curve: how often an image of the class is before another one
    average_precision: float  # under precision over recall, in steps
    points: tuple[Point, ...]  # at `THRESHOLDS`
    best: Point  # where F1 is highest


def measure_trade_offs(probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> list[TradeOff]:
    """Return the curves of each class that some of the images have and some have not.

    Args:
        probabilities: `(N, classes)`.
        labels: indices of the classes, `(N,)`, or 0 and 1 for each of several labels, `(N, classes)`.
        class_names: of the columns.
    """
    classes = np.arange(len(class_names))
    truth = labels.astype(bool) if labels.ndim == 2 else labels[:, None] == classes
    return [
        _trade_off(name, truth[:, index], probabilities[:, index])
        for index, name in enumerate(class_names)
        if 0 < truth[:, index].sum() < len(truth)
    ]


def hardest(trade_offs: Sequence[TradeOff], count: int) -> list[TradeOff]:
    """Return the classes with the lowest average precision, in the order in which they came."""
    chosen = {one.class_name for one in sorted(trade_offs, key=lambda one: one.average_precision)[:count]}
    return [one for one in trade_offs if one.class_name in chosen]


def _trade_off(class_name: str, truth: np.ndarray, scores: np.ndarray) -> TradeOff:
    rates = _Rates(truth, scores)
    roc = np.column_stack([np.append(0, rates.false_positive_rate), np.append(0, rates.recall)])
    drawn = np.column_stack([np.append(0, rates.recall), np.append(rates.precision[0], rates.precision)])
    best = int(np.argmax(rates.f1))
    return TradeOff(
        class_name=class_name,
        roc=_thinned(roc),
        precision_recall=_thinned(drawn),
        area=float(np.trapezoid(roc[:, 1], roc[:, 0])),
        average_precision=float(np.sum(np.diff(rates.recall, prepend=0) * rates.precision)),
        points=tuple(rates.at(threshold) for threshold in THRESHOLDS),
        best=rates.at(float(rates.thresholds[best])),
    )


class _Rates:
    """A class's rates at each probability that some image has, the highest first."""

    def __init__(self, truth: np.ndarray, scores: np.ndarray) -> None:
        order = np.argsort(-scores, kind="stable")
        falling, hits = scores[order], np.cumsum(truth[order])
        last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # of each run of equal probabilities
        named, right = last + 1, hits[last]
        self.thresholds = falling[last]
        self.recall = right / hits[-1]
        self.precision = right / named
        self.false_positive_rate = (named - right) / (len(truth) - hits[-1])
        self.f1 = 2 * right / (named + hits[-1])

    def at(self, threshold: float) -> Point:
        """Return what comes of a threshold, whether or not an image has just this probability."""
        place = int((self.thresholds >= threshold).sum()) - 1
        if place < 0:
            return Point(threshold=threshold, recall=0.0, false_positive_rate=0.0, precision=None)
        return Point(
            threshold=threshold,
            recall=float(self.recall[place]),
            false_positive_rate=float(self.false_positive_rate[place]),
            precision=float(self.precision[place]),
        )


def _thinned(points: np.ndarray) -> np.ndarray:
    """Return a curve without the points that would lie on each other in a chart; its ends are kept."""
    cells = np.rint(points * _FINENESS)
    moved = np.any(np.diff(cells, axis=0) != 0, axis=1)
    kept = np.concatenate([[True], moved])
    kept[-1] = True
    return np.asarray(points[kept])
