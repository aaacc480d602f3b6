"""Faces on photographs, with five landmarks each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import counting
from trainkit.bundles._drawing import draw_faces, draw_lines, find_targets, save_picture
from trainkit.data._inspection import check_image_file, read_image
from trainkit.deploy.python._values import NOTHING_FOUND
from trainkit.errors import OutputError, TrainkitError, UsageError
from trainkit.files import check_writable
from trainkit.lessons._cascade import find_candidates

LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


def find_faces(
    images: Sequence[str | Path] | str | Path,
    *,
    min_confidence: float = 0.9,
    annotate: str | Path | None = None,
    crop: str | Path | None = None,
) -> list[dict[str, Any]]:
    """Find the faces on image files, by MTCNN.

    Args:
        images: files; one of them alone may be given as it is.
        min_confidence: the lowest confidence to report, 0 to 1; MTCNN itself reports nothing up to 0.8.
        annotate: where to write the image with boxes and landmarks drawn on it; a folder where there are several.
        crop: a folder for a PNG file of each face, `<image>-<number>.png`.

    Returns:
        `{"image", "faces": [{"box": [x, y, width, height], "confidence", "keypoints": {...}}]}` for each image, in
        pixels; the keypoints are `LANDMARKS`, `[x, y]` each, left as one sees it on the picture.

    Raises:
        UsageError: `min_confidence` is not from 0 to 1.
        DataError: a file is no image.
        OutputError: a picture exists already or cannot be written.
        TrainkitError: the package mtcnn is not installed.
    """
    if not 0 <= min_confidence <= 1:
        raise UsageError(f"`min_confidence` must be from 0 to 1. Received: {min_confidence}")
    paths = [Path(images)] if isinstance(images, (str, Path)) else [Path(image) for image in images]
    for path in counting(paths, "Looking at the files", unit="files"):
        check_image_file(path)
    check_installed()
    targets = find_targets(paths, None if annotate is None else Path(annotate))
    crops = None if crop is None else Path(crop)
    if crops is not None:
        _check_crops(paths, crops, targets.values())
    results = []
    for path in counting(paths, "Finding faces"):
        image = np.asarray(read_image(path))
        found = [face for face in detect_faces(image) if face["confidence"] >= min_confidence]
        if path in targets:
            save_picture(targets[path], _draw(image, found))
        if crops is not None:
            _save_crops(crops, path, image, found)
        results.append({"image": str(path.absolute()), "faces": found})
    return results


def detect_faces(image_bgr: np.ndarray) -> list[dict[str, Any]]:
    """Return what MTCNN takes for faces on an image, in its own order: boxes, confidences, landmarks.

    A landmark may lie outside the image, where the face does; a box does not.

    Args:
        image_bgr: uint8 `(height, width, 3)`.
    """
    faces = [_to_face(candidate) for candidate in find_candidates(image_bgr)]
    return [face for face in faces if min(face["box"][2:]) > 0]


def _to_face(candidate: dict[str, Any]) -> dict[str, Any]:
    """Return a face of the package in plain numbers."""
    return {
        "box": [int(value) for value in candidate["box"]],
        "confidence": float(candidate["confidence"]),
        "keypoints": {name: [int(value) for value in candidate["keypoints"][name]] for name in LANDMARKS},
    }


def check_installed() -> None:
    """Raise unless the package mtcnn can be imported.

    Raises:
        TrainkitError: says how to install it.
    """
    if find_spec("mtcnn") is None:
        raise TrainkitError("Finding faces needs the package mtcnn. Install it: pip install mtcnn")


def _check_crops(images: Sequence[Path], folder: Path, pictures: Iterable[Path]) -> None:
    """Raise where a crop, however many there will be, could meet a file or another picture.

    Raises:
        OutputError: says which.
    """
    check_writable(folder)
    if len({path.stem for path in images}) < len(images):
        raise OutputError("Two of the images have the same name and would share crops. Crop them one by one.")
    there = list(folder.iterdir()) if folder.is_dir() else []
    planned = [picture for picture in pictures if picture.parent.absolute() == folder.absolute()]
    for stem in (path.stem for path in images):
        for taken in (*there, *planned):
            if re.fullmatch(rf"{re.escape(stem)}-\d+\.png", taken.name):
                raise OutputError(
                    f"{taken} has the name of a crop, and nothing is overwritten. Choose another --crop, or move it."
                )


def _save_crops(folder: Path, image: Path, picture: np.ndarray, faces: Sequence[dict[str, Any]]) -> None:
    for number, face in enumerate(faces, 1):
        left, top, right, bottom = _edges(face)
        save_picture(folder / f"{image.stem}-{number}.png", picture[top:bottom, left:right])


def _draw(picture: np.ndarray, found: list[dict[str, Any]]) -> np.ndarray:
    if not found:
        return draw_lines(picture, [NOTHING_FOUND])
    return draw_faces(picture, [(face["confidence"], _edges(face), list(face["keypoints"].values())) for face in found])


def _edges(face: dict[str, Any]) -> tuple[int, int, int, int]:
    x, y, width, height = face["box"]
    return x, y, x + width, y + height
