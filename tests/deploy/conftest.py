"""A bundle, whole and to be damaged."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cpp_client
import cv2
import pytest
from photographs import draw_photo

from trainkit.deploy import Classifier


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return Classifier(tiny_bundle)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), draw_photo(5, (30, 50, 210), 47, 120))
    return path


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ client."""
    return cpp_client.build(tmp_path_factory.mktemp("cpp"))


@pytest.fixture(scope="session")
def opencv(program: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The version of the OpenCV that the C++ client was built with."""
    folder = cpp_client.answering(tmp_path_factory.mktemp("version"), [0.7, 0.2, 0.1], opencv={"minimum": "97.1"})
    said = cpp_client.run(program, folder, folder / "none.png").stderr
    version = re.fullmatch(r"This bundle needs OpenCV 97\.1 or later\. Received: (.+)\. Upgrade OpenCV\.\n", said)
    assert version, said
    return version[1]
