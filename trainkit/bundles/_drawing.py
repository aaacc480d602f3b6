"""Draw on photographs, and write what comes of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trainkit.deploy.python._showing import harmless
from trainkit.errors import OutputError
from trainkit.files import make_folder, replacing

log = logging.getLogger("trainkit")


_COLORS = ((0, 220, 90), (255, 120, 0), (0, 160, 255), (255, 60, 160), (250, 210, 0), (160, 100, 255))  # RGB
_READABLE_WIDTH = 200  # pixels
_MOST_ENLARGED = 2000  # pixels high


def draw_lines(image_bgr: np.ndarray, lines: list[str]) -> np.ndarray:
    """Return a copy of an image with lines of text in its upper left corner, sized to be read on it.

    An image too small for any text, such as a digit of 28x28, is enlarged by a whole factor first.

    Args:
        image_bgr: uint8 `(height, width, 3)`.
        lines: of text.
    """
    picture, _ = _enlarged(image_bgr)
    draw = ImageDraw.Draw(picture, "RGBA")
    text = "\n".join(map(harmless, lines))
    font = _fitting_font(draw, text, picture.width)
    margin = max(2, int(font.size) // 3)
    box = draw.multiline_textbbox((margin, margin), text, font=font)
    draw.rectangle((0, 0, box[2] + margin, box[3] + margin), fill=(0, 0, 0, 170))
    draw.multiline_text((margin, margin), text, fill="white", font=font)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])


def draw_boxes(image_bgr: np.ndarray, found: Sequence[tuple[str, float, Sequence[float]]]) -> np.ndarray:
    """Return a copy of an image with boxes, each with its label and confidence, and a colour for each label.

    An image too small for any text is enlarged by a whole factor first, as `draw_lines` does it.

    Args:
        image_bgr: uint8 `(height, width, 3)`.
        found: label, confidence, and left, top, right, bottom in pixels; what comes first is drawn on top.
    """
    picture, factor = _enlarged(image_bgr)
    draw = ImageDraw.Draw(picture)
    labels = sorted({label for label, _, _ in found})
    font = ImageFont.truetype(str(_font_file(harmless("".join(labels)))), max(10, picture.width // 40))
    line = max(1, round(min(picture.size) / 200))
    for label, confidence, box in reversed(found):
        color = _COLORS[labels.index(label) % len(_COLORS)]
        left, top, right, bottom = (round(edge * factor) for edge in box)
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color, width=line)
        _write_caption(draw, harmless(f"{label} {confidence:.1%}"), (left, top), font, color, picture.width)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])


def draw_faces(
    image_bgr: np.ndarray, found: Sequence[tuple[float, Sequence[float], Sequence[Sequence[float]]]]
) -> np.ndarray:
    """Return a copy of an image with a box round each face, its landmarks and its confidence, all of the face's size.

    An image too small for any text is enlarged by a whole factor first, as `draw_lines` does it.

    Args:
        image_bgr: uint8 `(height, width, 3)`.
        found: confidence; left, top, right, bottom; and x, y of each landmark, in pixels.
    """
    picture, factor = _enlarged(image_bgr)
    draw = ImageDraw.Draw(picture)
    file = str(_font_file("100%"))
    for confidence, box, points in reversed(found):
        left, top, right, bottom = (round(edge * factor) for edge in box)
        line = max(1, min(min(picture.size) // 200, (bottom - top) // 25))
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=_COLORS[0], width=line)
        radius = max(1, round((bottom - top) / 35))
        for x, y in ((int((x + 0.5) * factor), int((y + 0.5) * factor)) for x, y in points):
            draw.ellipse(
                (x - radius, y - radius, x + radius, y + radius), fill="yellow", outline="black" if radius > 1 else None
            )
        font = ImageFont.truetype(file, max(10, min(picture.width // 40, (right - left) // 4)))
        _write_caption(draw, f"{confidence:.1%}", (left, top), font, _COLORS[0], picture.width)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])


def _write_caption(
    draw: ImageDraw.ImageDraw,
    caption: str,
    corner: tuple[int, int],
    font: ImageFont.FreeTypeFont,
    color: tuple[int, int, int],
    picture_width: int,
) -> None:
    """Write above the upper left corner of a box, inside it where there is no room; never over the right edge."""
    left, top = corner
    width, height = (int(side) for side in draw.textbbox((0, 0), caption, font=font)[2:])
    x = max(0, min(left, picture_width - width - 4))
    y = top - height - 4 if top >= height + 4 else top
    draw.rectangle((x, y, x + width + 4, y + height + 4), fill=color)
    draw.text((x + 2, y + 1), caption, fill="black", font=font)


def find_targets(images: Sequence[Path], annotate: Path | None) -> dict[Path, Path]:
    """Return where the annotated picture of each image goes: a file for one, PNG files in a folder for several.

    Raises:
        OutputError: a picture exists already, two images would share one, or the name is that of no picture.
    """
    if annotate is None:
        return {}
    if len(images) == 1 and not annotate.is_dir():
        targets = {images[0]: annotate}
    else:
        make_folder(annotate)
        targets = {path: annotate / f"{path.stem}.png" for path in images}
    for target in targets.values():
        if target.exists():
            raise OutputError(
                f"{target} exists already, and nothing is overwritten. Choose another --annotate, or remove it."
            )
    if len(set(targets.values())) < len(set(images)):
        raise OutputError("Two of the images have the same name and would share a picture. Annotate them one by one.")
    for target in targets.values():
        if not cv2.haveImageWriter(f"picture{target.suffix}"):
            raise _no_picture(target)
    return targets


def save_picture(path: Path, picture_bgr: np.ndarray) -> None:
    """Write a picture whole or not at all, its folder too, and log where.

    Raises:
        OutputError: the folder cannot be written, or the name is that of no picture.
    """
    make_folder(path.parent)
    with replacing(path) as temporary:
        try:
            written = cv2.imwrite(str(temporary), picture_bgr)
        except cv2.error:
            written = False
        if not written:
            raise _no_picture(path)
    log.info("Wrote %s", path)


def _no_picture(path: Path) -> OutputError:
    return OutputError(f"OpenCV cannot write {path}. Expected a name that ends in .png or .jpg.")


def _enlarged(image_bgr: np.ndarray) -> tuple[Image.Image, int]:
    """Return the image, and by what whole factor it was enlarged so that text can be read on it."""
    picture = Image.fromarray(np.ascontiguousarray(image_bgr[..., ::-1]))
    factor = max(1, min(math.ceil(_READABLE_WIDTH / picture.width), _MOST_ENLARGED // picture.height))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST), factor


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
