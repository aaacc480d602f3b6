from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest
from photographs import draw_scene, encoded_again

from trainkit.data._groups import bind
from trainkit.data._reading import Reading
from trainkit.data._sources import load_dataset
from trainkit.data._split import PINS_FILE
from trainkit.errors import DataError, UsageError

PEOPLE = [f"person{number:02}" for number in range(30)]
BY_NAME = Reading(group_by=r"(person\d+)_")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty people with two pictures each, one in each class."""
    folder = tmp_path_factory.mktemp("people") / "photos"
    for index, name in enumerate(["left", "right"]):
        (folder / name).mkdir(parents=True)
        for number, person in enumerate(PEOPLE):
            cv2.imwrite(str(folder / name / f"{person}_{index}.png"), draw_scene(100 * index + number, 40, 50))
    return folder


def sides_of(data: Path, reading: Reading) -> dict[str, set[str]]:
    """Return the sides on which each person is."""
    dataset = load_dataset(str(data), reading=reading)
    found: dict[str, set[str]] = {}
    for side, part in dataset.parts.items():
        for index in range(len(part)):
            found.setdefault(str(part.path(index).stem[:8]), set()).add(side)  # type: ignore[union-attr]
    return found


def write_table(folder: Path, *, extra: str = "") -> Path:
    path = folder / "people.csv"
    rows = [
        f"{name}/{person}_{index}.png,{name},{person}"
        for index, name in enumerate(["left", "right"])
        for person in PEOPLE
    ]
    path.write_text("\n".join(["image,label,person", *rows]) + extra + "\n", encoding="utf-8")
    return path


def test_pictures_of_one_person_are_on_one_side(people: Path) -> None:
    sides = sides_of(people, BY_NAME)
    assert sides.keys() == set(PEOPLE) and all(len(found) == 1 for found in sides.values())
    assert set.union(*sides.values()) == {"train", "val", "test"}
    assert any(len(found) > 1 for found in sides_of(people, Reading()).values()), "without groups they are not"


def test_column_of_a_table_says_the_group(people: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(people, tmp_path / "photos"))
    (folder / PINS_FILE).unlink(missing_ok=True)
    table = write_table(folder)
    by_column = sides_of(table, Reading(group_by="Person"))
    assert all(len(found) == 1 for found in by_column.values())
    (folder / PINS_FILE).unlink(missing_ok=True)
    assert sides_of(table, BY_NAME) == by_column, "the side follows from the group's name, wherever that stands"


def test_side_of_a_person_stays_when_others_are_added(people: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(people, tmp_path / "photos"))
    before = sides_of(folder, BY_NAME)
    for number in range(5):
        for name in ("left", "right"):
            cv2.imwrite(str(folder / name / f"person{50 + number}_9.png"), draw_scene(5000 + number, 40, 50))
    after = sides_of(folder, BY_NAME)
    assert {person: after[person] for person in before} == before


def test_part_of_the_path_says_the_group(people: Path, tmp_path: Path) -> None:
    for name in ("left", "right"):
        for person in PEOPLE:
            (tmp_path / name / person).mkdir(parents=True)
            shutil.copy(next((people / name).glob(f"{person}_*")), tmp_path / name / person / f"{person}.png")
    found = sides_of(tmp_path, Reading(group_by=r"[^/]+/(person\d+)/"))
    assert found.keys() == set(PEOPLE) and all(len(sides) == 1 for sides in found.values())


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_fold_keeps_people_together_and_leaves_the_tests_out(people: Path, tmp_path: Path, fold: int) -> None:
    held_out = Reading(group_by=BY_NAME.group_by, held_out=f"{fold}/3")
    sides = sides_of(people, held_out)
    assert all(len(found) == 1 for found in sides.values()) and sum("test" in found for found in sides.values()) == 10
    declared = tmp_path / "sides"
    shutil.copytree(people, declared / "train")
    for name in ("left", "right"):
        (declared / "test" / name).mkdir(parents=True)
        cv2.imwrite(str(declared / "test" / name / f"person99_{name}.png"), draw_scene(999, 40, 50))
    again = sides_of(declared, held_out)
    assert again == sides and "person99" not in again
    dataset = load_dataset(str(declared), reading=held_out)
    assert any("stay out of the folds" in warning for warning in dataset.warnings)


def test_near_duplicates_stay_in_one_fold(people: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(people, tmp_path / "photos"))
    for person in PEOPLE[:10]:
        scene = draw_scene(PEOPLE.index(person), 300, 400)
        cv2.imwrite(str(folder / "left" / f"{person}_0.png"), scene)
        cv2.imwrite(str(folder / "left" / f"{person}_again.png"), encoded_again(scene, 80))
    for fold in (1, 2, 3):
        dataset = load_dataset(str(folder), reading=Reading(held_out=f"{fold}/3"))
        assert not any(warning.startswith("LEAK") for warning in dataset.warnings)


def test_group_on_two_declared_sides_is_warned_of(people: Path, tmp_path: Path) -> None:
    for side in ("train", "test"):
        shutil.copytree(people, tmp_path / side)
    for path in (tmp_path / "test").rglob("*.png"):
        if path.stem[:8] not in ("person03", "person04"):
            path.unlink()
        else:
            cv2.imwrite(str(path), draw_scene(hash(path.name) % 10**6, 40, 50))
    said = load_dataset(str(tmp_path), reading=BY_NAME).warnings
    assert any("LEAK: 2 groups of --group-by are on more than one side" in one and "`person03`" in one for one in said)


def test_name_without_a_group_is_refused(people: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(people, tmp_path / "photos"))
    (folder / "left" / "person00_0.png").rename(folder / "left" / "stranger.png")
    with pytest.raises(DataError, match=r"finds no group in 1 of 60 names: stranger\.png"):
        load_dataset(str(folder), reading=BY_NAME)


def test_empty_cell_and_unknown_column_are_refused(people: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(people, tmp_path / "photos"))
    table = write_table(folder)
    with pytest.raises(DataError, match="no column `patient`, which --group-by names"):
        load_dataset(str(table), reading=Reading(group_by="patient"))
    table.write_text(table.read_text(encoding="utf-8").replace(",person07\n", ",\n"), encoding="utf-8")
    with pytest.raises(DataError, match="`person`, which --group-by names, is empty in lines 9, 39"):
        load_dataset(str(table), reading=Reading(group_by="person"))


def test_column_is_not_for_a_folder(people: Path) -> None:
    with pytest.raises(UsageError, match=r"a column is for tables, and .* is a folder. Received: person"):
        load_dataset(str(people), reading=Reading(group_by="person"))


def test_groups_mean_nothing_for_a_named_data_set() -> None:
    with pytest.raises(
        UsageError, match=r"--group-by says how a folder or a table is read\. It means nothing for digits"
    ):
        load_dataset("digits", reading=BY_NAME)


def test_too_few_people_is_a_sentence(people: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(people, tmp_path / "photos"))
    for path in folder.rglob("*.png"):
        if path.stem[:8] not in PEOPLE[:2]:
            path.unlink()
    with pytest.raises(DataError, match=r"Class `left` has 2 groups of images that stay together. Expected at least 3"):
        load_dataset(str(folder), reading=BY_NAME)


@pytest.mark.parametrize("value", ["0/5", "6/5", "1/1", "1", "a/b", "", "2/5/7"])
def test_fold_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=r"`reading.held_out` must be a fold and their number, such as 2/5"):
        Reading(held_out=value)


def test_what_is_bound_by_any_way_has_one_key() -> None:
    keys = bind(["a", "b", "c", "d", "e"], ["anna", "anna", None, "ben", None], [["b", "c"], ["d", "c"]])
    assert keys["a"] == keys["b"] == keys["c"] == keys["d"] != keys["e"] == "e"
    assert keys["a"] == bind(["x"], ["anna"])["x"], "a key is that of the group's name, the first of several"


def test_few_large_groups_leave_little_for_training_and_that_is_said(tmp_path: Path) -> None:
    """Whose pictures are on which side follows from their names alone: anna's many are for testing."""
    for index, name in enumerate(["left", "right"]):
        (tmp_path / name).mkdir()
        for place, (person, count) in enumerate((("anna", 12), ("bob", 2), ("carl", 2))):
            for number in range(count):
                picture = draw_scene(1000 * index + 100 * place + number, 40, 50)
                cv2.imwrite(str(tmp_path / name / f"{person}_{index}{number:02}.png"), picture)
    dataset = load_dataset(str(tmp_path), reading=Reading(group_by=r"([a-z]+)_"))
    counts = {side: len(part) for side, part in dataset.parts.items()}
    assert counts["train"] == 4 and sum(counts.values()) == 32
    (said,) = [warning for warning in dataset.warnings if warning.startswith("Only")]
    assert said.startswith("Only 4 of 32 images are for training: they are 3 groups that stay together, the largest")
    assert not [warning for warning in load_dataset(str(tmp_path)).warnings if warning.startswith("Only")]
