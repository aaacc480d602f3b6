"""The options of tables, and the advice of messages followed to the letter."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from commands import trainkit
from drawings import nothing_drawn
from photographs import add_scenes

from trainkit import train
from trainkit.runs import Run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Names without suffixes of 24 pictures in a folder beside, and two columns that may be the class."""
    add_scenes(tmp_path / "photos", ["cats", "dogs"], 12)
    (tmp_path / "all pictures").mkdir()
    rows = []
    for index, path in enumerate(sorted((tmp_path / "photos").glob("*/*.png"))):
        path.rename(tmp_path / "all pictures" / f"{index:03}.png")
        rows.append(f"{index:03},{path.parent.name},{'AB'[index % 2]},{['TRAIN', 'TEST'][index % 4 == 0]}")
    (tmp_path / "labels.csv").write_text("\n".join(["id,breed,pet category,subset", *rows]) + "\n", encoding="utf-8")
    return tmp_path / "labels.csv"


def advice(sentence: str, option: str) -> list[str]:
    """Return the first option of this name in a sentence, as a shell would take it apart."""
    match = re.search(rf"--{option} ('[^']*'|\S+)", sentence)
    assert match, sentence
    return shlex.split(match[0])


def test_advice_is_followed_until_the_table_is_read(table: Path, tmp_path: Path) -> None:
    first = trainkit("data", "check", "labels.csv", cwd=tmp_path, code=1).stderr
    images = advice(first, "images")
    text = table.read_text(encoding="utf-8").replace("pet category", "class")
    table.write_text(text, encoding="utf-8")
    second = trainkit("data", "check", "labels.csv", *images, cwd=tmp_path, code=1).stderr
    columns = advice(second, "columns")
    assert columns == ["--columns", "label=breed"] and "--columns label=class" in second
    document = json.loads(trainkit("data", "check", "labels.csv", *images, *columns, "--json", cwd=tmp_path).stdout)
    assert document["classes"] == {"cats": 12, "dogs": 12} and document["warnings"] == []
    assert sum(document["sides"]["test"].values()) == 6 and document["chosen_sides"] == ["val"]


def test_check_says_what_was_chosen(table: Path, tmp_path: Path) -> None:
    text = table.read_text(encoding="utf-8").replace("TRAIN", "a").replace("TEST", "b")
    table.write_text(text, encoding="utf-8")
    ended = trainkit("data", "check", "labels.csv", "--images", "all pictures", cwd=tmp_path)
    assert "the column `subset` is passed over: its values are not train, val or test, but a, b." in ended.stdout


def test_run_remembers_how_its_table_was_read(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--images", "all pictures", "--columns", "label=pet category,split=subset"]
    small = ["--model", "small-cnn", "--epochs", 1, "--size", "16x16", "--set", "model.filters=2"]
    trainkit("train", "labels.csv", *options, *small, "--experiments", tmp_path / "runs", cwd=tmp_path)
    (path,) = (tmp_path / "runs").iterdir()
    assert Run(path).class_names == ["A", "B"]
    config = (path / "config.toml").read_text(encoding="utf-8")
    assert 'columns = "label=pet category,split=subset"' in config and str(tmp_path / "all pictures") in config
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with nothing_drawn():
        train(config=path / "config.toml", experiments="runs")
    (again,) = (tmp_path / "elsewhere" / "runs").iterdir()
    assert Run(again).metrics[0]["loss"] == Run(path).metrics[0]["loss"]


def test_check_of_arrays_is_printed_with_their_names(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    y = np.arange(40) % 2
    x[30] = x[3]
    np.savez(tmp_path / "a.npz", train_images=x[:30], train_labels=y[:30], test_images=x[30:], test_labels=y[30:])
    ended = trainkit("data", "check", "a.npz", "--html", "a.html", "--strict", cwd=tmp_path, code=1)
    assert "test_images[0] = train_images[3]" in ended.stdout
    assert "should be put right" in ended.stderr and (tmp_path / "a.html").stat().st_size > 1000
    refused = trainkit("data", "check", "a.npz", "--keep-together", cwd=tmp_path, code=2)
    assert "--keep-together is for files. In arrays, choose the sides yourself" in refused.stderr
