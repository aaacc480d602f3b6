"""Every layout of `table_layouts.py` and `table_layouts_found.py`: read as it is meant, or refused."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from table_layouts import LAYOUTS, Layout
from table_layouts_found import FOUND

from trainkit.data import Reading, check_data, load_dataset
from trainkit.data._reading import COLUMNS, parse_pairs, write_pair
from trainkit.errors import DataError

ALL = {**LAYOUTS, **FOUND}


def build(layout: Layout, folder: Path) -> tuple[Path, Reading]:
    """Write a layout's table and its images, which all differ."""
    for number, image in enumerate(layout.images):
        path = folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(pixels, (48, 36), interpolation=cv2.INTER_NEAREST))
    (folder / layout.name).write_text(layout.table, encoding="utf-8")
    options = dict(layout.reading)
    if "images" in options:
        options["images"] = str(folder / str(options["images"]))
    return folder / layout.name, Reading(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ALL)
def test_table_is_read_as_it_is_meant(name: str, tmp_path: Path) -> None:
    layout = ALL[name]
    path, reading = build(layout, tmp_path)
    if layout.error is not None:
        for read in (load_dataset, check_data):
            with pytest.raises(DataError, match=layout.error) as caught:
                read(str(path), reading=reading)
            assert "\n" not in str(caught.value) and path.name in str(caught.value)
        return
    dataset = load_dataset(str(path), validation=0, reading=reading)
    counts: Counter[str] = Counter()
    for part in dataset.parts.values():
        for row in part.labels:
            numbers = np.flatnonzero(row) if dataset.multi_label else [row]
            counts.update(dataset.class_names[int(number)] for number in numbers)
    assert (counts, dataset.multi_label) == (layout.classes, layout.multi_label)
    check = check_data(path, validation=0, reading=reading)
    assert check.classes == layout.classes and check.refusal is None
    if layout.sides:
        assert {side: len(part) for side, part in dataset.parts.items()} == layout.sides
        assert {side: sum(counts.values()) for side, counts in check.sides.items()} == layout.sides


@pytest.mark.parametrize("name", [name for name, layout in ALL.items() if layout.error is None])
def test_what_was_chosen_for_somebody_is_said(name: str, tmp_path: Path) -> None:
    layout = ALL[name]
    path, reading = build(layout, tmp_path)
    dataset = load_dataset(str(path), validation=0, reading=reading)
    said = [warning for warning in dataset.warnings if "by chance" not in warning]  # of classes this small
    assert len(said) == len(layout.warnings), said
    for expected, warning in zip(layout.warnings, said, strict=True):
        assert re.search(expected, warning)


def test_addresses_of_files_are_paths(tmp_path: Path) -> None:
    layout = ALL["plain"]
    path, _ = build(layout, tmp_path / "two words")
    for begin in ("file://", "file://localhost", "file:"):
        rows = [f"{begin}{quote(str(path.parent / image))},{image[4:7]}" for image in layout.images]
        path.write_text("\n".join(["image,label", *rows]), encoding="utf-8")
        assert check_data(path, validation=0).classes == layout.classes
    path.write_text(path.read_text().replace("cat0.jpg", "gone.jpg"), encoding="utf-8")
    with pytest.raises(DataError, match=r"1 of 12 images .* missing: .*gone\.jpg"):
        check_data(path)


def test_advice_about_folders_and_names_works(tmp_path: Path) -> None:
    path, _ = build(ALL["a comma in a column's name"], tmp_path)
    with pytest.raises(DataError) as caught:
        check_data(path)
    (advice,) = re.findall(r"--columns ('.*?')\.", str(caught.value))
    assert check_data(path, reading=Reading(columns=shlex.split(advice)[0])).classes == {"cat": 6, "dog": 6}


@pytest.mark.parametrize("value", ["a,b", 'a "b", c', ' "a" ', "a=b", 'a"', '"a', "a"])
def test_a_name_is_read_as_it_was_written(value: str) -> None:
    assert parse_pairs(f"image=x,{write_pair('label', value)}", COLUMNS) == {"image": "x", "label": value}
