"""Runs side by side: where their settings differ, their figures, and their curves."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from trainkit._progress import counting, doing
from trainkit.deploy.python._showing import harmless
from trainkit.errors import TrainkitError, UsageError
from trainkit.files import check_new, write_text
from trainkit.reports._page import chart
from trainkit.reports._paired import PairedTest, compare_pairs
from trainkit.reports._plots import metric_in_words, overlaid_figures
from trainkit.reports._templates import render
from trainkit.runs._figures import ALSO_CHOSE, accuracy_interval, balanced_accuracy, interval_in_words, side_in_words
from trainkit.runs._notebook import curves_html, heading_html, table_html
from trainkit.runs._run import EXPERIMENTS, Run, find_run

_FIGURES = ("status", "epochs", "best_epoch", "monitor", "seconds", "test_split", "test_accuracy", "test_loss")
_MEASURED: dict[str, tuple[str | None, str | None]] = {  # what they are called of one label an image, and of several
    "test_accuracy": ("accuracy", "right answers"),
    "test_interval": ("accuracy, 95% interval", "right answers, 95% interval"),
    "balanced_accuracy": ("balanced accuracy", None),
    "mean_average_precision": (None, "mean average precision"),
    "subset_accuracy": (None, "subset accuracy"),
    "test_loss": ("loss", "loss"),
}
_COLUMNS = [
    f"{before}{metric}{after}"
    for metric in ("loss", "accuracy", "balanced_accuracy", "mean_average_precision", "learning_rate")
    for before, after in (("", ""), ("val_", ""), ("", "_estimate"))
]
_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison:
    """What is known of several runs; what a damaged one cannot say is `None`."""

    names: list[str]
    settings: dict[str, list[Any]]  # those that differ, by their dotted keys: a value a run
    figures: dict[str, list[Any]]  # of `result.json`: a value a run
    curves: dict[str, list[list[tuple[int, float]]]]  # a list of (epoch, value) a run
    notes: list[str]
    tests: list[PairedTest] = field(default_factory=list)  # of each two runs that were measured on the same images

    def __repr__(self) -> str:
        """Return `Comparison(20261129-101500-a, 20261129-102000-b: 3 settings differ)`."""
        return f"Comparison({', '.join(self.names)}: {_count(len(self.settings), 'setting')})"

    def _repr_html_(self) -> str:
        rows = [[name, *values] for name, values in self.settings.items()]
        rows += [[name, *values] for name, values in self.shown_figures().items()]
        shown = {name: dict(zip(_numbered(self.names), lines, strict=True)) for name, lines in self.curves.items()}
        charts = [curves_html(f"{self.curve_in_words(name)} by epoch", lines) for name, lines in shown.items()]
        heading = heading_html(f"{len(self.names)} runs: {_count(len(self.settings), 'setting')}")
        sentences = "".join(f"<div>{escape(harmless(str(one)))}</div>" for one in (*self.notes, *self.tests))
        return heading + table_html(("", *self.names), rows) + sentences + "".join(charts)

    def shown_figures(self) -> dict[str, list[Any]]:
        """Return the figures as a person reads them.

        Those of test images, of other images, and of several labels stand in rows of their own.
        """
        figures, sides = self.figures, self.figures["test_split"]
        shown = {key.replace("_", " "): figures[key] for key in ("status", "epochs", "best_epoch")}
        if any(figures["monitor"]):
            shown["best epoch by"] = [name and name.replace("-", " ") for name in figures["monitor"]]
        shown["seconds"] = figures["seconds"]
        shown["measured on"] = [ALSO_CHOSE if side == "val" else side and side_in_words(side) for side in sides]
        for side in dict.fromkeys(side for side in sides if side is not None):
            for key, words in _MEASURED.items():
                shown |= self._rows(key, words, side)
        return shown

    def _rows(self, key: str, words: tuple[str | None, str | None], side: str) -> dict[str, list[Any]]:
        """Return a figure of the runs that were measured on a side, by what it is called of them."""
        runs = list(zip(self.figures[key], self.figures["test_split"], self.several, strict=True))
        rows = {}
        for name in dict.fromkeys(filter(None, words)):
            values = [_shown(value) if of == side and words[several] == name else None for value, of, several in runs]
            if any(value is not None for value in values):
                rows[f"{side_in_words(side)} {name}"] = values
        return rows

    @property
    def several(self) -> list[bool]:
        """Whether an image may have several labels, for each run."""
        return [value is not None for value in self.figures["subset_accuracy"]]

    def curve_in_words(self, column: str) -> str:
        """Return what a column of `metrics.csv` is called: an accuracy is a share of right answers too."""
        return metric_in_words(column, several=any(self.several))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {
            "runs": self.names,
            "settings": self.settings,
            "figures": self.figures,
            "notes": self.notes,
            "mcnemar": [test.to_json() for test in self.tests],
            "curves": {name: [[list(point) for point in curve] for curve in of] for name, of in self.curves.items()},
        }


def _shown(value: Any) -> Any:
    return interval_in_words(value) if isinstance(value, tuple) else value


def _count(number: int, noun: str) -> str:
    return f"{number} {noun} differs" if number == 1 else f"{number} {noun}s differ"


def compare(
    runs: Sequence[str | os.PathLike[str]],
    *,
    experiments: str | Path = EXPERIMENTS,
    html: str | Path | None = None,
    evaluate: bool = False,
) -> Comparison:
    """Put runs side by side.

    Args:
        runs: two or more, each a `Run`, its path, its name, or `latest`.
        experiments: the folder of runs.
        html: a page to write, a new file.
        evaluate: whether runs that did not keep which images came out right answer them again, for McNemar's test.

    Raises:
        RunError: there is no such run.
        OutputError: the page exists already or cannot be written.
        UsageError: there are fewer than two runs.
    """
    if isinstance(runs, (str, os.PathLike)):
        raise UsageError(f"compare takes a list of two or more runs. Received: {os.fspath(runs)!r}")
    if len(runs) < 2:
        raise UsageError(f"Expected two runs or more to compare. Received: {len(runs)}")
    if html is not None:
        check_new(Path(html))
    found = [find_run(run, Path(experiments)) for run in runs]
    names, notes = [run.name for run in found], list[str]()
    read = [_read(run, notes) for run in counting(found, "Reading the runs", unit="runs")]
    settings = [settings for settings, _, _ in read]
    known = [one for one in settings if one]
    keys = list(dict.fromkeys(key for one in known for key in one))
    # `name` is no setting that anything comes of.
    differing = [key for key in keys if key != "name" and any(one.get(key) != known[0].get(key) for one in known)]
    tests = compare_pairs(found, _numbered(names), notes, evaluate=evaluate)
    comparison = Comparison(
        names=names,
        tests=tests,
        settings={key: [one.get(key) for one in settings] for key in differing},
        figures={key: [result.get(key) for _, result, _ in read] for key in dict.fromkeys((*_FIGURES, *_MEASURED))},
        curves={name: curves for name in _COLUMNS if any(curves := [_curve(rows, name) for _, _, rows in read])},
        notes=notes,
    )
    if html is not None:
        with doing(f"Drawing {html}"):
            write_text(Path(html), _page(comparison))
    return comparison


def _read(run: Run, notes: list[str]) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Return settings, figures and epochs of a run, as far as they can be read."""
    settings: dict[str, Any] = {}
    result: dict[str, Any] = {"status": "damaged"}
    rows: list[dict[str, Any]] = []
    try:
        settings = dict(run.config.values)
        result = {**run.result, "status": run.status}
        rows = run.metrics
        result["test_interval"] = accuracy_interval(result)
        result["balanced_accuracy"] = balanced_accuracy(result)
        result["epochs"] = result["epochs"] or len(rows)  # `result.json` may be as old as the start of the run
    except TrainkitError as error:
        notes.append(str(error))
    return settings, result, rows


def _curve(rows: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    """Return a column as (epoch, value); a value that is no number, or not a finite one, is left out."""
    values = ((int(row["epoch"]), row.get(name)) for row in rows)
    return [(epoch, value) for epoch, value in values if isinstance(value, float) and math.isfinite(value)]


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Draw a curve with letters, from its least value to its greatest.

    Args:
        values: finite.
        width: letters, at most.
    """
    if not values:
        return ""
    step = max(1.0, len(values) / width)
    chosen = [values[int(index * step)] for index in range(min(width, len(values)))]
    low, high = min(chosen), max(chosen)
    return "".join(_BLOCKS[round((value - low) / ((high - low) or 1) * (len(_BLOCKS) - 1))] for value in chosen)


def _page(comparison: Comparison) -> str:
    charts = []
    for column, curves in comparison.curves.items():
        lines = dict(zip(_numbered(comparison.names), curves, strict=True))
        (figure,) = overlaid_figures({column: lines}, several=any(comparison.several)).values()
        heading = comparison.curve_in_words(column).capitalize()
        charts.append((heading, chart(figure, f"{heading} against the epoch")))
    return render("comparison.html", comparison=comparison, charts=charts)


def _numbered(names: Sequence[str]) -> list[str]:
    """Tell runs apart that were named twice."""
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, 1)]
