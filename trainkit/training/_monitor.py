"""By what the best epoch is chosen, and the figures of an epoch that Keras does not take itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from trainkit.backend import keras
from trainkit.data._dataset import Dataset
from trainkit.errors import UsageError
from trainkit.models._outputs import class_probabilities
from trainkit.runs._evaluation import mean_average_precision
from trainkit.runs._sections import TrainingSettings
from trainkit.training._averaging import averaged
from trainkit.training._feeding import Feed

# Of a class with fewer validation images, training images are looked at as well, up to so many in all: the recall of
# three images is 0, 0.33, 0.67 or 1, which chooses an epoch by luck.
ENOUGH_IMAGES = 50
ESTIMATE = "balanced_accuracy_estimate"  # the column of what is chosen by then
_COLUMNS = {
    "accuracy": "val_accuracy",
    "balanced-accuracy": "val_balanced_accuracy",
    "loss": "val_loss",
    "mean-average-precision": "val_mean_average_precision",
}
Answer = Callable[[Feed, np.ndarray | None], np.ndarray]  # outputs for some examples of a feed, or for all
FIGURES = ("val_balanced_accuracy", "val_mean_average_precision")  # the columns that are taken here


def choose_monitor(training: TrainingSettings, dataset: Dataset) -> str | None:
    """Return by what the best epoch is chosen; `None` where the last one is taken, for want of validation images."""
    monitor = training.monitor or "accuracy"  # of a run of before there was a choice
    if "val" not in dataset.parts:
        return monitor if monitor == "loss" else None
    if monitor != "auto":
        return monitor
    if dataset.multi_label:
        return "mean-average-precision"
    return "balanced-accuracy" if training.class_weights == "balanced" else "accuracy"


def check_monitor(training: TrainingSettings, dataset: Dataset) -> None:
    """Raise where an epoch cannot be chosen by what is asked for.

    Raises:
        UsageError: says what can be taken.
    """
    monitor = training.monitor
    if monitor == "mean-average-precision" and not dataset.multi_label:
        raise UsageError(
            "`training.monitor` mean-average-precision needs images that may have several classes, and these have one "
            "each. Expected auto, accuracy, balanced-accuracy or loss."
        )
    if monitor == "balanced-accuracy" and dataset.multi_label:
        raise UsageError(
            "`training.monitor` balanced-accuracy needs one class an image, and these may have several. Expected auto, "
            "mean-average-precision, accuracy or loss."
        )
    if monitor not in (None, "auto", "loss") and "val" not in dataset.parts:
        raise UsageError(
            f"`training.monitor` {monitor} is of the validation images, and there are none. Hold some out "
            "(--validation 0.1), or take auto, which keeps the last epoch then, or loss, which is that of training."
        )


def score_epoch(monitor: str | None, figures: Mapping[str, float], epoch: int) -> list[float]:
    """Return what is larger for a better epoch: what is monitored, then the validation loss.

    Args:
        monitor: one of `trainkit.runs._settings.MONITORS`, or `None` where a later epoch is a better one.
        figures: of the epoch, by their columns.
        epoch: its number.
    """
    second = -_finite_loss(figures.get("val_loss", 0.0))
    if monitor is None:
        return [float(epoch), second]
    if monitor == "loss":
        return [-_finite_loss(figures.get("val_loss", figures["loss"])), second]
    column = _COLUMNS[monitor]
    return [figures.get(ESTIMATE, figures[column]) if monitor == "balanced-accuracy" else figures[column], second]


def _finite_loss(loss: float) -> float:
    return float("inf") if np.isnan(loss) else loss  # to which everything compares as not greater


class EpochFigures(keras.callbacks.Callback):  # type: ignore[misc]
    """Takes the figures of an epoch that look at all its answers together; it stands before who wants to know them."""

    def __init__(self, measure: Callable[[Answer], dict[str, float]], answer: Callable[..., np.ndarray]) -> None:
        """Take what `measure` returns by its column; it is given what returns the model's outputs for a feed.

        Args:
            measure: is given `answer`, without the model.
            answer: returns the outputs of a model for examples of a feed, or for all: a row each.
        """
        super().__init__()
        self._measure, self._answer = measure, answer

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add the figures to those of the epoch."""
        if logs is not None:
            with averaged(self.model):
                logs.update(self._measure(partial(self._answer, self.model)))


def build_figures(
    monitor: str | None, dataset: Dataset, feeds: Mapping[str, Feed], answer: Callable[..., np.ndarray]
) -> list[EpochFigures]:
    """Return the callback that takes what is monitored; none where Keras does, so that nothing is computed twice.

    Args:
        monitor: as `choose_monitor` returns it.
        dataset: whose labels are the right ones.
        feeds: by side.
        answer: returns the outputs of a model for examples of a feed, or for all.
    """
    if monitor == "mean-average-precision":
        labels = dataset.parts["val"].labels

        def measure(answer: Answer) -> dict[str, float]:
            return {_COLUMNS[monitor]: mean_average_precision(answer(feeds["val"], None), labels) or 0.0}

        return [EpochFigures(measure, answer)]
    if monitor == "balanced-accuracy":
        return [EpochFigures(_balanced(dataset, feeds), answer)]
    return []


def _balanced(dataset: Dataset, feeds: Mapping[str, Feed]) -> Callable[[Answer], dict[str, float]]:
    """Return what measures the mean recall of the classes."""
    count = len(dataset.class_names)
    labels, training = dataset.parts["val"].labels, dataset.parts["train"].labels
    chosen = choose_more(labels, training, count)

    def measure(answer: Answer) -> dict[str, float]:
        held = _count_right(answer(feeds["val"], None), labels, count)
        figures = {_COLUMNS["balanced-accuracy"]: balanced_accuracy(*held)}
        if len(chosen):
            right, images = _count_right(answer(feeds["train"], chosen), training[chosen], count)
            figures[ESTIMATE] = float(np.mean(estimate_recalls(held, (right, images))))
        return figures

    return measure


def _count_right(outputs: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the right answers and the images of each class."""
    right = class_probabilities(outputs).argmax(axis=1) == labels
    return np.bincount(labels[right], minlength=count), np.bincount(labels, minlength=count)


def balanced_accuracy(right: np.ndarray, images: np.ndarray) -> float:
    """Return the mean recall of the classes that have images, from the right answers and the images of each."""
    there = images > 0
    return float(np.mean(right[there] / images[there]))


def choose_more(held: np.ndarray, training: np.ndarray, class_count: int) -> np.ndarray:
    """Return the places of the training images that are looked at with the validation images of rare classes.

    Args:
        held: int `(N,)`, the labels of the validation images.
        training: int `(M,)`, those of the training images.
        class_count: how many classes there may be.
    """
    wanted = np.maximum(0, ENOUGH_IMAGES - np.bincount(held, minlength=class_count))
    return np.sort(np.concatenate([np.flatnonzero(training == c)[:most] for c, most in enumerate(wanted)])).astype(int)


def estimate_recalls(held: tuple[np.ndarray, np.ndarray], trained_on: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the recall of each class that has images, as validation and training images together tell it.

    The two are combined in their log-odds, each weighed by the inverse of its variance (Woolf 1955, "On estimating the
    relation between blood group and disease", with Haldane's half added): images that the network knows by heart, all
    of them right, hardly count.

    Args:
        held: right answers and images of each class, of the validation images.
        trained_on: the same of training images; a class that has none here has the recall of its validation images.
    """
    right, images = (np.stack(pair).astype(np.float64) for pair in zip(held, trained_on, strict=True))
    share = (right + 0.5) / (images + 1)
    weight = images * share * (1 - share)
    there = images.sum(axis=0) > 0
    log_odds = (weight * np.log(share / (1 - share)))[:, there].sum(axis=0) / weight[:, there].sum(axis=0)
    plain = right[0][there] / np.maximum(1, images[0][there])
    return np.asarray(np.where(images[1][there] > 0, 1 / (1 + np.exp(-log_odds)), plain))
