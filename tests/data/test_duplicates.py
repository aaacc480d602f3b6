from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from photographs import draw_scene, encoded_again

from trainkit.data._duplicates import Group, LabelledFile, find_duplicates, warnings_of
from trainkit.data._inspection import inspect_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures that have nothing to do with each other."""
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), draw_scene(number, 90, 120))
    return tmp_path


def labelled(folder: Path, **labels_and_sides: tuple[str, str | None]) -> list[LabelledFile]:
    """Return all files of a folder: of class `cat` and in training, where nothing else is said of their stem."""
    files = inspect_files(sorted(folder.iterdir()))
    known = [labels_and_sides.get(file.path.stem, ("cat", "train")) for file in files]
    return [LabelledFile(file, tuple(label.split("|")), side) for file, (label, side) in zip(files, known, strict=True)]


def stems(groups: list[Group]) -> list[list[str]]:
    return [[labelled.file.path.stem for labelled in group] for group in groups]


def add_copy(folder: Path, name: str) -> None:
    shutil.copy(folder / "3.png", folder / f"{name}.png")


def add_near_duplicate(folder: Path, name: str) -> None:
    cv2.imwrite(str(folder / f"{name}.jpg"), encoded_again(draw_scene(3, 90, 120), 70))


def test_different_pictures_do_not_repeat(folder: Path) -> None:
    found = find_duplicates(labelled(folder, **{"1": ("dog", "test"), "2": ("dog", "val")}))
    assert found.duplicates == found.near_duplicates == found.contradictions == found.leaks == []
    assert warnings_of(found, folder) == []


def test_copy_in_a_class_is_a_duplicate_and_no_more(folder: Path) -> None:
    add_copy(folder, "copy")
    found = find_duplicates(labelled(folder))
    assert stems(found.duplicates) == [["3", "copy"]]
    assert found.near_duplicates == found.contradictions == found.leaks == []
    assert warnings_of(found, folder) == [], "it does no harm"


def test_look_alike_in_a_class_is_a_near_duplicate_and_no_more(folder: Path) -> None:
    add_near_duplicate(folder, "alike")
    found = find_duplicates(labelled(folder))
    assert stems(found.near_duplicates) == [["3", "alike"]]
    assert found.duplicates == found.contradictions == found.leaks == []


def test_copies_and_look_alikes_are_one_group(folder: Path) -> None:
    add_copy(folder, "copy")
    add_near_duplicate(folder, "alike")
    found = find_duplicates(labelled(folder, alike=("dog", "test")))
    assert stems(found.duplicates) == [["3", "copy"]]
    assert stems(found.near_duplicates) == stems(found.leaks) == stems(found.contradictions) == [["3", "alike", "copy"]]


@pytest.mark.parametrize("add", [add_copy, add_near_duplicate])
def test_picture_in_two_classes_is_a_contradiction(add: object, folder: Path) -> None:
    add(folder, "other")  # type: ignore[operator]
    found = find_duplicates(labelled(folder, other=("dog", "train")))
    assert stems(found.contradictions) == [["3", "other"]] and found.leaks == []
    (warning,) = warnings_of(found, folder)
    assert warning.startswith(f"CONTRADICTION: 1 picture is in more than one class: {folder / '3.png'} = ")
    assert warning.endswith(f"`trainkit data check {folder}` shows them.")


@pytest.mark.parametrize("add", [add_copy, add_near_duplicate])
def test_picture_on_two_sides_is_a_leak(add: object, folder: Path) -> None:
    add(folder, "other")  # type: ignore[operator]
    found = find_duplicates(labelled(folder, other=("cat", "test")))
    assert stems(found.leaks) == [["3", "other"]] and found.contradictions == []
    (warning,) = warnings_of(found, folder)
    assert warning.startswith("LEAK: 1 picture is on more than one side, so that the figures will look better")


def test_order_of_several_labels_does_not_matter(folder: Path) -> None:
    add_copy(folder, "other")
    same = find_duplicates(labelled(folder, **{"3": ("cat|white", "train"), "other": ("white|cat", "train")}))
    assert same.contradictions == []
    different = find_duplicates(labelled(folder, **{"3": ("cat|white", "train"), "other": ("cat", "train")}))
    assert stems(different.contradictions) == [["3", "other"]]


def test_files_with_a_problem_are_passed_over(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.jpg").write_text("no image")
    assert find_duplicates(labelled(folder)).duplicates == []


def test_flat_pictures_repeat_only_as_copies(folder: Path) -> None:
    for name, level in (("wall", 100), ("wall too", 100), ("other wall", 101)):
        cv2.imwrite(str(folder / f"{name}.png"), draw_scene(0)[:50, :60] * 0 + level)
    found = find_duplicates(labelled(folder))
    assert stems(found.duplicates) == [["wall too", "wall"]] and found.near_duplicates == []


def test_many_leaks_are_counted_and_three_of_them_named(folder: Path) -> None:
    files = labelled(folder)
    copies = [replace(one, side="test") for one in files[:5]]
    (warning,) = warnings_of(find_duplicates([*files, *copies]), folder)
    assert warning.startswith("LEAK: 5 pictures are on more than one side")
    assert warning.count(" = ") == 3 and "; and 2 more." in warning
