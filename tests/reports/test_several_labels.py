"""What runs whose images may have several labels are said to be, in reports, in comparisons and in tables."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from trainkit.cli._runs import runs
from trainkit.reports import write_report
from trainkit.reports._comparison import compare
from trainkit.runs._run import Run

OLD_RUN = Path(__file__).parents[1] / "data" / "run-v1"
SEVERAL = {
    "test_accuracy": 0.95,
    "mean_average_precision": 0.9644,
    "subset_accuracy": 0.85,
    "macro_f1": 0.93,
    "micro_f1": 0.94,
    "images": 20,
    "confusion_matrix": [],
    "monitor": "mean-average-precision",
}


def make_run(folder: Path, metrics: str, **result: object) -> Run:
    run = Run(shutil.copytree(OLD_RUN, folder))
    (run.path / "metrics.csv").write_text(metrics, encoding="utf-8")
    run.set_result(**result)
    return run


@pytest.fixture
def one(tmp_path: Path) -> Run:
    """A run of one label an image, which chose its epoch by the balanced accuracy."""
    return make_run(
        tmp_path / "experiments" / "20260101-000000-one",
        "epoch,loss,accuracy,val_loss,val_accuracy,val_balanced_accuracy,balanced_accuracy_estimate\n"
        "1,2.0,0.5,2.1,0.5,0.25,0.3\n2,1.0,0.7,1.1,0.6,0.5,0.6\n",
        monitor="balanced-accuracy",
    )


@pytest.fixture
def several(tmp_path: Path) -> Run:
    """A run of several labels an image."""
    return make_run(
        tmp_path / "experiments" / "20260101-000001-several",
        "epoch,loss,accuracy,val_loss,val_accuracy,val_mean_average_precision\n"
        "1,0.7,0.5,0.7,0.5,0.25\n2,0.5,0.7,0.5,0.6,0.5\n",
        **SEVERAL,
    )


def test_comparison_calls_right_answers_just_that(one: Run, several: Run, tmp_path: Path) -> None:
    found = compare([one, several], html=tmp_path / "page.html")
    shown = found.shown_figures()
    assert shown["best epoch by"] == ["balanced accuracy", "mean average precision"]
    assert shown["test accuracy"] == [one.result["test_accuracy"], None]
    assert shown["test right answers"] == [None, 0.95]
    assert shown["test right answers, 95% interval"] == [None, "0.764 to 0.991"]
    assert shown["test subset accuracy"] == [None, 0.85]
    assert shown["test balanced accuracy"][1] is None and 0.9 < shown["test balanced accuracy"][0] < 1
    assert None not in shown["test loss"]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h3>Validation right answers</h3>" in page and "<h3>Accuracy</h3>" not in page


def test_comparison_draws_what_chose_the_epoch(one: Run, several: Run, tmp_path: Path) -> None:
    found = compare([one, several], html=tmp_path / "page.html")
    assert found.curves["val_balanced_accuracy"] == [[(1, 0.25), (2, 0.5)], []]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    headings = re.findall("<h3>(.*?)</h3>", page)
    assert "Validation balanced accuracy" in headings and "Validation mean average precision" in headings
    assert "Balanced accuracy with training images" in headings and page.count("<svg") == len(headings) == 7
    assert "60%" in page, "in percent"


def test_table_of_runs_calls_right_answers_just_that(
    one: Run, several: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    runs(experiments=one.path.parent)
    assert "test right answers" in capsys.readouterr().out.splitlines()[0]
    shutil.rmtree(several.path)
    runs(experiments=one.path.parent)
    assert "test accuracy" in capsys.readouterr().out.splitlines()[0]


def test_objects_call_right_answers_just_that(several: Run) -> None:
    assert repr(several).endswith("test right answers 0.950)")
    html = several._repr_html_()
    assert "test right answers" in html and "right answers by epoch" in html and "0.764 to 0.991" in html


def test_report_has_intervals_of_several_labels(several: Run) -> None:
    page = write_report(several.path).read_text(encoding="utf-8")
    assert "95% interval 76.4% to 99.1%" in page, "of 19 images of 20"
    assert "95% interval 64.0% to 94.8%" in page, "of 17 images of 20"
    assert "<h3>Right answers</h3>" in page and "<h3>Accuracy</h3>" not in page
