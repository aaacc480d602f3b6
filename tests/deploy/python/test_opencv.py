"""Versions, engines, backends and targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from client import edit, run_script

from trainkit.deploy import Classifier
from trainkit.deploy.python._opencv import describe_needs, has_engines
from trainkit.errors import BundleError


def test_backend_and_target_have_the_names_of_opencv(tiny_bundle: Path, street_image: np.ndarray) -> None:
    expected = Classifier(tiny_bundle).predict(street_image)
    for backend, target in (
        ("OPENCV", "CPU"),
        ("dnn_backend_opencv", None),
        (None, "DNN_TARGET_CPU"),
        ("DEFAULT", "cpu"),
    ):
        assert Classifier(tiny_bundle, backend=backend, target=target).predict(street_image) == expected


@pytest.mark.parametrize(("backend", "target"), [("CUDA", None), ("CUDA", "CUDA_FP16"), (None, "MYRIAD")])
def test_backend_that_this_opencv_lacks_is_a_sentence(
    tiny_bundle: Path, backend: str | None, target: str | None
) -> None:
    with pytest.raises(BundleError, match=r"cannot compute with .* on this machine\. It has: .*OPENCV on CPU"):
        Classifier(tiny_bundle, backend=backend, target=target)


@pytest.mark.parametrize("choice", [{"backend": "PENTIUM"}, {"target": "ABACUS"}, {"backend": ""}])
def test_backend_that_opencv_does_not_know_is_a_value_error(tiny_bundle: Path, choice: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"OpenCV .* knows no (backend|target) .* It knows: .*"):
        Classifier(tiny_bundle, **choice)


@pytest.mark.parametrize("minimum", ["99.0.0", "99", "99.1-dev", "9999.0.0"])
def test_bundle_for_a_newer_opencv_is_refused(bundle: Path, minimum: str) -> None:
    with pytest.raises(BundleError, match=rf"needs OpenCV {minimum} or later\. Received: {cv2.__version__}\. Upgrade"):
        Classifier(edit(bundle, opencv={"minimum": minimum}))


@pytest.mark.parametrize("minimum", ["4.5.5", "4", "4.5.5-rc1", "0", cv2.__version__, None])
def test_bundle_for_this_opencv_or_an_older_one_is_read(bundle: Path, minimum: str | None) -> None:
    assert Classifier(edit(bundle, opencv={"minimum": minimum})).class_names


def test_engine_that_the_manifest_names_is_said_and_held(bundle: Path) -> None:
    edit(bundle, opencv={"engine": "classic"})
    said = run_script(bundle, "--selftest").stdout
    assert said.startswith(f"OpenCV {cv2.__version__}, classic engine: ") == has_engines()
    assert Classifier(bundle, engine="classic").class_names
    if has_engines():
        with pytest.raises(
            BundleError, match=r"In OpenCV 5 this bundle needs the classic engine\. Received: new\. Leave"
        ):
            Classifier(bundle, engine="new")


@pytest.mark.parametrize(
    ("opencv", "expected"),
    [
        ({}, ""),
        ({"minimum": "4.5.5"}, ""),
        ({"minimum": "4.10.0"}, "This bundle needs OpenCV 4.10.0 or later."),
        ({"minimum": "4.5.5", "engine": "classic"}, "In OpenCV 5 this bundle needs the classic engine."),
    ],
)
def test_needs_are_said_where_there_are_any(opencv: dict[str, Any], expected: str) -> None:
    assert describe_needs(opencv) == expected
