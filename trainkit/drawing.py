"""Draw on photographs."""

from __future__ import annotations

import logging
import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

log = logging.getLogger("trainkit")

_READABLE_WIDTH = 200  # pixels
_MOST_ENLARGED = 2000  # pixels high


def draw_lines(image_bgr: np.ndarray, lines: list[str]) -> np.ndarray:
    """Return a copy of an image with lines of text in its upper left corner, sized to be read on it.

    An image too small for any text, such as a digit of 28x28, is enlarged by a whole factor first.

    Args:
        image_bgr: uint8 `(height, width, 3)`.
        lines: of text.
    """
    picture = Image.fromarray(np.ascontiguousarray(image_bgr[..., ::-1]))
    factor = min(math.ceil(_READABLE_WIDTH / picture.width), _MOST_ENLARGED // picture.height)
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture, "RGBA")
    text = "\n".join(lines)
    font = _fitting_font(draw, text, picture.width)
    margin = max(2, int(font.size) // 3)
    box = draw.multiline_textbbox((margin, margin), text, font=font)
    draw.rectangle((0, 0, box[2] + margin, box[3] + margin), fill=(0, 0, 0, 170))
    draw.multiline_text((margin, margin), text, fill="white", font=font)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])


def _fitting_font(draw: ImageDraw.ImageDraw, text: str, width: int) -> ImageFont.FreeTypeFont:
    file = str(_font_file(text))
    size = max(8, width // 20)
    while size > 8 and draw.multiline_textbbox((0, 0), text, font=ImageFont.truetype(file, size))[2] > 0.9 * width:
        size -= 1
    return ImageFont.truetype(file, size)


def _font_file(text: str) -> Path:
    """Return DejaVu Sans, which matplotlib carries, or an installed font where that lacks a letter, such as 猫."""
    spec = find_spec("matplotlib")
    assert spec is not None and spec.origin is not None
    usual = Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
    if text.isascii() or _has_all_letters(usual, text):
        return usual
    from matplotlib.font_manager import findSystemFonts

    for file in sorted(findSystemFonts()):
        if _has_all_letters(Path(file), text):
            return Path(file)
    log.warning("No installed font has every letter of `%s`: boxes stand for them. Noto Sans CJK has many.", text)
    return usual


def _has_all_letters(file: Path, text: str) -> bool:
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with file.open("rb") as opened, TTFont(opened, fontNumber=0, lazy=True) as font:
            return {ord(letter) for letter in text if letter.isprintable()} <= set(font.getBestCmap() or ())
    except (OSError, TTLibError):
        return False
