"""What is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainkit.deploy.python._media import read_image
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
