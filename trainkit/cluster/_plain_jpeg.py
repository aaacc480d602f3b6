"""JPEGs as most programs write them, read with as little around OpenCV's decoder as there can be.

Of an image of 320x240, all that `read_checked_image` asks of a file takes half as long as decoding it. Here a file is
read once, and only what has nothing in its header that decoders may think differently of is decoded.
"""

from __future__ import annotations

import stat
from pathlib import Path

import cv2
import numpy as np

from trainkit.data._jpeg import is_whole_jpeg
from trainkit.deploy.python._media import BOMB_PIXELS, is_utf8

_MOST_BYTES = 2**25
_BASELINE, _PROGRESSIVE, _HUFFMAN, _SCAN = 0xC0, 0xC2, 0xC4, 0xDA
_QUANTIZATION, _RESTART, _JFIF = 0xDB, 0xDD, 0xE0
_TABLE_BYTES = 65  # of 8 bits each, and its number


def read_plain_jpeg(path: str) -> np.ndarray | None:
    """Return uint8 `(height, width, 3)`, BGR, as `read_checked_image` does; `None` for all but a plain JPEG."""
    file = Path(path)
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES or not (path.isascii() or is_utf8(path)):
            return None
        data = file.read_bytes()
    except (OSError, ValueError):
        return None
    if not (_is_plain(data) and is_whole_jpeg(data)):
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image)


def _is_plain(data: bytes) -> bool:
    """Whether the header has one frame of a usual size, tables, and at most what JFIF says: no EXIF, no profile."""
    position, framed = 2, False
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if marker == _SCAN:
            return framed
        if length < 2 or not _is_known(marker, data[position + 4 : end]):
            return False
        framed = framed or marker in (_BASELINE, _PROGRESSIVE)
        position = end
    return False


def _is_known(marker: int, body: bytes) -> bool:
    if marker == _HUFFMAN:
        return True
    if marker == _QUANTIZATION:
        return len(body) % _TABLE_BYTES == 0 and all(number < 4 for number in body[::_TABLE_BYTES])
    if marker in (_BASELINE, _PROGRESSIVE):
        height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        return len(body) > 5 and 0 < height * width <= BOMB_PIXELS and len(body) == 6 + 3 * body[5]
    if marker == _JFIF:
        return len(body) == 14 and body.startswith(b"JFIF\0")
    return marker == _RESTART and len(body) == 2
