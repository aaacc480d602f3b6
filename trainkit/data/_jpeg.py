"""Whether a JPEG is whole, by its markers: without decoding it."""

from __future__ import annotations

import re

_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)  # those that stand within a scan are passed over
_BEHIND_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)  # the numbers of restarts stand within a scan
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: with Huffman's codes
_PROGRESSIVE, _HUFFMAN, _SCAN, _END = 0xC2, 0xC4, 0xDA, 0xD9
_OTHERS = (_HUFFMAN, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0))  # tables, the restart interval, comments, applications


def is_whole_jpeg(data: bytes) -> bool:
    """Whether a decoder comes to the end of a JPEG: then it has all of it, or knows that there never was more.

    Only files as cameras and programs write them are: one frame of 8 bits with one or three components, and nothing
    that decoders may pass over in different ways. Of any other the answer is no, which says nothing of it.
    """
    if data[:2] != b"\xff\xd8":
        return False
    position, frame, tables, scanned = 2, b"", False, False
    while found := _MARKER.search(data, position) if scanned else _MARKER.match(data, position):
        marker, position = found[1][0], found.end()
        segment = data[position : position + int.from_bytes(data[position : position + 2], "big")]
        if marker == _END:
            return scanned
        if len(segment) < 3:
            return False
        if marker in _FRAMES and not frame and _is_usual_frame(segment):
            frame = bytes((marker, segment[7]))
        elif marker == _SCAN and frame and tables:
            scanned = True
            # A picture in one scan is decoded row by row: what stands behind it, not every decoder looks at.
            if frame[0] != _PROGRESSIVE and segment[2] == frame[1]:
                return _ends_behind_scan(data, position + len(segment))
        elif marker not in _OTHERS:
            return False
        tables = tables or marker == _HUFFMAN
        position += len(segment)
    return False


def _ends_behind_scan(data: bytes, start: int) -> bool:
    """Whether the first marker behind a scan is that of the end."""
    found = _BEHIND_SCAN.search(data, start)
    return found is not None and found[0][1] == _END


def _is_usual_frame(segment: bytes) -> bool:
    """Whether a frame has a size, 8 bits, and is grey or coloured."""
    if len(segment) < 8:
        return False
    return segment[2] == 8 and any(segment[3:5]) and any(segment[5:7]) and segment[7] in (1, 3)
