"""What is looked at: image files, folders of them, videos, a camera."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, List, NamedTuple, Tuple

import cv2
import numpy as np

from trainkit.deploy.python._headers import read_picture_size
from trainkit.deploy.python._values import IMAGE_SUFFIXES, MAX_PIXELS, VIDEO_SUFFIXES, BundleError

_VIDEO_BOMB_PIXELS = 2**26  # of a frame; a film in 8K has 2^25, and may be black all through
# A bomb is large and nearly nothing on disk: 34 bytes of WebP can be 13,000x13,000 pixels, which take 3 GB to decode.
BOMB_PIXELS = 2**24
BOMB_PIXELS_A_BYTE = 256  # photographs have 50 at most; PNG's compression ends at 344 for a picture of one colour


class Picture(NamedTuple):
    """An image, or a frame of a video or a camera: uint8 `(height, width, 3)`, BGR."""

    source: str | Path
    frame: int | None  # counted from 0
    image: np.ndarray

    @property
    def name(self) -> str:
        """How it is called on the screen."""
        return str(self.source) if self.frame is None else f"{self.source} frame {self.frame}"


def is_utf8(path: str | Path) -> bool:
    """Whether a path can be written in UTF-8; `cv2.imread` ends the process on one that cannot."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_image(path: str | Path) -> np.ndarray:
    """Decode an image file as uint8 `(height, width, 3)`, BGR, its EXIF orientation obeyed.

    Raises:
        BundleError: OpenCV cannot read the file, or its header says that it is too large.
    """
    if not os.path.isfile(path):
        raise BundleError(f"No such image: {path}")
    if not is_utf8(path):
        raise BundleError(f"The name {str(path)!a} is not UTF-8, on which OpenCV may crash. Rename it.")
    image = decode_image(path)
    if image is None:
        raise BundleError(f"OpenCV cannot read {path} as an image. Convert it to JPEG or PNG.")
    return image


def decode_image(path: str | Path) -> np.ndarray | None:
    """Return what OpenCV makes of an image file, as `read_image` does, `None` where it cannot read it.

    Raises:
        BundleError: its header says that it is too large.
    """
    size = read_picture_size(path)
    if size is None:
        return None
    check_pixel_count(*size, str(path), Path(path).stat().st_size)
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return np.asarray(image) if image is not None and image.ndim == 3 else None


def check_pixel_count(width: float, height: float, name: str, file_bytes: int | None = None) -> None:
    """Raise where a picture would fill the memory: before it is decoded.

    Raises:
        BundleError: says how large it is.
    """
    pixels, size = width * height, f"{width:.0f}x{height:.0f}"
    if pixels > MAX_PIXELS:
        raise BundleError(f"{name} has too many pixels ({size}). Expected at most {MAX_PIXELS}: scale it down.")
    least = _VIDEO_BOMB_PIXELS if is_video(name) else BOMB_PIXELS
    if file_bytes is not None and pixels > max(least, BOMB_PIXELS_A_BYTE * file_bytes):
        raise BundleError(
            f"{name} has too many pixels for a file of {file_bytes} bytes ({size}): a decompression bomb. Take it out."
        )


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
        every: only every Nth frame.

    Raises:
        BundleError: OpenCV cannot open it, it gives no frame, its frames are too large, or it is a list of other files.
    """
    name = f"camera {source}" if isinstance(source, int) else source
    if not isinstance(source, int) and not os.path.isfile(source):
        raise BundleError(f"No such video: {source}")
    file_bytes = None
    if not isinstance(source, int):
        _check_is_no_list(source)
        file_bytes = Path(source).stat().st_size
    capture = cv2.VideoCapture(source)
    number = 0
    try:
        while capture.isOpened():
            # Each time: the frames of some films change their size.
            width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
            check_pixel_count(width, height, name, file_bytes)
            if not capture.grab():
                break
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


def _check_is_no_list(path: str) -> None:
    """Raise where a file is text: FFmpeg would take a playlist for a film, and open the files that it names."""
    with Path(path).open("rb") as file:
        head = file.read(32)
    if head.startswith((b"#EXTM3U", b"ffconcat")) or re.fullmatch(rb"(?:\xef\xbb\xbf)?[\t\n\r -~]+", head):
        raise BundleError(f"{path} is text, not a video. Name the video itself.")


def list_inputs(sources: Iterable[str], complain: Callable[[BundleError, Any], None]) -> Iterator[str]:
    """Yield the files of each source, see `list_files`; complain of a folder that has none, and go on with the next."""
    for source in sources:
        try:
            yield from list_files(source)
        except BundleError as error:
            complain(error, source)


def read_pictures(
    files: Iterable[str | Path],
    complain: Callable[[BundleError, Any], None],
    *,
    camera: int | None = None,
    every: int = 1,
    read: Callable[[Any], np.ndarray] = read_image,
) -> Iterator[Picture]:
    """Yield what a camera sees, then each image and frame of files.

    Args:
        files: images and videos.
        complain: is given the error of a file that cannot be read, and the file; the next one follows.
        camera: its number.
        every: of a video or a camera, only every Nth frame.
        read: reads an image file.

    Raises:
        BundleError: there is no such camera.
    """
    if camera is not None:
        for number, frame in read_frames(camera, every):
            yield Picture(f"camera {camera}", number, frame)
    for file in files:
        try:
            if is_video(str(file)):
                for number, frame in read_frames(str(file), every):
                    yield Picture(file, number, frame)
            else:
                yield Picture(file, None, read(file))
        except BundleError as error:
            complain(error, file)
