from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import trainkit as run
from photographs import COLORS_BGR, draw_photo, write_class_folders

import trainkit
from trainkit.data._sources import SOURCES
from trainkit.errors import DataError, OutputError, UsageError


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of thirty small pictures; two blue ones are called red."""
    folder = write_class_folders(tmp_path_factory.mktemp("wrong") / "photos", count=30)
    for number in (3, 17):
        (folder / "blue" / f"blue-{number:03}.png").rename(folder / "red" / f"blue-{number:03}.png")
    return folder


def test_labels_that_are_wrong_are_named_with_their_pictures(mislabelled: Path, tmp_path: Path) -> None:
    found = trainkit.find_label_errors(mislabelled, out=tmp_path / "page.html")
    named = {(Path(error.image).name, error.label, error.suggested) for error in found.errors}
    assert {("blue-003.png", "red", "blue"), ("blue-017.png", "red", "blue")} <= named and len(named) <= 4
    assert found.images == 90 and len(found.ranked) == 90 and "fashion-mnist" in found.model
    assert {Path(name).name for name in found.ranked[:2]} == {"blue-003.png", "blue-017.png"}
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (
        page.count("<img") == len(found.errors)
        and "red/blue-003.png" in page
        and "http:" not in page
        and "https:" not in page
    )


@pytest.mark.slow
def test_command_prints_the_same_as_json(mislabelled: Path, tmp_path: Path) -> None:
    document = json.loads(run("data", "errors", mislabelled, "--folds", "3", "--json", cwd=tmp_path).stdout)
    assert {Path(error["image"]).name for error in document["errors"]} >= {"blue-003.png", "blue-017.png"}
    assert {row["label"]: row["images"] for row in document["classes"]} == {"blue": 28, "green": 30, "red": 32}
    assert list(tmp_path.iterdir()) == []


HEADER = "file,true,predicted,probability,p:a,p:b"


def write_predictions(path: Path, rows: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arrays") / "few.npz"
    x = np.random.default_rng(0).integers(0, 256, (6, 8, 8), np.uint8)
    np.savez(path, x=x, y=np.array([0, 0, 0, 1, 1, 1]), class_names=np.array(["a", "b"]))
    return path


def test_predictions_of_a_file_are_taken(arrays: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sure = [f"train[{index}],a,a,0.9,0.9,0.1" for index in (0, 1)]
    sure += [f"train[{index}],b,b,0.9,0.1,0.9" for index in (3, 4)]
    path = write_predictions(tmp_path / "p.csv", [*sure, "train[2],a,b,0.95,0.05,0.95"])
    found = trainkit.find_label_errors(arrays, predictions=path)
    assert [(error.image, error.suggested) for error in found.errors] == [("train[2]", "b")]
    assert found.images == 5 and "1 images have no row in" in caplog.text


@pytest.mark.parametrize(
    ("rows", "header", "sentence"),
    [
        (["train[0],a,a,0.9,0.9"], "file,true,predicted,probability,p:a", "has no column `p:b`"),
        (["other.jpg,a,a,0.9,0.9,0.1"], None, r"no row for any image of few: it begins with `other\.jpg`"),
        (["train[0],a,a,0.9,0.9,x"], None, "the column `p:b` must have probabilities"),
        (["train[0],a,a,0.9,1.9,0.1"], None, "the column `p:a` must have probabilities, from 0 to 1"),
        (["train[0],a,a"], None, "row 2 has 3 values, and its header 6"),
        (["0.9,0.1"], "p:a,p:b", "Expected a column `file`, the columns parted by commas. Received: `p:a`, `p:b`"),
        (
            ["train[0];a;a;0,9"],
            "file;true;predicted;probability",
            "row 2 has 2 values, and its header 1. Expected commas",
        ),
        (["train[0],a,a,0.9,nan,0.1"], None, r"from 0 to 1. Received in row 2: 'nan'"),
        (["train[0],a,a,0.9,0.9,0.1"] * 2, None, r"has several rows for `train\[0\]`"),
        (["train[0],a,a,0.9,0.9,0.1,0"], f"{HEADER},p:c", "has a column `p:c`, and few has no such class"),
        (
            [f"train[{index}],{'ba'[index > 2]},a,0.9,0.9,0.1" for index in range(6)],
            None,
            r"other labels than few for 6 of 6 images: `train\[0\]` is `b` there and `a` here. Expected",
        ),
    ],
)
def test_file_that_does_not_fit_is_a_sentence(
    arrays: Path, tmp_path: Path, rows: list[str], header: str | None, sentence: str
) -> None:
    path = write_predictions(tmp_path / "p.csv", rows, *([header] if header else []))
    with pytest.raises(DataError, match=sentence):
        trainkit.find_label_errors(arrays, predictions=path)


def test_labels_that_were_put_right_since_are_said_and_others_are_not_read_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.repeat([0, 1], 10)
    np.savez(tmp_path / "many.npz", x=np.zeros((20, 8, 8), np.uint8), y=labels, class_names=np.array(["a", "b"]))
    rows = [f"train[{index}],{'ab'[index > 10]},a,0.9,0.9,0.1" for index in range(20)]
    path = write_predictions(tmp_path / "p.csv", rows)
    assert trainkit.find_label_errors(tmp_path / "many.npz", predictions=path).images == 20
    assert "1 labels of many are not those of" in caplog.text and "`train[10]` is `a` there and `b` here" in caplog.text


def test_page_that_is_there_is_not_overwritten(arrays: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    with pytest.raises(OutputError, match=r"page\.html exists already, and nothing is overwritten"):
        trainkit.find_label_errors(arrays, out=page)
    assert page.read_text() == "mine"


def test_what_cannot_be_asked_is_a_sentence(arrays: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`folds` must be a whole number from 2 to 9999. Received: 1"):
        trainkit.find_label_errors(arrays, folds=1)
    with pytest.raises(DataError, match=r"No such file: .*nothing\.csv"):
        trainkit.find_label_errors(arrays, predictions=tmp_path / "nothing.csv")
    x, several = np.zeros((4, 8, 8), np.uint8), np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    with pytest.raises(DataError, match="may have several labels"):
        trainkit.find_label_errors((x, several))


@pytest.mark.slow
def test_what_is_of_one_group_is_never_learned_from_while_it_is_asked(tmp_path: Path) -> None:
    """Every picture of a scene has the same wrong colour: a model that had seen one of them would know the others."""
    for name, color in (("blue", COLORS_BGR["blue"]), ("red", COLORS_BGR["red"])):
        (tmp_path / name).mkdir()
        for number in range(12):
            cv2.imwrite(str(tmp_path / name / f"s{number:02}_{name}.png"), draw_photo(number, color))
    (tmp_path / "red" / "nameless.png").write_bytes((tmp_path / "red" / "s00_red.png").read_bytes())
    with pytest.raises(DataError, match="finds no group in 1 of 25 names"):
        trainkit.find_label_errors(tmp_path, reading=trainkit_reading(r"(s\d+)_"))
    (tmp_path / "red" / "nameless.png").unlink()
    assert trainkit.find_label_errors(tmp_path, reading=trainkit_reading(r"(s\d+)_"), folds=3).images == 24


def trainkit_reading(group_by: str):  # type: ignore[no-untyped-def]
    from trainkit.data._reading import Reading

    return Reading(group_by=group_by)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_flipped_cats_and_dogs_are_found(shared: Path, tmp_path: Path, seed: int) -> None:
    """Of 5 % flipped labels at least 90 % are named, and at most one in five is named without cause."""
    files = sorted((shared / "data" / "cats-dogs").rglob("*.jpg"))
    flipped = set(random.Random(seed).sample(range(len(files)), round(0.05 * len(files))))
    wrong = set()
    for index, path in enumerate(files):
        name = {"cats": "dogs", "dogs": "cats"}[path.parent.name] if index in flipped else path.parent.name
        target = tmp_path / "photos" / name / f"{index:04}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        wrong |= {str(target)} if index in flipped else set()
    found = {error.image for error in trainkit.find_label_errors(tmp_path / "photos").errors}
    assert len(found & wrong) >= 0.9 * len(wrong)
    assert len(found - wrong) <= 0.2 * len(found)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.shared
def test_flipped_garments_are_ranked_first(shared: Path, tmp_path: Path) -> None:
    """Of 100 flipped labels among 10,000 at least 80 are among the 300 that are ranked first."""
    _, sides = SOURCES["fashion-mnist"].load()
    draw = np.random.default_rng(0)
    x, y = sides["train"][0][:10_000], sides["train"][1][:10_000].copy()
    flipped = draw.choice(len(y), 100, replace=False)
    y[flipped] = (y[flipped] + draw.integers(1, 10, 100)) % 10
    first = trainkit.find_label_errors((x, y)).ranked[:300]
    assert sum(int(re.sub(r"\D", "", name)) in set(flipped) for name in first) >= 80
