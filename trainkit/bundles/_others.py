"""How many strangers a classifier turns away: images of none of its classes."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.data._dataset import FileImages, Part
from trainkit.data._folders._tree import files_below
from trainkit.data._inspection import inspect_files
from trainkit.data._sources import load_images
from trainkit.errors import DataError, UsageError
from trainkit.runs._predictions import decide

log = logging.getLogger("trainkit")


def load_others(others: str | os.PathLike[str]) -> Part:
    """Load every usable image below a folder, whatever its folders are called; or the test images of other data.

    Raises:
        DataError: there is no such data, or no usable image in it.
        UsageError: it is neither a path nor a name.
    """
    if not isinstance(others, (str, os.PathLike)):
        raise UsageError(
            f"`others` must be a folder of images, or the name or file of a data set. Received: {type(others).__name__}"
        )
    if not os.path.isdir(others):
        return load_images(os.fspath(others))
    files = inspect_files(files_below(Path(others)))
    usable = [file for file in files if not file.problem]
    if not usable:
        raise DataError(f"No usable image in {others}. Expected {others}/*.jpg")
    if left_out := [file.path.name for file in files if file.problem]:
        more = " and more" if len(left_out) > 1 else ""
        log.warning("Left out %d of %d files in %s: %s%s", len(left_out), len(files), others, left_out[0], more)
    images = FileImages([file.path for file in usable], [file.sha256 for file in usable])
    return Part(images, np.zeros(len(usable), np.int64))


def measure_others(known: np.ndarray, strange: np.ndarray, output: dict[str, Any]) -> dict[str, Any]:
    """Return how well the confidence tells strangers from known images, and how many are turned away.

    The confidence is the probability of the likeliest class.

    Args:
        known: the probabilities of images of the classes, `(N, classes)`.
        strange: those of images of none of them, `(M, classes)`.
        output: as a manifest has it: what an answer is held to.

    Returns:
        `images`, how many strangers; `auroc`, the share of pairs in which the known image is the surer one, equally
        sure ones counted half; `reject_below`; `rejected` and `known_rejected`, the shares of strangers and of known
        images that are given no class, `None` where every image is given one.
    """
    from sklearn.metrics import roc_auc_score

    truth = np.repeat([1, 0], [len(known), len(strange)])
    confidence = np.concatenate([known, strange]).max(axis=1)
    may_refuse = "reject_below" in output or output.get("multi_label", False)
    return {
        "images": len(strange),
        "auroc": float(roc_auc_score(truth, confidence)),
        "reject_below": output.get("reject_below"),
        "rejected": share_rejected(strange, output) if may_refuse else None,
        "known_rejected": share_rejected(known, output) if may_refuse else None,
    }


def share_rejected(probabilities: np.ndarray, output: dict[str, Any]) -> float:
    """Return the share of images that are given no class."""
    return float(np.mean([not chosen for chosen in decide(probabilities, output)]))
