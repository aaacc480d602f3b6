"""How good a model is on one part of the data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import doing
from trainkit.data._dataset import Dataset, Part, fingerprint
from trainkit.errors import DataError
from trainkit.preprocessing import Preprocessing
from trainkit.runs._figures import side_in_words
from trainkit.runs._predictions import Predictions, predictions_of_part
from trainkit.runs._run import EXPERIMENTS, Run, find_run

log = logging.getLogger("trainkit")

PREDICTED_AT_ONCE = 64  # images
_EPSILON = 1e-7  # as Keras clips probabilities before their logarithm
_THRESHOLD = 0.5  # from which probability on an image has a class, where it may have several


def predict_pixels(
    model: Any,
    pixels: np.ndarray,
    preprocessing: Preprocessing,
    callbacks: Sequence[Any] = (),
    *,
    text: str = "Predicting",
) -> np.ndarray:
    """Return float32 `(N, outputs)` of a Keras model for uint8 pixels as `Preprocessing.to_pixels` has them.

    Args:
        model: takes batches of `preprocessing.shape`.
        pixels: uint8 `(N, height, width, channels)`.
        preprocessing: makes them the model's input.
        callbacks: of Keras.
        text: what the progress shows.
    """
    from trainkit.backend import keras, tf
    from trainkit.data._pipeline import stream
    from trainkit.models._calling import calling
    from trainkit.models._pixel_model import can_be_made_in_graph, model_of_pixels

    starts = range(0, len(pixels), PREDICTED_AT_ONCE)
    in_graph = can_be_made_in_graph(preprocessing)
    if in_graph:
        model = model_of_pixels(model, preprocessing)

    def batches() -> Iterator[tuple[np.ndarray, ...]]:
        chosen = (np.asarray(pixels[start : start + PREDICTED_AT_ONCE]) for start in starts)
        return ((some if in_graph else preprocessing.to_input(some),) for some in chosen)

    signature = tf.TensorSpec((None, *preprocessing.shape), tf.uint8 if in_graph else tf.float32)
    inputs = stream(batches, (signature,), steps=len(starts))
    with doing(text, total=len(pixels)) as step, calling(model, "run"):

        def advance(batch: int, logs: Any = None) -> None:
            step.done = min((batch + 1) * PREDICTED_AT_ONCE, len(pixels))

        counted = keras.callbacks.LambdaCallback(on_predict_batch_end=advance)
        return np.asarray(model.predict(inputs, verbose=0, callbacks=[*callbacks, counted]))


def measure(
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: list[str],
    *,
    thresholds: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Return the figures of a part: `test_accuracy`, `test_loss`, `classes` and `confusion_matrix`, as JSON has them.

    Args:
        probabilities: `(N, classes)`.
        labels: int `(N,)`, or `(N, classes)` of 0 and 1 where an image may have several classes. Then each class of
            each image is a question of its own: the accuracy is the share that was answered rightly, the loss the
            mean over all, and there is no confusion matrix. There are also `mean_average_precision`,
            `subset_accuracy` (the share of images of which every answer is right), `macro_f1`, `micro_f1`, `images`
            (how many), and the `average_precision` of each class.
        class_names: of the columns.
        thresholds: of several labels, the probability from which on an image has each class; 0.5 without them.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    if labels.ndim == 2:
        least = np.asarray(_THRESHOLD if thresholds is None else thresholds, probabilities.dtype)
        return _measure_several(probabilities, labels.astype(bool), class_names, least)
    indices = np.arange(len(class_names))
    predicted = probabilities.argmax(axis=1)
    figures = precision_recall_fscore_support(labels, predicted, labels=indices, zero_division=0)
    of_truth = np.clip(probabilities[np.arange(len(labels)), labels].astype(np.float64), _EPSILON, 1 - _EPSILON)
    return {
        "test_accuracy": float((predicted == labels).mean()),
        "test_loss": float(-np.log(of_truth).mean()),
        "classes": _rows(class_names, figures),
        "confusion_matrix": confusion_matrix(labels, predicted, labels=indices).tolist(),
    }


def _measure_several(
    probabilities: np.ndarray, labels: np.ndarray, class_names: list[str], least: np.ndarray
) -> dict[str, Any]:
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    predicted = probabilities >= least
    figures = precision_recall_fscore_support(labels, predicted, average=None, zero_division=0)
    of_truth = np.where(labels, probabilities, 1 - probabilities).astype(np.float64)
    precisions = average_precisions(probabilities, labels)
    rows = _rows(class_names, figures)
    return {
        "test_accuracy": float((predicted == labels).mean()),
        "test_loss": float(-np.log(np.clip(of_truth, _EPSILON, 1 - _EPSILON)).mean()),
        "mean_average_precision": mean_average_precision(probabilities, labels),
        "subset_accuracy": float((predicted == labels).all(axis=1).mean()),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "micro_f1": float(f1_score(labels, predicted, average="micro", zero_division=0)),
        "images": len(labels),
        "classes": [{**row, "average_precision": precision} for row, precision in zip(rows, precisions, strict=True)],
        "confusion_matrix": [],
    }


def average_precisions(probabilities: np.ndarray, labels: np.ndarray) -> list[float | None]:
    """Return the area below precision over recall of each class, in steps, `None` for one that no image has.

    Args:
        probabilities: `(N, classes)`.
        labels: `(N, classes)`, which classes an image has.
    """
    from sklearn.metrics import average_precision_score

    return [
        float(average_precision_score(truth, scores)) if truth.any() else None
        for truth, scores in zip(labels.T.astype(bool), probabilities.T, strict=True)
    ]


def mean_average_precision(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the mean of `average_precisions` over the classes that an image has; `None` where there are none."""
    found = [precision for precision in average_precisions(probabilities, labels) if precision is not None]
    return float(np.mean(found)) if found else None


def _rows(class_names: list[str], figures: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    return [
        {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "images": int(n)}
        for name, p, r, f, n in zip(class_names, *figures, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A part of a data set, and the probability that a model gives each class on each of its images."""

    side: str  # `test`, `val`, or `data`: all images of other data
    part: Part
    probabilities: np.ndarray  # (N, classes)
    class_names: list[str]  # of the columns, and of the numbers of the part's labels
    output: dict[str, Any]  # `multi_label` and more, as a manifest has it

    def measure(self) -> dict[str, Any]:
        """Return `test_split` and what `measure` tells."""
        thresholds = self.output.get("thresholds")
        figures = measure(self.probabilities, self.part.labels, self.class_names, thresholds=thresholds)
        return {"test_split": self.side, **figures}

    def predictions(self) -> Predictions:
        """Return the answers, a row an image."""
        return predictions_of_part(self.part, self.side, self.probabilities, self.class_names, self.output)


def answer_part(
    model: Any,
    part: Part,
    side: str,
    *,
    class_names: list[str],
    multi_label: bool,
    preprocessing: Preprocessing,
    predict: Predict | None = None,
) -> Answered:
    """Let a Keras model answer every image of a part, by `predict` where that is given."""
    from trainkit.models._outputs import class_probabilities

    text = f"Evaluating on the {side_in_words(side)} images"
    output = (predict or predict_part)(model, part, preprocessing, text=text)
    return Answered(
        side=side,
        part=part,
        probabilities=class_probabilities(output),
        class_names=class_names,
        output={"multi_label": multi_label},
    )


def predict_part(
    model: Any, part: Part, preprocessing: Preprocessing, callbacks: Sequence[Any] = (), *, text: str = "Predicting"
) -> np.ndarray:
    """Return the outputs of a Keras model for every image of a part; the rest is as for `predict_pixels`."""
    from trainkit.data._pipeline import read_pixels

    return predict_pixels(model, read_pixels(part, preprocessing), preprocessing, callbacks, text=text)


Predict = Callable[..., np.ndarray]  # as `predict_part`, without callbacks


def evaluate_model(
    model: Any,
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    predict: Predict | None = None,
    keep: Callable[[Answered], None] = lambda answered: None,
) -> dict[str, Any]:
    """Return the figures of a data set's part for testing; where there is none, only that `test_split` is `None`.

    Args:
        model: of Keras.
        dataset: with the classes of the model.
        preprocessing: makes images its input.
        predict: how the model is asked, where it is not alone.
        keep: is given the answers that the figures are of.
    """
    side = dataset.test_split
    if side is None:
        return {"test_split": None}
    answered = answer_part(
        model,
        dataset.parts[side],
        side,
        class_names=dataset.class_names,
        multi_label=dataset.multi_label,
        preprocessing=preprocessing,
        predict=predict,
    )
    keep(answered)
    return answered.measure()


def load_measured(run: Run) -> Dataset:
    """Load the data of a run, which has a side for testing: `test_split`.

    Raises:
        RunError: it is unfinished or damaged.
        DataError: the data is not where it was, has other classes, or no test or validation part.
    """
    run.check_usable()
    dataset = run.load_data()
    if dataset.test_split is None:
        raise DataError(
            f"The data of {run.name} has neither a test nor a validation part. Train with --validation 0.1."
        )
    run.check_classes(dataset)
    warn_of_other_images(run, dataset)
    return dataset


def answer_run(run: Run) -> Answered:
    """Let a run's best weights answer its images for testing.

    Raises:
        RunError: it is unfinished or damaged.
        DataError: the data is not where it was, or has no test or validation part.
    """
    dataset = load_measured(run)
    side = str(dataset.test_split)
    return answer_as_run(run, dataset.parts[side], side, multi_label=dataset.multi_label)


def warn_of_other_images(run: Run, dataset: Dataset) -> None:
    """Say so where the images of a run are not those any more that it was trained with, or not on their sides."""
    if run.environment.get("data") not in (None, fingerprint(dataset)):
        log.warning(
            "The images of %s are no longer those that it was trained with, or on other sides: among those that are "
            "looked at may be some that it has learned by heart.",
            run.name,
        )


def answer_as_run(run: Run, part: Part, side: str, *, multi_label: bool) -> Answered:
    """Let a run's best weights answer images, whose labels are the numbers of its classes."""
    from trainkit.models._outputs import check_outputs, load_keras_model

    model = load_keras_model(run.model_path)
    check_outputs(model, run.class_names)
    return answer_part(
        model, part, side, class_names=run.class_names, multi_label=multi_label, preprocessing=run.preprocessing
    )


def evaluate(run: str | Path | Run, *, experiments: str | Path = EXPERIMENTS) -> dict[str, Any]:
    """Measure a run's best weights on its test images again.

    Args:
        run: a `Run`, its path, its name, or `latest`.
        experiments: the folder of runs.

    Returns:
        `test_accuracy`, `test_loss`, `test_split`, `classes` and `confusion_matrix`, as in `result.json`; of several
        labels an image also `mean_average_precision`, `subset_accuracy`, `macro_f1`, `micro_f1` and `images`.

    Raises:
        RunError: there is no such run, or it is unfinished or damaged.
        DataError: the data is not where it was, or has no test or validation part.
    """
    return answer_run(find_run(run, Path(experiments))).measure()
