"""What a notebook keeps of its outputs: small, and the same for everybody."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

from PIL import Image

_QUALITY = 80  # of JPEG
# What TensorFlow's C++ code writes, whatever it is told, and how a terminal overwrites its line.
_CHATTER = re.compile(r"^([IWE]\d{4} .*|WARNING: All log messages before absl.*|To enable the foll.*)\n?", re.M)
_OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")
_BACKSPACES = re.compile(r"\x08+")


def tidy(outputs: list[Any], number: int) -> list[Any]:
    """Return a cell's outputs with pictures as JPEG, and texts as a terminal would show them in the end.

    Args:
        outputs: of a cell, as nbformat has them.
        number: of the cell, the execution count.
    """
    kept: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and kept and kept[-1].get("name") == output.name:
            kept[-1].text += output.text
            continue
        if "data" in output:
            output.data = _with_small_pictures(dict(output.data))
            if "execution_count" in output:
                output.execution_count = number
        kept.append(output)
    for output in kept:
        if output.output_type == "stream":
            output.text = _at_rest(output.text)
    return [output for output in kept if output.get("text", " ") != ""]


def _at_rest(text: str) -> str:
    return _CHATTER.sub("", _OVERWRITTEN.sub("", _BACKSPACES.sub("\r", text)))


def _with_small_pictures(data: dict[str, Any]) -> dict[str, Any]:
    png = data.pop("image/png", None)
    if png is not None:
        small = _to_jpeg(base64.b64decode(png))
        kind = "image/png" if len(small) >= len(base64.b64decode(png)) else "image/jpeg"
        data[kind] = png if kind == "image/png" else base64.b64encode(small).decode()
    return data


def _to_jpeg(png: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()
