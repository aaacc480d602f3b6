"""The self-test of a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
from client import cases, edit, run_script

from trainkit.deploy.python._media import read_image
from trainkit.deploy.python._selftest import selftest
from trainkit.errors import BundleError


def test_selftest_of_a_whole_bundle(tiny_bundle: Path) -> None:
    result = selftest(tiny_bundle)
    assert result["images"] == result["same_pixels"] == result["same_labels"] == len(cases(tiny_bundle))
    assert result["max_abs_difference"] <= 1e-5
    assert result["ok"] is True
    assert result["originals"] == result["same_originals"] == result["images"]  # they were PNG files
    assert selftest(str(tiny_bundle / "manifest.json")) == result


def change_selftest(bundle: Path, **values: Any) -> Path:
    """Change values of the first case."""
    first, *others = cases(bundle)
    (bundle / "selftest" / "selftest.json").write_text(json.dumps({"images": [{**first, **values}, *others]}))
    return bundle


def test_selftest_detects_another_mean(bundle: Path) -> None:
    mean = json.loads((bundle / "manifest.json").read_text())["blob"]["mean"]
    result = selftest(edit(bundle, blob={"mean": [mean[0] + 1, *mean[1:]]}))
    assert result["ok"] is False
    assert result["same_pixels"] == result["images"]  # they are compared before the mean
    assert result["max_abs_difference"] > 1e-5


@pytest.mark.parametrize("blob", [{"swapRB": False}, {"crop": True}, {"size": [33, 24]}])
def test_selftest_detects_other_pixels(bundle: Path, blob: dict[str, Any]) -> None:
    result = selftest(edit(bundle, blob=blob))
    assert (result["ok"], result["same_pixels"]) == (False, 0)


@pytest.mark.parametrize("values", [{"probabilities": [0, 0, 1]}, {"pixel_sha256": "0" * 64}])
def test_selftest_detects_another_expectation(bundle: Path, values: dict[str, Any]) -> None:
    assert selftest(change_selftest(bundle, **values))["ok"] is False


def test_selftest_detects_classes_in_another_order(bundle: Path) -> None:
    assert selftest(edit(bundle, output={"class_names": ["red", "green", "blue"]}))["ok"] is False


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"images": null}',
        b'{"images": {"a": 1}}',
        b'{"images": [{}]}',
        b'{"images": [5]}',
        b'{"images": []}',
        b'{"images": [], "images": [{}]}',
        b'{"images": [{"probabilities": [NaN]}]}',
        b"[" * 100_000,
    ],
)
def test_selftest_that_is_damaged_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "selftest" / "selftest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"selftest holds no self-test that can be read .*\. Copy the bundle again"):
        selftest(bundle)


@pytest.mark.parametrize(
    "values",
    [
        {"png": 5},
        {"png": "n" * 300},
        {"probabilities": [0.5, 0.5]},
        {"probabilities": 0.5},
        {"probabilities": ["high", "low", "low"]},
        {"probabilities": None},
    ],
)
def test_selftest_with_an_impossible_case_is_refused(bundle: Path, values: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"selftest"):
        selftest(change_selftest(bundle, **values))


def test_selftest_whose_cases_all_have_too_few_classes_is_refused(bundle: Path) -> None:
    short = [{**case, "probabilities": case["probabilities"][:2]} for case in cases(bundle)]
    (bundle / "selftest" / "selftest.json").write_text(json.dumps({"images": short}))
    with pytest.raises(BundleError, match=r"selftest"):
        selftest(bundle)


@pytest.mark.parametrize("name", ["selftest.json", "1.png"])
def test_selftest_whose_file_is_missing_is_refused(bundle: Path, name: str) -> None:
    (bundle / "selftest" / name).unlink()
    with pytest.raises(BundleError, match=r"selftest"):
        selftest(bundle)


def test_selftest_counts_originals_that_decode_to_other_pixels(bundle: Path) -> None:
    first, second, *_ = (bundle / "selftest" / case["original"] for case in cases(bundle))
    cv2.imwrite(str(first), read_image(first) ^ 1)
    second.unlink()
    result = selftest(bundle)
    assert result["same_originals"] == result["originals"] - 2
    assert result["ok"] is True  # the decoder is another, the network the same
    done = run_script(bundle, "--selftest")
    assert done.returncode == 0
    assert f", {result['originals'] - 2} of {result['originals']} originals equal. Model" in done.stdout


def test_selftest_without_originals_does_not_speak_of_them(bundle: Path) -> None:
    plain = [{key: value for key, value in case.items() if key != "original"} for case in cases(bundle)]
    (bundle / "selftest" / "selftest.json").write_text(json.dumps({"images": plain}))
    assert selftest(bundle)["originals"] == 0
    assert "originals" not in run_script(bundle, "--selftest").stdout
