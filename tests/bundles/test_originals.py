"""The originals of a self-test: the same pixels the same way up, and nothing about people and places."""

from __future__ import annotations

import io
import json
import random
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import trainkit as command
from drawings import nothing_drawn
from photographs import write_class_folders
from PIL import Image, ImageCms, PngImagePlugin

import trainkit
from trainkit.bundles._originals import without_metadata
from trainkit.deploy.python._selftest import selftest

AUTHOR, PLACE, COMMENT = "Jane Q. Photographer", b"Sissach", b"taken at home"


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x013B], exif[0x010F] = orientation, AUTHOR, "Canon of Jane Q."
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 28.0, 1.5), 3: "E", 4: (7.0, 48.0, 2.5), 27: PLACE})
    return exif


def encoded(image: Image.Image, form: str, orientation: int, **options: object) -> bytes:
    file = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if form == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", AUTHOR)
        text.add_itxt("Comment", COMMENT.decode(), zip=True)
        options["pnginfo"] = text
    if form in ("JPEG", "WEBP"):
        options["xmp"] = f"<x:xmpmeta>{AUTHOR}</x:xmpmeta>".encode()
    if form == "JPEG":
        options["comment"] = COMMENT
    image.save(file, form, exif=exif_of(orientation), icc_profile=profile, **options)
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def photo(mode: str = "RGB") -> Image.Image:
    rows, columns = np.mgrid[0:40, 0:64]
    pixels = np.stack([rows * 4, columns * 3, 255 - rows - columns, 255 - rows], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels[..., : {"RGB": 3, "RGBA": 4}.get(mode, 3)]).convert(mode)


FILES = [
    ("JPEG", "RGB", {"quality": 90}),
    ("JPEG", "RGB", {"quality": 75, "progressive": True, "optimize": True}),
    ("JPEG", "RGB", {"restart_marker_blocks": 2}),
    ("JPEG", "L", {}),
    ("JPEG", "CMYK", {}),  # whose colours Adobe's segment tells
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {}),
    ("PNG", "L", {}),
    ("WEBP", "RGB", {"lossless": True}),
    ("WEBP", "RGB", {"quality": 80}),
    ("WEBP", "RGBA", {"quality": 80}),
]


@pytest.mark.parametrize(("form", "mode", "options"), FILES)
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pixels_and_orientation_stay_and_everything_else_goes(
    form: str, mode: str, options: dict[str, object], orientation: int
) -> None:
    data = encoded(photo(mode), form, orientation, **options)
    if form == "JPEG":
        data += b"trailer of the phone: " + PLACE  # as motion photographs have it
    stripped = without_metadata(data)
    assert stripped is not None
    np.testing.assert_array_equal(decoded(stripped), decoded(data))
    for secret in (
        AUTHOR.encode(),
        b"Jane",
        b"Canon",
        PLACE,
        COMMENT,
        b"xmp",
        b"GPS",
        b"ICC_PROFILE",
        b"iCCP",
        b"acsp",
    ):
        assert secret not in stripped
    with Image.open(io.BytesIO(stripped)) as after, Image.open(io.BytesIO(data)) as before:
        assert dict(after.getexif()) == ({0x0112: orientation} if orientation != 1 else {})
        assert not after.getexif().get_ifd(0x8825)
        assert not set(after.info) & {"icc_profile", "comment", "xmp", "XML:com.adobe.xmp", "Author", "Comment"}
        np.testing.assert_array_equal(np.asarray(after), np.asarray(before))
    assert without_metadata(stripped) == stripped


def test_thumbnails_go() -> None:
    small = io.BytesIO()
    photo().resize((16, 16)).save(small, "JPEG")
    data = encoded(photo(), "JPEG", 1)
    thumbnail = b"\xff\xe2" + (len(small.getvalue()) + 2).to_bytes(2, "big") + small.getvalue()
    jfif = b"\xff\xe0" + (16 + 12).to_bytes(2, "big") + b"JFIF\0\x01\x02\x01\0\x48\0\x48\x02\x02" + b"RGBRGBRGBRGB"
    data = data[:2] + jfif + thumbnail + data[data.index(b"\xff\xe1") :]
    stripped = without_metadata(data)
    assert stripped is not None
    assert stripped.count(b"\xff\xd8\xff") == 1
    assert b"RGBRGB" not in stripped
    np.testing.assert_array_equal(decoded(stripped), decoded(data))


def test_plain_bitmap_ends_with_its_last_pixel() -> None:
    file = io.BytesIO()
    photo().save(file, "BMP")
    assert without_metadata(file.getvalue() + PLACE) == file.getvalue()
    later = bytearray(file.getvalue())
    later[14] = 124
    assert without_metadata(bytes(later)) is None


@pytest.mark.parametrize("form", ["TIFF", "PPM", "GIF"])
def test_what_cannot_be_looked_through_is_left_out(form: str) -> None:
    file = io.BytesIO()
    photo().save(file, form)
    assert without_metadata(file.getvalue()) is None


def test_damaged_file_is_left_out_or_has_the_same_pixels() -> None:
    generator = random.Random(0)
    for form, mode, options in FILES:
        data = encoded(photo(mode), form, 6, **options)
        for _ in range(40):
            damaged = bytearray(data)
            for _ in range(generator.randint(1, 3)):
                damaged[generator.randrange(len(data))] = generator.randrange(256)
            cut = bytes(damaged[: generator.choice([len(data), generator.randrange(len(data))])])
            stripped = without_metadata(cut)
            if stripped is not None:
                np.testing.assert_array_equal(decoded(stripped), decoded(cut))


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> trainkit.Run:
    """A run of photographs that say who took them where."""
    work = tmp_path_factory.mktemp("private")
    folder = write_class_folders(work / "photos", count=8)
    for path in folder.rglob("*.*"):
        with Image.open(path) as image:
            data = encoded(image.convert("RGB"), "JPEG", 6)
        path.unlink()
        path.with_suffix(".jpg").write_bytes(data)
    with nothing_drawn():
        return trainkit.train(folder, size=(24, 16), epochs=1, experiments=work / "experiments")


def test_bundle_says_nothing_about_people_and_places(private: trainkit.Run, tmp_path: Path) -> None:
    command("export", private.path, "--name", "b", cwd=tmp_path)
    bundle = tmp_path / "exported" / "b"
    for path in bundle.rglob("*"):
        assert path.is_dir() or not any(secret in path.read_bytes() for secret in (b"Jane", PLACE, COMMENT))
    assert len(list((bundle / "selftest").glob("*-original.jpg"))) == 8
    found = selftest(bundle)
    assert found["ok"]
    assert found["same_originals"] == found["originals"] == 8


def test_originals_are_left_out_where_nobody_wants_them(private: trainkit.Run, tmp_path: Path) -> None:
    command("export", private.path, "--name", "b", "--no-originals", cwd=tmp_path)
    bundle = tmp_path / "exported" / "b"
    assert not list(bundle.rglob("*original*"))
    assert not any(
        "original" in case for case in json.loads((bundle / "selftest" / "selftest.json").read_text())["images"]
    )
    assert selftest(bundle)["ok"]
    shutil.rmtree(bundle)
    exported = trainkit.export(private, name="b", originals=False, exported=tmp_path / "exported")
    assert not list(exported.path.rglob("*original*"))
