from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainkit.reports._sweep import StudyPage, StudyRow, write_study
from trainkit.reports._sweep_plots import _Scale, history_figure, importance_figure, parallel_figure
from trainkit.runs._run import _EMPTY_RESULT


def row(number: int, value: float | None, status: str = "finished", **settings: Any) -> StudyRow:
    drawn = {"training.learning_rate": 0.001 * (number + 1), "training.optimizer": "adam", **settings}
    run = None if status == "failed" else f"20261120-1446{number:02}-digits-trial-{number}"
    return StudyRow(number=number, run=run, status=status, value=value, epochs=5, settings=drawn)


def write(path: Path, rows: list[StudyRow], **options: Any) -> str:
    own = {"study": "digits", "data": "/private/place/photos", "monitor": "accuracy", "best": 1}
    page = StudyPage(**{**own, **options}, rows=rows)
    write_study(path / "sweep.html", page)
    return (path / "sweep.html").read_text(encoding="utf-8")


def test_page_tells_the_trials_the_winner_and_its_test_images(tmp_path: Path) -> None:
    rows = [row(0, 0.9), row(1, 0.95), row(2, 0.97, "pruned"), row(3, None, "failed")]
    result = {**_EMPTY_RESULT, "test_split": "test", "test_accuracy": 0.9375}
    text = write(tmp_path, rows, result=result, importance={"training.learning_rate": 1.0})
    assert "2 finished, 1 pruned, 1 failed" in text
    assert "<dd>95.00%" in text and "<dd>93.8%" in text
    assert "of images that no other trial was measured on" in text
    assert text.count("<svg") == 3
    assert "/private" not in text and "…/photos" in text


def test_best_runs_begin_with_those_that_were_trained_to_their_end(tmp_path: Path) -> None:
    rows = [row(number, 0.5 + number / 100) for number in range(12)] + [row(12, 0.99, "pruned")]
    text = write(tmp_path, rows, best=11)
    shown = [int(number) for number in re.findall(r"digits-trial-(\d+)</th>", text)]
    assert shown == list(range(11, 1, -1))


def test_smaller_losses_are_better(tmp_path: Path) -> None:
    text = write(tmp_path, [row(0, 0.5), row(1, 0.25), row(2, float("inf"))], monitor="loss")
    assert [int(number) for number in re.findall(r"digits-trial-(\d+)</th>", text)] == [1, 0]
    assert "0.2500" in text and "Best validation loss" in text


@pytest.mark.parametrize("rows", [[], [row(0, None, "failed")], [row(0, 0.5)]])
def test_page_of_few_trials_is_whole(tmp_path: Path, rows: list[StudyRow]) -> None:
    text = write(tmp_path, rows, best=None)
    assert text.endswith("</html>") and "parallel" not in text


def test_ticks_of_near_values_are_not_written_over_each_other() -> None:
    assert [text for _, text in _Scale([0.9, 0.901, 0.902, 0.95, 1.0], False).ticks()] == ["0.9", "0.95", "1"]
    assert _Scale([0.5, 0.5], False).ticks() == [(0.5, "0.5")]


def test_settings_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    drawn = {"fine_tuning.learning_rate": 1e-5, "model.name": "vgg16"}
    importance = {"training.learning_rate": 0.6, "fine_tuning.learning_rate": 0.4}
    text = write(tmp_path, [row(0, 0.5, **drawn), row(1, 0.6, **drawn)], importance=importance)
    headings = re.findall(r'<th scope="col">([^<]*)</th>', text)
    assert headings[5:] == ["training: learning rate", "optimizer", "fine tuning: learning rate", "model"]
    assert len(importance_figure(importance).axes[0].patches) == 2
    assert len(importance_figure(importance).axes[0].get_yticks()) == 2


def test_page_tells_no_folders_of_settings(tmp_path: Path) -> None:
    rows = [row(number, 0.5 + number / 10, **{"model.name": "/private/own.keras"}) for number in range(2)]
    text = write(tmp_path, rows)
    assert "/private" not in text and "own.keras" in text


def test_page_counts_in_words_and_says_that_none_has_ended(tmp_path: Path) -> None:
    text = write(tmp_path, [replace(row(0, None, "failed"), epochs=1)], best=None)
    assert "A sweep of 1 trial<" in text and "1 epoch in all" in text
    assert "No trial has come to its end." in text
    assert "No trial has come" not in write(tmp_path, [row(1, 0.5)])


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    text = write(tmp_path, [row(0, 0.5, **{"model.name": "<script>$x$\u202e"}), row(1, 0.6)], study="<b>\u202e")
    assert "<script>" not in text and "<b>" not in text and "\u202e" not in text


def test_best_so_far_only_rises() -> None:
    (axes,) = history_figure([(0, 0.5), (1, 0.4), (2, 0.7)], [(3, 0.9)], monitor="accuracy").axes
    best = next(line for line in axes.get_lines() if line.get_label() == "best so far")
    assert list(best.get_ydata()) == [0.5, 0.5, 0.7]  # type: ignore[arg-type]
    (axes,) = history_figure([(0, 0.5), (1, 0.4), (2, 0.7)], [], monitor="loss").axes
    best = next(line for line in axes.get_lines() if line.get_label() == "best so far")
    assert list(best.get_ydata()) == [0.5, 0.4, 0.4]  # type: ignore[arg-type]


def test_importance_is_a_bar_a_setting() -> None:
    (axes,) = importance_figure({"training.learning_rate": 0.75, "model.dropout": 0.25}).axes
    assert [patch.get_width() for patch in axes.patches] == [0.25, 0.75]  # type: ignore[attr-defined]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["dropout", "learning rate"]


def test_axes_of_a_setting_place_numbers_logarithms_and_words() -> None:
    assert [_Scale([1, 10, 100], True).place(value) for value in (1, 10, 100, None)] == [0, 0.5, 1, None]
    assert [_Scale([0, 10, 100], True).place(value) for value in (0, 10, 100)] == [0, 0.1, 1]
    assert _Scale(["b", "a", True], False).ticks() == [(0.0, "a"), (0.5, "b"), (1.0, "true")]
    assert _Scale([16, 32, 64], False).ticks() == [(0.0, "16"), (pytest.approx(1 / 3), "32"), (1.0, "64")]
    assert _Scale(list(range(10)), False).ticks() == [(0.0, "0"), (1.0, "9")]


def test_setting_that_some_trials_do_not_have_is_left_out_of_their_lines() -> None:
    rows = [({"model.name": "a", "model.width": 4}, 0.9), ({"model.name": "b"}, 0.8)]
    (axes,) = parallel_figure(rows, monitor="accuracy").axes
    lengths = sorted(len(line.get_xdata()) for line in axes.get_lines() if line.get_color() != "#d9dde3")  # type: ignore[arg-type]
    assert lengths == [2, 3]
