"""Data of which every image is looked at: no side is chosen, and less is asked of it than of data to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from photographs import draw_photo, write_class_folders

from trainkit.data._reading import Reading
from trainkit.data._split import PINS_FILE
from trainkit.data._whole import load_whole
from trainkit.errors import DataError, UsageError


def save_picture(path: Path, *, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_photo(seed, (30, 50, 210)))


def counted(data: Any, folder: Path, **options: Any) -> dict[str, int]:
    dataset = load_whole(data, folder, **options)
    labels = dataset.parts["data"].labels
    numbers = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(dataset.class_names))
    return dict(zip(dataset.class_names, map(int, numbers), strict=True))


def test_folder_is_taken_whole_and_left_as_it_is(tmp_path: Path) -> None:
    photos = write_class_folders(tmp_path / "photos", count=2)
    assert counted(str(photos), tmp_path) == {"blue": 2, "green": 2, "red": 2}
    assert not (photos / PINS_FILE).exists()


def test_folder_of_sides_is_taken_whole(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "photos" / "train", count=3)
    write_class_folders(tmp_path / "photos" / "test", count=1)
    assert counted(tmp_path / "photos", tmp_path) == {"blue": 4, "green": 4, "red": 4}


def test_one_class_or_a_test_side_alone_is_enough(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "one", count=2, colors=("red",))
    assert counted(tmp_path / "one", tmp_path) == {"red": 2}
    write_class_folders(tmp_path / "tests" / "test", count=1)
    assert counted(tmp_path / "tests", tmp_path) == {"blue": 1, "green": 1, "red": 1}


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    photos = write_class_folders(tmp_path / "photos", count=2)
    (photos / "red" / "broken.png").write_bytes(b"no picture")
    dataset = load_whole(str(photos), tmp_path)
    assert len(dataset.parts["data"]) == 6
    assert any("Left out 1 of 7 files" in warning and "broken.png" in warning for warning in dataset.warnings)


def test_reading_options_hold(tmp_path: Path) -> None:
    for number in range(2):
        save_picture(tmp_path / "flat" / f"cat_{number}.png", seed=number)
        save_picture(tmp_path / "flat" / f"dog_{number}.png", seed=9 + number)
    assert counted(tmp_path / "flat", tmp_path, reading=Reading(labels_from="name")) == {"cat": 2, "dog": 2}
    with pytest.raises(UsageError, match=r"--separator says how a table is read"):
        load_whole(tmp_path / "flat", tmp_path, reading=Reading(separator=";"))


def write_table(path: Path, rows: dict[str, str]) -> Path:
    lines = ["image,label"]
    for number, (name, label) in enumerate(rows.items()):
        save_picture(path.parent / name, seed=number)
        lines.append(f"{name},{label}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_table_keeps_the_order_of_its_rows(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", {"b.png": "dog", "a.png": "cat", "c.png": "dog"})
    dataset = load_whole(table, tmp_path)
    part = dataset.parts["data"]
    assert [part.path(index).name for index in range(3)] == ["b.png", "a.png", "c.png"]  # type: ignore[union-attr]
    assert [dataset.class_names[label] for label in part.labels] == ["dog", "cat", "dog"]


def test_table_of_one_class_or_of_an_image_a_class(tmp_path: Path) -> None:
    assert counted(write_table(tmp_path / "one.csv", {"a.png": "cat"}), tmp_path) == {"cat": 1}
    rows = {f"{number}.png": f"class {number}" for number in range(8)}
    assert set(counted(write_table(tmp_path / "each.csv", rows), tmp_path).values()) == {1}


def test_table_of_several_labels(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", {"b.png": "dog|cat", "a.png": "cat", "c.png": "owl"})
    assert counted(table, tmp_path) == {"cat": 2, "dog": 1, "owl": 1}
    assert load_whole(table, tmp_path).multi_label


X, Y = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8), np.array([0, 2, 2, 2])


def test_arrays_may_lack_classes(tmp_path: Path) -> None:
    assert counted((X, Y), tmp_path) == {"0": 1, "1": 0, "2": 3}
    names = ["cat", "dog", "owl", "yak"]
    assert counted((X, Y), tmp_path, class_names=names) == {"cat": 1, "dog": 0, "owl": 3, "yak": 0}
    assert counted((X[:1], np.array([9])), tmp_path)["9"] == 1
    np.savez(tmp_path / "a.npz", x=X, y=Y, x_test=X[:1], y_test=np.array([1]), class_names=["cat", "dog", "owl"])
    assert counted(tmp_path / "a.npz", tmp_path) == {"cat": 1, "dog": 1, "owl": 3}
    with pytest.raises(DataError, match=r"has 3 classes\. Expected 2"):
        load_whole((X, Y), tmp_path, class_names=["cat", "dog"])


def test_named_data_is_taken_whole(tmp_path: Path) -> None:
    assert sum(counted("digits", tmp_path).values()) == 1797


def test_mapping_of_sides_is_taken_whole(tmp_path: Path) -> None:
    assert counted({"train": (X, Y), "test": (X[:2], np.array([1, 1]))}, tmp_path) == {"0": 1, "1": 2, "2": 3}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [("none", "No such folder: none"), ("none.csv", "No such file: none.csv"), ("empty", "No class folders in")],
)
def test_what_is_no_data_is_said(data: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=sentence):
        load_whole(data, tmp_path)


def test_other_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be a name, a path"):
        load_whole(3, tmp_path)
    with pytest.raises(UsageError, match="`class_names` go with arrays"):
        load_whole("digits", tmp_path, class_names=["a"])
