from __future__ import annotations

import hashlib
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from photographs import draw_scene, encoded_again

from trainkit.data._inspection import ImageFile, inspect_files
from trainkit.data._repeats._duplicates import Group, LabelledFile, find_duplicates, warnings_of
from trainkit.data._repeats._fingerprints import compute_fingerprint


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


def test_picture_that_has_changed_since_it_was_looked_at_is_judged_by_its_fingerprint(folder: Path) -> None:
    add_near_duplicate(folder, "alike")
    files = labelled(folder)
    (folder / "alike.jpg").write_text("no image")
    assert stems(find_duplicates(files).near_duplicates) == [["3", "alike"]]


def test_what_is_kept_of_a_file_is_small(folder: Path) -> None:
    """A `data check` of 100,000 files shall take 150 MB."""
    paths = sorted(folder.iterdir()) * 100
    inspect_files(paths[:10])
    tracemalloc.start()
    files = inspect_files(paths)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(files) == 1000 and kept < 800 * 1000


def draw_arrays(count: int, start: int = 0) -> np.ndarray:
    """Return images in the order R, G, B."""
    return np.stack([draw_scene(start + seed, 90, 120)[..., ::-1] for seed in range(count)])


def label_array(name: str, images: np.ndarray, label: str, side: str) -> list[LabelledFile]:
    """Return images in an array as `find_duplicates` takes them, called by their numbers."""
    found = []
    for number, image in enumerate(images):
        content, (height, width) = hashlib.sha256(image.tobytes()).hexdigest(), image.shape[:2]
        seen = compute_fingerprint(to_bgr(image), height=height, width=width)
        file = ImageFile(Path(f"{name}[{number}]"), content, None, width=width, height=height, fingerprint=seen)
        found.append(LabelledFile(file, (label,), side))
    return found


def to_bgr(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR)


def search(
    train: np.ndarray, test: np.ndarray, classes: tuple[str, str] = ("cat", "cat")
) -> tuple[list[list[str]], ...]:
    """Return the names in near-duplicates, duplicates, leaks and contradictions of two arrays."""
    arrays = {"x": train, "x_test": test}

    def show(path: Path) -> np.ndarray:
        name, _, number = path.name.rstrip("]").partition("[")
        return to_bgr(arrays[name][int(number)])

    files = label_array("x", train, classes[0], "train") + label_array("x_test", test, classes[1], "test")
    found = find_duplicates(files, show=show)
    kinds = (found.near_duplicates, found.duplicates, found.leaks, found.contradictions)
    return tuple([[str(one.file.path) for one in group] for group in groups] for groups in kinds)


def test_different_images_in_arrays_do_not_repeat() -> None:
    assert search(draw_arrays(8), draw_arrays(3, 50), ("cat", "dog")) == ([], [], [], [])


def test_copies_in_arrays_are_found() -> None:
    train, test = draw_arrays(6), draw_arrays(3, 50)
    test[1] = train[4]
    near, same, leaks, contradictions = search(train, test)
    assert same == leaks == [["x[4]", "x_test[1]"]] and near == contradictions == []
    assert search(train, test, ("cat", "dog"))[3] == [["x[4]", "x_test[1]"]]
    assert search(np.concatenate([train, train[2:3]]), test[:1])[1:3] == ([["x[2]", "x[6]"]], [])


@pytest.mark.parametrize("grey", [False, True])
def test_images_in_arrays_that_look_alike_are_found(grey: bool) -> None:
    train, test = draw_arrays(6), draw_arrays(3, 50)
    test[0] = encoded_again(np.ascontiguousarray(train[2]), 70)
    if grey:
        train, test = (array[..., 1] for array in (train, test))
    assert search(train, test) == ([["x[2]", "x_test[0]"]], [], [["x[2]", "x_test[0]"]], [])


def test_arrays_of_tiny_images_of_one_outline_do_not_repeat() -> None:
    generator = np.random.default_rng(0)
    shirts = np.zeros((60, 28, 28), np.uint8)
    shirts[:, 3:25, 8:20] = generator.integers(100, 200, (60, 22, 12))
    assert search(shirts[:50], shirts[50:]) == ([], [], [], [])


def test_warning_of_what_no_command_shows_names_none() -> None:
    train = draw_arrays(4)
    found = find_duplicates(label_array("x", train, "a", "train") + label_array("x_test", train[3:], "b", "test"))
    leak, contradiction = warnings_of(found, None)
    assert leak.startswith("LEAK: 1 picture is on more than one side") and leak.endswith(": x[3] = x_test[0].")
    assert contradiction == "CONTRADICTION: 1 picture is in more than one class: x[3] = x_test[0]."
