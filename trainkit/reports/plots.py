"""The pictures of a run, drawn without pyplot: no display, no state that outlives a call."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.ticker import MaxNLocator, PercentFormatter

from trainkit.files import replacing

DPI = 150
MAX_MARKED_EPOCHS = 30
MAX_COUNTED_CLASSES = 20  # beyond it a count no longer fits its cell
MAX_NAMED_CLASSES = 50
MAX_NAME = 20  # characters
MAX_SIDE = 11.0  # inches

# DejaVu Sans, which comes with matplotlib, has no Chinese, Japanese or Korean: one of these stands in.
_STAND_INS = (
    "Noto Sans CJK JP",
    "Microsoft YaHei",
    "Malgun Gothic",
    "PingFang HK",
    "Arial Unicode MS",
    "Droid Sans Fallback",
)


def draw_curves(rows: list[dict[str, float]], path: Path) -> None:
    """Draw loss and accuracy, of training and of validation where there is one, against the epoch.

    Args:
        rows: an epoch each, with `epoch`, `loss`, `accuracy` and perhaps `val_loss`, `val_accuracy`.
        path: the picture to write; its suffix is the format.
    """
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    _draw_panel(loss, rows, "loss")
    _draw_panel(accuracy, rows, "accuracy")
    loss.tick_params(labelbottom=True)
    accuracy.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    accuracy.set_ylim(top=min(1.01, accuracy.get_ylim()[1]))
    _save(figure, path)


def _draw_panel(axes: Axes, rows: list[dict[str, float]], metric: str) -> None:
    marker = "o" if len(rows) <= MAX_MARKED_EPOCHS else None
    for key, label in ((metric, "training"), (f"val_{metric}", "validation")):
        points = [(row["epoch"], row[key]) for row in rows if key in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker=marker, markersize=4)
            axes.legend()
    if rows:
        axes.set_xlim(rows[0]["epoch"] - 0.5, rows[-1]["epoch"] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch", ylabel=metric)
    axes.grid(alpha=0.3)


def draw_confusion_matrix(matrix: list[list[int]], class_names: list[str], path: Path) -> None:
    """Draw how often each true class was taken for each class.

    Colour is the share of the true class, so that a rare class shows as well as a frequent one. Counts are
    written up to `MAX_COUNTED_CLASSES` classes, names up to `MAX_NAMED_CLASSES`.

    Args:
        matrix: images by `[true class][predicted class]`.
        class_names: in the order of the rows.
        path: the picture to write; its suffix is the format.
    """
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # a class without images is a row of 0
    side = min(MAX_SIDE, 3.5 + 0.35 * len(class_names))
    figure = Figure(figsize=(side, 0.9 * side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true class", format=PercentFormatter(xmax=1), shrink=0.7)
    axes.set(xlabel="predicted", ylabel="true")
    _write_names(axes, class_names)
    if len(class_names) <= MAX_COUNTED_CLASSES:
        _write_counts(axes, counts, shares)
    _save(figure, path)


def _write_names(axes: Axes, class_names: list[str]) -> None:
    if len(class_names) > MAX_NAMED_CLASSES:
        axes.set(xticks=[], yticks=[])
        return
    labels = [_shorten(name) for name in class_names]
    # A `$` in a name is a letter, not the start of a formula.
    style: dict[str, Any] = {"parse_math": False, "fontfamily": _font_families()}
    style["fontsize"] = 9 if len(labels) <= 30 else 7
    axes.set_yticks(range(len(labels)), labels, **style)
    if max(map(len, labels)) > 3:
        style.update(rotation=45, rotation_mode="anchor", ha="right")
    axes.set_xticks(range(len(labels)), labels, **style)


def _shorten(name: str) -> str:
    """Leave out the middle of a long name: class names often differ only at the end."""
    half = MAX_NAME // 2
    return name if len(name) <= MAX_NAME else f"{name[:half]}…{name[1 - half :]}"


@cache
def _font_families() -> list[str]:
    """Return only fonts that are installed: matplotlib logs a complaint about each that is not."""
    installed = set(get_font_names())
    return ["DejaVu Sans", *(name for name in _STAND_INS if name in installed)]


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.6 else "black" if count else "0.45"
        axes.text(column, row, str(count), color=color, ha="center", va="center", fontsize=8)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary, warnings.catch_warnings():
        # A letter that no font has becomes a box; the table of the report has the name in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from|Matplotlib currently does not support")
        figure.savefig(temporary, dpi=DPI, bbox_inches="tight")
