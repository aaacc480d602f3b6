from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from folder_layouts import LAYOUTS, Answer, build

from trainkit.data._check import DataCheck, check_data
from trainkit.data._reading import AS_NAMED, Reading
from trainkit.data._sources import load_dataset
from trainkit.errors import DataError

RED = {  # not read right yet
    "imagenette",
    "brain tumours: Training, Testing",
    "capital letters",
    "only one has a capital letter",
    "kaggle intel: twice the same folder, and one to predict",
    "training_set and test_set",
    "words with spaces",
    "trn, dev, holdout",
    "train, eval",
    "words before and behind",
    "words that have grown together",
    "fruits-360",
    "traffic signs: a flat Test without classes, and Meta",
    "cats_and_dogs_filtered",
    "chest x-rays: the same again inside, and a Macintosh's",
    "one wrapper",
    "two wrappers",
    "dataset/images",
    "wrapper with sides",
    "stanford dogs: Images beside Annotation",
    "masks that are pictures",
    "sides in each class",
    "sides in each class, by other names",
    "sides in some classes only",
    "railways: train, car, bus",
    "medicine: test, control",
    "a flat test beside two classes",
    "training and testing hold the images",
    "train and test hold the images, beside a third",
    "cyclegan: trainA, trainB, testA, testB",
    "a class train with years beside another with years",
    "val and validation",
    "train1 and train2",
    "folds",
    "a class is missing in test",
    "a class is empty in val",
    "Test and Val alone",
    "yolo: images, labels",
    "yolo with sides",
    "yolo, sides inside",
    "segmentation: images, masks",
    "train_images and a table",
    "dogs vs cats",
    "dogs vs cats, told",
    "class in the names of one folder",
    "oxford pets: images beside annotations",
    "a pattern of one's own",
    "a pattern that not all files have",
    "species in genera",
    "years with the classes in them",
    "junk of every system",
    "pictures beside the classes",
    "sides by any name",
    "sides deeper down",
    "a side that is not there",
}


def cases() -> list[Any]:
    marks = {name: [pytest.mark.xfail(strict=True)] if name in RED else [] for name in LAYOUTS}
    return [pytest.param(name, id=name, marks=marks[name]) for name in LAYOUTS]


def to_reading(options: str) -> Reading:
    """Understand options as a shell and the command line do."""
    words, values = shlex.split(options), {}
    while words:
        word = words.pop(0)
        key = word.removeprefix("--").replace("-", "_")
        values.update({"sides": "none"} if key == "no_sides" else {key: words.pop(0)})
    return Reading(**values) if values else AS_NAMED


@pytest.mark.parametrize("name", cases())
def test_layout_is_read_right_or_refused_for_the_true_reason(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    folder = build(layout.tree, tmp_path / "data")
    refusal = assert_read_as(layout.answer, folder, layout.options)
    for options, answer in layout.advice.items():
        assert options in refusal
        assert_read_as(answer, folder, options)


def assert_read_as(answer: Answer, folder: Path, options: str) -> str:
    reading = to_reading(options)
    check = check_data(folder, validation=0, reading=reading)
    assert [str(path.relative_to(folder)) for path in check.left_out] == sorted(answer.left_out)
    if answer.refusal:
        assert check.refusal is not None and re.search(answer.refusal, check.refusal), check.refusal
        with pytest.raises(DataError, match=re.escape(check.refusal)):
            load_dataset(str(folder), validation=0, reading=reading)
        return check.refusal
    assert check.refusal is None
    assert check.classes == answer.classes
    assert not answer.hidden or len(check.hidden) == answer.hidden
    assert_sides(check, answer)
    assert_trained(answer, folder, reading)
    for pattern in answer.warnings:
        assert any(re.search(pattern, warning) for warning in check.warnings), (pattern, check.warnings)
    return ""


def assert_sides(check: DataCheck, answer: Answer) -> None:
    if answer.sides:
        counts = {side: {name: n for name, n in classes.items() if n} for side, classes in check.sides.items()}
        assert counts == answer.sides and check.chosen_sides == []
    else:
        assert check.chosen_sides == ["test"]


def assert_trained(answer: Answer, folder: Path, reading: Reading) -> None:
    dataset = load_dataset(str(folder), validation=0, reading=reading)
    assert dataset.class_names == sorted(answer.classes)
    totals = dict.fromkeys(answer.classes, 0)
    for side, part in dataset.parts.items():
        counts = {name: int((part.labels == number).sum()) for number, name in enumerate(dataset.class_names)}
        if answer.sides:
            assert {name: count for name, count in counts.items() if count} == answer.sides[side]
        totals = {name: totals[name] + count for name, count in counts.items()}
    assert totals == answer.classes
    if not answer.warnings:
        assert not [warning for warning in dataset.warnings if "by chance" not in warning]
    for pattern in answer.warnings:
        assert any(re.search(pattern, warning) for warning in dataset.warnings), (pattern, dataset.warnings)
