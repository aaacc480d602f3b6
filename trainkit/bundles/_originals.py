"""Image files without what they say about people and places: the same pixels, decoded the same way up.

Nothing is encoded again: parts of a file are left out. What OpenCV then decodes is compared with what it did before.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from PIL import Image

_ORIENTATION = 0x0112  # of EXIF


def without_metadata(data: bytes) -> bytes | None:
    """Return an image file without EXIF (but for the orientation), XMP, profiles, thumbnails, comments and trailers.

    Args:
        data: of a JPEG, PNG, WebP or BMP file.

    Returns:
        `None` for another format, and where OpenCV would not decode the same pixels.
    """
    strip = next((strip for magic, strip in _FORMATS.items() if data.startswith(magic)), None)
    if strip is None:
        return None
    wanted = _decoded(data)
    for orientation in dict.fromkeys((_orientation_of(data), 1)):  # OpenCV does not ask XMP, which Pillow does
        try:
            stripped = strip(data, orientation)
        except (ValueError, IndexError, struct.error):  # it is not what its first bytes say
            return None
        found = _decoded(stripped)
        if wanted is not None and found is not None and np.array_equal(wanted, found):
            return stripped
    return None


def _decoded(data: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def _orientation_of(data: bytes) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as image:
                found = image.getexif().get(_ORIENTATION, 1)
        except Exception:  # Pillow's decoders raise what they like; the pixels are compared anyway
            return 1
    return found if isinstance(found, int) and 1 < found <= 8 else 1


def _exif(orientation: int) -> bytes:
    """Return EXIF's TIFF with one entry, the orientation."""
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, _ORIENTATION, 3, 1, orientation, 0, 0)


def _strip_jpeg(data: bytes, orientation: int) -> bytes:
    """Keep what decodes the picture: ITU T.81's segments, JFIF's first fourteen bytes, and Adobe's kind of colours."""
    parts = [data[:2]]
    for marker, segment in _segments(data):
        if marker == 0xE0 and segment[4:9] == b"JFIF\0":
            parts.append(b"\xff\xe0\x00\x10" + segment[4:16] + b"\0\0")  # its thumbnail has no pixels now
        elif (marker == 0xEE and segment[4:9] == b"Adobe") or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            parts.append(segment)
    if orientation != 1:
        body = b"Exif\0\0" + _exif(orientation)
        parts.insert(2 if parts[1][1] == 0xE0 else 1, b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    return b"".join(parts)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each marker of a JPEG file with its segment, and the coded pixels behind one; nothing after the end."""
    place = 2
    while True:
        if data[place] != 0xFF:
            raise ValueError("expected a marker")
        while data[place + 1] == 0xFF:  # it may be filled up
            place += 1
        marker, end = data[place + 1], place + 2
        if not (marker == 0x01 or 0xD0 <= marker <= 0xD9):
            end += int.from_bytes(data[end : end + 2], "big")
        if marker == 0xDA:
            end = _end_of_scan(data, end)
        yield marker, data[place:end]
        if marker == 0xD9:
            return
        place = end


def _end_of_scan(data: bytes, place: int) -> int:
    while True:
        place = data.index(0xFF, place)
        if data[place + 1] != 0 and not 0xD0 <= data[place + 1] <= 0xD7 and data[place + 1] != 0xFF:
            return place
        place += 1 if data[place + 1] == 0xFF else 2


_PNG_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT"}


def _strip_png(data: bytes, orientation: int) -> bytes:
    parts, place, kind = [data[:8]], 8, b""
    while kind != b"IEND":
        length = int.from_bytes(data[place : place + 4], "big")
        kind, end = data[place + 4 : place + 8], place + 12 + length
        if end > len(data):
            raise ValueError("it was cut off")
        if kind in _PNG_CHUNKS:
            parts.append(data[place:end])
        if kind == b"IHDR" and orientation != 1:
            body = b"eXIf" + _exif(orientation)
            parts.append(struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)))
        place = end
    return b"".join(parts)


_WEBP_CHUNKS = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}
_HAS_EXIF, _HAS_ALPHA, _IS_ANIMATED = 0x08, 0x10, 0x02  # bits of VP8X


def _strip_webp(data: bytes, orientation: int) -> bytes:
    if data[8:12] != b"WEBP":
        raise ValueError("not WebP")
    parts, place, end = [b"WEBP"], 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while place + 8 <= end:
        kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        chunk = data[place : place + 8 + length + length % 2]
        if kind == b"VP8X":
            flags = chunk[8] & (_HAS_ALPHA | _IS_ANIMATED) | (_HAS_EXIF if orientation != 1 else 0)
            chunk = chunk[:8] + bytes([flags]) + chunk[9:]
        if kind in _WEBP_CHUNKS:
            parts.append(chunk)
        place += len(chunk)
    if orientation != 1:
        body = _exif(orientation)
        parts.append(b"EXIF" + struct.pack("<I", len(body)) + body)
    body = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _strip_bmp(data: bytes, orientation: int) -> bytes:
    """Keep a file of the plain kind up to its last pixel; later kinds may hold a profile, or its path."""
    header, width, height, planes, bits, compression = struct.unpack("<IiiHHI", data[14:34])
    first = int.from_bytes(data[10:14], "little")
    if header != 40 or compression != 0 or planes != 1:
        raise ValueError("not the plain kind")
    end = first + (width * bits + 31) // 32 * 4 * abs(height)
    if end > len(data):
        raise ValueError("it was cut off")
    return data[:2] + struct.pack("<IHHI", end, 0, 0, first) + data[14:end]


_FORMATS: dict[bytes, Callable[[bytes, int], bytes]] = {
    b"\xff\xd8\xff": _strip_jpeg,
    b"\x89PNG\r\n\x1a\n": _strip_png,
    b"RIFF": _strip_webp,
    b"BM": _strip_bmp,
}
