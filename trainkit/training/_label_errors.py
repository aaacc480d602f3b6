"""From data to the labels in it that are probably wrong."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import showing_lines
from trainkit.data._dataset import Dataset, Part, choose_part
from trainkit.data._folds import assign_folds
from trainkit.data._label_errors import LabelErrors, check_one_label, find_in_probabilities, rank_labels
from trainkit.data._reading import AS_NAMED, Reading
from trainkit.data._whole import WHOLE, load_whole
from trainkit.data._whole_groups import bind_whole
from trainkit.errors import UsageError
from trainkit.files import check_new, scratch_folder
from trainkit.runs._read_predictions import read_probabilities

log = logging.getLogger("trainkit")


@showing_lines()
def find_label_errors(
    data: str | Path | Any,
    *,
    predictions: str | os.PathLike[str] | None = None,
    class_names: Sequence[str] | None = None,
    reading: Reading | None = None,
    folds: int = 5,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
) -> LabelErrors:
    """Find the labels that are probably wrong, by confident learning (Northcutt et al. 2021, arXiv:1911.00068).

    How many are named follows from how many images a model that had not seen them is surer to be of another class than
    it is, on average, of the images with that label. All images are looked at, on whatever side they are.

    Args:
        data: as for `train`; its images have one label each.
        predictions: what `cross_validate` wrote for this data, a `.csv` file or a folder with Parquet in it; the images
            that have no row in it are passed over. Without it a model is trained here for each fold, and not kept: a
            linear one of the features of a pretrained MobileNet for photographs, `fashion-mnist` for other pictures.
        class_names: of arrays, in the order of their numbers.
        reading: as for `train`; what is of one group (`group_by`) is in one fold.
        folds: how many, from 2; without predictions.
        seed: of every random draw.
        out: a page to write, with the pictures; nothing that is there is overwritten.

    Raises:
        TrainkitError: the data or the predictions cannot be used, images may have several labels, or the page cannot be
            written.
        UsageError: an argument means nothing.
    """
    if isinstance(folds, bool) or not isinstance(folds, int) or not 2 <= folds <= 9999:
        raise UsageError(f"`folds` must be a whole number from 2 to 9999. Received: {folds!r}")
    if out is not None:
        check_new(Path(out))
    with scratch_folder() as folder:
        whole = load_whole(data, folder, reading=reading or AS_NAMED, class_names=class_names, grouped=True)
        for warning in whole.warnings:
            log.warning(warning)
        check_one_label(whole.parts[WHOLE].labels, whole.name)
        if predictions is None:
            chosen = np.arange(len(whole.parts[WHOLE]))
            probabilities, model = _predict(whole, folds, seed)
        else:
            chosen, probabilities = read_probabilities(Path(predictions), whole)
            model = str(predictions)
        part = choose_part(whole.parts[WHOLE], chosen)
        found = _find(whole, part, [whole.image_names[index] for index in chosen], probabilities, model)
        _say_what_was_passed_over(len(whole.image_names) - len(chosen), model)
        if out is not None:
            from trainkit.reports._label_errors import write_label_errors

            write_label_errors(found, part, Path(out))
    return found


def _predict(whole: Dataset, folds: int, seed: int) -> tuple[np.ndarray, str]:
    from trainkit.training._out_of_fold import predict_out_of_fold

    part = whole.parts[WHOLE]
    labels = [[whole.class_names[int(number)]] for number in part.labels]
    fold_of = assign_folds(bind_whole(whole, part), labels, folds)
    return predict_out_of_fold(whole, part, fold_of, seed=seed)


def _say_what_was_passed_over(count: int, model: str) -> None:
    if count:
        log.warning("%d images have no row in %s: nothing is said of them.", count, model)


def _find(whole: Dataset, part: Part, names: list[str], probabilities: np.ndarray, model: str) -> LabelErrors:
    counts = np.bincount(part.labels, minlength=len(whole.class_names))
    return LabelErrors(
        data=whole.name,
        model=model,
        images=len(part),
        classes={name: int(count) for name, count in zip(whole.class_names, counts, strict=True)},
        errors=find_in_probabilities(probabilities, part.labels, whole.class_names, names),
        ranked=[names[index] for index in rank_labels(probabilities, part.labels)],
        agreement=float((probabilities.argmax(axis=1) == part.labels).mean()),
    )
