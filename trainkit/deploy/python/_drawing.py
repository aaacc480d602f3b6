"""What was found, drawn on the image with OpenCV's own font."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Sequence, Tuple

import cv2
import numpy as np

from trainkit.deploy.python._media import Picture
from trainkit.deploy.python._showing import harmless, named
from trainkit.deploy.python._values import NOTHING_FOUND, BundleError, Detection, Prediction


def draw(image_bgr: np.ndarray, found: Sequence[Prediction | Detection]) -> np.ndarray:
    """Return a copy of an image with boxes round what was found, or with its labels in the corner."""
    picture = np.array(image_bgr)
    scale = max(0.4, picture.shape[1] / 1200)
    height = int(30 * scale)
    if not found:
        _write(picture, NOTHING_FOUND, (0, 0), scale)
    for i, one in enumerate(found):
        text, corner = f"{named(one[0])} {one[1]:.1%}", (0, i * height)
        if isinstance(one, Detection):
            left, top, right, bottom = (int(edge) for edge in one.box)
            cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), (90, 220, 0), max(1, round(2 * scale)))
            corner = (left, max(0, top - height))
        _write(picture, text, corner, scale)
    return picture


def _write(picture: np.ndarray, text: str, corner: Tuple[int, int], scale: float) -> None:
    plain = harmless(text).encode("ascii", "replace").decode()  # OpenCV's fonts have no other letters
    left, top = corner
    width = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
    bottom = top + int(30 * scale)
    cv2.rectangle(picture, corner, (left + width + 4, bottom), (0, 0, 0), cv2.FILLED)
    cv2.putText(picture, plain, (left + 2, bottom - int(9 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255))


def save_picture(annotate: str | Path, picture: Picture, drawn_bgr: np.ndarray, *, several: bool) -> None:
    """Write what was drawn on a picture to `annotate`, a file, or a folder for several. Nothing is overwritten.

    Raises:
        BundleError: it is there already, or cannot be written.
    """
    path = Path(annotate)
    if several or picture.frame is not None or os.path.isdir(path):
        number = "" if picture.frame is None else f"-{picture.frame}"
        path = path / f"{Path(picture.source).stem}{number}.png"
    try:
        written, data = cv2.imencode(path.suffix, drawn_bgr)
    except cv2.error:
        written = False
    if not written:
        raise BundleError(f"OpenCV cannot write {path}. Expected a name that ends in .png or .jpg.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data.tobytes())
    except FileExistsError as error:
        raise BundleError(f"{path} exists already, and nothing is overwritten. Choose another --annotate.") from error
    except OSError as error:
        raise BundleError(f"Cannot write {path} ({error.strerror}). Choose another --annotate.") from error
