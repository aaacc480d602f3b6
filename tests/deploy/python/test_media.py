"""What is looked at."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainkit.deploy.python._media import read_frames, read_image
from trainkit.errors import BundleError


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_read_image_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "photo.png").write_bytes(content)
    with pytest.raises(BundleError, match=r"OpenCV cannot read .*photo\.png as an image\. Convert it to JPEG or PNG"):
        read_image(tmp_path / "photo.png")


@pytest.mark.parametrize("name", ["", "missing.png", "a\0b", "n" * 300])
def test_read_image_that_is_missing_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="No such image: "):
        read_image(tmp_path / name)


def write_film(path: Path, height: int, width: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (width, height))
    writer.write(np.zeros((height, width, 3), np.uint8))
    writer.release()
    return path


def change_size(path: Path, old: tuple[int, int], new: tuple[int, int]) -> None:
    """Let every header of an AVI, and of the JPEG in it, say another (width, height)."""
    data = path.read_bytes()
    for layout in ("<2I", ">2H"):
        one, other = (struct.pack(layout, *(size if layout == "<2I" else size[::-1])) for size in (old, new))
        data = data.replace(one, other)
    path.write_bytes(data)


@pytest.mark.parametrize("size", [(16000, 16000), (9000, 12000)])
def test_film_whose_frames_would_fill_the_memory(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_film(tmp_path / "film.avi", 48, 80)
    change_size(path, (80, 48), size)
    with pytest.raises(
        BundleError, match=rf"film\.avi has too many pixels .*\({size[0]}x{size[1]}\): a decompression bomb"
    ):
        next(read_frames(str(path)))


@pytest.mark.parametrize(
    "text",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{film}\n#EXT-X-ENDLIST\n",
        b"#EXTM3U\n#\0\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{film}\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile film.avi\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_list_of_other_files_is_no_video(tmp_path: Path, text: bytes) -> None:
    film = write_film(tmp_path / "film.avi", 48, 80)
    (tmp_path / "list.mp4").write_bytes(text.replace(b"{film}", str(film).encode()))
    with pytest.raises(BundleError, match=r"list\.mp4 is text, not a video\. Name the video itself\."):
        next(read_frames(str(tmp_path / "list.mp4")))
