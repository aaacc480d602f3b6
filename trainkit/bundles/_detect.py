"""Find objects in images through a manifest, and draw what was found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.bundles._drawing import draw_boxes, draw_lines
from trainkit.bundles._find import EXPORTED, find_manifest
from trainkit.bundles._inputs import Images, Inputs, Picture, answer, check_no_annotate, list_images, opened
from trainkit.deploy.python._detector import Detector
from trainkit.deploy.python._prediction import in_batches
from trainkit.deploy.python._values import NOTHING_FOUND, Detection


def detect(
    bundle: str | os.PathLike[str],
    images: Images,
    *,
    min_confidence: float | None = None,
    batch: int = 1,
    annotate: str | os.PathLike[str] | None = None,
    backend: str | None = None,
    target: str | None = None,
    exported: str | os.PathLike[str] = EXPORTED,
) -> list[Any]:
    """Find objects in images through a manifest, with OpenCV alone.

    Each call opens the network: a loop is better off with `trainkit.Detector`.

    Args:
        bundle: the manifest of a detector, its folder, or the folder's name in `exported`.
        images: as for `trainkit.predict`.
        min_confidence: the lowest confidence to report, 0 to 1; by default the manifest's, or 0.5.
        batch: images in one blob. One by default: many networks that others exported take no more, and some OpenCV
            versions end the process then.
        annotate: where to write the image with its boxes drawn on it, a folder where there are several; with paths.
        backend: what computes, as for `trainkit.predict`.
        target: on what, likewise.
        exported: the folder of bundles.

    Returns:
        For paths what `trainkit detect --json` prints, see `detect_files`. For one array its
        `Detection(label, confidence, box)`, the surest first, in pixels of that image; for a list of arrays such a list
        for each.

    Raises:
        BundleError: the manifest or its model is missing or wrong.
        DataError: some files are no images; it names them all.
        OutputError: a picture exists already or cannot be written.
        UsageError: there are no images, or there is no such backend or target.
        ValueError: an array is no such image, or `min_confidence` is out of range.
    """
    given = list_images(images)
    choices: dict[str, Any] = {"backend": backend, "target": target}
    if isinstance(given[0], Path):
        paths = [path for path in given if isinstance(path, Path)]
        inputs = Inputs(paths=paths, batch=batch, annotate=None if annotate is None else Path(annotate))
        results = detect_inputs(bundle, inputs, min_confidence=min_confidence, **choices, exported=Path(exported))
        return [result for _, result in results]
    check_no_annotate(annotate)
    detector = opened(Detector, find_manifest(bundle, Path(exported)), **choices)
    chunks = in_batches(iter(given), batch)
    found = [one for some in chunks for one in detector.predict_many(some, min_confidence=min_confidence)]
    return found[0] if isinstance(images, np.ndarray) else found


def detect_files(
    manifest: str | os.PathLike[str],
    images: Sequence[Path],
    *,
    min_confidence: float | None = None,
    annotate: Path | None = None,
    batch: int = 1,
    exported: Path = EXPORTED,
) -> list[dict[str, Any]]:
    """Find objects in image files.

    Args:
        manifest: the file, its folder, or the folder's name in `exported`.
        images: files.
        min_confidence: the lowest confidence to report, 0 to 1; by default the manifest's, or 0.5.
        annotate: where to write the image with its boxes drawn on it; a folder where there are several.
        batch: images in one blob. One by default: many networks that others exported take no more, and some OpenCV
            versions end the process then.
        exported: the folder of bundles.

    Returns:
        `{"image", "detections": [{"label", "confidence", "box": [left, top, right, bottom]}]}` for each image, in
        pixels of that image, the surest first.

    Raises:
        BundleError: the manifest or its model is missing or wrong.
        DataError: OpenCV cannot decode a file.
        OutputError: a picture exists already or cannot be written.
    """
    inputs = Inputs(paths=images, annotate=annotate, batch=batch)
    return [result for _, result in detect_inputs(manifest, inputs, min_confidence=min_confidence, exported=exported)]


def detect_inputs(
    manifest: str | os.PathLike[str],
    inputs: Inputs,
    *,
    min_confidence: float | None = None,
    backend: str | None = None,
    target: str | None = None,
    exported: Path = EXPORTED,
) -> Iterator[tuple[Picture, dict[str, Any]]]:
    """Find objects in images, folders, videos or what a camera sees; `_inputs.answer` says what is raised.

    The arguments are those of `detect_files` and of `trainkit.bundles._predict.classify_inputs`.

    Yields:
        Each picture with what `detect_files` returns for it, and for a frame its number, `frame`.
    """
    detector = opened(Detector, find_manifest(manifest, exported), backend=backend, target=target)
    answer_blob = partial(detector.answer_blob, min_confidence=min_confidence)
    for picture, (found, _) in answer(inputs, detector, answer_blob, _draw, text="Detecting"):
        yield picture, {**picture.to_json(), "detections": [_to_json(one) for one in found]}


def _to_json(found: Detection) -> dict[str, Any]:
    return {"label": found.label, "confidence": found.confidence, "box": list(found.box)}


def _draw(image: np.ndarray, found: list[Detection]) -> np.ndarray:
    return draw_boxes(image, found) if found else draw_lines(image, [NOTHING_FOUND])
