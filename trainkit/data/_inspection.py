"""What is in image files, found before anything is trained on them: which cannot be used, and how the others look."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from trainkit._progress import counting
from trainkit.data._cores import all_cores
from trainkit.data._jpeg import is_whole_jpeg
from trainkit.data._repeats._fingerprints import SIDE, Fingerprint, compute_fingerprints, shrink
from trainkit.data._repeats._same_picture import SIDE as THUMBNAIL
from trainkit.data._repeats._same_picture import to_thumbnail
from trainkit.deploy.python._media import BOMB_PIXELS, BOMB_PIXELS_A_BYTE, decode_image, is_utf8
from trainkit.deploy.python._values import MAX_PIXELS
from trainkit.errors import DataError

# What every OpenCV since 4.5 decodes, by Pillow's names. MPO is a JPEG with further pictures behind it.
READABLE_FORMATS = ("BMP", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_BLOCK = 8  # files whose fingerprints are computed at once. Of PNGs of 12 megapixels that many take three seconds
_CHUNK = 1024  # files that wait for a core
_BY_PILLOW = ("JPEG", "MPO", "WEBP")  # are decoded by it, the others by OpenCV
_AT_SCALE = {  # OpenCV's flags for a JPEG at a part of its size
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_ISO_MEDIA = b"ftyp"
_ORIENTATION = 0x0112  # the EXIF tag
MAX_BYTES = 2**28  # a file is read whole, and a forgotten film would fill the memory


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that was looked at."""

    path: Path
    sha256: str
    problem: str | None  # why it cannot be used, as the end of a sentence that begins with the path
    width: int = 0  # pixels, upright; 0 where there is a problem
    height: int = 0
    mode: str = ""  # Pillow's name: RGB, L, ...
    format: str = ""
    orientation: int = 1  # of EXIF, 1 to 8: 1 is upright
    fingerprint: Fingerprint | None = field(default=None, repr=False)  # `None` also where the picture is flat


_inspect_elsewhere: ContextVar[Callable[[Sequence[Path]], list[ImageFile]] | None]
_inspect_elsewhere = ContextVar("inspect_elsewhere", default=None)


@contextmanager
def inspecting_by(inspect: Callable[[Sequence[Path]], list[ImageFile]]) -> Iterator[None]:
    """Let `inspect_files` of the block be done by something else, such as a cluster."""
    token = _inspect_elsewhere.set(inspect)
    try:
        yield
    finally:
        _inspect_elsewhere.reset(token)


def inspect_files(paths: Sequence[Path]) -> list[ImageFile]:
    """Look at files on all cores, or by what `inspecting_by` has named; the result has their order."""
    elsewhere = _inspect_elsewhere.get()
    return elsewhere(paths) if elsewhere else inspect_here(paths)


def inspect_here(paths: Sequence[Path]) -> list[ImageFile]:
    """Look at files on all cores of this machine, whatever `inspecting_by` says."""
    with warnings.catch_warnings(), all_cores() as pool:
        warnings.simplefilter("ignore")  # what Pillow thinks of odd but readable files
        looked_at = inspect_on(pool, paths)
        return [next(looked_at) for _ in counting(paths, "Looking at the files", unit="files")]


def inspect_on(pool: Executor, paths: Sequence[Path]) -> Iterator[ImageFile]:
    """Look at files on the threads of a pool, and yield what is in them, in their order."""
    size = min(_BLOCK, len(paths) // 64 + 1)  # a few large ones are spread over all cores
    for first in range(0, len(paths), _CHUNK):
        chunk = paths[first : first + _CHUNK]
        for files in pool.map(inspect_block, [chunk[start : start + size] for start in range(0, len(chunk), size)]):
            yield from files


def inspect_file(path: Path) -> ImageFile:
    """Decode one file with Pillow, which unlike OpenCV reports a truncated JPEG, and say what is wrong with it."""
    return inspect_block([path])[0]


def inspect_block(paths: Sequence[Path]) -> list[ImageFile]:
    """Look at some files on this thread, as `inspect_file` does at one: of many at once it takes less time."""
    looked_at = [_examine_path(path) for path in paths]
    files = [file for file, _ in looked_at]
    pictures = {number: small for number, (_, small) in enumerate(looked_at) if small is not None}
    if not pictures:
        return files
    sizes = [(files[number].height, files[number].width) for number in pictures]
    fingerprints = compute_fingerprints(list(pictures.values()), sizes)
    for number, fingerprint in zip(pictures, fingerprints, strict=True):
        files[number] = replace(files[number], fingerprint=fingerprint)
    return files


def _examine_path(path: Path) -> tuple[ImageFile, np.ndarray | None]:
    """Return what is in a file, still without its fingerprint, and the picture that this is computed of."""
    data = _read_bytes(path)
    if isinstance(data, str):
        return ImageFile(path, "", data), None
    file = ImageFile(path, hashlib.sha256(data).hexdigest(), None)
    found = _examine(file, data)
    return (replace(file, problem=found), None) if isinstance(found, str) else found


def _read_bytes(path: Path) -> bytes | str:
    """Return what is in a file; or why it cannot be used, as the end of a sentence that begins with the path."""
    if not is_utf8(path):
        return "has a name that is not UTF-8, on which OpenCV may crash: rename it"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "is no regular file"
        if status.st_size > MAX_BYTES:
            return f"has more than {MAX_BYTES} bytes: no photograph"
        return path.read_bytes()
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _examine(file: ImageFile, data: bytes) -> tuple[ImageFile, np.ndarray] | str:
    """Return as `_examine_path` does; or why the file cannot be used."""
    if not data:
        return "is empty"
    if data[4:8] == _ISO_MEDIA:  # Pillow reads AVIF, and HEIC only with a plugin: both are named by their brand
        return _unreadable_everywhere("AVIF" if data[8:11] == b"avi" else "HEIC")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _problem_of_header(image, len(data)) or _look_at(file, image, data)
    except UnidentifiedImageError:
        return "is no image"
    except Image.DecompressionBombError:
        return "has too many pixels: a decompression bomb, or a picture to scale down"
    except Exception as error:  # Pillow's decoders raise whatever they meet in a damaged file
        return "is truncated" if "truncated" in str(error).lower() else f"is damaged ({error})"


def _problem_of_header(image: Image.Image, size: int) -> str | None:
    if image.format not in READABLE_FORMATS:
        return _unreadable_everywhere(str(image.format))
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        return f"has too many pixels ({image.width}x{image.height}): scale it down"
    if pixels > max(BOMB_PIXELS, BOMB_PIXELS_A_BYTE * size):
        return f"has too many pixels for a file of {size} bytes ({image.width}x{image.height}): a decompression bomb"
    if image.format == "WEBP" and getattr(image, "is_animated", False):
        return _unreadable_everywhere("animated WebP")
    if image.format in ("WEBP", "TIFF") and _orientation(image) != 1:
        return (
            f"is a {image.format} with a rotation, which OpenCV's versions read differently: convert it to JPEG or PNG"
        )
    return None


def _orientation(image: Image.Image) -> int:
    orientation = image.getexif().get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _look_at(file: ImageFile, image: Image.Image, data: bytes) -> tuple[ImageFile, np.ndarray] | str:
    """Decode a picture once, to see whether it is whole and how it looks."""
    mode, orientation = image.mode, _orientation(image)
    width, height = image.size if orientation < 5 else image.size[::-1]
    upright = _decode_bytes(image, data)
    if upright is None:
        upright = _upright(file.path, image, SIDE)
    if upright is None:
        mending = "save it again" if image.format == "PNG" else "convert it to PNG"
        return f"is a {image.format} that OpenCV {cv2.__version__} cannot decode: {mending}"
    if image.format not in _BY_PILLOW:
        height, width = upright.shape[:2]
    looked_at = replace(file, width=width, height=height, mode=mode, format=str(image.format), orientation=orientation)
    return looked_at, shrink(upright)  # a block of whole photographs would fill the memory


def _decode_bytes(image: Image.Image, data: bytes) -> np.ndarray | None:
    """Return what `_upright` makes of a PNG, or of a JPEG that is known to be whole; `None` for any other file.

    It does so in half the time, because the file is not read again, and a JPEG's pixels do not pass through Pillow. It
    and OpenCV have the same decoder, which has the same pixels at the same scale: of 800 photographs none differed.
    """
    if image.format == "PNG":
        image.load()  # reports what OpenCV may pass over
        return _decode(data)
    if image.format != "JPEG" or not is_whole_jpeg(data):
        return None
    scale = next((scale for scale in (8, 4, 2) if min(image.size) // scale >= SIDE), 1)  # that of Pillow's `draft`
    return _decode(data, _AT_SCALE[scale])


def _upright(path: Path, image: Image.Image, side: int) -> np.ndarray | None:
    """Decode a picture whole, uint8 BGR, upright, perhaps at a smaller scale of at least `side` pixels."""
    orientation = _orientation(image)
    if image.format in ("JPEG", "MPO"):
        image.draft(image.mode, (side, side))  # reads it all, mostly at an eighth
    image.load()
    if image.format in _BY_PILLOW:
        return _turn(np.asarray(image.convert("RGB"))[..., ::-1], orientation)
    return decode_image(path)  # Pillow forgives a PNG more than OpenCV, and does not know 16 bits a channel


def read_thumbnail(path: Path) -> np.ndarray | None:
    """Read a file that passed the inspection as `to_thumbnail` returns it; `None` where it has changed since."""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # as above
            upright = _upright(path, image, THUMBNAIL) if image.format in _BY_PILLOW else decode_image(path)
    except Exception:  # as above
        return None
    return None if upright is None else to_thumbnail(upright)


def _turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return the picture upright, as `cv2.imread` does it; 1 to 8 are those of EXIF."""
    turned = image.swapaxes(0, 1) if orientation >= 5 else image
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def _unreadable_everywhere(name: str) -> str:
    article = "an" if name[0] in "AEHIOaeio" and name != "HEIC" else "a"
    return f"is {article} {name}, which not every OpenCV since 4.5 reads: convert it to JPEG or PNG"


def read_image(path: Path) -> np.ndarray:
    """Decode a file that passed the inspection: uint8 `(height, width, 3)`, BGR, its EXIF orientation obeyed.

    Raises:
        DataError: OpenCV cannot decode it.
    """
    image = decode_image(path)
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        looked_at = inspect_file(path)
    if looked_at.problem:
        raise DataError(f"{path} {looked_at.problem}")


def read_checked_image(path: Path) -> np.ndarray:
    """Read a file that nobody has looked at, decoding it once: as `check_image_file` and then `read_image`.

    Raises:
        DataError: as these two do.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        image = _read_usable(path) if os.path.isfile(path) else None
    if image is None:
        check_image_file(path)  # knows the reason
        return read_image(path)
    return image


def read_or_explain(path: Path) -> np.ndarray | str:
    """Read a file that nobody has looked at, decoding it once: return it as `read_image` does, or what is wrong.

    That is the problem which `inspect_file` finds, the end of a sentence that begins with the path. As there, what
    Pillow warns of is the caller's to silence.

    Raises:
        DataError: OpenCV cannot decode it, though there is no problem.
    """
    image = _read_usable(path)
    return inspect_file(path).problem or read_image(path) if image is None else image


def _read_usable(path: Path) -> np.ndarray | None:
    """Return what `read_image` does for a file that has no problem; `None` where there may be one."""
    data = _read_bytes(path)
    if isinstance(data, str) or not data:
        return None
    is_whole = is_whole_jpeg(data)
    if not _is_usable(data, is_whole):
        return None
    return _decode(data) if is_whole else decode_image(path)


def _is_usable(data: bytes, is_whole: bool) -> bool:
    """Whether there is no problem in a file, which takes a decoding for all but a JPEG that is known to be whole."""
    if data[4:8] == _ISO_MEDIA:
        return False
    try:
        with Image.open(io.BytesIO(data)) as image:
            if _problem_of_header(image, len(data)):
                return False
            _orientation(image)  # raises where the EXIF is damaged
            if image.format != "JPEG" or not is_whole:
                image.draft(image.mode, (SIDE, SIDE))
                image.load()
    except Exception:  # as above
        return False
    return True


def _decode(data: bytes, flag: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """Return what `cv2.imread` returns for a PNG, or a JPEG of one frame, whose size is known; it is not read again."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        return None
    return np.asarray(image) if image is not None and image.ndim == 3 else None
