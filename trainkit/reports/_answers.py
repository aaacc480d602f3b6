"""What a model answered, decision by decision: which class an image is of, or which labels it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_THRESHOLD = 0.5  # from which on a label is taken to be there


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The decisions on N images: one an image where there is one class to find, one a label where there are several."""

    truth: np.ndarray  # bool (N, classes)
    predicted: np.ndarray  # bool (N, classes)
    confidence: np.ndarray  # float (N, decisions), 0 to 1
    right: np.ndarray  # bool (N, decisions)

    def mistakes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the images with a wrong decision, the surest first, and how sure it was: `(M,)` each."""
        surest = np.where(self.right, -1.0, self.confidence).max(axis=1)
        order = np.argsort(-surest, kind="stable")[: int((surest >= 0).sum())]
        return order, surest[order]


def most_confused(matrix: Sequence[Sequence[int]], most: int) -> list[tuple[int, int, int]]:
    """Return (true class, predicted class, images) of the pairs that were most often taken for each other.

    Args:
        matrix: images by `[true class][predicted class]`.
        most: how many pairs.
    """
    counts = np.array(matrix or [[0]])
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(counts)) for place in order]
    return [(row, column, int(counts[row, column])) for row, column in pairs if counts[row, column]]


def judge(probabilities: np.ndarray, labels: np.ndarray) -> Answers:
    """Compare probabilities with the truth.

    Args:
        probabilities: `(N, classes)`.
        labels: indices of the classes, `(N,)`, or 0 and 1 for each of several labels, `(N, classes)`.
    """
    if labels.ndim == 2:
        truth, predicted = labels.astype(bool), probabilities >= _THRESHOLD
        confidence = np.where(predicted, probabilities, 1 - probabilities)
        return Answers(truth=truth, predicted=predicted, confidence=confidence, right=predicted == truth)
    classes = np.arange(probabilities.shape[1])
    best = probabilities.argmax(axis=1)
    return Answers(
        truth=labels[:, None] == classes,
        predicted=best[:, None] == classes,
        confidence=probabilities.max(axis=1, keepdims=True),
        right=(best == labels)[:, None],
    )


def name_classes(chosen: np.ndarray, class_names: list[str]) -> str:
    """Return the names of the classes that are chosen in a row of bools, or a dash for none."""
    return ", ".join(name for name, there in zip(class_names, chosen, strict=True) if there) or "–"
