from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from folder_layouts import LAYOUTS, Answer, build
from folder_layouts_below import LAYOUTS_BELOW

from trainkit.data._check import DataCheck, check_data
from trainkit.data._reading import AS_NAMED, Reading
from trainkit.data._sources import load_dataset
from trainkit.errors import DataError


def to_reading(options: str) -> Reading:
    """Understand options as a shell and the command line do."""
    words, values = shlex.split(options), {}
    while words:
        word = words.pop(0)
        key = word.removeprefix("--").replace("-", "_")
        values.update({"sides": "none"} if key == "no_sides" else {key: words.pop(0)})
    return Reading(**values) if values else AS_NAMED


ALL = LAYOUTS | LAYOUTS_BELOW


@pytest.mark.parametrize("name", ALL)
def test_layout_is_read_right_or_refused_for_the_true_reason(name: str, tmp_path: Path) -> None:
    layout = ALL[name]
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
    if not answer.warnings and not answer.left_out:
        assert not [warning for warning in dataset.warnings if "by chance" not in warning]
    for pattern in answer.warnings:
        assert any(re.search(pattern, warning) for warning in dataset.warnings), (pattern, dataset.warnings)
