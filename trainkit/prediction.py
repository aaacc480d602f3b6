"""Classify image files through a bundle or a manifest written by hand, and draw what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.bundles import EXPORTED, find_manifest
from trainkit.data.inspection import check_image_file, read_image
from trainkit.deploy.classify import Classifier, Prediction
from trainkit.drawing import NOTHING_FOUND, draw_lines, find_targets, save_picture
from trainkit.errors import DataError


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
    return classify_files(bundle, images, top=top, min_confidence=min_confidence, annotate=annotate, exported=exported)


def find_problems(images: Sequence[Path]) -> dict[Path, str]:
    """Return the files that are no images every OpenCV since 4.5 reads, each with a sentence that says why."""
    problems = {}
    for path in images:
        try:
            check_image_file(path)
        except DataError as error:
            problems[path] = str(error)
    return problems


def refuse(problems: dict[Path, str], count: int) -> None:
    """Raise where some of `count` images had problems, each with its sentence.

    Raises:
        DataError: names them.
    """
    if problems:
        left_out = f"Left out {len(problems)} of {count} images: " if count > 1 else ""
        raise DataError(left_out + "; ".join(problems.values()))


def classify_files(
    bundle: str | Path,
    images: Sequence[Path],
    *,
    top: int,
    min_confidence: float,
    annotate: Path | None,
    exported: Path,
) -> list[dict[str, Any]]:
    """Do what `predict_files` does, with files that were looked at already."""
    classifier = Classifier(find_manifest(bundle, exported))
    targets = find_targets(images, annotate)
    results = []
    for path in images:
        image = read_image(path)
        found = classifier.predict(image, top=top, min_confidence=min_confidence)
        if path in targets:
            save_picture(targets[path], _draw_labels(image, found))
        results.append({"image": str(path.absolute()), "predictions": [prediction._asdict() for prediction in found]})
    return results


def _draw_labels(image: np.ndarray, found: list[Prediction]) -> np.ndarray:
    lines = [f"{label}  {probability:.1%}" for label, probability in found]
    return draw_lines(image, lines or [NOTHING_FOUND])
