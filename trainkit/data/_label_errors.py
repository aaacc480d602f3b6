"""Labels that are probably wrong, by confident learning: from the probabilities of a model that had not seen them.

The formulas are those of Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels" (arXiv:1911.00068), sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainkit.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelError:
    """An image whose label is probably wrong."""

    image: str  # its path; of an image that is no file its side and number, `train[17]`
    index: int  # among all images that were looked at
    label: str
    suggested: str  # the class that it probably is of
    label_probability: float  # of its label, by a model that had not seen it
    suggested_probability: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {
            "image": self.image,
            "label": self.label,
            "suggested": self.suggested,
            "label_probability": self.label_probability,
            "suggested_probability": self.suggested_probability,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelErrors:
    """The labels of a data set that are probably wrong, the likeliest first."""

    data: str
    model: str  # by which the probabilities are, in words
    images: int  # that were looked at
    classes: dict[str, int]  # their number by label
    errors: list[LabelError]
    ranked: list[str] = field(repr=False)  # all images, those whose labels are least likely first
    agreement: float  # the share of the labels that the model gives too

    def to_json(self) -> dict[str, Any]:
        """Return everything for a JSON document."""
        of_class = dict.fromkeys(self.classes, 0)
        for error in self.errors:
            of_class[error.label] += 1
        return {
            "data": self.data,
            "model": self.model,
            "images": self.images,
            "agreement": self.agreement,
            "classes": [
                {"label": name, "images": count, "errors": of_class[name]} for name, count in self.classes.items()
            ],
            "errors": [error.to_json() for error in self.errors],
        }


def confident_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how sure the model is of each class on average, over the images that are labelled so (equation 2).

    Args:
        probabilities: `(N, classes)`, of a model that had not seen the images.
        labels: int `(N,)`.

    Returns:
        float64 `(classes,)`; infinite for a class without images, which nothing can then be of.
    """
    thresholds = np.full(probabilities.shape[1], np.inf)
    for number in np.unique(labels):
        thresholds[number] = probabilities[labels == number, number].mean(dtype=np.float64)
    return thresholds


def confident_classes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the class that each image is confidently of: the likeliest of those that reach their thresholds.

    The confident joint counts by it (equation 1): an image labelled i that is confidently of j is in cell (i, j).

    Returns:
        int64 `(N,)`; -1 where no class reaches its threshold.
    """
    reached = probabilities >= confident_thresholds(probabilities, labels)
    best = np.where(reached, probabilities, -1).argmax(axis=1)
    return np.where(reached.any(axis=1), best, -1)


def confident_joint(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many images with each label are confidently of each class, int64 `(classes, classes)`."""
    count, sure = probabilities.shape[1], confident_classes(probabilities, labels)
    joint = np.zeros((count, count), np.int64)
    np.add.at(joint, (labels[sure >= 0], sure[sure >= 0]), 1)
    return joint


def rank_labels(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the images with those first whose labels are least likely: by self-confidence (section 3.2).

    That is the probability of the label. Of equal ones, the earlier comes first. The margin to the likeliest class,
    which the section has too, would put first what is most surely of a class that is easily taken for the label.
    """
    return np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable")


def noise_counts(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many images with each label are probably of each class, float64 `(classes, classes)` (equation 3).

    That is the confident joint, its rows scaled to the images that there are with each label: what reaches no threshold
    is taken to be like what does.
    """
    joint = confident_joint(probabilities, labels).astype(np.float64)
    counted = joint.sum(axis=1, keepdims=True)
    images = np.bincount(labels, minlength=len(joint))[:, None]
    shares = np.divide(joint, counted, out=np.zeros_like(joint), where=counted > 0)
    return np.asarray(shares * images)


def prune_by_class(probabilities: np.ndarray, labels: np.ndarray) -> dict[int, int]:
    """Return the images whose labels are to be looked at, and the class that each is probably of (section 3.2, PBC).

    Of each label there are as many as `noise_counts` says that are of other classes: those whose label is least likely.
    One of which nothing is likelier than its label is none of them. The section's other way, by noise rate, passes over
    a wrong label where the two classes are rarely taken for each other.
    """
    counts = noise_counts(probabilities, labels)
    wrong = np.rint(counts.sum(axis=1) - counts.diagonal()).astype(int)
    found: dict[int, int] = {}
    for label in np.flatnonzero(wrong):
        images = np.flatnonzero(labels == label)
        for index in images[np.argsort(probabilities[images, label], kind="stable")[: wrong[label]]]:
            likeliest = int(probabilities[index].argmax())
            if probabilities[index, likeliest] > probabilities[index, label]:
                found[int(index)] = likeliest
    return found


def find_in_probabilities(
    probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str], images: Sequence[str]
) -> list[LabelError]:
    """Return the labels that are probably wrong, the least likely first.

    Args:
        probabilities: `(N, classes)`, of a model that had not seen the images.
        labels: int `(N,)`.
        class_names: of the columns.
        images: what each image is called.
    """
    suggested = prune_by_class(probabilities, labels)
    return [
        LabelError(
            image=images[index],
            index=int(index),
            label=class_names[labels[index]],
            suggested=class_names[suggested[index]],
            label_probability=float(probabilities[index, labels[index]]),
            suggested_probability=float(probabilities[index, suggested[index]]),
        )
        for index in rank_labels(probabilities, labels)
        if int(index) in suggested
    ]


def check_one_label(labels: np.ndarray, data: str) -> None:
    """Raise where an image may have several labels.

    Raises:
        DataError: says what can be done.
    """
    if labels.ndim == 2:
        raise DataError(
            f"The images of {data} may have several labels, and whether one is wrong is asked of images with one each. "
            "Make a table for each label, with the classes `yes` and `no`, and ask each."
        )
