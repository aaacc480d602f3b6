"""How large a picture says it is, held against what OpenCV decodes; and pictures made to fill the memory."""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from mutated_pictures import mutated_picture
from PIL import Image

from trainkit.deploy.python._headers import read_picture_size
from trainkit.deploy.python._media import read_image
from trainkit.errors import BundleError

SUFFIXES = ("bmp", "jpg", "png", "pbm", "pgm", "ppm", "pnm", "pam", "pfm", "ras", "tif", "webp", "jp2", "hdr", "gif")


def picture(suffix: str) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (72, 133, 3), np.uint8)
    if suffix in ("pbm", "pgm"):
        return noise[..., 0]
    return noise.astype(np.float32) if suffix in ("hdr", "pfm") else noise


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_size_of_what_opencv_writes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    if not cv2.haveImageWriter(str(path)):
        pytest.skip(f"this OpenCV writes no {suffix}")
    assert cv2.imwrite(str(path), picture(suffix))
    assert read_picture_size(path) == (133, 72)
    if cv2.imread(str(path)) is not None:  # what of them it writes, not every OpenCV reads
        assert read_image(path).shape == (72, 133, 3)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.txt", "photo"])
def test_content_decides_and_not_the_name(tmp_path: Path, name: str) -> None:
    cv2.imwrite(str(tmp_path / "some.png"), picture("png"))
    (tmp_path / "some.png").rename(tmp_path / name)
    assert read_picture_size(tmp_path / name) == (133, 72)
    assert read_image(tmp_path / name).shape == (72, 133, 3)


@pytest.mark.parametrize(
    "more", [{"progressive": True}, {"exif": b"Exif\0\0" + bytes(60_000)}, {"icc_profile": bytes(200_000)}]
)
def test_size_of_a_jpeg_behind_its_segments(tmp_path: Path, more: dict[str, object]) -> None:
    Image.fromarray(picture("jpg")).save(tmp_path / "photo.jpg", **more)
    assert read_picture_size(tmp_path / "photo.jpg") == (133, 72)


@pytest.mark.parametrize("kind", ["tiff_lzw", "tiff_deflate", "packbits", "jpeg", None])
def test_size_of_a_tiff(tmp_path: Path, kind: str | None) -> None:
    Image.fromarray(picture("tif")).save(tmp_path / "photo.tif", compression=kind)
    assert read_picture_size(tmp_path / "photo.tif") == (133, 72)


def test_size_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.fromarray(picture("png")) for _ in range(3)]
    for suffix in ("gif", "webp", "png"):
        frames[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=frames[1:])
        assert read_picture_size(tmp_path / f"film.{suffix}") == (133, 72)


# Made to fill the memory: 40,000 x 20,000 pixels


def png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", 40_000, 20_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9)))


def bmp(width: int = 40_000, height: int = 20_000, compression: int = 0) -> bytes:
    info = struct.pack("<I2i2H6I", 40, width, height, 1, 8, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<3I", 60, 0, 54) + info + b"\0\1"


def segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(data)) + data


def frame(width: int, height: int, marker: int = 0xC0) -> bytes:
    return segment(marker, struct.pack(">B2HB", 8, height, width, 1) + b"\1\x11\0")


def tiff(order: str, *, big: bool = False, width: tuple[int, int] = (4, 40_000), twice: bool = False) -> bytes:
    entries = [(256, *width), *([(256, 4, 40_000)] if twice else []), (257, 4, 20_000)]
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    if big:
        packed = b"".join(struct.pack(order + "HHQI4x", tag, kind, 1, value) for tag, kind, value in entries)
        return head + struct.pack(order + "2HQQ", 8, 0, 16, len(entries)) + packed + bytes(8)
    packed = b"".join(
        struct.pack(order + ("HHIH2x" if kind == 3 else "HHII"), tag, kind, 1, value) for tag, kind, value in entries
    )
    return head + struct.pack(order + "IH", 8, len(entries)) + packed + bytes(4)


def jp2(*, boxes: bool) -> bytes:
    stream = b"\xff\x4f\xff\x51" + struct.pack(">2H8I", 41, 0, 40_000, 20_000, 0, 0, 40_000, 20_000, 0, 0)
    if not boxes:
        return stream
    decoy = struct.pack(">I4s", 8 + len(stream), b"uuid") + stream.replace(
        struct.pack(">I", 40_000), struct.pack(">I", 4)
    )
    return b"\0\0\0\x0cjP  \r\n\x87\n" + decoy + struct.pack(">I4s", 0, b"jp2c") + stream


def webp() -> bytes:
    body = b"WEBPVP8X" + struct.pack("<IB3x", 10, 0) + (39_999).to_bytes(3, "little") + (19_999).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body)) + body


BOMBS = {
    "png": png(),
    "bmp": bmp(),
    "bmp from the top": bmp(height=-20_000),
    "bmp of runs": bmp(compression=1),
    "jpeg": b"\xff\xd8" + frame(40_000, 20_000),
    "jpeg, progressive": b"\xff\xd8" + frame(40_000, 20_000, 0xC2),
    "jpeg, several frames": b"\xff\xd8" + frame(8, 8) + frame(40_000, 20_000, 0xC1),
    "jpeg, behind segments": b"\xff\xd8" + segment(0xE1, bytes(60_000)) * 3 + frame(40_000, 20_000),
    "jpeg, behind garbage": b"\xff\xd8\xff\xe0\0\2" + bytes(9000) + b"\xff" * 5000 + frame(40_000, 20_000)[1:],
    "jpeg, thumbnail": b"\xff\xd8" + segment(0xE1, b"\xff\xd8" + frame(8, 8)) + frame(40_000, 20_000),
    "gif": b"GIF89a" + struct.pack("<2H", 40_000, 20_000) + bytes(3),
    "webp": webp(),
    "tiff": tiff("<"),
    "tiff, big end": tiff(">"),
    "tiff, short": tiff(">", width=(3, 40_000)),
    "tiff, twice": tiff("<", width=(3, 8), twice=True),
    "BigTIFF": tiff("<", big=True),
    "BigTIFF, big end": tiff(">", big=True),
    "pgm": b"P5\n40000 20000\n255\n",
    "pbm": b"P1\n#a\n#b 1 1\n40000 #c\n20000\n",
    "ppm, decoy in a comment": b"P6 40000#20000 8\n8 255\n",
    "pfm": b"Pf\n40000 20000\n-1.0\n",
    "pam": b"P7\nWIDTH 40000\nHEIGHT 20000\nDEPTH 1\nMAXVAL 255\nENDHDR\n",
    "pam, twice": b"P7\nWIDTH 4\nHEIGHT 20000\nWIDTH 40000\nDEPTH 1\nMAXVAL 255\nENDHDR\n",
    "sun": struct.pack(">8I", 0x59A66A95, 40_000, 20_000, 8, 800_000_000, 1, 0, 0),
    "hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 20000 +X 40000\n",
    "hdr, decoy": b"#?RGBE\nX=-Y 1 +X 1\nFORMAT=32-bit_rle_rgbe\n\n-Y 20000 +X 40000\n",
    "jpeg 2000": jp2(boxes=True),
    "jpeg 2000, stream": jp2(boxes=False),
    "exr": b"\x76\x2f\x31\x01\2\0\0\0dataWindow\0box2i\0" + struct.pack("<I4i", 16, 0, 0, 39_999, 19_999) + b"\0",
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_picture_that_would_fill_the_memory(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "photo.png").write_bytes(data)
    with pytest.raises(BundleError, match=r"photo\.png has too many pixels \(40000x20000\)\. Expected at most 2684"):
        read_image(tmp_path / "photo.png")


SMALL_BOMBS = {
    "bmp of runs": bmp(16000, 16000, 1),
    "webp": b"RIFF\x1a\0\0\0WEBPVP8 \x0e\0\0\0\x10\0\0\x9d\x01\x2a" + struct.pack("<2H", 16000, 16000) + bytes(8),
    "webp without loss": b"RIFF\x1a\0\0\0WEBPVP8L\x0e\0\0\0\x2f" + struct.pack("<I", 15999 | 15999 << 14) + bytes(8),
    "avif": b"\0\0\0\x14ftypavif\0\0\0\0avif" + b"\0\0\0\x14ispe\0\0\0\0" + struct.pack(">2I", 16000, 16000),
}


@pytest.mark.parametrize("data", SMALL_BOMBS.values(), ids=SMALL_BOMBS)
def test_picture_that_is_too_large_for_its_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "photo.png").write_bytes(data)
    message = rf"too many pixels for a file of {len(data)} bytes \(16000x16000\): a decompression bomb"
    with pytest.raises(BundleError, match=message):
        read_image(tmp_path / "photo.png")


def test_largest_picture_is_not_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "photo.bmp").write_bytes(bmp(16384, 16384) + bytes(2**20))
    assert read_picture_size(tmp_path / "photo.bmp") == (16384, 16384)
    with pytest.raises(BundleError, match="OpenCV cannot read"):  # for it has no pixels
        read_image(tmp_path / "photo.bmp")


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_header_that_is_cut_off_or_changed_raises_nothing(tmp_path: Path, data: bytes) -> None:
    generator, path = np.random.default_rng(0), tmp_path / "photo"
    for length in range(0, min(len(data), 80)):
        path.write_bytes(data[:length])
        read_picture_size(path)
    for _ in range(50):
        changed = bytearray(data)
        for place in generator.integers(0, min(len(data), 200), 3):
            changed[place] = generator.integers(0, 256)
        path.write_bytes(changed)
        read_picture_size(path)


@pytest.mark.parametrize(
    "data", [segment(0xE0, b"") * 500_000, b"\xff" * 10**7, bytes(10**7)], ids=["segments", "fill", "zeros"]
)
def test_jpeg_without_an_end_is_given_up_at_once(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\2" + data)
    began = time.perf_counter()
    assert read_picture_size(tmp_path / "photo.jpg") is None
    assert time.perf_counter() - began < 5  # a second, where the machine is idle


@pytest.mark.shared
@pytest.mark.parametrize("name", ["png32k.png", "bmprle.bmp"])
def test_picture_that_was_found(shared: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"has too many pixels .*\(\d+x\d+\)"):
        read_image(shared / "cases" / "hostile" / name)


@pytest.mark.shared
def test_photographs_have_the_size_that_they_say(shared: Path) -> None:
    files = [path for path in (shared / "data" / "photos").iterdir() if path.suffix in (".jpg", ".png", ".jpeg")]
    assert files
    for path in files:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert read_picture_size(path) == image.shape[1::-1]


@pytest.mark.parametrize("seed", range(0, 400, 100))
def test_damaged_picture_is_read_or_refused_and_has_the_size_that_it_said(tmp_path: Path, seed: int) -> None:
    read = 0
    for number in range(seed, seed + 100):
        path, change = mutated_picture(tmp_path, number)
        try:
            image = read_image(path)
        except BundleError as error:
            assert str(path) in str(error), change
            continue
        except Exception as error:
            raise AssertionError(f"seed {number}, {change}") from error
        width, height = read_picture_size(path) or (0, 0)
        assert image.shape[0] * image.shape[1] <= width * height, f"seed {number}, {change}"
        read += 1
    assert 20 < read < 95
