"""Tables at any width: what one would copy is never broken."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import trainkit
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import write_class_folders
from rich.cells import cell_len
from terminals import trainkit_on_terminal

from trainkit.cli._tables import ITEMS, WORDS, lay_out

NAME = "a-name-of-sixty-letters-as-some-people-like-them-more-or-les"  # behind a date and a time
CLASSES = ["Staffordshire-bullterrier", "soft-coated-wheaten-terrier", "West-Highland-white-terrier"]
QUIET = {"TRAINKIT_PROGRESS": "0"}


def test_a_table_that_fits_has_a_line_a_row() -> None:
    table = lay_out(["run", "epochs"], [["digits", "8"], ["mobilenet", "12"]], width=80)
    assert (table.heading, table.body) == (["run        epochs"], ["digits     8", "mobilenet  12"])


def test_without_a_terminal_nothing_is_wrapped_padded_or_cut() -> None:
    long = "x" * 900
    table = lay_out(["found", "which"], [["LEAKS", f"a = {long}"], ["-", "b"]], width=None, breaks={"which": WORDS})
    assert table.body == [f"LEAKS  a = {long}", "-      b"]


def test_headings_and_prose_are_wrapped_first() -> None:
    rows = [["transfer", "For a folder of photographs.", "0.975"]]
    table = lay_out(["recipe", "what it is", "accuracy"], rows, width=35, breaks={"what it is": WORDS})
    assert table.body == ["transfer  For a folder of  0.975", "          photographs."]


def test_a_heading_is_wrapped_at_words_and_hyphens() -> None:
    table = lay_out(["layer", "receptive field", "multiply-adds"], [["a", "3x3", "1"]], width=28)
    assert table.heading == ["layer  receptive  multiply-", "       field      adds"]


def test_optional_columns_go_before_anything_is_broken() -> None:
    table = lay_out(["run", "seconds", "status"], [["x" * 10, "51.3", "finished"]], width=20, optional=["seconds"])
    assert (table.body, table.left_out) == (["xxxxxxxxxx  finished"], ["seconds"])


def test_then_a_row_takes_two_lines() -> None:
    rows = [["x" * 18, "cat", "0.9"], ["x" * 18, "dog", "0.1"], ["y", "dog", "0.7"]]
    table = lay_out(["image", "label", "probability"], rows, width=20)
    assert table.heading == ["image", "  label  probability"]
    assert table.body == ["x" * 18, "  cat    0.9", "  dog    0.1", "y", "  dog    0.7"]


def test_then_a_cell_takes_a_line() -> None:
    table = lay_out(["run", "data", "status"], [["x" * 30, "y" * 30, "finished"]], width=20)
    assert table.heading == []
    assert table.body == ["x" * 30, "  data:", "    " + "y" * 30, "  status: finished"]


def test_items_of_a_list_stay_whole() -> None:
    rows = [["LEAKS", "2", "my cats/a b.jpg = my cats/c d.jpg; e.jpg = f.jpg"]]
    table = lay_out(["found", "how many", "which"], rows, width=36, breaks={"which": ITEMS})
    assert table.body == [
        "LEAKS  2     my cats/a b.jpg =",
        "             my cats/c d.jpg;",
        "             e.jpg = f.jpg",
    ]


def test_wide_letters_count_twice() -> None:
    table = lay_out(["label", "n"], [["猫", "1"], ["cat", "2"]], width=80)
    assert table.body == ["猫     1", "cat    2"]


def test_control_characters_are_escaped() -> None:
    assert lay_out(["label"], [["a\x1b[2Jb\n\udcff"]], width=80).body == [r"a\x1b[2Jb\x0a\udcff"]


words = st.text("abc-._/", min_size=1, max_size=25)
cells = st.lists(words, min_size=1, max_size=4).map(" ".join)
tables = st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=4))


@given(tables, st.integers(10, 120))
@settings(deadline=None)
def test_no_cell_is_broken(rows: list[list[str]], width: int) -> None:
    columns = [f"column-{index}" for index in range(len(rows[0]))]
    table = lay_out(columns, rows, width=width)
    for cell in (cell for row in rows for cell in row):
        assert any(cell in line for line in table.body)
    longest = max(cell_len(cell) for row in rows for cell in row)
    room = max(width, longest + 4, len("  column-0:"))
    assert all(cell_len(line) <= room for line in table.body)
    assert all(line == line.rstrip() for line in table.body)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three classes with long names, a copy of a picture among them, and one that is empty."""
    folder = tmp_path_factory.mktemp("photos") / "photographs-of-dogs-from-the-animal-shelter"
    write_class_folders(folder, count=8)
    for path, name in zip(sorted(folder.iterdir()), CLASSES, strict=False):
        path.rename(folder / name)
    first = sorted((folder / CLASSES[0]).iterdir())[0]
    (folder / CLASSES[0] / f"copy-of-{first.name}").write_bytes(first.read_bytes())
    (folder / CLASSES[0] / "an-empty-file-with-a-rather-long-name.jpg").touch()
    return folder


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A folder with a run of a long name, its bundle, and what training said in a terminal and in a pipe."""
    folder = tmp_path_factory.mktemp("workplace")
    arguments = ("train", photos, "--model", "small-cnn", "--size", "16x16", "--epochs", 1, "--name", NAME)
    session = trainkit_on_terminal(*arguments, cwd=folder, **QUIET)
    assert session.code == 0, session.text
    (folder / "train.txt").write_text(session.text)
    trainkit("export", "latest", "--name", NAME, cwd=folder)
    return folder


def run_of(folder: Path) -> str:
    (run,) = (folder / "experiments").iterdir()
    return run.name


def holds(text: str, *parts: object) -> None:
    """Hold that each part stands whole on a line."""
    for part in parts:
        assert any(re.search(rf"(?<![\w.]){re.escape(str(part))}(?![\w])", line) for line in text.splitlines()), part


def test_result_of_training_is_whole(workplace: Path) -> None:
    result = json.loads((workplace / "experiments" / run_of(workplace) / "result.json").read_text())
    printed = (workplace / "train.txt").read_text()
    holds(printed, f"experiments/{run_of(workplace)}", "finished", f"{result['test_accuracy']:.4f}")


@pytest.mark.parametrize("columns", [80, 40])
def test_runs_and_compare_are_whole(workplace: Path, columns: int) -> None:
    run = run_of(workplace)
    (row,) = json.loads(trainkit("runs", "--json", cwd=workplace).stdout)
    printed = trainkit_on_terminal("runs", cwd=workplace, columns=columns, **QUIET).text
    holds(printed, run, "small-cnn", f"{row['test_accuracy']:.4f}", Path(row["data"]).name)
    printed = trainkit_on_terminal("compare", run, "latest", cwd=workplace, columns=columns, **QUIET).text
    holds(printed, run, f"{row['test_accuracy']:.6g}", "val_accuracy")


@pytest.mark.parametrize("columns", [80, 40])
def test_recipes_are_whole(tmp_path: Path, columns: int) -> None:
    found = json.loads(trainkit("recipes", "--json", cwd=tmp_path).stdout)
    printed = trainkit_on_terminal("recipes", cwd=tmp_path, columns=columns, **QUIET).text
    holds(printed, *(one["name"] for one in found))
    holds(printed, *(word for one in found for word in one["accuracy"].split() if word[0].isdigit()))


@pytest.mark.parametrize("columns", [80, 40])
def test_data_check_and_statistics_are_whole(photos: Path, columns: int) -> None:
    printed = trainkit_on_terminal("data", "check", photos.name, cwd=photos.parent, columns=columns, **QUIET).text
    holds(printed, *CLASSES, f"{CLASSES[0]}/an-empty-file-with-a-rather-long-name.jpg is empty")
    found = json.loads(trainkit("data", "stats", photos.name, "--json", cwd=photos.parent).stdout)
    printed = trainkit_on_terminal("data", "stats", photos.name, cwd=photos.parent, columns=columns, **QUIET).text
    holds(printed, *(f"{value:.10g}" for value in found["blob"]["mean"]))


@pytest.mark.parametrize("columns", [80, 40])
def test_predictions_are_whole(workplace: Path, photos: Path, columns: int) -> None:
    image = sorted((photos / CLASSES[1]).iterdir())[0]
    printed = trainkit_on_terminal("predict", NAME, image, cwd=workplace, columns=columns, **QUIET).text
    holds(printed, image, *CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [pytest.param(80, marks=pytest.mark.long), 40])
def test_figures_of_networks_are_whole(workplace: Path, columns: int) -> None:
    figures = json.loads(trainkit("evaluate", "latest", "--json", cwd=workplace).stdout)
    printed = trainkit_on_terminal("evaluate", "latest", cwd=workplace, columns=columns, **QUIET).text
    holds(printed, *CLASSES, *(f"{row['f1']:.3f}" for row in figures["classes"]))
    layers = json.loads(trainkit("shapes", "mobilenet", "--json", cwd=workplace).stdout)["layers"]
    printed = trainkit_on_terminal("shapes", "mobilenet", cwd=workplace, columns=columns, **QUIET).text
    holds(printed, *(layer["name"] for layer in layers), *(f"{layer['parameters']:,}" for layer in layers))
    agreement = json.loads(trainkit("check", NAME, "--json", cwd=workplace).stdout)
    printed = trainkit_on_terminal("check", NAME, cwd=workplace, columns=columns, **QUIET).text
    holds(printed, *(f"{name} {one['version']}" for name, one in agreement["runtimes"].items()), "100.00%")
    printed = trainkit_on_terminal("bench", NAME, "--batches", "1,8", cwd=workplace, columns=columns, **QUIET).text
    holds(printed, "opencv", "onnxruntime", "keras")
    assert len(re.findall(r"\d+\.\d\d ms", printed)) == 6


def test_a_pipe_gets_no_padding_and_no_box(workplace: Path) -> None:
    command = [sys.executable, "-m", "trainkit", "runs"]
    printed = subprocess.run(command, cwd=workplace, capture_output=True, text=True, check=True).stdout
    heading, row = printed.splitlines()
    assert heading == heading.rstrip() and row == row.rstrip()
    assert re.split(r" {2,}", row)[0] == run_of(workplace)
    assert len(re.split(r" {2,}", heading)) == len(re.split(r" {2,}", row)) == 9
    assert not re.search(r"[\x1b─│━]", printed)
