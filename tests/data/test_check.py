from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import cv2
import pytest
from photographs import add_leaks, add_scenes, draw_scene, encoded_again
from PIL import Image

from trainkit.data._check import check_data, check_folder, check_images, keep_together
from trainkit.data._folders._listing import label, read_class_folders
from trainkit.data._inspection import inspect_files
from trainkit.data._repeats._duplicates import LabelledFile
from trainkit.data._split import PINS_FILE
from trainkit.errors import DataError


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 30 pictures, nothing wrong with them."""
    return add_scenes(tmp_path_factory.mktemp("clean") / "photos", ["cats", "dogs"], 30)


@pytest.fixture
def photos(clean: Path, tmp_path: Path) -> Path:
    """A copy of it to be spoiled."""
    return Path(shutil.copytree(clean, tmp_path / "photos"))


def names(document: dict[str, object], key: str) -> list[list[str]]:
    return [[Path(path).name for path in group] for group in document[key]]  # type: ignore[attr-defined]


def test_clean_folder_has_nothing_to_be_found(clean: Path) -> None:
    check = check_folder(clean)
    document = check.to_json()
    assert document["images"] == 60 and document["classes"] == {"cats": 30, "dogs": 30} and document["imbalance"] == 1
    assert document["sizes"] == {"120x90": 60} and document["orientations"] == {"1": 60}
    assert document["modes"] == {"RGB": 60} and document["formats"] == {"PNG": 60}
    for key in ("unreadable", "duplicates", "near_duplicates", "contradictions", "leaks", "hidden", "links", "strays"):
        assert document[key] == [], key
    assert document["problems"] == {} and document["refusal"] is None
    assert check.spoiled_by == []
    assert not (clean / PINS_FILE).exists()


def test_sides_are_those_that_training_chooses(clean: Path) -> None:
    for validation in (0, 0.3):
        check = check_folder(clean, validation=validation)
        trained = read_class_folders(clean, validation=validation)
        expected = {file.path: side for side, files in trained.sides.items() for file, _ in files}
        assert {labelled.file.path: labelled.side for labelled in check.files} == expected
        assert check.chosen_sides == (["test", "val"] if validation else ["test"])
        assert sum(sum(of_class.values()) for of_class in check.sides.values()) == 60


def test_checking_a_tiny_folder_writes_no_pins(tmp_path: Path) -> None:
    add_scenes(tmp_path, ["cats", "dogs"], 3)
    assert check_folder(tmp_path).sides == {side: {"cats": 1, "dogs": 1} for side in ("train", "val", "test")}, (
        "every class on every side, as training would pin them"
    )
    assert not (tmp_path / PINS_FILE).exists()


def test_unreadable_files_are_listed_with_their_reasons(photos: Path) -> None:
    cats = photos / "cats"
    whole = (cats / "00.png").read_bytes()
    (cats / "empty.jpg").touch()
    (cats / "cut.png").write_bytes(whole[: len(whole) // 2])
    (cats / "text.jpg").write_text("hello")
    os.mkfifo(cats / "pipe.jpg")
    (cats / "circle.jpg").symlink_to("circle.jpg")
    check = check_folder(photos)
    document = check.to_json()
    assert {Path(path).name: problem for path, problem in document["problems"].items()} == {
        "circle.jpg": "cannot be read (Too many levels of symbolic links)",
        "cut.png": "is truncated",
        "empty.jpg": "is empty",
        "pipe.jpg": "is no regular file",
        "text.jpg": "is no image",
    }
    assert document["unreadable"] == list(document["problems"])
    assert document["images"] == 60 and document["classes"]["cats"] == 30
    assert check.spoiled_by == ["unreadable"]


def test_everything_that_repeats_is_in_its_list(photos: Path) -> None:
    shutil.copy(photos / "cats" / "01.png", photos / "cats" / "again.png")
    cv2.imwrite(str(photos / "dogs" / "alike.jpg"), encoded_again(draw_scene(1002, 90, 120), 80))
    shutil.copy(photos / "cats" / "03.png", photos / "dogs" / "is a cat.png")
    document = check_folder(photos).to_json()
    assert names(document, "duplicates") == [["01.png", "again.png"], ["03.png", "is a cat.png"]]
    assert names(document, "near_duplicates") == [["02.png", "alike.jpg"]]
    assert names(document, "contradictions") == [["03.png", "is a cat.png"]]
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in document["duplicates"][0])


def test_leaks_between_given_sides_are_found(clean: Path, tmp_path: Path) -> None:
    shutil.copytree(clean, tmp_path / "train")
    add_scenes(tmp_path / "test", ["cats", "dogs"], 5, start=500)
    shutil.copy(tmp_path / "train" / "cats" / "04.png", tmp_path / "test" / "cats" / "seen.png")
    cv2.imwrite(
        str(tmp_path / "test" / "dogs" / "small.png"),
        cv2.resize(draw_scene(1005, 90, 120), (96, 72), interpolation=cv2.INTER_AREA),
    )
    check = check_folder(tmp_path)
    assert names(check.to_json(), "leaks") == [["seen.png", "04.png"], ["small.png", "05.png"]]
    assert check.spoiled_by == ["leaks"] and check.own_leaks == [], "the test part is not ours to choose"
    leaks = [warning for warning in read_class_folders(tmp_path, validation=0.1).warnings if "LEAK" in warning]
    assert len(leaks) == 1 and "2 pictures are on more than one side" in leaks[0]


def test_leaks_that_the_split_makes_are_found_and_can_be_closed(photos: Path) -> None:
    add_leaks(photos)
    check = check_folder(photos)
    assert len(check.repeats.near_duplicates) == 15
    assert 0 < len(check.own_leaks) == len(check.repeats.leaks) < 15
    assert any("LEAK" in warning for warning in read_class_folders(photos, validation=0.1).warnings)
    before = {labelled.file.path: labelled.side for labelled in check.files}

    keep_together(check)
    closed = check_folder(photos)
    assert closed.repeats.leaks == [] and closed.spoiled_by == []
    assert read_class_folders(photos, validation=0.1).warnings == []
    after = {labelled.file.path: labelled.side for labelled in closed.files}
    leaking = {labelled.file.path for group in check.repeats.leaks for labelled in group}
    assert {path for path in after if after[path] != before[path]} <= leaking
    assert {after[path] for path in leaking} == {"train"}


def test_pins_of_before_are_kept_when_leaks_are_closed(photos: Path) -> None:
    (photos / PINS_FILE).write_text(json.dumps({"0" * 64: "val"}))
    add_leaks(photos)
    keep_together(check_folder(photos))
    assert json.loads((photos / PINS_FILE).read_text())["0" * 64] == "val"


def test_nothing_is_written_where_there_is_no_leak(photos: Path) -> None:
    keep_together(check_folder(photos))
    assert not (photos / PINS_FILE).exists()


def test_hidden_files_links_and_strays_are_listed(photos: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    cv2.imwrite(str(outside), draw_scene(77, 90, 120))
    (photos / "cats" / ".DS_Store").touch()
    (photos / ".cache").mkdir()
    (photos / "dogs" / "out.png").symlink_to(outside)
    (photos / "dogs" / "in.png").symlink_to("00.png")
    (photos / "dogs" / "root").symlink_to("/")
    (photos / "dogs" / "up").symlink_to("..")
    (photos / "dogs" / "self").symlink_to(".")
    (photos / "README.txt").touch()
    document = check_folder(photos).to_json()  # neither / nor a circle is walked through
    assert [Path(path).name for path in document["hidden"]] == [".cache", ".DS_Store"]
    assert [Path(path).name for path in document["links"]] == ["out.png", "root"]
    assert [Path(path).name for path in document["strays"]] == ["README.txt"]
    assert document["classes"] == {"cats": 30, "dogs": 32}
    assert names(document, "duplicates") == [["00.png", "in.png"]]


def test_exif_rotations_and_modes_are_counted(photos: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(draw_scene(501, 90, 120)).save(photos / "cats" / "phone.jpg", exif=exif)
    Image.fromarray(draw_scene(502, 90, 120)).convert("L").save(photos / "cats" / "grey.png")
    document = check_folder(photos).to_json()
    assert document["orientations"] == {"1": 61, "6": 1}
    assert document["sizes"] == {"120x90": 61, "90x120": 1}
    assert document["modes"] == {"RGB": 61, "L": 1} and document["formats"] == {"PNG": 61, "JPEG": 1}


def test_imbalance_is_that_of_the_largest_and_the_smallest_class(tmp_path: Path) -> None:
    add_scenes(tmp_path, ["cats"], 12)
    add_scenes(tmp_path, ["dogs", "emus"], 4, start=200)
    assert check_folder(tmp_path).imbalance == 3


def test_folder_of_images_is_reported_as_far_as_possible(photos: Path) -> None:
    shutil.copy(photos / "cats" / "07.png", photos / "cats" / "again.png")
    document = check_folder(photos / "cats").to_json()
    assert document["images"] == 31 and document["classes"] == {} and document["sides"] == {}
    assert names(document, "duplicates") == [["07.png", "again.png"]] and document["contradictions"] == []
    assert document["refusal"].startswith("No class folders in ")
    assert document["imbalance"] is None and document["strays"] == []


def test_single_class_is_reported_as_far_as_possible(photos: Path) -> None:
    shutil.rmtree(photos / "dogs")
    check = check_folder(photos)
    assert check.classes == {"cats": 30} and check.sides == {}
    assert check.refusal == f"Only one class in {photos}: `cats`. Expected at least two class folders."


def test_class_without_usable_images_is_reported(photos: Path) -> None:
    (photos / "emus").mkdir()
    (photos / "emus" / "broken.jpg").touch()
    check = check_folder(photos)
    assert check.classes == {"cats": 30, "dogs": 30, "emus": 0} and check.imbalance is None
    assert check.refusal is not None and check.refusal.startswith(f"No usable image in {photos / 'emus'}")
    assert check.spoiled_by == ["unreadable", "refusal"]


def test_test_part_alone_is_reported(clean: Path, tmp_path: Path) -> None:
    shutil.copytree(clean, tmp_path / "test")
    check = check_folder(tmp_path)
    assert check.sides == {"test": {"cats": 30, "dogs": 30}}
    assert check.refusal is not None and "has test/ but no train/" in check.refusal


def test_leak_between_parts_is_found_even_where_training_would_refuse(clean: Path, tmp_path: Path) -> None:
    shutil.copytree(clean, tmp_path / "train")
    add_scenes(tmp_path / "test", ["emus"], 2, start=600)
    shutil.copy(tmp_path / "train" / "cats" / "09.png", tmp_path / "test" / "emus" / "cat.png")
    check = check_folder(tmp_path)
    assert check.refusal is not None and "has class folders that train/ has not: emus" in check.refusal
    assert names(check.to_json(), "leaks") == names(check.to_json(), "contradictions") == [["cat.png", "09.png"]]


@pytest.mark.parametrize("name", ["gone", "file"])
def test_what_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Expected a folder with one folder of images for each class"):
        check_folder(tmp_path / name)


def test_name_that_is_not_utf8_can_be_written_down(photos: Path) -> None:
    os.close(os.open(os.fsencode(photos / "cats") + b"/bad\xff.jpg", os.O_CREAT))
    document = check_folder(photos).to_json()
    json.dumps(document, ensure_ascii=False).encode("utf-8")
    assert document["unreadable"] == [f"{photos}/cats/bad\\xff.jpg"]


def test_files_of_a_table_are_checked_the_same_way(photos: Path) -> None:
    shutil.copy(photos / "cats" / "01.png", photos / "cats" / "again.png")
    files = inspect_files(sorted((photos / "cats").iterdir()))
    table = [LabelledFile(file, ("cat", "indoors"), "train" if index else "test") for index, file in enumerate(files)]
    check = check_images(table, data=photos / "labels.csv")
    assert check.classes == {"cat": 31, "indoors": 31}
    assert len(check.repeats.duplicates) == 1
    assert check.sides == {"train": {"cat": 30, "indoors": 30}, "test": {"cat": 1, "indoors": 1}}


def test_labels_are_those_of_the_folders() -> None:
    assert label({}) == []


@pytest.mark.shared
def test_real_photographs_have_one_pair_that_looks_alike(shared: Path) -> None:
    document = check_folder(shared / "data" / "cats-dogs").to_json()
    assert document["images"] == 800 and document["classes"] == {"cats": 400, "dogs": 400}
    assert names(document, "near_duplicates") == [["dog.180.jpg", "dog.74.jpg"]]
    for key in ("unreadable", "duplicates", "contradictions", "leaks"):
        assert document[key] == [], key


def test_table_is_checked_like_a_folder(tmp_path: Path) -> None:
    folder = add_scenes(tmp_path / "photos", ["blue", "red"], 3)
    first = sorted((folder / "blue").iterdir())[0]
    shutil.copy(first, folder / "red" / "copy.png")
    rows = [f"{path},{path.parent.name},train" for path in sorted(folder.glob("*/*.png"))]
    (tmp_path / "table.csv").write_text("image,label,split\n" + "\n".join(rows), encoding="utf-8")
    found = check_data(tmp_path / "table.csv").to_json()
    assert found["classes"] == {"blue": 3, "red": 4}
    assert found["contradictions"] == [[str(first), str(folder / "red" / "copy.png")]]


@pytest.mark.shared
@pytest.mark.timing
def test_eight_hundred_photographs_are_checked_within_ten_seconds(shared: Path) -> None:
    start = time.perf_counter()
    check_folder(shared / "data" / "cats-dogs")
    assert time.perf_counter() - start < 10
