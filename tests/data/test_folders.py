from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from trainkit.data._folders._listing import ClassFolders, inspect_folder, read_class_folders
from trainkit.data._split import PINS_FILE
from trainkit.errors import DataError

ALL = {"train", "val", "test"}


def add_photos(folder: Path, counts: dict[str, int]) -> Path:
    """Write so many pictures into each folder below `folder`, no two alike.

    Their bytes, and with them their sides, are the same on every machine: no encoder had a part in them.
    """
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(len(list((folder / name).iterdir())), count):
            pixels = random.Random(f"{name}/{number}").randbytes(6 * 9 * 3)
            (folder / name / f"photo {number:02}.ppm").write_bytes(b"P6 9 6 255\n" + pixels)
    return folder


def read(folder: Path, validation: float = 0.2) -> ClassFolders:
    return read_class_folders(folder, validation=validation)


def counts(found: ClassFolders) -> dict[str, int]:
    return {side: len(files) for side, files in found.sides.items()}


def side_of_each(found: ClassFolders) -> dict[str, str]:
    return {file.sha256: side for side, files in found.sides.items() for file, _ in files}


def assert_every_image_has_its_class(found: ClassFolders) -> None:
    for files in found.sides.values():
        for file, label in files:
            assert found.class_names[label] in file.path.parts


def test_flat_folder_is_split_into_three_with_every_class_on_each(tmp_path: Path) -> None:
    found = read(add_photos(tmp_path, {"dog": 30, "cat": 20, "ant": 3}))
    assert found.class_names == ["ant", "cat", "dog"]
    assert found.sides.keys() == ALL
    for files in found.sides.values():
        assert {label for _, label in files} == {0, 1, 2}
    assert_every_image_has_its_class(found)
    paths = [file.path for files in found.sides.values() for file, _ in files]
    assert sorted(paths) == sorted(tmp_path.glob("*/*.ppm")), "each image once"


def test_flat_folder_is_split_the_same_way_again(tmp_path: Path) -> None:
    add_photos(tmp_path, {"dog": 9, "cat": 3})
    first, second = read(tmp_path), read(tmp_path)
    assert first.sides == second.sides
    (warning,) = first.warnings
    assert re.fullmatch(
        rf"{tmp_path}: by chance, class .*`cat`.* got no (test|val) image.*; an image was put there for each\. "
        rf"Wrote {tmp_path / PINS_FILE}, keep it with the images\.",
        warning,
    )
    assert second.warnings == []


def test_large_flat_folder_needs_no_pins(tmp_path: Path) -> None:
    found = read(add_photos(tmp_path, {"dog": 90, "cat": 90}))
    assert found.warnings == [] and not (tmp_path / PINS_FILE).exists()


def test_image_keeps_its_side_when_others_are_added_and_it_is_renamed(tmp_path: Path) -> None:
    add_photos(tmp_path, {"dog": 4, "cat": 3})
    before = side_of_each(read(tmp_path))
    add_photos(tmp_path, {"dog": 25, "cat": 12, "emu": 5})
    for number, path in enumerate(sorted((tmp_path / "dog").iterdir())):
        path.rename(path.with_name(f"renamed-{99 - number}.ppm"))
    after = side_of_each(read(tmp_path))
    assert len(after) == 42 and {sha: after[sha] for sha in before} == before


def test_copies_of_an_image_are_on_one_side(tmp_path: Path) -> None:
    add_photos(tmp_path, {"dog": 12, "cat": 12})
    for path in list((tmp_path / "dog").iterdir()):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    found = read(tmp_path)
    assert sum(counts(found).values()) == 36
    sides = [(file.sha256, side) for side, files in found.sides.items() for file, label in files if label == 1]
    assert set(Counter(sides).values()) == {2}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["train"], {"train", "val", "test"}),
        (["train", "test"], {"train", "val", "test"}),
        (["train", "val"], {"train", "val"}),
        (["train", "validation"], {"train", "val"}),
        (["train", "valid"], {"train", "val"}),
        (["train", "val", "test"], {"train", "val", "test"}),
    ],
    ids=lambda value: "+".join(sorted(value)),
)
def test_parts_of_a_folder_are_kept_and_the_missing_ones_split_off(
    parts: list[str], expected: set[str], tmp_path: Path
) -> None:
    add_photos(tmp_path, {f"{part}/{name}": 24 for part in parts for name in ("cat", "dog")})
    found = read(tmp_path)
    assert found.class_names == ["cat", "dog"] and found.sides.keys() == expected
    assert_every_image_has_its_class(found)
    for side, files in found.sides.items():
        origins = {file.path.relative_to(tmp_path).parts[0] for file, _ in files}
        given = [part for part in parts if part.startswith(side)]
        assert origins == set(given or ["train"])
    assert sum(counts(found).values()) == 48 * len(parts)


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["cat", "dog"], {"train", "test"}),
        (["train/cat", "train/dog"], {"train", "test"}),
        (["train/cat", "train/dog", "test/cat", "test/dog"], {"train", "test"}),
        (["train/cat", "train/dog", "val/cat", "val/dog"], {"train", "val"}),
    ],
)
def test_without_validation_nothing_is_held_out_for_it(folders: list[str], expected: set[str], tmp_path: Path) -> None:
    found = read(add_photos(tmp_path, dict.fromkeys(folders, 8)), validation=0)
    assert found.sides.keys() == expected
    assert sum(counts(found).values()) == 8 * len(folders)


def test_no_image_is_lost_when_validation_is_given_up(tmp_path: Path) -> None:
    add_photos(tmp_path, {"cat": 3, "dog": 3})
    with_validation = side_of_each(read(tmp_path, validation=0.1))
    without = side_of_each(read(tmp_path, validation=0))
    assert without.keys() == with_validation.keys(), "images pinned to val are in no part at all"
    assert {sha for sha in without if without[sha] == "test"} == {
        sha for sha in with_validation if with_validation[sha] == "test"
    }


def test_no_image_is_lost_when_a_test_part_is_added(tmp_path: Path) -> None:
    add_photos(tmp_path, {"train/cat": 3, "train/dog": 3})
    read(tmp_path)
    add_photos(tmp_path, {"test/cat": 2, "test/dog": 2})
    assert sum(counts(read(tmp_path)).values()) == 10


def test_class_called_train_is_a_class(tmp_path: Path) -> None:
    found = read(add_photos(tmp_path, {"train": 9, "bus": 9}))
    assert found.class_names == ["bus", "train"] and sum(counts(found).values()) == 18


@pytest.mark.parametrize("name", ["test", "val"])
def test_class_called_like_a_part_is_a_class(name: str, tmp_path: Path) -> None:
    assert read(add_photos(tmp_path, {name: 9, "bus": 9})).class_names == sorted([name, "bus"])


@pytest.mark.parametrize("name", ["test", "val"])
def test_part_without_a_train_part_is_refused(name: str, tmp_path: Path) -> None:
    add_photos(tmp_path, {f"{name}/cat": 3, f"{name}/dog": 3})
    expected = f"{tmp_path} has {name}/ but no train/. Expected {tmp_path}/train/<class name>/*.jpg"
    with pytest.raises(DataError, match=re.escape(expected)):
        read(tmp_path)


def test_class_in_the_test_part_only_is_refused(tmp_path: Path) -> None:
    add_photos(tmp_path, {f"{part}/{name}": 3 for part in ("train", "test") for name in ("cat", "dog")})
    add_photos(tmp_path, {"test/emu": 3, "test/bee": 3})
    expected = f"{tmp_path / 'test'} has class folders that train/ has not: bee, emu. Add or remove them."
    with pytest.raises(DataError, match=re.escape(expected)):
        read(tmp_path)


@pytest.mark.parametrize("part", ["val", "test"])
def test_class_missing_from_a_part_is_warned_of(part: str, tmp_path: Path) -> None:
    add_photos(tmp_path, {"train/cat": 3, "train/dog": 3, f"{part}/cat": 3})
    found = read(tmp_path, validation=0)
    assert counts(found) == {"train": 6, part: 3}
    assert found.warnings == [f"{tmp_path / part} has no {part} image of `dog`."]


def test_class_without_a_usable_image_in_a_part_is_warned_of(tmp_path: Path) -> None:
    add_photos(tmp_path, {"train/cat": 3, "train/dog": 3, "test/cat": 3, "test/dog": 0})
    (tmp_path / "test" / "dog" / "a.jpg").write_text("hello")
    bad, missing = read(tmp_path, validation=0).warnings
    assert bad == f"Left out 1 of 1 files in {tmp_path / 'test' / 'dog'}: a.jpg is no image"
    assert missing == f"{tmp_path / 'test'} has no test image of `dog`."


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    add_photos(tmp_path, {"cat": 5, "dog": 5, ".thumbnails": 5, "cat/.cache": 5})
    for hidden in (".DS_Store", "cat/.DS_Store", "cat/._photo 00.ppm"):
        (tmp_path / hidden).write_text("no image")
    found = read(tmp_path)
    assert found.class_names == ["cat", "dog"] and sum(counts(found).values()) == 10
    assert not any("left out" in warning.lower() for warning in found.warnings)


def test_files_beside_the_class_folders_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("about these photographs")
    found = read(add_photos(tmp_path, {"cat": 5, "dog": 5}))
    assert sum(counts(found).values()) == 10
    assert not any("left out" in warning.lower() for warning in found.warnings)


def test_images_in_nested_folders_belong_to_their_class(tmp_path: Path) -> None:
    found = read(add_photos(tmp_path, {"cat": 4, "cat/2024/May": 3, "dog/white": 4, "dog/black": 4}))
    assert found.class_names == ["cat", "dog"]
    assert Counter(label for files in found.sides.values() for _, label in files) == {0: 7, 1: 8}
    assert_every_image_has_its_class(found)


def test_linked_class_folder_is_a_class(tmp_path: Path) -> None:
    elsewhere = add_photos(tmp_path / "elsewhere", {"dogs": 4})
    folder = add_photos(tmp_path / "photos", {"cat": 4})
    (folder / "dog").symlink_to(elsewhere / "dogs")
    assert read(folder).class_names == ["cat", "dog"]


def test_links_that_leave_the_folder_are_followed_with_a_warning(tmp_path: Path) -> None:
    elsewhere = add_photos(tmp_path / "elsewhere", {"dogs": 9, "more": 9})
    folder = add_photos(tmp_path / "photos", {"cat": 9, "dog": 0})
    for path in (elsewhere / "dogs").iterdir():
        (folder / "dog" / path.name).symlink_to(path)
    (folder / "dog" / "more").symlink_to(elsewhere / "more")
    found = read(folder)
    assert sum(counts(found).values()) == 18, "files are, folders are not"
    (warning,) = [warning for warning in found.warnings if "ymbolic" in warning]
    named = ", ".join(str(folder / "dog" / name) for name in ("more", "photo 00.ppm", "photo 01.ppm"))
    assert warning == f"Symbolic links leave {folder}, which is not the whole of the data then: {named} and 7 more"


def test_links_inside_the_folder_are_followed_once_and_never_in_a_circle(tmp_path: Path) -> None:
    folder = add_photos(tmp_path / "photos", {"cat": 9, "dog": 9, "dog/old": 5})
    for name, target in {"up": "..", "self": ".", "again": "old", "deep": "old/deep"}.items():
        (folder / "dog" / name).symlink_to(target)
    (folder / "dog" / "old" / "deep").symlink_to("../../dog")
    found = read(folder)
    assert sum(counts(found).values()) == 23
    assert not any("ymbolic" in warning for warning in found.warnings)


def test_folder_that_is_a_link_itself_is_read(tmp_path: Path) -> None:
    add_photos(tmp_path / "photos", {"cat": 9, "dog": 9})
    (tmp_path / "link").symlink_to("photos")
    found = read(tmp_path / "link")
    assert sum(counts(found).values()) == 18 and not any("ymbolic" in warning for warning in found.warnings)


def test_same_picture_on_two_sides_and_in_two_classes_is_warned_of(tmp_path: Path) -> None:
    add_photos(tmp_path, {f"{part}/{name}": 9 for part in ("train", "test") for name in ("cat", "dog")})
    shutil.copy(tmp_path / "train" / "cat" / "photo 01.ppm", tmp_path / "test" / "dog" / "x.ppm")
    leak, contradiction = [warning for warning in read(tmp_path).warnings if "picture is" in warning]
    assert leak.startswith("LEAK: 1 picture is on more than one side") and "x.ppm = " in leak
    assert contradiction.startswith("CONTRADICTION: 1 picture is in more than one class")


def test_class_names_may_have_spaces_quotes_and_any_letters(tmp_path: Path) -> None:
    names = ["猫", "кошка", 'ant\'s "nest"', "two words", "é", "🦆", "a,b;c", "$x$", "-l"]
    found = read(add_photos(tmp_path, dict.fromkeys(names, 3)))
    assert found.class_names == sorted(names)
    assert_every_image_has_its_class(found)
    assert json.loads((tmp_path / PINS_FILE).read_text(encoding="utf-8"))


def test_class_name_that_cannot_be_printed_is_refused(tmp_path: Path) -> None:
    add_photos(tmp_path, {"cat": 3, "do\ng": 3})
    with pytest.raises(DataError, match=r"The class folder 'do\\ng' in .* cannot be printed\. Rename it"):
        read(tmp_path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    expected = f"No such folder: {tmp_path / 'gone'}. Expected a folder with one folder of images for each class."
    with pytest.raises(DataError, match=re.escape(expected)):
        read(tmp_path / "gone")


def test_folder_without_class_folders_says_what_is_expected(tmp_path: Path) -> None:
    add_photos(tmp_path, {".": 3})
    expected = f"No class folders in {tmp_path}. Expected {tmp_path}/<class name>/*.jpg"
    with pytest.raises(DataError, match=re.escape(expected)):
        read(tmp_path)


def test_single_class_is_refused(tmp_path: Path) -> None:
    expected = f"Only one class in {tmp_path}: `cat`. Expected at least two class folders."
    with pytest.raises(DataError, match=re.escape(expected)):
        read(add_photos(tmp_path, {"cat": 9}))


def test_class_without_images_is_refused(tmp_path: Path) -> None:
    expected = f"No images in {tmp_path / 'dog'}. Expected {tmp_path / 'dog'}/*.jpg"
    with pytest.raises(DataError, match=re.escape(expected)):
        read(add_photos(tmp_path, {"cat": 9, "dog": 0}))


def test_class_with_bad_files_only_is_refused(tmp_path: Path) -> None:
    add_photos(tmp_path, {"cat": 9, "dog": 0})
    (tmp_path / "dog" / "a.jpg").write_text("hello")
    (tmp_path / "dog" / "b.jpg").touch()
    expected = f"No usable image in {tmp_path / 'dog'}: a.jpg is no image (2 of 2 left out)."
    with pytest.raises(DataError, match=re.escape(expected)):
        read(tmp_path)


def test_bad_files_are_left_out_named_and_counted(tmp_path: Path) -> None:
    add_photos(tmp_path, {"cat": 60, "dog": 60})
    (tmp_path / "cat" / "a.jpg").write_text("hello")
    (tmp_path / "cat" / "b.jpg").touch()
    (tmp_path / "dog" / "c.gif").write_bytes(b"GIF89a" + bytes(20))
    found = read(tmp_path)
    assert sum(counts(found).values()) == 120
    cats, dogs = found.warnings
    assert cats == f"Left out 2 of 62 files in {tmp_path / 'cat'}: a.jpg is no image; b.jpg is empty"
    assert dogs.startswith(f"Left out 1 of 61 files in {tmp_path / 'dog'}: c.gif is ")


def test_very_many_bad_files_are_counted_and_twenty_of_them_named(tmp_path: Path) -> None:
    add_photos(tmp_path, {"cat": 60, "dog": 60})
    for number in range(25):
        (tmp_path / "dog" / f"bad-{number:02}.jpg").touch()
    (warning,) = read(tmp_path).warnings
    assert warning.startswith(f"Left out 25 of 85 files in {tmp_path / 'dog'}: bad-00.jpg is empty; bad-01.jpg")
    assert warning.count("is empty") == 20 and warning.endswith("; bad-19.jpg is empty; and 5 more")


def test_too_few_images_of_a_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Class `dog` has 2 different images\. Expected at least 3, one for each of"):
        read(add_photos(tmp_path, {"cat": 9, "dog": 2}))


def test_too_few_images_are_enough_where_no_part_is_split_off(tmp_path: Path) -> None:
    parts = {f"{part}/{name}": 1 for part in ("train", "val", "test") for name in ("cat", "dog")}
    assert counts(read(add_photos(tmp_path, parts))) == {"train": 2, "val": 2, "test": 2}


def test_folder_that_cannot_be_written_is_split_with_a_warning(tmp_path: Path) -> None:
    add_photos(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / PINS_FILE).mkdir()  # nobody, root included, can put a file in its place
    found = read(tmp_path)
    assert found.sides.keys() == ALL
    assert any("could not be written down" in warning for warning in found.warnings)


def test_damaged_pins_stop_the_reading(tmp_path: Path) -> None:
    add_photos(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / PINS_FILE).write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        read(tmp_path)


def test_inspected_folder_gives_every_usable_image_below_it(tmp_path: Path) -> None:
    add_photos(tmp_path, {".": 2, "cat": 2, "cat/deep": 1, ".hidden": 2})
    (tmp_path / "bad.jpg").write_text("hello")
    found = [file.path for file in inspect_folder(tmp_path)]
    assert found == sorted(found) and len(found) == 5
    assert tmp_path / "cat" / "deep" / "photo 00.ppm" in found


@pytest.mark.parametrize(("name", "message"), [("gone", "No such folder: "), (".", "No usable image in ")])
def test_inspected_folder_without_images_is_refused(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("hello")
    with pytest.raises(DataError, match=message):
        inspect_folder(tmp_path / name)
