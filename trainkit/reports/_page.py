"""One page that tells a run, to be mailed or kept: nothing in it is loaded from elsewhere."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from trainkit.errors import RunError
from trainkit.files import write_text
from trainkit.reports._answers import most_confused
from trainkit.reports._blocks import fold
from trainkit.reports._choices import by_choice
from trainkit.reports._findings import Confusion, Findings
from trainkit.reports._plots import (
    SERIES,
    confusion_figure,
    curve_figures,
    epoch_times_figure,
    metric_in_words,
    reliability_figure,
    to_svg,
    trade_off_figures,
)
from trainkit.reports._templates import MISSING, render, to_words, without_folders
from trainkit.reports._trade_offs import hardest
from trainkit.runs._documents import parse_environment, parse_json_object, parse_result
from trainkit.runs._figures import (
    ALSO_CHOSE,
    SIDES,
    accuracy_interval,
    has_several_labels,
    share_interval,
    side_in_words,
)
from trainkit.runs._run import Run

MOST_CONFUSED = 10  # pairs of classes
_OPEN_LAYERS = 12  # so few are not folded
_RESULT_KEYS = ("epochs", "best_epoch", "seconds", "test_split", "test_accuracy", "test_loss", "classes", "message")


def write_report(folder: Path, findings: Findings | None = None) -> Path:
    """Write `report.html` into a run's folder.

    Args:
        folder: of the run, in whatever state it is.
        findings: what its model and data say; without them the page has what training left in the folder.

    Returns:
        The path of the page.

    Raises:
        RunError: there is no `config.toml`, or a file of the run cannot be read.
        OutputError: the page cannot be written.
    """
    if not (folder / "config.toml").is_file():
        raise RunError(f"No run in {folder}. Expected {folder / 'config.toml'}")
    path = folder / "report.html"
    write_text(path, render("report.html", **_content(folder, findings or Findings()), whole=findings is not None))
    return path


def _content(folder: Path, findings: Findings) -> dict[str, Any]:
    settings = dict(flatten(_read(folder / "config.toml", tomllib.loads)))
    chosen, left = by_choice(settings)
    blocks = fold(findings.layers)
    stored = dict.fromkeys(_RESULT_KEYS) | {"status": "unknown"} | _read(folder / "result.json", parse_result)
    result = stored | dict(findings.figures)
    if result["status"] == "running" and not Run(folder).is_training():
        result["status"] = "killed"
    known = (settings.get("data", ""), settings.get("model.name", ""), folder.absolute(), folder.resolve(), Path.cwd())
    if result["message"]:
        result["message"] = without_folders(str(result["message"]), *known)
    rows = Run(folder).metrics
    if not result["epochs"]:  # `result.json` may be as old as the start of the run
        result["epochs"] = len(rows)
    classes, matrix = result["classes"] or [], result.get("confusion_matrix") or []
    names = [row["label"] for row in classes]
    several = has_several_labels(result)
    return {
        "name": settings.get("name", folder.name),
        "run": folder.name,
        "data": without_folders(settings.get("data", MISSING)),
        "model": without_folders(settings.get("model.name", MISSING)),
        "result": result,
        "plain_epochs": settings.get("training.plain_epochs"),
        "side": side_in_words(result["test_split"]) if result["test_split"] else "",
        "interval": accuracy_interval(result),
        "subset_interval": share_interval(result, "subset_accuracy"),
        "also_chose": ALSO_CHOSE,
        "classes": classes,
        "means": _means(classes, several),
        "several": several,
        "images": {SIDES.get(side, side): count for side, count in findings.images.items()},
        "charts": _curves(rows, result["best_epoch"], several),
        "confusion_matrix": chart(confusion_figure(matrix, names), "Images by true and predicted class")
        if matrix and len(matrix) == len(names)
        else None,
        "confused": findings.confusions or _confusions(matrix, names),
        "trade_offs": _trade_offs(findings),
        "hardest": hardest(findings.trade_offs, len(SERIES)),
        "reliability": chart(reliability_figure(findings.reliability), "How often right, by confidence")
        if findings.reliability
        else None,
        "findings": replace(findings, notes=[without_folders(note, *known) for note in findings.notes]),
        "blocks": blocks,
        "unfolded": len(findings.layers) <= _OPEN_LAYERS,
        "parameters": sum(layer.parameters for layer in findings.layers),
        "multiply_adds": sum(layer.multiply_adds or 0 for layer in findings.layers),
        "uncounted": sum(layer.multiply_adds is None for layer in findings.layers),
        "most_multiply_adds": max((block.multiply_adds or 0 for block in blocks), default=0) or 1,
        "chosen": {key: without_folders(value) for key, value in chosen.items()},
        "settings": {key: without_folders(value) for key, value in left.items()},
        "preprocessing": dict(flatten(_read(folder / "preprocessing.json", parse_json_object))),
        "environment": {
            key: without_folders(value) for key, value in flatten(_read(folder / "environment.json", parse_environment))
        },
    }


def _curves(rows: list[dict[str, Any]], kept: int | None, several: bool) -> list[tuple[str, Markup]]:
    """Return the charts against the epoch, each with its heading."""
    charts = []
    for metric, figure in curve_figures(rows, kept=kept, several=several).items():
        heading = metric_in_words(metric, several=several).capitalize()
        charts.append((heading, chart(figure, f"{heading} against the epoch")))
    if any("seconds" in row for row in rows):
        charts.append(("Time an epoch", chart(epoch_times_figure(rows), "Seconds of each epoch")))
    return charts


def chart(figure: Any, description: str) -> Markup:
    """Return a figure as a drawing for a template; the description is for those who cannot see it."""
    return Markup(to_svg(figure, description))


def _trade_offs(findings: Findings) -> list[tuple[str, Markup]]:
    """Return the charts over all thresholds, each with its heading."""
    if not findings.trade_offs:
        return []
    roc, precision_recall = trade_off_figures(findings.trade_offs)
    return [
        ("Receiver operating characteristic", chart(roc, "Recall by false positive rate")),
        ("Precision and recall", chart(precision_recall, "Precision by recall")),
    ]


def _confusions(matrix: list[list[int]], names: list[str]) -> list[Confusion]:
    return [
        Confusion(truth=names[row], predicted=names[column], count=count, share=count / sum(matrix[row]))
        for row, column, count in most_confused(matrix, MOST_CONFUSED)
    ]


def _means(classes: list[dict[str, Any]], several: bool) -> dict[str, Any]:
    """Return the mean of each figure over the classes, each counting the same, and how many classes that were.

    A class without images has no recall, and is left out; but not with several labels, because `macro_f1` counts it.
    """
    counted = [row for row in classes if several or row["images"]]
    keys = ("precision", "recall", "f1", "average_precision")
    known = {key: [row[key] for row in counted if row.get(key) is not None] for key in keys}
    return {"classes": len(counted)} | {key: sum(v) / len(v) if v else None for key, v in known.items()}


def _read(path: Path, parse: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Return a file's table, empty where the run did not come to writing it."""
    if not path.is_file():
        return {}
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # what JSON, TOML and UTF-8 raise are all `ValueError`
        raise RunError(f"Cannot read {path}: {error}. Restore the file or repeat the run.") from error


def flatten(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield `("model.name", "...")` for a nested table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", to_words(value)
