"""Faces on photographs, with five landmarks each: MTCNN (Zhang et al. 2016, arXiv:1604.02878), by the package mtcnn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainkit.data.inspection import check_image_file, read_image
from trainkit.drawing import NOTHING_FOUND, draw_boxes, draw_lines, draw_points, find_targets, save_picture
from trainkit.errors import OutputError, TrainkitError, UsageError

LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
# MTCNN looks at an image in many sizes at once, which takes a hundred bytes and more of memory for each of its pixels.
_MOST_PIXELS = 2_500_000


def find_faces(
    images: Sequence[str | Path] | str | Path,
    *,
    min_confidence: float = 0.9,
    annotate: str | Path | None = None,
    crop: str | Path | None = None,
) -> list[dict[str, Any]]:
    """Find the faces on image files.

    Args:
        images: files; one of them alone may be given as it is.
        min_confidence: the lowest confidence to report, 0 to 1.
        annotate: where to write the image with boxes and landmarks drawn on it; a folder where there are several.
        crop: a folder for a PNG file of each face, `<image>-<number>.png`.

    Returns:
        `{"image", "faces": [{"box": [x, y, width, height], "confidence", "keypoints": {...}}]}` for each image, in
        pixels; the keypoints are `LANDMARKS`, `[x, y]` each, left as one sees it on the picture.

    Raises:
        DataError: a file is no image.
        OutputError: a picture exists already or cannot be written.
        TrainkitError: the package mtcnn is not installed.
    """
    if not 0 <= min_confidence <= 1:
        raise UsageError(f"`min_confidence` must be from 0 to 1. Received: {min_confidence}")
    paths = [Path(images)] if isinstance(images, (str, Path)) else [Path(image) for image in images]
    for path in paths:
        check_image_file(path)
    check_installed()
    targets = find_targets(paths, None if annotate is None else Path(annotate))
    if crop is not None and len({path.stem for path in paths}) < len(paths):
        raise OutputError("Two of the images have the same name and would share crops. Crop them one by one.")
    results = []
    for path in paths:
        picture = np.asarray(read_image(path))
        found = [face for face in detect_faces(picture) if face["confidence"] >= min_confidence]
        if path in targets:
            save_picture(targets[path], _draw(picture, found))
        if crop is not None:
            _save_crops(Path(crop), path, picture, found)
        results.append({"image": str(path.absolute()), "faces": found})
    return results


def detect_faces(image_bgr: np.ndarray) -> list[dict[str, Any]]:
    """Return what MTCNN takes for faces on an image, in its own order: boxes, confidences, landmarks.

    An image of more than 2.5 million pixels is looked at in a smaller copy: the smallest face that can be found, 20
    pixels otherwise, is then larger by as much.

    Args:
        image_bgr: uint8 `(height, width, 3)`.
    """
    height, width = image_bgr.shape[:2]
    scale = max(1.0, (height * width / _MOST_PIXELS) ** 0.5)
    looked_at = image_bgr
    if scale > 1:
        size = (max(1, round(width / scale)), max(1, round(height / scale)))
        looked_at = np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA))
    factors = (width / looked_at.shape[1], height / looked_at.shape[0])
    found = _detector().detect_faces(np.ascontiguousarray(looked_at[..., ::-1]))
    faces = [_to_face(face, factors, width, height) for face in found]
    return [face for face in faces if min(face["box"][2:]) > 0]


def _to_face(face: dict[str, Any], factors: tuple[float, float], width: int, height: int) -> dict[str, Any]:
    """Return a face of the package in plain numbers and pixels of the whole image, its box within that."""
    x, y, box_width, box_height = (int(value) for value in face["box"])
    left, right = (min(max(round(edge * factors[0]), 0), width) for edge in (x, x + box_width))
    top, bottom = (min(max(round(edge * factors[1]), 0), height) for edge in (y, y + box_height))
    return {
        "box": [left, top, right - left, bottom - top],
        "confidence": float(face["confidence"]),
        "keypoints": {
            name: [round(int(value) * factor) for value, factor in zip(face["keypoints"][name], factors, strict=True)]
            for name in LANDMARKS
        },
    }


def check_installed() -> None:
    """Raise unless the package mtcnn can be imported.

    Raises:
        TrainkitError: says how to install it.
    """
    if find_spec("mtcnn") is None:
        raise TrainkitError("Finding faces needs the package mtcnn. Install it: pip install mtcnn")


@cache
def _detector() -> Any:
    from trainkit.backend import silent_stderr

    with silent_stderr():
        from mtcnn import MTCNN

        return MTCNN()


def _save_crops(folder: Path, image: Path, picture: np.ndarray, faces: Sequence[dict[str, Any]]) -> None:
    """Write each face of an image, or none of them where one would overwrite something."""
    targets = [folder / f"{image.stem}-{number}.png" for number in range(1, len(faces) + 1)]
    for target in targets:
        if target.exists():
            raise OutputError(
                f"{target} exists already, and nothing is overwritten. Choose another --crop, or move it."
            )
    for target, face in zip(targets, faces, strict=True):
        left, top, right, bottom = _edges(face["box"])
        save_picture(target, picture[top:bottom, left:right])


def _draw(picture: np.ndarray, found: list[dict[str, Any]]) -> np.ndarray:
    if not found:
        return draw_lines(picture, [NOTHING_FOUND])
    points = [tuple(point) for face in found for point in face["keypoints"].values()]
    boxes = [("face", face["confidence"], _edges(face["box"])) for face in found]
    return draw_boxes(draw_points(picture, points), boxes)


def _edges(box: Sequence[int]) -> tuple[int, int, int, int]:
    x, y, width, height = box
    return x, y, x + width, y + height
