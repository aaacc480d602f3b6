from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainkit.data import Reading
from trainkit.errors import UsageError
from trainkit.runs._config_file import parse_assignment, read_config
from trainkit.runs._settings import build_config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sides": "Training"}, r"`reading.sides` must be `none`, or folders .*train=Training,test=Testing"),
        ({"sides": "test=Testing"}, "Received: 'test=Testing'"),
        ({"sides": "train=a,train=b"}, "Received: 'train=a,train=b'"),
        ({"sides": "train=a,dev=b"}, "Received: 'train=a,dev=b'"),
        ({"sides": "train="}, "Received: 'train='"),
        ({"labels_from": "file"}, r"`reading.labels_from` must be folder or name\. Received: 'file'"),
        ({"pattern": "cat"}, r"`reading.pattern` must be a regular expression with a group"),
        ({"pattern": "(cat"}, r"Received: '\(cat'"),
        ({"pattern": 3}, "Received: 3"),
        ({"columns": "image"}, "`reading.columns` must be columns as image=path"),
        ({"columns": "picture=a"}, "Received: 'picture=a'"),
        ({"images": ""}, "`reading.images` must be a folder"),
        ({"images": "\udcff"}, "`reading.images` must be a folder, in UTF-8"),
        ({"separator": "and"}, "`reading.separator` must be one sign, or `space`"),
        ({"separator": "a"}, "Received: 'a'"),
        ({"fold": -1}, "`reading.fold` must be a whole number from 0"),
        ({"fold": 1.5}, r"Received: 1\.5"),
        ({"fold": True}, "Received: True"),
    ],
)
def test_reading_refuses_what_it_cannot_mean(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Reading(**values)


def test_reading_takes_pairs_apart() -> None:
    reading = Reading(sides="train=My Training, test=Testing", columns="image=path,label=breed")
    assert reading.side_folders == {"train": "My Training", "test": "Testing"}
    assert reading.column_names == {"image": "path", "label": "breed"}
    assert Reading(sides="none").side_folders == {}
    assert (Reading().side_folders, Reading().column_names) == (None, {})
    assert Reading(separator=" ").separator == Reading(separator="space").separator == "space"


def test_a_run_keeps_how_its_data_is_read(tmp_path: Path) -> None:
    reading = Reading(sides="train=A,test=B", pattern=r"(?P<label>\w+)\.", images="photos", fold=2)
    config = build_config({"data": str(tmp_path), **reading.to_settings()})
    (tmp_path / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    again = build_config(read_config(tmp_path / "config.toml"))
    assert (
        again.reading
        == config.reading
        == Reading(sides="train=A,test=B", pattern=r"(?P<label>\w+)\.", images=str(Path("photos").absolute()), fold=2)
    )


def test_a_config_says_nothing_of_reading_where_nothing_was_said(tmp_path: Path) -> None:
    assert "reading" not in build_config({"data": "digits"}).to_toml()


def test_set_takes_a_text_of_reading_as_it_stands() -> None:
    assert parse_assignment("reading.pattern=5") == ("reading.pattern", "5")
    assert parse_assignment("reading.fold=5") == ("reading.fold", 5)
