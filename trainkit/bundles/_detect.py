"""Find objects in images through a manifest, and draw what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.bundles._drawing import draw_boxes, draw_lines
from trainkit.bundles._find import EXPORTED, find_manifest
from trainkit.bundles._inputs import Inputs, Picture, answer, opened
from trainkit.deploy.python._detector import Detector
from trainkit.deploy.python._values import NOTHING_FOUND, Detection


def detect_files(
    manifest: str | Path,
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
    manifest: str | Path,
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
    predict_many = partial(detector.predict_many, min_confidence=min_confidence)
    for picture, found in answer(inputs, predict_many, _draw):
        yield picture, {**picture.to_json(), "detections": [_to_json(one) for one in found]}


def _to_json(found: Detection) -> dict[str, Any]:
    return {"label": found.label, "confidence": found.confidence, "box": list(found.box)}


def _draw(image: np.ndarray, found: list[Detection]) -> np.ndarray:
    return draw_boxes(image, found) if found else draw_lines(image, [NOTHING_FOUND])
