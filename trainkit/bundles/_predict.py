"""Classify images through a bundle or a manifest written by hand, and draw what was found."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.bundles._drawing import draw_lines
from trainkit.bundles._find import EXPORTED, find_manifest
from trainkit.bundles._inputs import (
    Images,
    Inputs,
    Picture,
    answer,
    check_no_annotate,
    check_no_predictions,
    inverting,
    list_images,
    opened,
)
from trainkit.bundles._recording import Recorder
from trainkit.data._inspection import check_image_file
from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._prediction import in_batches
from trainkit.deploy.python._showing import named
from trainkit.deploy.python._values import NOTHING_FOUND, Prediction
from trainkit.errors import UsageError

log = logging.getLogger("trainkit")


def predict(
    bundle: str | os.PathLike[str],
    images: Images,
    *,
    top: int = 5,
    min_confidence: float = 0.0,
    batch: int = 1,
    annotate: str | os.PathLike[str] | None = None,
    predictions: str | os.PathLike[str] | None = None,
    invert: bool = False,
    backend: str | None = None,
    target: str | None = None,
    exported: str | os.PathLike[str] = EXPORTED,
) -> list[Any]:
    """Classify images through a bundle, with OpenCV alone.

    Each call opens the bundle: a loop is better off with `trainkit.Classifier`.

    Args:
        bundle: a `Bundle`, its folder, its name in `exported`, or a manifest.
        images: a path or several: images, videos, and folders of both; or an image in memory, or a list of them:
            uint8 `(height, width, 3)`, BGR, as `cv2.imread` returns it, of any size.
        top: labels an image, at most.
        min_confidence: the lowest probability to report, 0 to 1.
        batch: images in one blob.
        annotate: where to write the image with its labels drawn on it, a folder where there are several; with paths.
        predictions: a `.csv` file for a row an image, or a folder for the same as Parquet; with paths.
        invert: turn dark into light before anything else: for dark digits on paper where light ones were learned.
        backend: what computes, by OpenCV's name, such as `CUDA`; by default OpenCV's own.
        target: on what, such as `CUDA_FP16`; by default the CPU.
        exported: the folder of bundles.

    Returns:
        For paths what `trainkit predict --json` prints, `{"image", "predictions": [{"label", "probability"}]}` for each
        image, and with a list of `warnings` where one is much darker or lighter than the training images were. For one
        array its `Prediction(label, probability)`, the likeliest first; for a list of arrays such a list for each. The
        label is None where the bundle turns an image away: none of these.

    Raises:
        BundleError: the bundle is missing or damaged.
        DataError: some files are no images that every OpenCV since 4.5 reads; it names them all.
        OutputError: a picture or the predictions exist already or cannot be written.
        UsageError: there are no images, no such backend or target, or predictions are no `.csv` file or folder.
        ValueError: an array is no such image, or `top` or `min_confidence` is out of range.
    """
    given = list_images(images)
    options: dict[str, Any] = {"top": top, "min_confidence": min_confidence}
    choices: dict[str, Any] = {"backend": backend, "target": target}
    if isinstance(given[0], Path):
        paths = [path for path in given if isinstance(path, Path)]
        inputs = Inputs(paths=paths, batch=batch, annotate=None if annotate is None else Path(annotate), invert=invert)
        options["predictions"] = None if predictions is None else Path(predictions)
        found = classify_inputs(bundle, inputs, **options, **choices, exported=Path(exported))
        return [result for _, result in found]
    check_no_annotate(annotate)
    check_no_predictions(predictions)
    classifier = opened(Classifier, find_manifest(bundle, Path(exported)), **choices)
    predict_many = inverting(classifier.predict_many, invert=invert)
    answers = [one for some in in_batches(iter(given), batch) for one in predict_many(some, **options)]
    for number, image in enumerate(given):
        _warn(f"image {number}", classifier.brightness_warning(np.asarray(image), inverted=invert))
    return answers[0] if isinstance(images, np.ndarray) else answers


def predict_files(
    bundle: str | os.PathLike[str],
    images: Sequence[Path],
    *,
    top: int = 5,
    min_confidence: float = 0.0,
    annotate: Path | None = None,
    exported: Path = EXPORTED,
) -> list[dict[str, Any]]:
    """Classify image files; all of them are looked at before the first is classified, and one bad one stops it.

    Args:
        bundle: a `Bundle`, its folder, its name in `exported`, or a manifest.
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
    manifest: str | os.PathLike[str],
    inputs: Inputs,
    *,
    top: int = 5,
    min_confidence: float = 0.0,
    predictions: Path | None = None,
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
        predictions: where to write a row an image, as `trainkit.runs._predictions` does.
        backend: what computes, by OpenCV's name; see `trainkit.deploy.python.find_backend`.
        target: on what, likewise.
        exported: the folder of bundles.

    Yields:
        Each picture with `{"image", "predictions": [{"label", "probability"}]}`, for a frame its number, `frame`, and
        a list of `warnings` where it is much darker or lighter than the training images were.
    """
    if predictions is not None and inputs.camera is not None:
        raise UsageError("--predictions goes with images and videos: what a camera sees has no end.")
    warned: set[Any] = set()  # of a film one line is enough
    recorder = Recorder(predictions)
    classifier = opened(recorder.open, find_manifest(manifest, exported), backend=backend, target=target)
    answer_blob = partial(classifier.answer_blob, top=top, min_confidence=min_confidence)
    for picture, (found, warning) in recorder.watch(answer(inputs, classifier, answer_blob, _draw_labels)):
        if picture.frame is None or picture.source not in warned:
            _warn(picture.name, warning)
        if warning is not None:
            warned.add(picture.source)
        warnings = {} if warning is None else {"warnings": [warning]}
        yield picture, {**picture.to_json(), "predictions": [one._asdict() for one in found], **warnings}


def _warn(name: str, warning: str | None) -> None:
    if warning is not None:
        log.warning("%s: %s", name, warning)


def _draw_labels(image: np.ndarray, found: list[Prediction]) -> np.ndarray:
    lines = [f"{named(label)}  {probability:.1%}" for label, probability in found]
    return draw_lines(image, lines or [NOTHING_FOUND])
