"""One page that tells a sweep: nothing in it is loaded from elsewhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from trainkit._progress import doing
from trainkit.files import write_text
from trainkit.reports._page import chart
from trainkit.reports._sweep_plots import history_figure, importance_figure, names_of, parallel_figure
from trainkit.reports._templates import MISSING, render, to_words, without_folders
from trainkit.runs._figures import accuracy_in_words, accuracy_interval, side_in_words

_SHOWN = 10  # of the best trials
_MOST_LINES = 200  # of parallel coordinates, the best ones


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """A trial of a study."""

    number: int
    run: str | None
    status: str
    value: float | None
    epochs: int
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPage:
    """What the page of a study tells."""

    study: str
    data: str
    monitor: str
    rows: list[StudyRow]
    best: int | None  # the number of the winner
    result: Mapping[str, Any] = field(default_factory=dict)  # of its run
    log_scaled: set[str] = field(default_factory=set)  # settings that are drawn by their logarithms
    importance: Mapping[str, float] = field(default_factory=dict)

    def ranked(self) -> list[StudyRow]:
        """Return the trials with a value, the best first, those that were trained to their end before the others."""
        sign = 1 if self.monitor == "loss" else -1
        known = [row for row in self.rows if row.value is not None and math.isfinite(row.value)]
        return sorted(known, key=lambda row: (row.status != "finished", sign * float(row.value or 0.0), row.number))


def write_study(path: Path, page: StudyPage) -> None:
    """Write the page of a study.

    Raises:
        OutputError: it cannot be written.
    """
    with doing(f"Drawing {path}"):
        write_text(path, render("sweep.html", **_content(page)))


def _content(page: StudyPage) -> dict[str, Any]:
    page = replace(page, rows=[replace(row, settings=_without_folders(row.settings)) for row in page.rows])
    ranked = page.ranked()
    keys = list(dict.fromkeys(key for row in page.rows for key in row.settings))
    winner = next((row for row in ranked if row.number == page.best), None)
    return {
        "page": page,
        "data": without_folders(page.data),
        "counts": Counter(row.status for row in page.rows),
        "epochs": sum(row.epochs for row in page.rows),
        "winner": winner,
        "share": accuracy_in_words(page.result),
        "side": side_in_words(page.result["test_split"]) if page.result.get("test_split") else "",
        "interval": accuracy_interval(page.result) if page.result.get("classes") else None,
        "charts": _charts(page),
        "parallel": _parallel(page, ranked),
        "axes": max(6, len(keys) + 1),
        "columns": list(zip(keys, names_of(keys), strict=True)),
        "shown": ranked[:_SHOWN],
        "short": lambda value: f"{value:.3g}" if isinstance(value, float) else to_words(value),
        "value": lambda row: _value(row.value, page.monitor),
    }


def _without_folders(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: without_folders(value) if isinstance(value, str) else value for key, value in settings.items()}


def _value(value: float | None, monitor: str) -> str:
    if value is None:
        return MISSING
    return f"{value:.4f}" if monitor == "loss" else f"{value:.2%}"


def _charts(page: StudyPage) -> list[tuple[str, str, Markup]]:
    """Return charts, each with its heading and what it says."""
    known = [(row.number, row.value, row.status) for row in page.rows if row.value is not None]
    finished = [(number, value) for number, value, status in known if status == "finished" and math.isfinite(value)]
    pruned = [(number, value) for number, value, status in known if status == "pruned" and math.isfinite(value)]
    found = []
    if finished or pruned:
        figure = history_figure(finished, pruned, monitor=page.monitor)
        found.append(("History", "The value of each trial: of a pruned one, the best that it came to.", figure))
    if page.importance:
        text = "How much each setting tells of the differences between the finished trials (PED-ANOVA)."
        found.append(("Importance of the settings", text, importance_figure(page.importance)))
    return [(heading, text, chart(figure, f"{heading} of the study")) for heading, text, figure in found]


def _parallel(page: StudyPage, ranked: list[StudyRow]) -> Markup | None:
    rows = [(row.settings, float(row.value or 0.0)) for row in ranked[:_MOST_LINES]]
    if len(rows) < 2:
        return None
    figure = parallel_figure(rows, monitor=page.monitor, log_scaled=page.log_scaled)
    return chart(figure, "Settings and value of each trial, a line each")
