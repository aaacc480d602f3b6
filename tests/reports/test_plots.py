from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from trainkit.errors import OutputError, RunError
from trainkit.reports import draw_confusion_matrix, draw_curves, write_report
from trainkit.reports._plots import curve_figures, curves_figure, reliability_figure
from trainkit.runs._calibration import measure_reliability
from trainkit.runs._run import Run

ODD_NAMES = [
    "$x$",
    "<script>alert('a')</script>",
    '"quoted" & a_b^c',
    "$\\frac{$",
    "猫",
    "кошка",
    "بطة",
    "हाथी",
    "🦆",
]
CONFIG = """\
data = "data/birds"
name = "first-try"
[model]
name = "small_cnn"
dropout = 0.2
[training]
learning_rate = 1e-05
augment = true
callbacks = []
"""


def metrics(epochs: int, *, validation: bool = True, best: float = 0.9) -> list[dict[str, float]]:
    rows = []
    for epoch in range(1, epochs + 1):
        row = {
            "epoch": epoch,
            "loss": 1 / epoch,
            "accuracy": best - 0.5 / epoch,
            "learning_rate": 0.1,
            "seconds": 2.0,
        }
        rows.append(row | ({"val_loss": 1.2 / epoch, "val_accuracy": best - 0.6 / epoch} if validation else {}))
    return rows


def diagonal(size: int) -> list[list[int]]:
    return [[7 if row == column else row % 2 for column in range(size)] for row in range(size)]


def pixels(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.verify()
    return Image.open(path).convert("RGB")


def differ(first: Path, second: Path) -> bool:
    one, other = pixels(first), pixels(second)
    return one.size != other.size or ImageChops.difference(one, other).getbbox() is not None


def finished(class_names: list[str]) -> dict[str, Any]:
    return {
        "status": "finished",
        "epochs": 3,
        "seconds": 3723.4,
        "test_split": "test",
        "test_accuracy": 0.9134,
        "test_loss": 0.30549,
        "classes": [{"label": name, "precision": 0.5, "recall": None, "f1": 0.25, "images": 8} for name in class_names],
        "confusion_matrix": diagonal(len(class_names)),
        "message": None,
    }


def save_run(folder: Path, *, config: str = CONFIG, result: dict[str, Any] | None = None) -> Path:
    folder.mkdir()
    (folder / "config.toml").write_text(config, encoding="utf-8")
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
    return folder


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize("epochs", [0, 1, 2, 100])
def test_curves_are_a_picture(tmp_path: Path, epochs: int, validation: bool) -> None:
    draw_curves(metrics(epochs, validation=validation), tmp_path / "curves.png")
    assert min(pixels(tmp_path / "curves.png").size) > 500


def test_curves_show_a_single_epoch(tmp_path: Path) -> None:
    draw_curves(metrics(1), tmp_path / "one.png")
    draw_curves([{"epoch": 1.0}], tmp_path / "none.png")
    assert differ(tmp_path / "one.png", tmp_path / "none.png")


def test_curves_show_the_metrics(tmp_path: Path) -> None:
    draw_curves(metrics(3), tmp_path / "first.png")
    draw_curves(metrics(3), tmp_path / "same.png")
    draw_curves(metrics(3, best=0.8), tmp_path / "worse.png")
    assert not differ(tmp_path / "first.png", tmp_path / "same.png")
    assert differ(tmp_path / "first.png", tmp_path / "worse.png")


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1e30])
def test_curves_of_a_loss_that_went_astray(tmp_path: Path, loss: float) -> None:
    draw_curves([row | {"loss": loss, "val_loss": loss} for row in metrics(2)], tmp_path / "curves.png")
    assert pixels(tmp_path / "curves.png")


@pytest.mark.parametrize("size", [2, 20, 21, 50, 51, 1000])
def test_confusion_matrix_stays_within_bounds(tmp_path: Path, size: int) -> None:
    draw_confusion_matrix(diagonal(size), [f"a class called {n}" * 10 for n in range(size)], tmp_path / "matrix.png")
    width, height = pixels(tmp_path / "matrix.png").size
    assert 400 < height <= width < 2000


def test_confusion_matrix_shows_the_counts(tmp_path: Path) -> None:
    draw_confusion_matrix([[1, 0], [0, 1]], ["a", "b"], tmp_path / "one.png")
    draw_confusion_matrix([[2, 0], [0, 2]], ["a", "b"], tmp_path / "two.png")  # the same shares
    assert differ(tmp_path / "one.png", tmp_path / "two.png")


def test_confusion_matrix_of_a_class_without_images(tmp_path: Path) -> None:
    draw_confusion_matrix([[0, 0], [1, 3]], ["a", "b"], tmp_path / "matrix.png")
    assert pixels(tmp_path / "matrix.png")


def test_confusion_matrix_takes_odd_names_as_they_are(tmp_path: Path) -> None:
    draw_confusion_matrix(diagonal(len(ODD_NAMES)), ODD_NAMES, tmp_path / "matrix.png")
    assert pixels(tmp_path / "matrix.png")


def test_confusion_matrix_tells_long_names_apart_by_their_end(tmp_path: Path) -> None:
    for name in ("first", "last"):
        draw_confusion_matrix([[1, 0], [0, 1]], [f"{'long ' * 9}{name}", "b"], tmp_path / f"{name}.png")
    assert differ(tmp_path / "first.png", tmp_path / "last.png")


def test_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*curves\.png"):
        draw_curves(metrics(1), tmp_path / "missing" / "curves.png")


def test_report_tells_a_finished_run(tmp_path: Path) -> None:
    folder = save_run(tmp_path / "run", result=finished(["duck", "goose"]))
    (folder / "preprocessing.json").write_text('{"height": 96, "mean": [123.675, 58.394999999999996], "pad": null}')
    (folder / "environment.json").write_text('{"python": "3.11.2", "packages": {"keras": "3.13.0"}}')
    page = page_of(folder)
    for text in (
        '<h1 dir="auto">first-try</h1>',
        "data/birds",
        "small_cnn",
        "1 h 2 min 3 s",
        "91.3%",
        "0.3055",
    ):
        assert text in page
    for key, value in (
        ("model.dropout", "0.2"),
        ("training.learning_rate", "1e-05"),
        ("training.augment", "true"),
        ("training.callbacks", "–"),
        ("height", "96"),
        ("mean", "123.675, 58.395"),
        ("pad", "–"),
        ("packages.keras", "3.13.0"),
    ):
        assert f'<dt>{key}</dt><dd dir="auto">{value}</dd>' in page
    assert re.search(r">50\.0%</td>\s*<td[^>]*>–</td>\s*<td[^>]*>25\.0%</td>", page)
    assert "on the test images" in page


def test_report_says_when_the_test_was_the_validation_part(tmp_path: Path) -> None:
    page = page_of(save_run(tmp_path / "run", result=finished(["duck"]) | {"test_split": "val"}))
    assert "on the validation images" in page


def test_report_is_self_contained(tmp_path: Path) -> None:
    folder = save_run(tmp_path / "run", result=finished(["duck", "goose"]))
    draw_curves(metrics(3), folder / "curves.png")
    draw_confusion_matrix(diagonal(2), ["duck", "goose"], folder / "confusion_matrix.png")
    page = page_of(folder)
    links = re.findall(r'(?:src|href)="(.*?)"', page)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"<script|@import|url\((?!#)|https?:(?!//www.w3.org/)", page)


def test_report_escapes_names(tmp_path: Path) -> None:
    evil = "\"><img src=x onerror='a()'>"
    result = finished(ODD_NAMES) | {"status": evil, "message": evil}
    quoted = json.dumps(evil)  # a JSON string is a TOML string
    config = f"name = {quoted}\n{quoted} = {quoted}"
    page = page_of(save_run(tmp_path / "run", config=config, result=result))
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(&#39;a&#39;)&lt;/script&gt;" in page
    assert "$x$" in page
    assert "हाथी" in page


def test_report_of_a_run_that_left_only_its_config(tmp_path: Path) -> None:
    page = page_of(save_run(tmp_path / "run", config=""))
    assert '<h1 dir="auto">run</h1>' in page
    assert '<span class="badge unknown">unknown</span>' in page
    assert not re.search("Learning curves|Confusion matrix|<table|Settings|Preprocessing|Environment|Test", page)


@pytest.mark.parametrize(
    ("status", "shown"), [("interrupted", "interrupted"), ("failed", "failed"), ("running", "killed")]
)
def test_report_of_an_unfinished_run(tmp_path: Path, status: str, shown: str) -> None:
    folder = save_run(tmp_path / "run", result={"status": status, "epochs": 0, "message": "The loss is not finite."})
    (folder / "metrics.csv").write_text("epoch,loss\n1,2.0\n2,1.0\n")
    page = page_of(folder)
    assert f'<span class="badge {shown}">{shown}</span>' in page
    assert '<p class="message">The loss is not finite.</p>' in page
    assert "<dt>Epochs</dt><dd>2</dd>" in page


def test_report_of_a_run_that_is_being_trained(tmp_path: Path) -> None:
    folder = save_run(tmp_path / "run", result={"status": "running"})
    with Run(folder).training():
        assert '<span class="badge running">running</span>' in page_of(folder)


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "under 1 s"), (59.7, "1 min"), (61, "1 min 1 s"), (None, "–")])
def test_report_says_the_fitting_time_in_words(tmp_path: Path, seconds: float | None, words: str) -> None:
    page = page_of(save_run(tmp_path / "run", result={"status": "finished", "seconds": seconds}))
    assert f"<dt>Fitting time</dt><dd>{words}</dd>" in page


def test_report_replaces_an_older_one(tmp_path: Path) -> None:
    folder = save_run(tmp_path / "run")
    assert page_of(folder) == page_of(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.toml", "report.html"]


def test_report_of_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"No run in .*\. Expected .*config\.toml"):
        write_report(tmp_path)


def test_report_of_a_damaged_run(tmp_path: Path) -> None:
    folder = save_run(tmp_path / "run")
    (folder / "result.json").write_text('{"status": ')
    with pytest.raises(RunError, match=r"Cannot read .*result\.json: .*Restore the file or repeat the run\."):
        write_report(folder)


def test_the_kept_epoch_is_named_where_no_curve_is() -> None:
    rows = [{**row, "phase": "head" if row["epoch"] < 5 else "fine-tuning"} for row in metrics(10)]
    heights = {
        metric: [text.xy[1] for text in figure.axes[0].texts if text.get_text() == "kept"]
        for metric, figure in curve_figures(rows, kept=9).items()
    }
    assert heights == {"loss": [1.0], "accuracy": [0.0], "learning_rate": [0.0]}


@pytest.mark.parametrize(("kept", "side"), [(2, "left"), (9, "right")])
def test_the_kept_epoch_is_marked_in_every_chart_against_the_epoch(kept: int, side: str) -> None:
    rows = [{**row, "val_balanced_accuracy": 0.5, "balanced_accuracy_estimate": 0.6} for row in metrics(10)]
    charts = {**curve_figures(rows, kept=kept), "all": curves_figure(rows, kept=kept)}
    assert [*charts] == ["loss", "accuracy", "balanced_accuracy", "learning_rate", "all"]
    for name, figure in charts.items():
        for axes in figure.axes:
            (note,) = [text for text in axes.texts if text.get_text() == "kept"]
            assert note.xy[0] == kept and note.get_horizontalalignment() == side
            assert [kept, kept] in [list(line.get_xdata()) for line in axes.get_lines()], name
    for figure in curve_figures(rows, kept=11).values():
        assert not figure.axes[0].texts, "an epoch that the rows do not have"
    labels = [line.get_label() for line in charts["balanced_accuracy"].axes[0].get_lines()]
    assert labels[:2] == ["validation", "with training images"]


def test_bars_of_few_answers_are_pale() -> None:
    confidence, right = np.repeat([0.3, 0.9], [3, 60]), np.arange(63) % 2 == 0
    figure = reliability_figure(measure_reliability(confidence, right, bins=10))
    bars = {round(bar.get_x(), 6): bar for bar in figure.axes[0].patches}
    assert bars[0.2].get_alpha() is not None and bars[0.8].get_alpha() is None
    legend = figure.axes[0].get_legend()
    assert legend is not None and "few answers" in [text.get_text() for text in legend.get_texts()]
    sure = reliability_figure(measure_reliability(confidence[3:], right[3:], bins=10)).axes[0].get_legend()
    assert sure is not None and len(sure.get_texts()) == 3
