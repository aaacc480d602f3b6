"""A bundle, whole and to be damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trainkit.deploy import Classifier


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return Classifier(tiny_bundle)
