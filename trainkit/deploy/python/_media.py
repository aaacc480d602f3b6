"""What is looked at: image files, folders of them, videos, a camera."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import cv2
import numpy as np

from trainkit.deploy.python._values import IMAGE_SUFFIXES, VIDEO_SUFFIXES, BundleError


def is_utf8(path: str | Path) -> bool:
    """Whether a path can be written in UTF-8; `cv2.imread` ends the process on one that cannot."""
    return all(not 0xD800 <= ord(letter) <= 0xDFFF for letter in str(path))


def read_image(path: str | Path) -> np.ndarray:
    """Decode an image file as uint8 `(height, width, 3)`, BGR, its EXIF orientation obeyed.

    Raises:
        BundleError: OpenCV cannot read the file.
    """
    if not os.path.isfile(path):
        raise BundleError(f"No such image: {path}")
    if not is_utf8(path):
        raise BundleError(f"The name {str(path)!a} is not UTF-8, on which OpenCV may crash. Rename it.")
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise BundleError(f"OpenCV cannot read {path} as an image. Convert it to JPEG or PNG.")
    return np.asarray(image)


def list_files(source: str) -> List[str]:
    """Return the images and videos of a folder and its subfolders, by name; of what is no folder, itself.

    Raises:
        BundleError: there is none in the folder.
    """
    if not os.path.isdir(source):
        return [source]
    found = [
        str(Path(folder, name))
        for folder, _, names in os.walk(source)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES + VIDEO_SUFFIXES) and not name.startswith(".")
    ]
    if not found:
        raise BundleError(f"No images in {source}. Expected files that end in {', '.join(IMAGE_SUFFIXES)}, or a video.")
    return sorted(found)


def is_video(source: str) -> bool:
    """Whether a file is a video, by its name."""
    return source.lower().endswith(VIDEO_SUFFIXES)


def read_frames(source: str | int, every: int = 1) -> Iterator[Tuple[int, np.ndarray]]:
    """Yield the frames of a video file or a camera: a number from 0, and uint8 `(height, width, 3)`, BGR.

    Args:
        source: a file, or a camera's number.
        every: only each so manieth frame.

    Raises:
        BundleError: OpenCV cannot open it, or it gives no frame.
    """
    name = f"camera {source}" if isinstance(source, int) else source
    if not isinstance(source, int) and not os.path.isfile(source):
        raise BundleError(f"No such video: {source}")
    capture = cv2.VideoCapture(source)
    number = 0
    try:
        while capture.isOpened() and capture.grab():
            if number % every == 0:
                given, frame = capture.retrieve()
                if not given or frame is None:
                    break
                yield number, np.asarray(frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
            number += 1
    finally:
        capture.release()
    if number == 0:
        raise BundleError(f"OpenCV {cv2.__version__} gets no frame from {name}. Try another file or camera.")


def describe_speed(count: int, seconds: float) -> str:
    """Say how many images a second were answered."""
    return f"{count} {'image' if count == 1 else 'images'} in {seconds:.2f} s: {count / seconds:.1f} images/s"


def in_batches(items: Iterator[Any], size: int) -> Iterator[List[Any]]:
    """Yield lists of up to `size` items."""
    batch = list(itertools.islice(items, size))
    while batch:
        yield batch
        batch = list(itertools.islice(items, size))
