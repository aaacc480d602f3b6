"""How large a picture is, by its header: known before OpenCV is given the file and makes memory for it."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO, Callable, List, Optional, Tuple

# `(width, height)`; OpenCV goes by what a file begins with, whatever its name says, and so does this.
Size = Tuple[int, int]
_HEAD_BYTES = 2**16  # no header that is text is longer
_MOST_PARTS = 10_000  # segments or entries before the size; a photograph has some dozens


def read_picture_size(path: str | os.PathLike[str]) -> Size | None:
    """Return the (width, height) that an image file declares, before any rotation.

    Returns:
        `None` where it cannot be read, is of no kind that OpenCV reads, or its header is damaged.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD_BYTES)
            for pattern, read in _KINDS:
                if re.match(pattern, head, re.DOTALL):
                    return read(file, head)
    except (OSError, struct.error, ValueError, KeyError, OverflowError):  # what comes of a damaged header
        return None
    return None


def _at(layout: str, offset: int) -> Callable[[BinaryIO, bytes], Size]:
    """Return what reads width and height that stand side by side at a fixed place."""

    def read(_: BinaryIO, head: bytes) -> Size:
        width, height = struct.unpack_from(layout, head, offset)
        return abs(width), abs(height)

    return read


def _bmp(_: BinaryIO, head: bytes) -> Size:
    """Windows' headers have signed numbers, a picture from the top a negative height; the one of OS/2 short ones."""
    (header,) = struct.unpack_from("<I", head, 14)
    width, height = struct.unpack_from("<2H" if header == 12 else "<2i", head, 18)
    return abs(width), abs(height)


def _jpeg(file: BinaryIO, _: bytes) -> Size:
    """Return the largest size of all frames; decoders know the first, or refuse a second."""
    size, position = None, 2
    for _part in range(_MOST_PARTS):
        marker, position = _next_marker(file, position)
        if marker in (0xDA, 0xD9, None):  # the scan, the end of the picture or of the file
            break
        if marker == 1 or 0xD0 <= marker <= 0xD8:  # stands alone
            continue
        file.seek(position)
        length, _precision, height, width = struct.unpack(">HBHH", file.read(7).ljust(7, b"\0"))
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = (width, height) if size is None else (max(width, size[0]), max(height, size[1]))
        position += max(2, length)
    else:
        raise ValueError("more segments than any JPEG has")
    if size is None:
        raise ValueError("no frame")
    return size


def _next_marker(file: BinaryIO, position: int) -> Tuple[Optional[int], int]:
    """Return the next marker from a place on, and where it ends; decoders pass over what stands before it."""
    while True:
        file.seek(position)
        block = file.read(4096)
        found = re.search(b"\xff[^\xff\0]", block, re.DOTALL)
        if found:
            return block[found.end() - 1], position + found.end()
        if len(block) < 4096:
            return None, position
        position += 4095 if block.endswith(b"\xff") else 4096


def _webp(_: BinaryIO, head: bytes) -> Size:
    """Return the canvas of the extended form, or the size of a picture with losses (VP8) or without (VP8L)."""
    if head[12:16] == b"VP8X":
        low, middle, high = struct.unpack_from("<HHH", head, 24)
        return (low | (middle & 255) << 16) + 1, (middle >> 8 | high << 8) + 1
    if head[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 16383) + 1, (bits >> 14 & 16383) + 1
    width, height = struct.unpack_from("<2H", head, 26)
    return width & 16383, height & 16383


def _avif(_: BinaryIO, head: bytes) -> Size:
    """Return the largest of all items; libavif itself refuses more than 16384x16384 pixels."""
    sizes = [struct.unpack(">2I", size) for size in re.findall(b"ispe.{4}(.{8})", head, re.DOTALL)]
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _tiff(file: BinaryIO, head: bytes) -> Size:
    """Return the largest width and height of the first directory, which is the one that is read."""
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", head, 2)[0] == 43
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    counted, entry = (order + "Q", order + "HHQ8s") if big else (order + "H", order + "HHI4s")
    file.seek(offset)
    (count,) = struct.unpack(counted, file.read(struct.calcsize(counted)))
    entries = file.read(struct.calcsize(entry) * min(count, _MOST_PARTS))
    sides = {256: 0, 257: 0}
    for tag, kind, _count, value in struct.iter_unpack(
        entry, entries[: len(entries) - len(entries) % struct.calcsize(entry)]
    ):
        if tag in sides:
            sides[tag] = max(sides[tag], _tiff_number(order, kind, value))
    if count > _MOST_PARTS or not all(sides.values()):
        raise ValueError("no size")
    return sides[256], sides[257]


def _tiff_number(order: str, kind: int, value: bytes) -> int:
    """Return a whole number of the kinds BYTE, SHORT, LONG and LONG8, or their signed ones."""
    letter = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}[kind]
    return abs(int(struct.unpack_from(order + letter, value)[0]))


def _pnm(_: BinaryIO, head: bytes) -> Size:
    """Read two numbers as OpenCV does: a comment ends with its line, and the letter behind a number is passed over."""
    numbers: List[int] = []
    position = 2
    while len(numbers) < 2:
        found = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*(\d{1,10})").match(head, position)
        if found is None:
            raise ValueError("no size")
        numbers.append(int(found[1]))
        position = found.end() + 1
    return numbers[0], numbers[1]


def _pfm(_: BinaryIO, head: bytes) -> Size:
    return _largest(re.findall(rb"\A..\s+(\d+)\s+(\d+)\s", head, re.DOTALL))


def _pam(_: BinaryIO, head: bytes) -> Size:
    header, end, _rest = head.partition(b"ENDHDR")
    if not end:
        raise ValueError("no end")
    widths, heights = (re.findall(side + rb"\s+(\d+)", header) for side in (b"WIDTH", b"HEIGHT"))
    return _largest([(width, b"0") for width in widths] + [(b"0", height) for height in heights])


def _radiance(_: BinaryIO, head: bytes) -> Size:
    """Return the largest of what looks like a size, up to behind the first empty line, where the size stands."""
    found = re.match(rb"(.*?\n\n)(-Y[^\n]*\n)", head, re.DOTALL)
    if found is None:
        raise ValueError("no size")
    sizes = re.findall(rb"-Y\s*[+-]?(\d+)\s*\+X\s*[+-]?(\d+)", found[0])
    return _largest([(width, height) for height, width in sizes])


def _largest(sizes: List[Tuple[bytes, bytes]]) -> Size:
    if any(len(side) > 10 for size in sizes for side in size):
        raise ValueError("no size")
    return max(int(width) for width, _ in sizes), max(int(height) for _, height in sizes)


def _jpeg_2000(file: BinaryIO, head: bytes) -> Size:
    """Return the size of the codestream, in its box or as it stands."""
    position = 0
    if not head.startswith(b"\xff\x4f"):
        position = _box_of_codestream(file)
    file.seek(position)
    right, bottom, left, top = struct.unpack_from(">4I", file.read(24), 8)
    return right - left, bottom - top


def _box_of_codestream(file: BinaryIO) -> int:
    position = 0
    for _part in range(_MOST_PARTS):
        file.seek(position)
        length, kind, long_length = struct.unpack(">I4sQ", file.read(16))
        if kind == b"jp2c":
            return position + (16 if length == 1 else 8)
        length = long_length if length == 1 else length
        if length < 8:
            break
        position += length
    raise ValueError("no codestream")


def _open_exr(_: BinaryIO, head: bytes) -> Size:
    """Go through the attributes of the first part: name, kind, size, value."""
    position = 8
    for _part in range(_MOST_PARTS):
        name_end = head.index(b"\0", position)
        kind_end = head.index(b"\0", name_end + 1)
        (length,) = struct.unpack_from("<I", head, kind_end + 1)
        if head[position:name_end] == b"dataWindow":
            left, top, right, bottom = struct.unpack_from("<4i", head, kind_end + 5)
            return right - left + 1, bottom - top + 1
        position = kind_end + 5 + length
    raise ValueError("no window")


_KINDS: Tuple[Tuple[bytes, Callable[[BinaryIO, bytes], Size]], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n.{4}IHDR", _at(">2I", 16)),
    (b"BM", _bmp),
    (b"GIF8", _at("<2H", 6)),
    (b"RIFF.{4}WEBP", _webp),
    (b"II[*+]\0|MM\0[*+]", _tiff),
    (b"P[1-6]", _pnm),
    (b"P[Ff]", _pfm),
    (b"P7\\s", _pam),
    (b"\x59\xa6\x6a\x95", _at(">2I", 4)),  # Sun's raster files
    (rb"#\?(?:RADIANCE|RGBE)", _radiance),
    (b"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", _jpeg_2000),
    (b"\x76\x2f\x31\x01", _open_exr),
    (b".{4}ftyp", _avif),
)
