"""Image files of every kind that a decoder may read differently, for comparing clients with `cv2.imread`."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms


def write_pictures(folder: Path, image_bgr: np.ndarray) -> dict[str, Path]:
    """Write one image as JPEG, PNG, WebP, TIFF and GIF in many ways, which all hold what `cv2.imread` can read.

    Returns:
        The files by what is special about them.
    """
    written: dict[str, Path] = {}

    def save(name: str, picture: Image.Image, **options: object) -> None:
        written[name] = folder / name
        picture.save(written[name], **options)

    rgb = Image.fromarray(np.ascontiguousarray(image_bgr[..., ::-1]))
    grey = rgb.convert("L")
    alpha = Image.linear_gradient("L").resize(rgb.size)
    transparent, grey_alpha = rgb.copy(), Image.merge("LA", [grey, alpha])
    transparent.putalpha(alpha)
    profile = swapped_profile()
    for subsampling, name in enumerate(["444", "422", "420"]):
        save(f"{name}.jpg", rgb, quality=88, subsampling=subsampling)
    save("progressive.jpg", rgb, progressive=True)
    save("stored-as-rgb.jpg", rgb, keep_rgb=True)
    save("grey.jpg", grey)
    save("profile.jpg", rgb, icc_profile=profile)
    save("cmyk.jpg", rgb.convert("CMYK"))
    save("four-inks.jpg", Image.merge("CMYK", [*rgb.split(), alpha]), quality=95, subsampling=0)
    save("cmyk-turned.jpg", rgb.convert("CMYK"), exif=turned(6))
    for orientation in range(10):  # 0 and 9 are none
        for suffix in ("jpg", "png", "webp"):
            options = {"lossless": True} if suffix == "webp" else {}
            save(f"turned-{orientation}.{suffix}", rgb, exif=turned(orientation), **options)
    save("rgb.png", rgb)
    save("alpha.png", transparent)
    save("alpha-turned.png", transparent, exif=turned(6))
    save("grey.png", grey)
    save("grey-alpha.png", grey_alpha)
    save("palette.png", rgb.quantize(200))
    save("palette-of-13.png", rgb.quantize(13))
    save("palette-alpha.png", rgb.quantize(200), transparency=bytes(range(200)))
    save("two-colors.png", rgb.convert("1"))
    save("profile.png", rgb, icc_profile=profile)
    save("one-pixel.png", rgb.crop((0, 0, 1, 1)))
    save("lossy.webp", rgb, quality=80)
    save("alpha.webp", transparent, lossless=True)
    save("alpha-lossy.webp", transparent, quality=80)
    save("moving.webp", rgb, save_all=True, append_images=[rgb.rotate(180)], lossless=True)
    save("rgb.tif", rgb)
    save("lzw.tif", rgb, compression="tiff_lzw")
    save("grey.tif", grey)
    save("palette.tif", rgb.quantize(100))
    save("turned.tif", rgb, tiffinfo={274: 3})
    save("rgb.gif", rgb)
    deep = image_bgr.astype(np.uint16) * 257 - np.uint16(100) * (image_bgr > 0)
    for name, pixels in {
        "16-bit.png": deep,
        "16-bit-grey.png": deep[..., 0],
        "16-bit-alpha.png": np.dstack([deep, deep[..., :1]]),
    }.items():
        written[name] = folder / name
        cv2.imwrite(str(written[name]), pixels)
    written |= _write_rare_png(folder, np.asarray(grey), np.asarray(rgb))
    written |= _write_cut_jpeg(folder, written["420.jpg"].read_bytes())
    written |= _write_strange_cmyk(folder, written["four-inks.jpg"].read_bytes())
    return written


def turned(orientation: int) -> Image.Exif:
    """Return EXIF data with an orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def swapped_profile() -> bytes:
    """Return a colour profile that exchanges red and blue: who applies it gets another picture."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[at : at + 4]): at + 4 for at in range(132, 132 + 12 * struct.unpack(">I", data[128:132])[0], 12)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red : red + 8], data[blue : blue + 8] = data[blue : blue + 8], data[red : red + 8]
    return bytes(data)


def png(width: int, height: int, *, bits: int, color: int, rows: list[bytes], before: bytes = b"") -> bytes:
    """Return a PNG of rows of packed samples; `color` is its colour type, `before` chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _write_rare_png(folder: Path, grey: np.ndarray, rgb: np.ndarray) -> dict[str, Path]:
    height, width = grey.shape
    even = grey[:, : width // 4 * 4]
    four = (even[:, 0::2] >> 4 << 4) | (even[:, 1::2] >> 4)
    two = sum((even[:, i::4] >> 6 << (6 - 2 * i)) for i in range(4)).astype(np.uint8)
    deep = np.dstack([grey.astype(np.uint16) * 250, 65535 - grey.astype(np.uint16) * 250]).astype(">u2")
    rows = [row.tobytes() for row in rgb]
    clear = chunk(b"tRNS", struct.pack(">HHH", *map(int, rgb[3, 3])))
    gamma = chunk(b"gAMA", struct.pack(">I", 100000))
    files = {
        "4-bit.png": png(even.shape[1], height, bits=4, color=0, rows=[row.tobytes() for row in four]),
        "2-bit.png": png(even.shape[1], height, bits=2, color=0, rows=[row.tobytes() for row in two]),
        "16-bit-grey-alpha.png": png(width, height, bits=16, color=4, rows=[row.tobytes() for row in deep]),
        "clear-color.png": png(width, height, bits=8, color=2, rows=rows, before=clear),
        "gamma.png": png(width, height, bits=8, color=2, rows=rows, before=gamma),
    }
    return _write(folder, files)


def _write_cut_jpeg(folder: Path, data: bytes) -> dict[str, Path]:
    """Write a JPEG that ends too early, at several places, and one with something behind its end."""
    files = {f"cut-at-{share}.jpg": data[: len(data) * share // 100] for share in (40, 70, 95)}
    return _write(folder, {**files, "without-end.jpg": data[:-2], "with-more.jpg": data + bytes(1000)})


def _write_strange_cmyk(folder: Path, data: bytes) -> dict[str, Path]:
    """Write four inks as YCCK, and without Adobe's mark, which says which of the two they are."""
    at = data.index(b"\xff\xee\x00\x0eAdobe")
    ycck = data[: at + 15] + b"\2" + data[at + 16 :]
    return _write(folder, {"ycck.jpg": ycck, "without-mark.jpg": data[:at] + data[at + 16 :]})


def _write(folder: Path, files: dict[str, bytes]) -> dict[str, Path]:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in files}
