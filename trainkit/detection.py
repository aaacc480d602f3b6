"""Find objects in image files through a manifest, and draw what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.bundles import EXPORTED, find_manifest
from trainkit.data.inspection import read_image
from trainkit.deploy.classify import Detection, Detector
from trainkit.drawing import NOTHING_FOUND, draw_boxes, draw_lines, find_targets, save_picture


def detect_files(
    manifest: str | Path,
    images: Sequence[Path],
    *,
    min_confidence: float | None = None,
    annotate: Path | None = None,
    batch: int = 1,
    exported: Path = EXPORTED,
) -> list[dict[str, Any]]:
    """Find objects in image files; `trainkit.prediction.find_problems` says which files are no images.

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
    detector = Detector(find_manifest(manifest, exported))
    targets = find_targets(images, annotate)
    results = []
    for start in range(0, len(images), batch):
        paths = images[start : start + batch]
        pictures = [read_image(path) for path in paths]
        several = detector.predict_many(pictures, min_confidence=min_confidence)
        for path, picture, found in zip(paths, pictures, several, strict=True):
            if path in targets:
                save_picture(targets[path], _draw(picture, found))
            results.append({"image": str(path.absolute()), "detections": [_to_json(one) for one in found]})
    return results


def _to_json(found: Detection) -> dict[str, Any]:
    return {"label": found.label, "confidence": found.confidence, "box": list(found.box)}


def _draw(image: np.ndarray, found: list[Detection]) -> np.ndarray:
    return draw_boxes(image, found) if found else draw_lines(image, [NOTHING_FOUND])
