"""JPEGs as most programs write them, read with as little around OpenCV's decoder as there can be.

Of an image of 320x240, all that `read_checked_image` asks of a file takes half as long as decoding it. Here a file is
read once, and only what has nothing in its header that decoders may think differently of is decoded.
"""

from __future__ import annotations

import os
import re
import stat

import cv2
import numpy as np

from trainkit.data._jpeg import is_whole_jpeg
from trainkit.deploy.python._media import BOMB_PIXELS, is_utf8

_MOST_BYTES = 2**25
_READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe is not waited for
_BASELINE, _PROGRESSIVE, _HUFFMAN, _SCAN = 0xC0, 0xC2, 0xC4, 0xDA
_QUANTIZATION, _RESTART, _JFIF = 0xDB, 0xDD, 0xE0
_END = b"\xd9"
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)  # behind a scan
_TABLE_BYTES = 65  # of 8 bits each, and its number


def read_plain_jpeg(path: str) -> np.ndarray | None:
    """Return uint8 `(height, width, 3)`, BGR, as `read_checked_image` does; `None` for all but a plain JPEG."""
    if not (path.isascii() or is_utf8(path)):
        return None
    try:
        data = _read_bytes(path)
    except (OSError, ValueError):
        return None
    if not _is_plain(data):
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image)


def _read_bytes(path: str) -> bytes:
    """Return what is in a regular file; nothing of anything else. `Path.read_bytes` takes several times as long."""
    descriptor = os.open(path, _READ_ONLY)
    try:
        status = os.fstat(descriptor)
        usable = stat.S_ISREG(status.st_mode) and status.st_size <= _MOST_BYTES
        return os.read(descriptor, status.st_size) if usable else b""
    finally:
        os.close(descriptor)


def _is_plain(data: bytes) -> bool:
    """Whether a file is whole, and its header has a frame of a usual size, tables, and at most what JFIF says."""
    position, framed, tables = 2, False, False
    if data[:2] != b"\xff\xd8":
        return False
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if marker == _SCAN:
            found = _MARKER.search(data, end) if framed and tables else None
            return found is not None and (found[1] == _END or is_whole_jpeg(data))
        is_frame = marker in (_BASELINE, _PROGRESSIVE)
        if length < 2 or (is_frame and framed) or not _is_known(marker, data[position + 4 : end]):
            return False
        framed = framed or is_frame
        tables = tables or marker == _HUFFMAN
        position = end
    return False


def _is_known(marker: int, body: bytes) -> bool:
    if marker == _HUFFMAN:
        return True
    if marker == _QUANTIZATION:
        return len(body) % _TABLE_BYTES == 0 and all(number < 4 for number in body[::_TABLE_BYTES])
    if marker in (_BASELINE, _PROGRESSIVE):  # 8 bits, height, width, and three bytes for each of 1 or 3 components
        pixels = int.from_bytes(body[1:3], "big") * int.from_bytes(body[3:5], "big")
        return len(body) in (9, 15) and body[0] == 8 and 0 < pixels <= BOMB_PIXELS and len(body) == 6 + 3 * body[5]
    if marker == _JFIF:
        return len(body) == 14 and body.startswith(b"JFIF\0")
    return marker == _RESTART and len(body) == 2
