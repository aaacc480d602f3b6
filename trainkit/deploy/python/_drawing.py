"""What was found, drawn on the image with OpenCV's own font."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Sequence, Tuple

import cv2
import numpy as np

from trainkit.deploy.python._values import NOTHING_FOUND, BundleError, Detection, Prediction


def draw(image_bgr: np.ndarray, found: Sequence[Prediction | Detection]) -> np.ndarray:
    """Return a copy of an image with boxes round what was found, or with its labels in the corner."""
    picture = np.array(image_bgr)
    scale = max(0.4, picture.shape[1] / 1200)
    height = int(30 * scale)
    if not found:
        _write(picture, NOTHING_FOUND, (0, 0), scale)
    for i, one in enumerate(found):
        text, corner = f"{one[0]} {one[1]:.1%}", (0, i * height)
        if isinstance(one, Detection):
            left, top, right, bottom = (int(edge) for edge in one.box)
            cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), (90, 220, 0), max(1, round(2 * scale)))
            corner = (left, max(0, top - height))
        _write(picture, text, corner, scale)
    return picture


def _write(picture: np.ndarray, text: str, corner: Tuple[int, int], scale: float) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's fonts have no other letters
    left, top = corner
    width = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
    bottom = top + int(30 * scale)
    cv2.rectangle(picture, corner, (left + width + 4, bottom), (0, 0, 0), cv2.FILLED)
    cv2.putText(picture, plain, (left + 2, bottom - int(9 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255))


def save_picture(options: argparse.Namespace, name: str, picture_bgr: np.ndarray) -> None:
    """Write a picture to what --annotate names: a file for one image, else a folder. Nothing is overwritten."""
    path, frame = Path(options.annotate), re.search(" frame ([0-9]+)$", name)
    if frame or len(options.inputs) > 1 or os.path.isdir(options.inputs[0]) or os.path.isdir(path):
        stem = f"{Path(name[: frame.start()]).stem}-{frame[1]}" if frame else Path(name).stem
        path = path / f"{stem}.png"
    try:
        written, data = cv2.imencode(path.suffix, picture_bgr)
    except cv2.error:
        written = False
    if not written:
        raise BundleError(f"OpenCV cannot write {path}. Expected a name that ends in .png or .jpg.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data.tobytes())
    except FileExistsError:
        raise BundleError(f"{path} exists already, and nothing is overwritten. Choose another --annotate.") from None
    except OSError as error:
        raise BundleError(f"Cannot write {path} ({error.strerror}). Choose another --annotate.") from None
