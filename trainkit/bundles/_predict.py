"""Classify images through a bundle or a manifest written by hand, and draw what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.bundles._drawing import draw_lines
from trainkit.bundles._find import EXPORTED, find_manifest
from trainkit.bundles._inputs import Inputs, Picture, answer, opened
from trainkit.data._inspection import check_image_file
from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._values import NOTHING_FOUND, Prediction


def predict_files(
    bundle: str | Path,
    images: Sequence[Path],
    *,
    top: int = 5,
    min_confidence: float = 0.0,
    annotate: Path | None = None,
    exported: Path = EXPORTED,
) -> list[dict[str, Any]]:
    """Classify image files; all of them are looked at before the first is classified, and one bad one stops it.

    Args:
        bundle: its folder, its name in `exported`, or a manifest.
        images: files.
        top: labels an image, at most.
        min_confidence: the lowest probability to report, 0 to 1.
        annotate: where to write the image with its labels drawn on it; a folder where there are several.
        exported: the folder of bundles.

    Returns:
        `{"image", "predictions": [{"label", "probability"}]}` for each image.

    Raises:
        BundleError: the bundle is missing or damaged.
        DataError: a file is no image that every OpenCV since 4.5 reads.
        OutputError: a picture exists already or cannot be written.
    """
    for path in images:
        check_image_file(path)
    inputs = Inputs(paths=images, annotate=annotate)
    found = classify_inputs(bundle, inputs, top=top, min_confidence=min_confidence, exported=exported)
    return [result for _, result in found]


def classify_inputs(
    manifest: str | Path,
    inputs: Inputs,
    *,
    top: int = 5,
    min_confidence: float = 0.0,
    backend: str | None = None,
    target: str | None = None,
    exported: Path = EXPORTED,
) -> Iterator[tuple[Picture, dict[str, Any]]]:
    """Classify images, folders, videos or what a camera sees; `_inputs.answer` says what is raised.

    Args:
        manifest: the file, its folder, or the folder's name in `exported`.
        inputs: what is looked at.
        top: labels an image, at most.
        min_confidence: the lowest probability to report, 0 to 1.
        backend: what computes, by OpenCV's name; see `trainkit.deploy.python.find_backend`.
        target: on what, likewise.
        exported: the folder of bundles.

    Yields:
        Each picture with `{"image", "predictions": [{"label", "probability"}]}`, and for a frame its number, `frame`.
    """
    classifier = opened(Classifier, find_manifest(manifest, exported), backend=backend, target=target)
    predict_many = partial(classifier.predict_many, top=top, min_confidence=min_confidence)
    for picture, found in answer(inputs, predict_many, _draw_labels):
        yield picture, {**picture.to_json(), "predictions": [prediction._asdict() for prediction in found]}


def _draw_labels(image: np.ndarray, found: list[Prediction]) -> np.ndarray:
    lines = [f"{label}  {probability:.1%}" for label, probability in found]
    return draw_lines(image, lines or [NOTHING_FOUND])
