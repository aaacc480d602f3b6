"""Two runs on the same images, and runs on others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from drawings import nothing_drawn
from photographs import write_class_folders
from scipy.stats import binomtest

import trainkit
from trainkit.reports._paired import PairedTest
from trainkit.runs._figures import ALSO_CHOSE
from trainkit.runs._run import Run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Two runs on one set of test images, one on its validation images alone, and one on other photographs."""
    folder = tmp_path_factory.mktemp("paired")
    first = write_class_folders(folder / "first", count=40)
    other = write_class_folders(folder / "other", count=20)
    only_val = folder / "sides"
    for side, names in (("train", range(30)), ("val", range(30, 40))):
        for color in ("blue", "green", "red"):
            (only_val / side / color).mkdir(parents=True)
            for number in names:
                shutil.copy(first / color / f"{color}-{number:03}.png", only_val / side / color)
    options = {"size": (24, 16), "experiments": folder / "experiments"}
    with nothing_drawn():
        return {
            "one": trainkit.train(first, name="one", epochs=1, **options),
            "two": trainkit.train(first, name="two", epochs=2, seed=4, **options),
            "val": trainkit.train(only_val, name="val", epochs=1, **options),
            "other": trainkit.train(other, name="other", epochs=1, **options),
        }


def set_predicted(run: Run, folder: Path, right: list[bool]) -> Run:
    """Return a copy of a run whose answers came out as said."""
    copy = Run(shutil.copytree(run.path, folder / "experiments" / run.name))
    path = copy.path / "predictions.csv"
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    assert len(rows) == len(right)
    cells = [row.split(",") for row in rows]
    changed = [
        [file, true, true if ok else "x", *rest] for (file, true, _, *rest), ok in zip(cells, right, strict=True)
    ]
    path.write_text("\n".join([head, *map(",".join, changed)]) + "\n", encoding="utf-8")
    return copy


def count_of(run: Run) -> int:
    return sum(map(sum, run.result["confusion_matrix"]))


def test_runs_on_the_same_images_are_tested(runs: dict[str, Run], tmp_path: Path) -> None:
    count = count_of(runs["one"])
    first = set_predicted(runs["one"], tmp_path, [number == count - 1 for number in range(count)])
    second = set_predicted(runs["two"], tmp_path, [number != count - 1 for number in range(count)])
    found = trainkit.compare([first, second])
    (test,) = found.tests
    assert (test.images, test.only_first, test.only_second) == (count, 1, count - 1)
    assert test.p == pytest.approx(binomtest(1, count).pvalue)
    assert found.notes == []
    assert found.to_json()["mcnemar"] == [test.to_json()]
    assert json.loads(json.dumps(found.to_json()))["figures"]["test_interval"][0] == list(
        found.figures["test_interval"][0]
    )


def test_sentence_says_whether_chance_may_do_it() -> None:
    test = PairedTest(first="a", second="b", images=1200, only_first=3, only_second=20, p=0.0005)
    assert str(test) == (
        "On the same 1,200 images, only a was right on 3 and only b on 20: a difference that chance alone seldom makes "
        "(McNemar's test, p = 0.0005)."
    )
    assert "chance alone may make (McNemar's test, p = 0.2)" in str(
        PairedTest(first="a", second="b", images=9, only_first=3, only_second=4, p=0.2)
    )


def test_validation_and_test_have_rows_of_their_own(runs: dict[str, Run]) -> None:
    found = trainkit.compare([runs["one"], runs["val"]])
    shown = found.shown_figures()
    assert shown["measured on"] == ["test", ALSO_CHOSE]
    assert shown["test accuracy"] == [runs["one"].result["test_accuracy"], None]
    assert shown["validation accuracy"] == [None, runs["val"].result["test_accuracy"]]
    assert found.tests == []
    assert any("Not measured on the same images" in note and "(validation)" in note for note in found.notes)


def test_runs_on_other_data_are_told_apart(runs: dict[str, Run]) -> None:
    found = trainkit.compare([runs["one"], runs["two"], runs["other"]])
    names = [run.name for run in (runs["one"], runs["two"], runs["other"])]
    assert len(found.tests) == 1
    together = f"{names[0]}, {names[1]}; {names[2]}."
    assert f"Not trained on the same images, or not with the same ones held out: {together}" in found.notes
    assert any("cannot be held against each other" in note for note in found.notes)


def test_run_that_kept_no_answers_is_asked_again_on_request(runs: dict[str, Run], tmp_path: Path) -> None:
    old = Run(shutil.copytree(runs["one"].path, tmp_path / "experiments" / runs["one"].name))
    old.set_result(test_images=None)
    (old.path / "predictions.csv").unlink()
    silent = trainkit.compare([old, runs["two"]])
    assert silent.tests == []
    assert silent.notes == [
        f"Which images came out right was not kept by {old.name}: with --evaluate the runs answer them again, for "
        "McNemar's test."
    ]
    found = trainkit.compare([old, runs["two"]], evaluate=True)
    assert found.notes == [] and found.tests == trainkit.compare([runs["one"], runs["two"]]).tests


def test_damaged_answers_are_said(runs: dict[str, Run], tmp_path: Path) -> None:
    damaged = Run(shutil.copytree(runs["one"].path, tmp_path / "experiments" / runs["one"].name))
    (damaged.path / "predictions.csv").write_bytes(b"file,true\n\xff\n")
    found = trainkit.compare([damaged, runs["two"]])
    assert found.tests == [] and "damaged: predictions.csv" in found.notes[0]


def test_command_and_page_say_it(runs: dict[str, Run], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "trainkit", "compare", "one", "two", "val", "--html", str(page)]
    command += ["--experiments", str(runs["one"].path.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    assert "McNemar's test, p = " in done.stdout and ALSO_CHOSE in done.stdout
    assert "Not measured on the same images" in done.stderr
    text = page.read_text(encoding="utf-8")
    assert "McNemar" in text and ALSO_CHOSE in text and "Not measured on the same images" in text


@pytest.mark.slow
def test_no_figure_of_validation_images_is_called_test(runs: dict[str, Run], tmp_path: Path) -> None:
    experiments = shutil.copytree(runs["val"].path, tmp_path / "experiments" / runs["val"].name).parent
    for command in (["runs"], ["evaluate", "val"]):
        whole = [sys.executable, "-m", "trainkit", *command, "--experiments", str(experiments)]
        printed = subprocess.run(whole, capture_output=True, text=True, check=True, encoding="utf-8").stdout
        assert ALSO_CHOSE in printed and "validation" in printed
        assert "test" not in printed.replace("latest", "")
    assert "validation accuracy" in repr(runs["val"]) and ">test" not in runs["val"]._repr_html_()
    assert ALSO_CHOSE in runs["val"]._repr_html_()
    page = trainkit.report(Run(experiments / runs["val"].name)).read_text(encoding="utf-8")
    assert ALSO_CHOSE in page and "95% interval" in page
    assert "Test accuracy" not in page and "Test loss" not in page and "Validation accuracy" in page
