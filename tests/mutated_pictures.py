"""Small pictures of every kind that is read, each damaged in some way by a seed."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import cv2
import numpy as np

SUFFIXES = ("bmp", "jpg", "png", "pgm", "ppm", "pam", "pfm", "ras", "tif", "webp", "hdr", "gif", "jp2", "avif")


def mutated_picture(folder: Path, seed: int) -> tuple[Path, str]:
    """Write a damaged picture into a folder, and say what was done to it; its name need not say what it is."""
    random_ = random.Random(seed)
    suffix = random_.choice([one for one in SUFFIXES if cv2.haveImageWriter(f"a.{one}")])
    data, said = _change(bytearray(_picture(suffix, random_)), random_)
    path = folder / f"{seed}.{random_.choice(('png', 'jpg', suffix, suffix))}"
    path.write_bytes(data)
    return path, f"{suffix}, {said}"


def _picture(suffix: str, random_: random.Random) -> bytes:
    generator = np.random.default_rng(random_.randrange(100))
    image = generator.integers(0, 256, (random_.choice((64, 70)), 96, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 3)
    if suffix in ("pgm",):
        image = image[..., 0]
    if suffix in ("hdr", "pfm"):
        return cv2.imencode(f".{suffix}", image.astype(np.float32) / 255)[1].tobytes()
    return cv2.imencode(f".{suffix}", image)[1].tobytes()


def _change(data: bytearray, random_: random.Random) -> tuple[bytes, str]:
    kind = random_.choice(("flip", "flip", "head", "head", "cut", "number", "number", "double", "none"))
    if kind == "flip":
        for _ in range(random_.choice((1, 4, 30))):
            data[random_.randrange(len(data))] = random_.randrange(256)
    elif kind == "head":
        for _ in range(random_.choice((1, 2, 5))):
            data[random_.randrange(min(64, len(data)))] = random_.choice((0, 1, 127, 128, 255))
    elif kind == "cut":
        del data[random_.randrange(len(data)) :]
    elif kind == "number":
        place = random_.randrange(min(200, len(data) - 4))
        value = random_.choice((0, 1, 20_000, 2**16 - 1, 2**31 - 1, 2**32 - 1))
        data[place : place + 4] = struct.pack(random_.choice("<>") + "I", value)
    elif kind == "double":
        place = random_.randrange(len(data))
        data[place:place] = data[place : place + random_.randrange(200)]
    return bytes(data), kind
