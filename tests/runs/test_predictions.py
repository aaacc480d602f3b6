"""Predictions as files: what is in them, and that nothing is lost by the names in them or by what is there."""

from __future__ import annotations

import builtins
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from trainkit.data._dataset import ArrayImages, FileImages, Part
from trainkit.errors import MissingPackageError, OutputError, UsageError
from trainkit.runs._predictions import (
    PARQUET_FILE,
    Predictions,
    build_predictions,
    decide,
    predictions_of_part,
    save_predictions,
    write_csv,
)

HARD_NAMES = ['a,b "quoted"', "two\nlines\r\nand\rmore", "=SUM(A1:A9)", "  spaces ", "猫|кошка", "p:file", "+1;-1"]


def made(names: list[str], count: int = 5) -> Predictions:
    rows = np.random.default_rng(0).dirichlet(np.ones(len(names)), count).astype(np.float32)
    truth = [names[number % len(names)] for number in range(count - 1)] + [None]
    return build_predictions([f"/photos/{name}.jpg" for name in names[:count]], rows, names, output={}, truth=truth)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("target", ["answers.csv", "ANSWERS.CSV", "folder"])
def test_hard_names_come_back(tmp_path: Path, target: str) -> None:
    found = made(HARD_NAMES)
    save_predictions(found, tmp_path / target)
    if target == "folder":
        rows = pyarrow.parquet.read_table(tmp_path / target).to_pylist()
        assert rows[-1]["true"] is None
    else:
        rows = read(tmp_path / target)
        assert rows[-1]["true"] == ""
    assert list(rows[0]) == ["file", "true", "predicted", "probability", *(f"p:{name}" for name in HARD_NAMES)]
    assert [row["file"] for row in rows] == found.files
    assert [row["true"] or None for row in rows] == found.truth
    assert [row["predicted"] for row in rows] == found.predicted
    values = np.array([[np.float32(row[f"p:{name}"]) for name in HARD_NAMES] for row in rows])
    assert np.array_equal(values, found.probabilities), "float32, to the last bit"
    assert [np.float32(row["probability"]) for row in rows] == found.probabilities.max(axis=1).tolist()


def test_parquet_has_the_types_that_the_manual_names(tmp_path: Path) -> None:
    save_predictions(made(["cat", "dog"], 2), tmp_path / "folder")
    schema = pyarrow.parquet.read_schema(tmp_path / "folder" / PARQUET_FILE)
    assert dict(zip(schema.names, map(str, schema.types), strict=True)) == {
        **dict.fromkeys(("file", "true", "predicted"), "string"),
        **dict.fromkeys(("probability", "p:cat", "p:dog"), "float"),
    }


def test_classes_of_one_name_have_columns_of_their_own() -> None:
    names = ["crane", "crane", "crane (2)", "crane", "maillot"]
    columns = made(names).columns()[4:]
    assert len(set(columns)) == 5
    assert columns == ["p:crane", "p:crane (3)", "p:crane (2)", "p:crane (4)", "p:maillot"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "answers.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="exists already, and nothing is overwritten"):
        save_predictions(made(["cat", "dog"], 2), tmp_path / "answers.csv")
    assert (tmp_path / "answers.csv").read_text(encoding="utf-8") == "mine"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine", encoding="utf-8")
    save_predictions(made(["cat", "dog"], 2), tmp_path / "folder")
    with pytest.raises(OutputError, match=rf"{PARQUET_FILE} exists already"):
        save_predictions(made(["cat", "dog"], 2), tmp_path / "folder")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["mine.txt", PARQUET_FILE]


@pytest.mark.parametrize("name", ["answers.tsv", "answers.parquet", "answers.json"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"a file whose name ends in \.csv, or a folder for Parquet\. Received: .*ans"):
        save_predictions(made(["cat", "dog"], 2), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        save_predictions(made(["cat", "dog"], 2), tmp_path / "none" / "answers.csv")


def test_missing_pyarrow_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPackageError, match=r'pip install "trainkit\[parquet\]"\. Or name a \.csv file'):
        save_predictions(made(["cat", "dog"], 2), tmp_path / "folder")
    assert not list(tmp_path.iterdir())
    save_predictions(made(["cat", "dog"], 2), tmp_path / "answers.csv")


@pytest.mark.parametrize("target", ["answers.csv", "folder"])
def test_what_fails_midway_leaves_nothing(tmp_path: Path, target: str) -> None:
    broken = made(["cat", "dog"], 2)
    broken.truth.append("one too many")
    with pytest.raises(ValueError):
        save_predictions(broken, tmp_path / target)
    assert not list(tmp_path.iterdir())


def test_names_that_are_no_utf_8_are_written_out(tmp_path: Path) -> None:
    found = build_predictions(["/photos/\udcff.jpg"], np.array([[1.0, 0.0]]), ["cat", "dog"], output={})
    for target in ("answers.csv", "folder"):
        save_predictions(found, tmp_path / target)
    assert read(tmp_path / "answers.csv")[0]["file"] == r"/photos/\xff.jpg"
    assert pyarrow.parquet.read_table(tmp_path / "folder").to_pylist()[0]["file"] == r"/photos/\xff.jpg"


def test_images_of_several_labels(tmp_path: Path) -> None:
    part = Part(ArrayImages(np.zeros((3, 8, 8), np.uint8)), np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]], np.float32))
    rows = np.array([[0.9, 0.6, 0.1], [0.2, 0.1, 0.4], [0.1, 0.2, 0.3]], np.float32)
    save_predictions(
        predictions_of_part(part, "test", rows, ["cat", "dog", "owl"], {"multi_label": True}), tmp_path / "a.csv"
    )
    found = read(tmp_path / "a.csv")
    assert [row["file"] for row in found] == ["test[0]", "test[1]", "test[2]"]
    assert [(row["true"], row["predicted"]) for row in found] == [("cat|dog", "cat|dog"), ("owl", ""), ("", "")]
    assert [row["probability"] for row in found] == ["", "", ""]


def test_what_a_manifest_asks_a_class_to_reach() -> None:
    rows = np.array([[0.4, 0.6], [0.9, 0.1], [0.5, 0.5]], np.float32)
    assert decide(rows, {}) == [[1], [0], [0]]
    assert decide(rows, {"reject_below": 0.7}) == [[], [0], []]
    assert decide(rows, {"multi_label": True}) == [[1], [0], [0, 1]]
    assert decide(rows, {"multi_label": True, "thresholds": [0.3, 0.7]}) == [[0], [0], [0]]
    found = build_predictions(["a"], rows[:1], ["cat", "dog"], output={"reject_below": 0.7})
    assert found.predicted == [None] and found.probability == [pytest.approx(0.6)]


def test_files_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    part = Part(FileImages([Path("cats/1.jpg")]), np.array([1]))
    found = predictions_of_part(part, "data", np.array([[0.5, 0.5]]), ["cat", "dog"], {})
    assert found.files == [str(tmp_path / "cats" / "1.jpg")] and found.truth == ["dog"]


def test_columns_of_classes_may_be_left_out(tmp_path: Path) -> None:
    write_csv(made(["cat", "dog"], 2), tmp_path / "short.csv", probabilities=False)
    assert list(read(tmp_path / "short.csv")[0]) == ["file", "true", "predicted", "probability"]
