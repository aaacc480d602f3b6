from __future__ import annotations

import hashlib
import io
import os
import re
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from trainkit.data._inspection import MAX_BYTES, ImageFile, check_image_file, inspect_file, inspect_files, read_image
from trainkit.data._repeats._fingerprints import SIDE, compute_fingerprint, group_near_duplicates
from trainkit.deploy.python import _media as client
from trainkit.deploy.python._pixels import apply_before_blob
from trainkit.deploy.python._values import MAX_PIXELS
from trainkit.errors import DataError
from trainkit.preprocessing import Preprocessing

HEIGHT, WIDTH = 33, 47


def draw_rgb() -> np.ndarray:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    smooth = np.stack([rows * 7, columns * 5, 250 - (rows + columns) * 3], axis=-1)
    return np.clip(smooth + np.random.default_rng(0).integers(0, 9, smooth.shape), 0, 255).astype(np.uint8)


RGB = draw_rgb()
GRAY = RGB[..., 1]
ALPHA = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
LOW_BITS = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint16)
RGB_16 = (RGB.astype(np.uint16) << 8) | LOW_BITS
GRAY_16 = RGB_16[..., 1]
PREMULTIPLIED = ((RGB.astype(int) * ALPHA[..., None] + 127) // 255).astype(np.uint8)


def picture(mode: str) -> Image.Image:
    image = Image.fromarray(RGB)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(ALPHA))
    elif mode == "LA":
        image = Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(ALPHA)])
    elif mode == "PA":
        image = picture("RGBA").quantize(64)
    elif mode == "P":
        image = image.quantize(64)
    elif mode == "I;16":
        image = Image.fromarray(GRAY_16)
    else:
        image = image.convert(mode)
    return image


def encoded(image: str | Image.Image, format: str, **options: Any) -> bytes:
    """Encode a picture, or the one of this mode."""
    file = io.BytesIO()
    (picture(image) if isinstance(image, str) else image).save(file, format, **options)
    return file.getvalue()


def frames(format: str) -> bytes:
    return encoded("RGB", format, save_all=True, append_images=[Image.fromarray(255 - RGB)])


def encoded_16_bit_colour(suffix: str) -> bytes:
    return cv2.imencode(suffix, RGB_16[..., ::-1])[1].tobytes()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a picture of this size and holds 100 bytes of it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def looked_at(path: Path) -> ImageFile:
    (file,) = inspect_files([path])
    return file


def problem_of(path: Path) -> str:
    problem = looked_at(path).problem
    assert problem is not None
    return problem


def as_pillow_has_it(path: Path) -> np.ndarray:
    """uint8 RGB, upright, its transparency ignored."""
    with Image.open(path) as file:
        upright = ImageOps.exif_transpose(file)
        if "transparency" in upright.info:
            upright = upright.convert("RGBA")
        return np.asarray(upright.convert("RGB"))


# What the file is, its bytes, and by how many grey levels OpenCV may differ from Pillow.
ACCEPTED: dict[str, tuple[bytes, int]] = {
    **{f"{mode}.png": (encoded(mode, "PNG"), 0) for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA")},
    **{f"{mode}.tiff": (encoded(mode, "TIFF"), 0) for mode in ("1", "L", "LA", "P", "RGB", "CMYK")},
    **{f"{mode}.bmp": (encoded(mode, "BMP"), 0) for mode in ("1", "L", "P", "RGB", "RGBA")},
    **{f"{mode}.ppm": (encoded(mode, "PPM"), 0) for mode in ("1", "L", "RGB")},
    **{f"{mode}.jpg": (encoded(mode, "JPEG"), 3) for mode in ("L", "RGB", "CMYK")},
    "progressive.jpg": (encoded("RGB", "JPEG", progressive=True), 3),
    "RGB.webp": (encoded("RGB", "WEBP"), 3),
    "lossless.webp": (encoded("RGB", "WEBP", lossless=True), 0),
    "RGBA.webp": (encoded("RGBA", "WEBP", lossless=True, exact=True), 0),
    "lzw.tiff": (encoded("RGB", "TIFF", compression="tiff_lzw"), 0),
    "group4.tiff": (encoded("1", "TIFF", compression="group4"), 0),
    "pages.tiff": (frames("TIFF"), 0),
    "frames.mpo.jpg": (frames("MPO"), 3),
}
# What Pillow has otherwise, or not at all.
ACCEPTED_WITH_PIXELS: dict[str, tuple[bytes, np.ndarray, int]] = {
    "gray-16.png": (encoded("I;16", "PNG"), GRAY_16 >> 8, 0),
    "gray-16.tiff": (encoded("I;16", "TIFF"), GRAY_16 >> 8, 0),
    "gray-16.pgm": (encoded("I;16", "PPM"), GRAY_16 >> 8, 0),
    "colour-16.png": (encoded_16_bit_colour(".png"), RGB_16 >> 8, 0),
    "colour-16.ppm": (encoded_16_bit_colour(".ppm"), RGB_16 >> 8, 0),
    # libtiff rounds x / 257, and hands over colours that are multiplied by alpha already.
    "colour-16.tiff": (encoded_16_bit_colour(".tiff"), RGB_16 >> 8, 1),
    "RGBA.tiff": (encoded("RGBA", "TIFF"), PREMULTIPLIED, 0),
}
ALL_ACCEPTED = {name: data for name, (data, *_) in {**ACCEPTED, **ACCEPTED_WITH_PIXELS}.items()}
# Large enough that most of every file is pixels.
NOISE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (120, 160, 3), np.uint8))
NOISE_BLOCKS = Image.fromarray(np.random.default_rng(4).integers(0, 256, (12, 16, 3), np.uint8)).resize(
    (320, 240), Image.Resampling.NEAREST
)
WHOLE = {
    "photo.jpg": encoded(NOISE, "JPEG"),
    "progressive.jpg": encoded(NOISE, "JPEG", progressive=True),
    "photo.png": encoded(NOISE, "PNG"),
    "photo.webp": encoded(NOISE, "WEBP"),
    "lossless.webp": encoded(NOISE, "WEBP", lossless=True),
    "photo.tiff": encoded(NOISE, "TIFF"),
    "photo.bmp": encoded(NOISE, "BMP"),
    "photo.ppm": encoded(NOISE, "PPM"),
}
EVERYWHERE = "which not every OpenCV since 4.5 reads: convert it to JPEG or PNG"


def assert_same_picture(image_bgr: np.ndarray, expected: np.ndarray, tolerance: int) -> None:
    assert image_bgr.dtype == np.uint8
    rgb = np.broadcast_to(expected if expected.ndim == 3 else expected[..., None], (*expected.shape[:2], 3))
    assert image_bgr.shape == rgb.shape
    assert np.abs(image_bgr[..., ::-1].astype(int) - rgb.astype(int)).max() <= tolerance


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_file_is_read_as_pillow_has_it(name: str, tmp_path: Path) -> None:
    data, tolerance = ACCEPTED[name]
    path = write(tmp_path / name, data)
    file = looked_at(path)
    assert (file.path, file.sha256, file.problem) == (path, hashlib.sha256(data).hexdigest(), None)
    assert (file.width, file.height, file.orientation) == (WIDTH, HEIGHT, 1)
    assert file.format.lower() in (path.suffix[1:].replace("jpg", "jpeg"), "mpo")
    assert_same_picture(read_image(path), as_pillow_has_it(path), tolerance)


@pytest.mark.parametrize("name", ACCEPTED_WITH_PIXELS)
def test_accepted_file_of_16_bits_or_with_alpha_is_read_as_8_bit_colour(name: str, tmp_path: Path) -> None:
    data, expected, tolerance = ACCEPTED_WITH_PIXELS[name]
    path = write(tmp_path / name, data)
    assert looked_at(path).problem is None
    assert_same_picture(read_image(path), expected, tolerance)


def test_alpha_is_dropped_whatever_it_is(tmp_path: Path) -> None:
    opaque = read_image(write(tmp_path / "opaque.png", encoded("RGB", "PNG")))
    transparent = read_image(write(tmp_path / "transparent.png", encoded("RGBA", "PNG")))
    np.testing.assert_array_equal(transparent, opaque)


@pytest.mark.parametrize("name", ALL_ACCEPTED)
def test_blob_of_training_is_that_of_the_client_for_every_accepted_file(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, ALL_ACCEPTED[name])
    for preprocessing in (
        Preprocessing(
            height=24, width=32, resize="stretch", color="rgb", mean=(120.0, 110.0, 99.5), std=(58.0, 57.0, 56.0)
        ),
        Preprocessing(height=29, width=20, resize="crop", color="bgr", mean=(103.9, 116.8, 123.7), std=(1.0,) * 3),
        Preprocessing(height=20, width=20, resize="pad", color="gray", mean=(0.0,), std=(255.0,)),
    ):
        trained_on = preprocessing.to_blob([preprocessing.to_pixels(read_image(path))])
        size = (preprocessing.width, preprocessing.height)
        prepared = apply_before_blob(client.read_image(path), preprocessing.before_blob, size)
        arguments = {**preprocessing.blob, "size": size, "mean": tuple(preprocessing.blob["mean"])}
        np.testing.assert_array_equal(trained_on, cv2.dnn.blobFromImages([prepared], **arguments))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_rotated_photo_is_read_upright_or_left_out(suffix: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"rotated.{suffix}"
    picture("RGB").save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    expected = as_pillow_has_it(path)
    assert expected.shape[:2] == ((HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT))
    problem = looked_at(path).problem
    if suffix == "jpg":
        assert problem is None, "phones write these"
    if problem is None:
        assert_same_picture(read_image(path), expected, 3 if suffix == "jpg" else 0)
        file = looked_at(path)
        assert (file.height, file.width) == expected.shape[:2]
        assert file.orientation == orientation


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"hello", "is no image"),
        (b"<html>404 Not Found</html>", "is no image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no image"),
        (bytes(1000), "is no image"),
        (encoded("RGB", "GIF"), f"is a GIF, {EVERYWHERE}"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", f"is an AVIF, {EVERYWHERE}"),
        (b"\0\0\0\x1cftypavis\0\0\0\0avismsf1miaf", f"is an AVIF, {EVERYWHERE}"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", f"is a HEIC, {EVERYWHERE}"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", f"is a HEIC, {EVERYWHERE}"),
        (frames("WEBP"), f"is an animated WebP, {EVERYWHERE}"),
        (encoded("RGB", "TGA"), f"is a TGA, {EVERYWHERE}"),
        (encoded("RGB", "ICO"), f"is an ICO, {EVERYWHERE}"),
        (encoded("F", "TIFF"), f"is a TIFF that OpenCV {cv2.__version__} cannot decode: convert it to PNG"),
    ],
)
def test_inspection_says_what_is_wrong(data: bytes, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path / "photo.jpg", data)
    assert looked_at(path).problem == problem
    with pytest.raises(DataError, match=rf"photo\.jpg {re.escape(problem)}"):
        check_image_file(path)


@pytest.mark.parametrize("share", [0.5, 0.99])
@pytest.mark.parametrize("name", WHOLE)
def test_inspection_finds_a_truncated_file(name: str, share: float, tmp_path: Path) -> None:
    data = WHOLE[name]
    whole = looked_at(write(tmp_path / name, data))
    assert whole.problem is None and whole.fingerprint is not None
    problem = problem_of(write(tmp_path / name, data[: int(len(data) * share)]))
    assert problem == "is truncated" or (name.endswith(".webp") and problem.startswith("is damaged ("))


def test_jpeg_that_ends_in_its_header_is_truncated(tmp_path: Path) -> None:
    assert problem_of(write(tmp_path / "photo.jpg", WHOLE["photo.jpg"][:400])) == "is truncated"


def assert_left_out_or_readable(paths: list[Path]) -> None:
    for path in [file.path for file in inspect_files(paths) if file.problem is None]:
        image = read_image(path)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


@pytest.mark.parametrize("missing", [1, 12, 20])
def test_png_that_lacks_only_its_end_is_left_out_or_can_be_read(missing: int, tmp_path: Path) -> None:
    assert_left_out_or_readable([write(tmp_path / "photo.png", WHOLE["photo.png"][:-missing])])


@pytest.mark.parametrize("name", ["RGB.png", "RGB.jpg", "RGB.webp", "lossless.webp", "RGB.bmp", "RGB.tiff", "RGB.ppm"])
def test_file_with_a_damaged_byte_is_left_out_or_can_be_read(name: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    paths = []
    for number in range(150):
        data = bytearray(ACCEPTED[name][0])
        position = generator.integers(len(data) if number % 2 else min(len(data), 400))
        data[position] ^= int(generator.integers(1, 256))
        paths.append(write(tmp_path / f"{number}-{name}", bytes(data)))
    assert_left_out_or_readable(paths)


def test_picture_of_floats_is_left_out_or_can_be_read(tmp_path: Path) -> None:
    assert_left_out_or_readable([write(tmp_path / "photo.pfm", encoded("F", "PPM"))])


def test_decompression_bomb_is_found_without_its_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.png", png_header(60_000, 60_000))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert problem_of(path).startswith("has too many pixels")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.5 * memory


def test_too_many_pixels_are_said_of_a_file_that_has_them_only(tmp_path: Path) -> None:
    assert MAX_PIXELS > 14_000 * 14_000
    problem = problem_of(write(tmp_path / "large.png", png_header(14_000, 14_000)))
    assert f"more than {MAX_PIXELS}" not in problem


def test_large_photo_is_no_bomb_even_where_pillow_warns(tmp_path: Path) -> None:
    assert Image.MAX_IMAGE_PIXELS is not None and Image.MAX_IMAGE_PIXELS < 9_500 * 9_500
    large = png_header(9_500, 9_500) + bytes(400_000)  # as many bytes as a picture of that size may well have
    assert problem_of(write(tmp_path / "large.png", large)) == "is truncated"


def lying(format: str) -> bytes:
    """A small picture whose header promises 60,000x60,000 pixels, or as many as the format can say."""
    data = bytearray(encoded("RGB", format, **({"lossless": True} if format == "WEBP" else {})))
    if format == "JPEG":
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", 60_000, 60_000)
    elif format == "BMP":
        data[18:26] = struct.pack("<ii", 60_000, 60_000)
    elif format == "WEBP":
        start = data.index(b"VP8L") + 9
        data[start : start + 4] = struct.pack("<I", 16_382 | 16_382 << 14)
    else:
        (directory,) = struct.unpack("<I", data[4:8])
        for entry in range(directory + 2, directory + 2 + 12 * data[directory], 12):
            (tag,) = struct.unpack("<H", data[entry : entry + 2])
            if tag in (256, 257):
                data[entry : entry + 12] = struct.pack("<HHII", tag, 4, 1, 60_000)
    return bytes(data)


@pytest.mark.parametrize("format", ["JPEG", "BMP", "WEBP", "TIFF"])
def test_header_that_promises_too_much_is_not_believed(format: str, tmp_path: Path) -> None:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert problem_of(write(tmp_path / "photo.jpg", lying(format))).startswith("has too many pixels")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.2 * memory


@pytest.mark.timing
@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "WEBP", "TIFF"])
def test_header_that_promises_too_much_is_seen_at_once(format: str, tmp_path: Path) -> None:
    path = write(tmp_path / "photo.jpg", png_header(60_000, 60_000) if format == "PNG" else lying(format))
    start = time.perf_counter()
    assert problem_of(path).startswith("has too many pixels")
    assert time.perf_counter() - start < 1


def test_huge_picture_of_one_colour_is_a_bomb_before_it_is_decoded(tmp_path: Path) -> None:
    # 13,000x13,000 black pixels as a lossless WebP, fewer than Pillow's limit: 34 bytes, and 3 GB to decode them.
    data = bytes.fromhex("524946461a000000574542505650384c0e0000002fc7f2b10c071011fd0f4444ff03")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problem = problem_of(write(tmp_path / "bomb.webp", data))
    assert problem == f"has too many pixels for a file of {len(data)} bytes (13000x13000): a decompression bomb"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.2 * memory


@pytest.mark.parametrize("data", [png_header(0, 0), png_header(5, 0), b"P6 0 7 255\n"], ids=["0x0", "5x0", "0x7"])
def test_picture_without_pixels_is_left_out(data: bytes, tmp_path: Path) -> None:
    assert problem_of(write(tmp_path / "photo.png", data)) == "is no image"


def test_symbolic_links_in_a_circle_are_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").symlink_to("two.jpg")
    (tmp_path / "two.jpg").symlink_to("one.jpg")
    assert problem_of(tmp_path / "one.jpg") == "cannot be read (Too many levels of symbolic links)"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_photo_looks_like_the_upright_one(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # what undoes the rotation
    stored = NOISE_BLOCKS if turned is None else NOISE_BLOCKS.transpose(Image.Transpose(turned))
    stored.save(tmp_path / "rotated.jpg", exif=exif, quality=95)
    NOISE_BLOCKS.save(tmp_path / "upright.png")
    rotated, upright = (looked_at(tmp_path / name) for name in ("rotated.jpg", "upright.png"))
    assert (rotated.width, rotated.height) == (upright.width, upright.height) == NOISE_BLOCKS.size
    assert rotated.fingerprint and upright.fingerprint
    assert group_near_duplicates([rotated.fingerprint, upright.fingerprint]) == [[0, 1]]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("longer_side", [30, 60, 150, 290, 700])  # at full size, a half, a quarter and an eighth
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 95}], ids=str)
def test_photo_looks_to_opencv_as_it_does_to_pillow(
    mode: str, longer_side: int, options: dict[str, Any], tmp_path: Path
) -> None:
    size = (longer_side, longer_side * 3 // 4)
    data = encoded(NOISE_BLOCKS.resize(size).convert(mode), "JPEG", **options)
    with Image.open(io.BytesIO(data)) as image:
        image.draft(image.mode, (SIDE, SIDE))
        small = np.asarray(image.convert("RGB"))[..., ::-1]
    file = looked_at(write(tmp_path / "photo.jpg", data))
    assert file.fingerprint is not None
    assert file.fingerprint == compute_fingerprint(np.ascontiguousarray(small), height=size[1], width=size[0])


def test_files_that_are_equal_are_equal_when_looked_at_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "photo.jpg", WHOLE["photo.jpg"])
    assert looked_at(path) == looked_at(path)
    assert hash(looked_at(path)) == hash(looked_at(path))
    assert "fingerprint=" not in repr(looked_at(path))


def test_path_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    assert problem_of(tmp_path / "dangling.jpg") == "cannot be read (No such file or directory)"


def test_what_is_no_regular_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")  # to read it is to wait for a writer
    assert problem_of(tmp_path / "pipe.jpg") == "is no regular file"
    assert problem_of(tmp_path) == "is no regular file"


def test_film_among_the_photos_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "film.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # a hole: it takes no space
    assert looked_at(tmp_path / "film.jpg") == ImageFile(
        tmp_path / "film.jpg", "", f"has more than {MAX_BYTES} bytes: no photograph"
    )


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Permissions do not bind root, so the test lends itself another user's id."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture(params=["file", "folder"])
def locked_file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    path = write(folder / "locked.png", encoded("RGB", "PNG"))
    locked = path if request.param == "file" else folder
    locked.chmod(0)
    yield path
    locked.chmod(0o700)


def test_file_without_permission_is_named_with_the_reason(locked_file: Path, ordinary_user: None) -> None:
    assert inspect_file(locked_file) == ImageFile(locked_file, "", "cannot be read (Permission denied)")


def test_check_of_a_file_without_permission_is_a_sentence(locked_file: Path, ordinary_user: None) -> None:
    with pytest.raises(DataError, match=r"locked\.png"):
        check_image_file(locked_file)


def test_inspection_keeps_the_order_of_the_files(tmp_path: Path) -> None:
    kinds = [encoded("RGB", "PNG"), b"", b"hello", encoded("RGB", "GIF")]
    paths = [write(tmp_path / f"{number:02}", kinds[number % 4]) for number in range(40)]
    files = inspect_files(paths)
    assert [file.path for file in files] == paths
    assert [file.sha256 for file in files] == [hashlib.sha256(kinds[number % 4]).hexdigest() for number in range(40)]
    assert [file.problem is None for file in files] == [number % 4 == 0 for number in range(40)]
    assert inspect_files([]) == []


@pytest.mark.parametrize(
    "name", ["two words.png", 'it\'s "q".png', "猫 кошка é 🦆.png", "猫.tiff", "a\nb.png", "no-suffix"]
)
def test_file_of_any_name_is_read(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, encoded("RGB", "TIFF" if name.endswith(".tiff") else "PNG"))
    check_image_file(path)
    np.testing.assert_array_equal(read_image(path)[..., ::-1], RGB)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_file_with_a_name_that_is_no_utf8_does_not_end_the_process(format: str, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9"
    try:
        Path(os.fsdecode(name)).write_bytes(encoded("RGB", format))
    except OSError:
        pytest.skip("this file system has no such names")
    program = (
        "import os, pathlib, sys\n"
        "from trainkit.data._inspection import inspect_files, read_image\n"
        "path = pathlib.Path(os.fsdecode(bytes.fromhex(sys.argv[1])))\n"
        "(file,) = inspect_files([path])\n"
        "print(file.problem or read_image(path).shape)\n"
    )
    # In a process of its own, because the signal of a crash would end the tests.
    run = subprocess.run([sys.executable, "-c", program, name.hex()], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_check_of_a_path_without_a_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No such image: .*gone\.png"):
        check_image_file(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"is a folder. Name the images in it"):
        check_image_file(tmp_path)


def test_check_of_a_name_longer_than_any_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x{300}"):
        check_image_file(tmp_path / ("x" * 300))


@pytest.mark.parametrize("make", [lambda path: write(path, b"hello"), lambda path: path])
def test_read_image_of_what_opencv_cannot_read_says_what_to_do(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"OpenCV cannot read .*x\.png as an image\. Convert it to JPEG or PNG"):
        read_image(make(tmp_path / "x.png"))
