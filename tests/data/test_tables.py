from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from trainkit.data import load_dataset
from trainkit.data._check import check_data
from trainkit.data._reading import Reading
from trainkit.data._split import PINS_FILE
from trainkit.data._tables._table import Table, read_table
from trainkit.errors import DataError

COLORS = ("blue", "green", "red")


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns(PINS_FILE)))


@pytest.fixture
def photos(tiny_dataset: Path, tmp_path: Path) -> Path:
    """Three folders of 14 photographs, to be named in tables."""
    return copy(tiny_dataset, tmp_path / "photos")


def images(photos: Path, color: str) -> list[str]:
    return [f"{color}/{path.name}" for path in sorted((photos / color).iterdir())]


def write(photos: Path, rows: list[str], *, header: str = "image,label", name: str = "table.csv") -> Path:
    path = photos / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def single(photos: Path) -> list[str]:
    return [f"{image},{color}" for color in COLORS for image in images(photos, color)]


def several(photos: Path) -> list[str]:
    """Blue is also cold, red also warm, green has nothing but itself, and one is nothing at all."""
    more = {"blue": "blue|cold", "red": "red|warm", "green": "green"}
    rows = [f"{image},{more[color]}" for color in COLORS for image in images(photos, color)]
    return [*rows[:-1], rows[-1].partition(",")[0] + ","]


def read(photos: Path, rows: list[str], *, header: str = "image,label", validation: float = 0.1) -> Table:
    return read_table(write(photos, rows, header=header), validation=validation)


def test_table_gives_the_sides_that_the_folder_gives(photos: Path, tmp_path: Path) -> None:
    folder = load_dataset(str(copy(photos, tmp_path / "same")))
    table = load_dataset(str(write(photos, single(photos))))
    assert table.class_names == folder.class_names == list(COLORS)
    assert not table.multi_label and table.name == "table"
    for side in ("train", "val", "test"):
        ours, theirs = table.parts[side], folder.parts[side]
        assert ours.labels.dtype == np.int64
        found = {(ours.path(i).name, int(ours.labels[i])) for i in range(len(ours))}  # type: ignore[union-attr]
        assert found == {(theirs.path(i).name, int(theirs.labels[i])) for i in range(len(theirs))}  # type: ignore[union-attr]


def test_table_of_several_labels_has_a_column_for_each(photos: Path) -> None:
    dataset = load_dataset(str(write(photos, several(photos))))
    assert dataset.multi_label and dataset.class_names == ["blue", "cold", "green", "red", "warm"]
    expected = {"blue": [1, 1, 0, 0, 0], "green": [0, 0, 1, 0, 0], "red": [0, 0, 0, 1, 1]}
    unlabelled = 0
    for part in dataset.parts.values():
        assert part.labels.dtype == np.float32 and part.labels.shape == (len(part), 5)
        assert (part.labels.sum(axis=0) > 0).all(), "every class on every side"
        for index in range(len(part)):
            path = part.path(index)
            assert path is not None
            if path.name == "red-013.png":
                unlabelled += 1
                assert part.labels[index].tolist() == [0] * 5
            else:
                assert part.labels[index].tolist() == expected[path.parent.name]
    assert unlabelled == 1 and sum(map(len, dataset.parts.values())) == 42


@pytest.mark.parametrize("rows", [single, several])
def test_sides_stay_when_rows_are_added_or_turned_around(photos: Path, rows) -> None:  # type: ignore[no-untyped-def]
    def sides(some: list[str]) -> dict[str, str]:
        table = read(photos, some)
        return {row.file.path.name: side for side, of_side in table.sides.items() for row in of_side}

    every = rows(photos)
    few = [row for row in every if not re.search(r"-0(0[6-9]|1\d)\.png", row)]
    first = sides(few)
    assert (photos / PINS_FILE).is_file(), "so few that some had to be pinned"
    assert sides(few) == sides(few[::-1]) == first
    later = sides(every)
    assert {name: later[name] for name in first} == first and len(later) == 42
    for side in ("train", "val", "test"):
        labels = {label for row in read(photos, few).sides[side] for label in row.labels}
        assert labels == {label for row in few for label in row.partition(",")[2].split("|") if label}


@pytest.mark.parametrize("header", ["image,label,split", "label,other,SPLIT ,image", "side,image,label"])
def test_column_of_sides_is_obeyed_wherever_it_stands(photos: Path, header: str) -> None:
    rows, expected = [], {}
    for color in COLORS:
        for index, image in enumerate(images(photos, color)):
            side = ["train", "Training", "val", "test", "validation"][index % 5]
            expected[Path(image).name] = {"Training": "train", "validation": "val"}.get(side, side)
            values = {"image": image, "label": color, "split": side, "side": side, "other": "x"}
            rows.append(",".join(values[name.strip().lower()] for name in header.split(",")))
    table = read(photos, rows, header=header)
    assert {row.file.path.name: side for side, of_side in table.sides.items() for row in of_side} == expected
    assert not table.warnings and not (photos / PINS_FILE).exists()


def test_side_that_the_column_leaves_out_is_split_off(photos: Path) -> None:
    rows = [f"{row},{'test' if index % 14 < 2 else 'train'}" for index, row in enumerate(single(photos))]
    assert read(photos, rows, header="image,label,split").sides.keys() == {"train", "val", "test"}
    assert read(photos, rows, header="image,label,split", validation=0).sides.keys() == {"train", "test"}
    rows = [row.replace(",test", ",val") for row in rows]
    assert read(photos, rows, header="image,label,split").sides.keys() == {"train", "val"}


def test_class_that_a_chosen_side_has_not_is_warned_of(photos: Path) -> None:
    rows = [f"{row},{'test' if 'blue-000' in row else 'train'}" for row in single(photos)]
    table = read(photos, rows, header="image,label,split", validation=0)
    assert [w for w in table.warnings if "no test image of green, red" in w]


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace(",", ' , ').encode(),
        lambda text: text.replace("\n", "\n\n").encode(),
        lambda text: re.sub(r"([^,\n]+)", r'"\1"', text).encode(),
        lambda text: text.strip().encode(),
    ],
    ids=["bom", "utf-16", "crlf", "cr", "semicolon", "tab", "spaces", "empty lines", "quoted", "no last newline"],
)  # fmt: skip
def test_table_is_read_as_spreadsheets_write_it(photos: Path, encode) -> None:  # type: ignore[no-untyped-def]
    rows = [row.replace(",red", ",rötlich") for row in single(photos)]
    path = write(photos, rows)
    expected = {row.file.path.name: row.labels for of in read_table(path, validation=0.1).sides.values() for row in of}
    path.write_bytes(encode(path.read_text(encoding="utf-8")))
    table = read_table(path, validation=0.1)
    assert table.class_names == ["blue", "green", "rötlich"]
    assert {row.file.path.name: row.labels for of in table.sides.values() for row in of} == expected


def test_quotes_hold_what_would_part(photos: Path) -> None:
    odd = photos / 'red/a, "b".png'
    (photos / "red/red-000.png").rename(odd)
    rows = [row for row in single(photos) if "a, " not in row]
    table = read(photos, [*rows, '"red/a, ""b"".png","red"'])
    assert odd.name in {row.file.path.name for of in table.sides.values() for row in of}


def test_absolute_paths_are_taken_as_they_are(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    table = read_table(write(tmp_path / "elsewhere", [f"{photos}/{row}" for row in single(photos)]), validation=0.1)
    assert sum(map(len, table.sides.values())) == 42


def test_rows_that_repeat_count_once_and_are_named(photos: Path) -> None:
    rows = single(photos)
    table = read(photos, [*rows, rows[3], rows[4]])
    assert sum(map(len, table.sides.values())) == 42
    assert [warning for warning in table.warnings if warning.endswith("repeats rows, which count once: lines 44, 45")]


def test_images_that_cannot_be_used_are_left_out_and_named(photos: Path) -> None:
    (photos / "red/red-001.png").write_bytes(b"")
    table = read(photos, single(photos))
    assert sum(map(len, table.sides.values())) == 41
    assert [warning for warning in table.warnings if re.search(r"Left out 1 of 42 .*: red-001\.png is empty", warning)]


def swap(rows: list[str], index: int, row: str) -> list[str]:
    return [*rows[:index], row, *rows[index + 1 :]]


SIDES_TWICE = "a column `split` and a column `side`"
ERRORS = {
    "no label column": (
        "image,kind",
        lambda rows: rows,
        r"no column `label`\. .* label=kind\. Received: image, kind",
    ),
    "no image column": (
        "where,label",
        lambda rows: rows,
        r"no column `image`\. .* image=where\. Received: where, label",
    ),
    "no header": ("red/red-000.png,red", lambda rows: rows, "no column `image`"),
    "column twice": ("image,label,label", lambda rows: [f"{row},x" for row in rows], "has the column `label` 2 times"),
    "two side columns": (
        "image,label,split,side",
        lambda rows: [f"{row},val,val" for row in rows],
        "a column `split` and a column `side`",
    ),
    "no rows": ("image,label", lambda rows: [], "has no rows"),
    "no image": ("image,label", lambda rows: swap(rows, 2, ",red"), "line 4: there is no image"),
    "no label": ("image,label", lambda rows: swap(rows, 2, "blue/blue-002.png,"), "without a label: lines 4"),
    "short row": ("image,label", lambda rows: swap(rows, 2, "blue/blue-002.png"), r"line 4: 1 cell\. Expected 2"),
    "unknown side": ("image,label,split", lambda rows: [f"{row},other" for row in rows], "line 2: .* Received: other"),
    "no side": ("image,label,split", lambda rows: [f"{row}," for row in rows], "line 2: .* Received: nothing"),
    "no training": ("image,label,split", lambda rows: [f"{row},test" for row in rows], "no usable training image"),
    "one class": ("image,label", lambda rows: rows[:14], "Only one class in .*: `blue`"),
    "one class twice": ("image,label", lambda rows: [f"{row}|blue" for row in rows[:14]], "Only one class"),
    "contradiction": (
        "image,label",
        lambda rows: [*rows, rows[0].replace(",blue", ",red")],
        r"lines 2 and 44: blue-000\.png is there twice, and they contradict",
    ),
    "missing": (
        "image,label",
        lambda rows: [*rows, *(f"gone-{index}.jpg,red" for index in range(7))],
        r"7 of 49 images of .* are missing: .*gone-0\.jpg \(line 44\), .*gone-4\.jpg \(line 48\) and 2 more\. "
        "Expected paths relative to /",
    ),
    "endless name": (
        "image,label",
        lambda rows: [*rows, f"{'x' * 300}.jpg,red"],
        r"1 of 43 images of .* is missing: .*x\.jpg \(line 44\)",
    ),
    "endless folder": (
        "image,label",
        lambda rows: [*rows, f"red/{'9' * 300}/x,red"],
        r"1 of 43 images of .* is missing: .*/x \(line 44\)",
    ),
    "no class at all": (
        "image,blue,red",
        lambda rows: [f"{row.split(',')[0]},0,{'' if index else 0}" for index, row in enumerate(rows)],
        r"2 that hold no 1 at all \(blue, red\)\. .* write a 1 into the column of each image's class",
    ),
    "control character": ("image,label", lambda rows: swap(rows, 0, '"red/red-000.png","a\nb"'), "cannot be printed"),
    "open quote": ("image,label", lambda rows: [*rows, '"red/red-000.png,red'], "line 44: unexpected end of data"),
    "stray quote": ("image,label", lambda rows: [*rows, '"red" x,red'], "line 44: .*Expected CSV"),
    "small class": ("image,label", lambda rows: rows[:30], r"Class `red` has 2 different images\. .* column `split`"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_table_that_is_wrong_is_one_sentence(photos: Path, name: str) -> None:
    header, change, expected = ERRORS[name]
    with pytest.raises(DataError, match=expected) as caught:
        read(photos, change(single(photos)), header=header)
    assert "table.csv" in str(caught.value) or name == "small class"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("image,label\nrot-grün.png,rötlich".encode("latin-1"), r"is not in UTF-8 \(line 2\)\. Save it as `CSV UTF-8`"),
        (b"", "no column `image`.* Received: an empty line"),
        (b"PK\x03\x04\0\0\0", "is no text"),
        (bytes(100), "is no text"),
        (b"\xff\xfe\x00", "is not in UTF-8"),
    ],
)
def test_file_that_is_no_table_is_one_sentence(tmp_path: Path, data: bytes, expected: str) -> None:
    (tmp_path / "table.csv").write_bytes(data)
    with pytest.raises(DataError, match=expected):
        load_dataset(str(tmp_path / "table.csv"))


def test_small_class_of_several_labels_is_refused_by_its_name(photos: Path) -> None:
    rows = several(photos)
    with pytest.raises(DataError, match="Class `rare` has 1 different images"):
        read(photos, swap(rows, 0, rows[0] + "|rare"))


def test_unusable_images_only_is_one_sentence(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"No usable image in .*: a\.jpg is no image; b\.jpg is no image"):
        read(tmp_path, ["a.jpg,a", "b.jpg,b"])


def test_check_of_a_table_is_that_of_the_folder(photos: Path) -> None:
    shutil.copy(photos / "red/red-003.png", photos / "red/again.png")
    shutil.copy(photos / "red/red-004.png", photos / "blue/blue-100.png")
    (photos / "green/green-001.png").write_bytes(b"")
    table, folder = check_data(write(photos, single(photos))).to_json(), check_data(photos).to_json()
    assert table["contradictions"] and table["duplicates"] and table["unreadable"]
    differing = {key for key in folder if table[key] != folder[key]}
    assert differing <= {"data", "strays", "leaks"} and not (photos / PINS_FILE).exists()


def test_check_of_a_table_that_train_would_refuse_says_so(photos: Path) -> None:
    assert check_data(write(photos, single(photos))).refusal is None
    document = check_data(write(photos, single(photos)[:30])).to_json()
    assert "Class `red` has 2 different images" in document["refusal"] and document["images"] == 30


def test_leaks_of_a_table_are_warned_of(photos: Path) -> None:
    shutil.copy(photos / "red/red-003.png", photos / "red/again.png")
    rows = [f"{row},{'test' if 'again' in row or '-000' in row else 'train'}" for row in single(photos)]
    warnings = read(photos, rows, header="image,label,split").warnings
    assert [warning for warning in warnings if re.search(r"LEAK: 1 .*again\.png = .*red-003\.png", warning)]


def test_fold_of_thousands_of_digits_is_no_fold(photos: Path, tmp_path: Path) -> None:
    images = sorted(path for path in photos.rglob("*") if path.is_file())
    rows = [
        f"{path},{path.parent.name},{'1' + '0' * 5000 if place == 3 else place % 2}"
        for place, path in enumerate(images)
    ]
    (tmp_path / "table.csv").write_text("\n".join(["image,label,fold", *rows]))
    found = load_dataset(str(tmp_path / "table.csv"), reading=Reading(fold=1))
    assert len(found.parts["val"]) == sum(place % 2 for place in range(len(images)) if place != 3)
