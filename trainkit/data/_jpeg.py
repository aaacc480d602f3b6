"""Whether a JPEG is whole, by its markers: without decoding it."""

from __future__ import annotations

import re

_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)  # those that stand within a scan are passed over
_MARKER_BEHIND = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)  # the same, searched 20 times as fast
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: with Huffman's codes
_HUFFMAN, _SCAN, _END = 0xC4, 0xDA, 0xD9
_OTHERS = (_HUFFMAN, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0))  # tables, the restart interval, comments, applications


def is_whole_jpeg(data: bytes) -> bool:
    """Whether a decoder comes to the end of a JPEG: then it has all of it, or knows that there never was more.

    Only files as cameras and programs write them are: one frame of 8 bits with one or three components, and nothing
    that decoders may pass over in different ways. Of any other the answer is no, which says nothing of it.
    """
    position, framed, tables, scans = 2, False, False, 0
    if data[:2] != b"\xff\xd8":
        return False
    while found := _MARKER.match(data, position) if not scans else _MARKER_BEHIND.search(data, position):
        marker, position = found[1][0], found.end()
        if marker == _END:
            return scans > 0
        length = int.from_bytes(data[position : position + 2], "big")
        if length < 2:
            return False
        if marker in _FRAMES and not framed:
            framed = _is_usual_frame(data[position : position + 8])
            if not framed:
                return False
        elif marker == _SCAN and framed and tables:
            scans += 1
        elif marker not in _OTHERS:
            return False
        tables = tables or marker == _HUFFMAN
        position += length
    return False


def _is_usual_frame(header: bytes) -> bool:
    """Whether a frame has a size, 8 bits, and is grey or coloured."""
    if len(header) < 8:
        return False
    return header[2] == 8 and any(header[3:5]) and any(header[5:7]) and header[7] in (1, 3)
