"""Whether a JPEG is whole, held against a decoder that says so."""

from __future__ import annotations

import io
import random

import cv2
import numpy as np
import pytest
from PIL import Image

from trainkit.data._jpeg import is_whole_jpeg

KINDS = {
    "baseline": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 2],
}


def write_jpeg(kind: str, *, channels: int = 3) -> bytes:
    image = np.random.default_rng(0).integers(0, 256, (70, 96, channels), np.uint8)
    return cv2.imencode(".jpg", cv2.GaussianBlur(image, (0, 0), 3), KINDS[kind])[1].tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_whole_to_its_end(kind: str, channels: int) -> None:
    data = write_jpeg(kind, channels=channels)
    assert is_whole_jpeg(data)
    assert is_whole_jpeg(data + b"what stands behind it")
    assert [end for end in range(len(data)) if is_whole_jpeg(data[:end])] == []


def test_end_of_a_thumbnail_is_not_the_end() -> None:
    data, thumbnail = write_jpeg("baseline"), write_jpeg("baseline")
    with_thumbnail = data[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + data[2:]
    assert is_whole_jpeg(with_thumbnail)
    assert not is_whole_jpeg(with_thumbnail[:-2])


@pytest.mark.parametrize(
    ("place", "byte"),
    [(b"\xff\xc0", b"\xff\xc9"), (b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), (b"\xff\xdb", b"\xff\xdc")],
)
def test_what_cameras_do_not_write_is_left_to_a_decoder(place: bytes, byte: bytes) -> None:
    data = write_jpeg("baseline")
    assert place in data
    assert not is_whole_jpeg(data.replace(place, byte, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_jpeg_that_is_whole_is_so_for_a_decoder(kind: str) -> None:
    data, random_, whole = write_jpeg(kind), random.Random(kind), 0
    for _ in range(400):
        damaged = damage(bytearray(data), random_)
        if is_whole_jpeg(damaged):
            whole += 1
            if cv2.imdecode(np.frombuffer(damaged, np.uint8), cv2.IMREAD_COLOR) is not None:
                with Image.open(io.BytesIO(damaged)) as image:
                    image.draft(image.mode, (32, 32))
                    image.load()  # raises where there is too little
    assert whole > 40


def damage(data: bytearray, random_: random.Random) -> bytes:
    markers = b"\xd9\xd0\xd3\xda\xc4\xdc\x01\xff\xe0\xfe\xc0\xdd"
    kind = random_.choice(("levels", "marker", "cut", "double"))
    place = random_.randrange(2, len(data) - 2)
    if kind == "levels":
        data[place : place + 30] = random_.randbytes(len(data[place : place + 30]))
    elif kind == "marker":
        data[place : place + 2] = bytes((0xFF, random_.choice(markers)))
    elif kind == "cut":
        del data[place : place + random_.choice((1, 100, len(data)))]
    else:
        data[place:place] = data[place : place + random_.randrange(300)]
    return bytes(data)
