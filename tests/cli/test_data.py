from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import trainkit
from photographs import add_leaks, add_scenes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of 20 pictures, nothing wrong with them."""
    return add_scenes(tmp_path / "photos", ["cats", "dogs"], 20)


def test_check_prints_one_document(photos: Path) -> None:
    shutil.copy(photos / "cats" / "01.png", photos / "dogs" / "cat.png")
    (photos / "cats" / "broken.jpg").touch()
    ended = trainkit("data", "check", "photos", "--json", cwd=photos.parent)
    assert ended.stderr == ""
    document = json.loads(ended.stdout)
    expected = [str(photos / "cats" / "01.png"), str(photos / "dogs" / "cat.png")]
    assert document["duplicates"] == document["contradictions"] == [expected]
    assert document["unreadable"] == [str(photos / "cats" / "broken.jpg")]
    assert document["images"] == 41 and document["classes"] == {"cats": 20, "dogs": 21}


def test_check_prints_what_it_found_the_worst_first(photos: Path) -> None:
    add_leaks(photos)
    (photos / "cats" / "broken.jpg").touch()
    ended = trainkit("data", "check", "photos", cwd=photos.parent)
    lines = [line.rstrip() for line in ended.stdout.splitlines()]
    assert lines[0] == "50 images, 2 classes: photos"
    assert lines[2].split() == ["class", "train", "val", "test", "images"]
    assert lines[3].startswith("cats ") and lines[3].endswith(" 30")
    assert next(line for line in lines if "cats/broken.jpg is empty" in line).split()[:2] == ["unreadable", "1"]
    kinds = [line.split("  ")[0] for line in lines]
    assert kinds.index("LEAKS") < kinds.index("near duplicates") < kinds.index("unreadable") < kinds.index("sizes")
    assert "CONTRADICTIONS" not in kinds, "there are none"
    assert lines[-1].endswith("of the leaks: --keep-together puts their pictures into training.")


def test_check_says_by_how_much_a_class_is_the_largest(photos: Path) -> None:
    for path in sorted((photos / "dogs").iterdir())[:10]:
        path.unlink()
    lines = trainkit("data", "check", "photos", cwd=photos.parent).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("imbalance")]
    assert line.split(maxsplit=2) == ["imbalance", "2.0", "the largest class is 2.0 times the smallest"]


def test_check_closes_the_leaks_of_the_split(photos: Path) -> None:
    add_leaks(photos)
    before = trainkit("data", "check", "photos", "--json", cwd=photos.parent)
    after = trainkit("data", "check", "photos", "--keep-together", "--json", cwd=photos.parent)
    again = trainkit("data", "check", "photos", "--strict", "--json", cwd=photos.parent)
    assert json.loads(before.stdout)["leaks"] != [] == json.loads(after.stdout)["leaks"]
    assert after.stdout == again.stdout


def test_check_ends_well_also_with_findings_unless_it_is_strict(photos: Path) -> None:
    trainkit("data", "check", "photos", "--strict", cwd=photos.parent)
    (photos / "cats" / "broken.jpg").touch()
    trainkit("data", "check", "photos", cwd=photos.parent)
    ended = trainkit("data", "check", "photos", "--strict", "--json", cwd=photos.parent, code=1)
    assert ended.stderr == "photos should be put right before it is trained on: unreadable.\n"
    assert json.loads(ended.stdout)["images"] == 40


def test_check_writes_a_page(photos: Path) -> None:
    ended = trainkit("data", "check", "photos", "--html", "page.html", cwd=photos.parent)
    assert ended.stdout.endswith("Wrote page.html.\n")
    assert (photos.parent / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_check_of_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    ended = trainkit("data", "check", "gone", "--json", cwd=tmp_path, code=1)
    assert ended.stderr == "No such folder: gone. Expected a folder with one folder of images for each class.\n"
    assert ended.stdout == ""


def test_check_refuses_a_share_that_is_none(photos: Path) -> None:
    assert "--validation" in trainkit("data", "check", "photos", "--validation", "1", cwd=photos, code=2).stderr
