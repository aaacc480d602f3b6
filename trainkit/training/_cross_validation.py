"""A run for each fold of the data: how good a model is on pictures that it has not seen, and how much that varies."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import showing_lines
from trainkit.data._dataset import ArrayImages, PackedImages
from trainkit.errors import TrainingError, UsageError
from trainkit.runs._evaluation import Answered, answer_run
from trainkit.runs._predictions import Predictions, check_predictions_target, save_predictions
from trainkit.runs._run import EXPERIMENTS, Run
from trainkit.training._train import train

HELD_OUT = "reading.held_out"
_FIGURES = ("test_accuracy", "test_loss", "mean_average_precision", "subset_accuracy", "macro_f1", "micro_f1")
_ACCURACIES = {"recall": "balanced_accuracy", "f1": "macro_f1"}  # means over the classes, of one label an image

log = logging.getLogger("trainkit")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """The runs of a cross-validation, in the order of their folds, and what they come to."""

    data: str
    runs: list[Run]

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """Mean and deviation (of a sample: divided by one less than the folds) of each figure over the folds."""
        rows = [_figures_of(run.result) for run in self.runs]
        names = [name for name in rows[0] if all(name in row for row in rows)]
        values = {name: [row[name] for row in rows] for name in names}
        return {
            name: {"mean": float(np.mean(of_name)), "deviation": float(np.std(of_name, ddof=1))}
            for name, of_name in values.items()
        }

    def predictions(self) -> Predictions:
        """Let each run answer the images that it has not seen, and return all answers: every image has one."""
        return _join([_answers_of(run) for run in self.runs])

    def to_json(self) -> dict[str, Any]:
        """Return everything for a JSON document."""
        keys = ("test_accuracy", "test_loss", "epochs", "seconds", "status")
        return {
            "data": self.data,
            "folds": len(self.runs),
            "figures": self.figures,
            "runs": [{"run": str(run.path.absolute()), **{key: run.result[key] for key in keys}} for run in self.runs],
        }

    def __repr__(self) -> str:
        """Return `CrossValidation(5 folds of digits: accuracy 0.981 ± 0.006)`."""
        accuracy = self.figures["test_accuracy"]
        return (
            f"CrossValidation({len(self.runs)} folds of {self.data}: accuracy {accuracy['mean']:.3f} "
            f"± {accuracy['deviation']:.3f})"
        )


def _figures_of(result: Mapping[str, Any]) -> dict[str, float]:
    found = {name: float(result[name]) for name in _FIGURES if result.get(name) is not None}
    if result["confusion_matrix"]:
        rows = [row for row in result["classes"] if row["images"]]
        found |= {name: float(np.mean([row[key] for row in rows])) for key, name in _ACCURACIES.items()}
    return found


@showing_lines()
def cross_validate(
    data: str | Path | Any,
    *,
    folds: int = 5,
    predictions: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    experiments: str | Path = EXPERIMENTS,
    **options: Any,
) -> CrossValidation:
    """Train a run for each fold: it learns from the other folds, and is measured on the one that is held out.

    Each class is spread evenly over the folds. Pictures that are equal, look alike or are of one group (`group_by` of a
    `Reading`) stay in one fold. The images for testing that the data has of its own stay out; those for validation
    choose the epoch in every fold, and where there are none, `validation` of the others do.

    Args:
        data: as for `train`.
        folds: how many, from 2.
        predictions: where to write the answers of each run to the images that it had not seen: a `.csv` file, or a
            folder for Parquet. Every image that is not for testing or validation by the data's own word has one row.
        settings: as for `train`.
        experiments: the folder of runs.
        options: whatever else `train` takes.

    Raises:
        TrainkitError: the data, the weights or the folder cannot be used; or a fold was interrupted, and then the runs
            that are there are named.
        UsageError: a setting is unknown or impossible.
    """
    _check_options(folds, settings, options)
    if predictions is not None:
        check_predictions_target(Path(predictions))
    runs: list[Run] = []
    with _warning_once():
        for fold in range(1, folds + 1):
            log.info("Fold %d of %d", fold, folds)
            held_out = {**(settings or {}), HELD_OUT: f"{fold}/{folds}"}
            try:
                run = train(data, settings=held_out, experiments=experiments, **options)
            except KeyboardInterrupt:
                log.warning(_what_is_there(runs, fold, folds))
                raise
            if run.status != "finished":
                raise TrainingError(_what_is_there(runs, fold, folds, run))
            runs.append(run)
    found = CrossValidation(data=_name_of(data, runs[0]), runs=runs)
    if predictions is not None:
        save_predictions(found.predictions(), Path(predictions))
    return found


def _check_options(folds: int, settings: Mapping[str, Any] | None, options: Mapping[str, Any]) -> None:
    if isinstance(folds, bool) or not isinstance(folds, int) or not 2 <= folds <= 9999:
        raise UsageError(f"`folds` must be a whole number from 2 to 9999. Received: {folds!r}")
    reading = options.get("reading")
    if HELD_OUT in (settings or {}) or (reading is not None and reading.held_out is not None):
        raise UsageError(f"`{HELD_OUT}` is what a cross-validation sets, for each of its runs: leave it out.")


def _what_is_there(runs: list[Run], fold: int, folds: int, run: Run | None = None) -> str:
    """Say how far it has come, and how to go on: by the run of the fold that was interrupted, where there is one."""
    there = f"Finished: {', '.join(one.name for one in runs)}." if runs else "None is finished."
    resumed = f" `trainkit train --resume {run.argument}` ends this one." if run else ""
    first = fold + (run is not None)
    one_by_one = f" The others can be trained one by one: `trainkit train ... --set {HELD_OUT}={first}/{folds}`."
    return f"Fold {fold} of {folds} was interrupted. {there}{resumed}{one_by_one if first <= folds else ''}"


def _name_of(data: Any, run: Run) -> str:
    return str(data) if isinstance(data, (str, os.PathLike)) else run.config.data


def _answers_of(run: Run) -> Predictions:
    answered = answer_run(run)
    return replace(answered.predictions(), files=_files_of(answered))


def _files_of(answered: Answered) -> list[str]:
    """Return what images are called in a fold: those of an array by their number in it, whatever the fold."""
    images = answered.part.images
    if isinstance(images, (ArrayImages, PackedImages)) and images.chosen is not None:
        return [f"train[{number}]" for number in images.chosen]
    return answered.predictions().files


def _join(parts: list[Predictions]) -> Predictions:
    return Predictions(
        files=[file for part in parts for file in part.files],
        truth=[truth for part in parts for truth in part.truth],
        predicted=[label for part in parts for label in part.predicted],
        probability=[probability for part in parts for probability in part.probability],
        probabilities=np.concatenate([part.probabilities for part in parts]),
        class_names=parts[0].class_names,
    )


@contextmanager
def _warning_once() -> Iterator[None]:
    """Let each warning through once: every fold reads the same data, and would say the same of it."""
    seen: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        known = record.levelno == logging.WARNING and text in seen
        seen.add(text)
        return not known

    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)
