"""Image files that cannot be used, found before anything is trained on them."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
from PIL import Image, UnidentifiedImageError

from trainkit.deploy.classify import MAX_PIXELS, is_utf8
from trainkit.errors import DataError

# What every OpenCV since 4.5 decodes, by Pillow's names. MPO is a JPEG with further pictures behind it.
READABLE_FORMATS = ("BMP", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION = 0x0112  # the EXIF tag
MAX_BYTES = 2**28  # a file is read whole, and a forgotten film would fill the memory


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that was looked at."""

    path: Path
    sha256: str
    problem: str | None  # why it cannot be used, as the end of a sentence that begins with the path


def inspect_files(paths: Sequence[Path]) -> list[ImageFile]:
    """Look at files on all cores; the result has their order."""
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # what Pillow thinks of odd but readable files
        return list(pool.map(inspect_file, paths))


def inspect_file(path: Path) -> ImageFile:
    """Decode one file with Pillow, which unlike OpenCV reports a truncated JPEG, and say what is wrong with it."""
    if not is_utf8(path):
        return ImageFile(path, "", "has a name that is not UTF-8, on which OpenCV may crash: rename it")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return ImageFile(path, "", "is no regular file")
        if status.st_size > MAX_BYTES:
            return ImageFile(path, "", f"has more than {MAX_BYTES} bytes: no photograph")
        data = path.read_bytes()
    except OSError as error:
        return ImageFile(path, "", f"cannot be read ({error.strerror})")
    return ImageFile(path, hashlib.sha256(data).hexdigest(), _problem(path, data))


def _problem(path: Path, data: bytes) -> str | None:
    if not data:
        return "is empty"
    if data[4:8] == b"ftyp":  # Pillow reads AVIF, and HEIC only with a plugin: both are named by their brand
        return _unreadable_everywhere("AVIF" if data[8:11] == b"avi" else "HEIC")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _problem_of_image(image, path)
    except UnidentifiedImageError:
        return "is no image"
    except Image.DecompressionBombError:
        return "has too many pixels: scale it down"
    except Exception as error:  # Pillow's decoders raise whatever they meet in a damaged file
        return "is truncated" if "truncated" in str(error).lower() else f"is damaged ({error})"


def _problem_of_image(image: Image.Image, path: Path) -> str | None:
    if image.format not in READABLE_FORMATS:
        return _unreadable_everywhere(str(image.format))
    if image.format == "WEBP" and getattr(image, "is_animated", False):
        return _unreadable_everywhere("animated WebP")
    if image.format in ("WEBP", "TIFF") and image.getexif().get(_ORIENTATION, 1) != 1:
        return (
            f"is a {image.format} with a rotation, which OpenCV's versions read differently: convert it to JPEG or PNG"
        )
    if image.width * image.height > MAX_PIXELS:
        return f"has too many pixels ({image.width}x{image.height}): scale it down"
    if image.format in ("JPEG", "MPO"):
        image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))  # reads it all, at an eighth
    image.load()
    if image.format not in ("JPEG", "MPO", "WEBP") and _imread(path) is None:  # Pillow forgives a PNG more
        return f"is a {image.format} that OpenCV {cv2.__version__} cannot decode: convert it to PNG"
    return None


def _unreadable_everywhere(name: str) -> str:
    article = "an" if name[0] in "AEHIOaeio" and name != "HEIC" else "a"
    return f"is {article} {name}, which not every OpenCV since 4.5 reads: convert it to JPEG or PNG"


def _imread(path: Path) -> cv2.typing.MatLike | None:
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return image if image is not None and image.ndim == 3 else None


def read_image(path: Path) -> cv2.typing.MatLike:
    """Decode a file that passed the inspection: uint8 `(height, width, 3)`, BGR, its EXIF orientation obeyed.

    Raises:
        DataError: OpenCV cannot decode it.
    """
    image = _imread(path)
    if image is None:
        raise DataError(f"OpenCV cannot read {path} as an image. Convert it to JPEG or PNG, or take it out.")
    return image


def check_image_file(path: Path) -> None:
    """Raise unless `path` is an image that every OpenCV since 4.5 reads.

    Raises:
        DataError: says what is wrong with it.
    """
    if not os.path.isfile(path):  # unlike Path's, false for a name that is too long
        if os.path.isdir(path):
            raise DataError(f"{path} is a folder. Name the images in it, such as {path}/*.jpg")
        raise DataError(f"No such image: {path}")
    (looked_at,) = inspect_files([path])
    if looked_at.problem:
        raise DataError(f"{path} {looked_at.problem}")
