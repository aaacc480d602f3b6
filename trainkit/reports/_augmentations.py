"""A grid of what augmentation makes of an image, to be looked at before anything is trained with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import count as counting_from
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trainkit.data._augmentation._mixing import mix_batch
from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._augmentation._warping import augment_batch
from trainkit.data._dataset import Part
from trainkit.data._sources import load_dataset
from trainkit.errors import UsageError
from trainkit.files import check_new, replacing
from trainkit.preprocessing import Preprocessing, build_preprocessing
from trainkit.runs._settings import build_config

# What suits most photographs, for those who have chosen nothing yet.
DEFAULTS: dict[str, Any] = {
    "rotation_range": 20,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.2,
    "brightness_range": [0.7, 1.3],
    "horizontal_flip": True,
}
_LEAST_SIDE = 128  # pixels of a tile: smaller images are enlarged, pixel by pixel
_GAP = 4  # pixels between tiles
_LINE = 18  # pixels, of the caption under a tile
_LETTER = 13  # pixels, its height
_INK, _PAPER = (33, 33, 33), (255, 255, 255)
_MOST = 400
_FORMATS = (".png", ".jpg", ".jpeg", ".webp")


def draw_augmentations(
    data: str | Path,
    out: str | Path,
    *,
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
    index: int = 0,
    count: int = 15,
    seed: int = 0,
) -> Path:
    """Draw a training image as the network sees it, and then as it sees it in the first epochs.

    Args:
        data: as for `trainkit.train`.
        out: the picture to write, a new file; its suffix is the format.
        model: as for `trainkit.train`; it decides on the size.
        settings: of a training by their dotted keys, `augmentation.*` among them; without any of these, what suits
            most photographs.
        index: of the image in the training part, from 0.
        count: of epochs.
        seed: of the training.

    Returns:
        The path of the picture.

    Raises:
        TrainkitError: the data cannot be used, or `out` exists already or cannot be written.
        UsageError: a setting is unknown or impossible, or there is no such image.
    """
    check_new(Path(out))
    if Path(out).suffix.lower() not in _FORMATS:
        raise UsageError(f"The picture must be one of {', '.join(_FORMATS)}. Received: {out}")
    options = {"data": str(data), **({"model.name": model} if model else {}), **(settings or {})}
    if not any(key.startswith("augmentation.") for key in options):
        options |= {f"augmentation.{name}": value for name, value in DEFAULTS.items()}
    config = build_config(options)
    if not 1 <= count <= _MOST:
        raise UsageError(f"`count` must be from 1 to {_MOST}. Received: {count}")
    part = load_dataset(config.data, validation=config.training.validation, reading=config.reading).parts["train"]
    if not 0 <= index < len(part):
        raise UsageError(f"There are {len(part)} training images, from 0 to {len(part) - 1}. Received: {index}")
    width, height = config["preprocessing.size"]
    geometry = {"resize": config["preprocessing.resize"], "color": config["preprocessing.color"]}
    preprocessing = build_preprocessing("none", height=height, width=width, **geometry)
    augmentation = Augmentation(**config.section("augmentation"))
    picture = grid(part, preprocessing, augmentation, index=index, count=count, seed=seed)
    with replacing(Path(out)) as temporary:
        Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).save(temporary)
    return Path(out)


def grid(
    part: Part, preprocessing: Preprocessing, augmentation: Augmentation, *, index: int, count: int = 15, seed: int = 0
) -> np.ndarray:
    """Put `tiles` side by side, each with its caption: uint8 `(height, width, 3)`, BGR; small ones are enlarged."""
    pictures = tiles(part, preprocessing, augmentation, index=index, count=count, seed=seed)
    return _tile([_enlarged(picture) for picture in pictures])


def captions() -> Iterator[str]:
    """Yield what is written below each of `tiles`."""
    yield "original"
    for epoch in counting_from(1):
        yield f"epoch {epoch}"


def tiles(
    part: Part, preprocessing: Preprocessing, augmentation: Augmentation, *, index: int, count: int, seed: int
) -> list[np.ndarray]:
    """Return an image as the network sees it, and what becomes of it in the first epochs.

    Args:
        part: the training images.
        preprocessing: size and colour.
        augmentation: what may happen to them.
        index: of the image, from 0.
        count: of epochs.
        seed: of the training.

    Returns:
        uint8 `(height, width, 3)` each, BGR; the image itself comes first.
    """

    def read(indices: np.ndarray, epoch: int) -> np.ndarray:
        pixels = np.stack([preprocessing.to_pixels(part.images[int(one)]) for one in indices])
        return augment_batch(pixels, augmentation, seed=seed, epoch=epoch, indices=indices)

    def draw(epoch: int) -> np.ndarray:
        chosen, label = np.array([index]), np.zeros((1, 1), np.float32)

        def read_other(others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return read(others, epoch).astype(np.float32), label

        pixels = read(chosen, epoch).astype(np.float32)
        mixed, _ = mix_batch(
            pixels, label, augmentation, seed=seed, epoch=epoch, indices=chosen, count=len(part), read=read_other
        )
        return np.asarray(np.rint(mixed[0]), np.uint8)

    pictures = [preprocessing.to_pixels(part.images[index]), *map(draw, range(count))]
    return [picture if picture.shape[2] == 3 else picture.repeat(3, axis=2) for picture in pictures]


def _enlarged(picture: np.ndarray) -> np.ndarray:
    factor = math.ceil(_LEAST_SIDE / max(picture.shape[:2]))
    return np.repeat(np.repeat(picture, factor, axis=0), factor, axis=1)


def _tile(pictures: list[np.ndarray]) -> np.ndarray:
    """Put pictures of one size, with their captions, into a grid that is about square, on white."""
    height, width, _ = pictures[0].shape
    columns = math.ceil(math.sqrt(len(pictures) * height / width))
    rows, high, wide = math.ceil(len(pictures) / columns), height + _LINE + _GAP, width + _GAP
    sheet = Image.new("RGB", (columns * wide + _GAP, rows * high + _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_LETTER)
    for position, (picture, caption) in enumerate(zip(pictures, captions(), strict=False)):
        top, left = _GAP + position // columns * high, _GAP + position % columns * wide
        sheet.paste(Image.fromarray(picture[..., ::-1]), (left, top))
        pen.text((left + 1, top + height + 1), caption, _INK, font)
    return np.asarray(sheet)[..., ::-1]
