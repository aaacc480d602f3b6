"""What the commands say of folders that can be read in several ways, and of what they leave out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import trainkit
from folder_layouts import LAYOUTS, build

INTEL = LAYOUTS["kaggle intel: twice the same folder, and one to predict"].tree
SAID = (
    "seg_train/seg_train is taken for train and seg_test/seg_test for test. --no-sides takes the folders for classes."
)


@pytest.fixture
def intel(tmp_path: Path) -> Path:
    return build(INTEL, tmp_path / "intel")


def test_check_names_what_is_left_out_and_how_the_folder_is_read(intel: Path) -> None:
    done = trainkit("data", "check", intel, cwd=intel)
    assert f"{intel}: {SAID}" in done.stdout
    assert [line.split() for line in done.stdout.splitlines() if line.startswith("folders left out")] == [
        ["folders", "left", "out", "1", "seg_pred"]
    ]


def test_check_names_it_in_its_document_and_on_its_page(intel: Path, tmp_path: Path) -> None:
    done = trainkit("data", "check", intel, "--json", "--html", tmp_path / "check.html", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["left_out"] == [str(intel / "seg_pred")]
    assert f"{intel}: {SAID}" in document["warnings"]
    assert document["classes"] == {"cat": 9, "dog": 9}
    page = (tmp_path / "check.html").read_text(encoding="utf-8").replace("<wbr>", "")
    assert "Folders left out" in page and str(intel / "seg_pred") in page and SAID in page


def test_strict_ends_with_1_and_names_it_until_the_sides_are_named(intel: Path) -> None:
    done = trainkit("data", "check", intel, "--strict", cwd=intel, code=1)
    assert "should be put right before it is trained on: left out (seg_pred)." in done.stderr
    trainkit("data", "check", intel, "--strict", "--sides", "train=seg_train,test=seg_test", cwd=intel)


@pytest.mark.slow
def test_train_says_how_the_folder_is_read(intel: Path, tmp_path: Path) -> None:
    small = ("--epochs", 1, "--size", "8x8", "--model", "small-cnn", "--set", "model.blocks=1")
    done = trainkit("train", intel, *small, cwd=tmp_path)
    assert SAID in done.stderr and "left out: seg_pred" in done.stderr


def test_train_refuses_two_readings_before_a_run_begins(tmp_path: Path) -> None:
    folder = build(LAYOUTS["training and testing hold the images"].tree, tmp_path / "photos")
    done = trainkit("train", folder, cwd=tmp_path, code=1)
    assert "can be read in two ways" in done.stderr and "--no-sides" in done.stderr
    assert not (tmp_path / "experiments").exists()


def test_option_for_another_kind_of_data_ends_with_2(intel: Path) -> None:
    done = trainkit("data", "check", intel, "--columns", "image=path", cwd=intel, code=2)
    assert "--columns says how a table is read" in done.stderr


def test_stats_are_those_of_the_images_that_train_takes(intel: Path) -> None:
    done = trainkit("data", "stats", intel, "--json", cwd=intel)
    assert json.loads(done.stdout)["images"] == 18 and SAID in done.stderr
