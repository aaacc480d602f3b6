"""Pictures, answered in batches by a classifier or a detector."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, List, Sequence, Tuple

import numpy as np

from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._detector import Detector
from trainkit.deploy.python._manifest import read_manifest
from trainkit.deploy.python._media import Picture
from trainkit.deploy.python._values import BundleError


def open_bundle(bundle: str | Path, **choices: Any) -> Classifier | Detector:
    """Open what a manifest describes; see `Network` for the choices and what is raised."""
    kind = read_manifest(bundle)["output"]["kind"]
    return (Detector if kind == "ssd" else Classifier)(bundle, **choices)


def answer_pictures(
    pictures: Iterable[Picture],
    predict_many: Callable[[Sequence[np.ndarray]], Sequence[Any]],
    *,
    batch: int = 1,
    complain: Callable[[BundleError, Any], None] | None = None,
) -> Iterator[Tuple[Picture, Any]]:
    """Yield each picture with the answer to it.

    Args:
        pictures: see `read_pictures`.
        predict_many: answers several images.
        batch: images in one blob.
        complain: is given the error of a batch that has no answer, and the source of its first picture; the next one
            follows. None: the error is raised.
    """
    for several in in_batches(iter(pictures), batch):
        try:
            answers = predict_many([one.image for one in several])
        except BundleError as error:
            if complain is None:
                raise
            complain(error, several[0].source)
            continue
        yield from zip(several, answers)


def in_batches(items: Iterator[Any], size: int) -> Iterator[List[Any]]:
    """Yield lists of up to `size` items."""
    batch = list(itertools.islice(items, size))
    while batch:
        yield batch
        batch = list(itertools.islice(items, size))


def describe_speed(count: int, seconds: float) -> str:
    """Say how many images a second were answered."""
    return f"{count} {'image' if count == 1 else 'images'} in {seconds:.2f} s: {count / seconds:.1f} images/s"
