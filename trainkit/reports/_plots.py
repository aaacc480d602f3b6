"""The charts of a run, drawn without pyplot: no display, no state that outlives a call.

Each comes as a `Figure`: `save_figure` makes a picture of it, `to_svg` a drawing that takes the colours and the font of
the page it stands in, by day and by night.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from trainkit.deploy.python._showing import harmless
from trainkit.files import replacing
from trainkit.reports._trade_offs import TradeOff, hardest
from trainkit.runs._calibration import Reliability

DPI = 150
MAX_MARKED_EPOCHS = 30
MAX_COUNTED_CLASSES = 20  # beyond it a count no longer fits its cell
MAX_NAMED_CLASSES = 50
MAX_NAME = 20  # characters
MAX_LEVEL_LETTERS = 26  # what fits below a matrix if every name is as long as the longest; otherwise they are turned
MAX_SIDE = 11.0  # inches
MAX_NUMBERED_CLASSES = 2  # whose curves have the thresholds written on them
_STEPS = 100  # points of a curve; of more no step is seen
_RELIABILITY = ("right", "too sure", "not sure enough")
_PALE = 0.25  # the opacity of what few answers say

# By day, and in the pictures. The page has a variable of its own for each, see `to_svg`.
INK, SOFT, LINE = "#1c2128", "#59636e", "#d9dde3"
SERIES = ("#2563eb", "#d9480f", "#0f9960", "#9333ea", "#b8860b", "#0891b2", "#be185d", "#4d7c0f")
_VARIABLES = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    **{color: f"var(--series-{number})" for number, color in enumerate(SERIES, 1)},
}

# DejaVu Sans, which comes with matplotlib, has no Chinese, Japanese or Korean: one of these stands in.
_STAND_INS = (
    "Noto Sans CJK JP",
    "Microsoft YaHei",
    "Malgun Gothic",
    "PingFang HK",
    "Arial Unicode MS",
    "Droid Sans Fallback",
)

Row = Mapping[str, Any]
_ESTIMATE = "_estimate"  # how a column ends that is of training images too
_SHARES = ("accuracy", "average_precision")  # how the columns end that are drawn in percent


def curve_figures(rows: Sequence[Row], *, kept: int | None = None, several: bool = False) -> dict[str, Figure]:
    """Return a chart against the epoch for each of loss, accuracy and learning rate that the rows have.

    Args:
        rows: an epoch each, as `Run.metrics` has them; what else is in them is left alone.
        kept: the epoch whose weights were kept, which is marked.
        several: whether an image may have several labels: what is called `accuracy` is a share of answers then.
    """
    figures = {}
    for metric in _metrics_of(rows):
        figures[metric], axes = _panel()
        _draw_metric(axes, rows, metric, several)
        _mark_kept(axes, rows, kept)
    return figures


def curves_figure(rows: Sequence[Row], *, kept: int | None = None, several: bool = False) -> Figure:
    """Return loss and accuracy, of training and of validation where there is one, and the learning rate by epoch.

    Args:
        rows: an epoch each, as `Run.metrics` has them.
        kept: the epoch whose weights were kept, which is marked.
        several: as for `curve_figures`.
    """
    metrics = _metrics_of(rows) or ["loss", "accuracy"]
    heights = [1 if metric == "learning_rate" else 2 for metric in metrics]
    figure = Figure(figsize=(6, 1.5 + 1.3 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False, height_ratios=heights)
    for (axes,), metric in zip(panels, metrics, strict=True):
        _style(axes)
        _draw_metric(axes, rows, metric, several)
        _mark_kept(axes, rows, kept)
        axes.tick_params(labelbottom=True)
    return figure


def draw_curves(rows: Sequence[Row], path: Path, *, kept: int | None = None, several: bool = False) -> None:
    """Draw `curves_figure` into a file, whose suffix is the format."""
    save_figure(curves_figure(rows, kept=kept, several=several), path)


def metric_in_words(column: str, *, several: bool = False) -> str:
    """Write the name of a column of `metrics.csv` for a person."""
    metric = column.removeprefix("val_")
    words = "right answers" if several and metric == "accuracy" else metric.replace("_", " ")
    if metric.endswith(_ESTIMATE):
        words = f"{words[: -len(_ESTIMATE)]} with training images"
    return harmless(words if metric == column else f"validation {words}")


def overlaid_figures(
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], *, several: bool = False
) -> dict[str, Figure]:
    """Return a chart for each metric with the curves of several runs in it.

    Args:
        curves: by metric and by the run's name: (epoch, value).
        several: as for `curve_figures`.
    """
    figures = {}
    for metric, of_runs in curves.items():
        figures[metric], axes = _panel(width=6, height=3.6)
        for number, (name, points) in enumerate(of_runs.items()):
            if points:
                marker = "o" if len(points) <= MAX_MARKED_EPOCHS else None
                color = SERIES[number % len(SERIES)]
                style = "-" if number < len(SERIES) else "--"
                axes.plot(
                    *zip(*points, strict=True), style, color=color, marker=marker, markersize=3, label=harmless(name)
                )
        _scale(axes, metric, several)
    return figures


def epoch_times_figure(rows: Sequence[Row]) -> Figure:
    """Return a chart of the seconds that each epoch took.

    Args:
        rows: an epoch each, with `epoch` and `seconds`.
    """
    figure, axes = _panel()
    points = [(row["epoch"], row["seconds"]) for row in rows if "seconds" in row]
    if points:
        epochs, seconds = zip(*points, strict=True)
        axes.bar(epochs, seconds, color=SERIES[0], width=0.8)
        _show_phases(axes, rows)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch", ylabel="seconds")
    return figure


def reliability_figure(reliability: Reliability) -> Figure:
    """Return the reliability diagram: how often the model was right by how sure it was, and how often it was so.

    A line is the 95% interval of how often it is right; where that says little, the bar is pale.
    """
    figure = Figure(figsize=(4.8, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    edges = np.array(reliability.edges)
    left, width = edges[:-1], np.diff(edges)
    filled = np.array(reliability.counts) > 0
    held, said = np.array(reliability.accuracy)[filled], np.array(reliability.confidence)[filled]
    low, high = np.array(reliability.low)[filled], np.array(reliability.high)[filled]
    style: dict[str, Any] = {"align": "edge"}
    place = (left[filled], width[filled])
    upper.bar(place[0], np.minimum(held, said), place[1], color=SERIES[0], **style)
    for color, gap in ((SERIES[1], said - held), (SERIES[2], held - said)):
        upper.bar(place[0], np.maximum(gap, 0), place[1], np.minimum(held, said), color=color, **style)
    unsure = np.array(reliability.unsure)[filled]
    for bars in upper.containers:
        for bar in np.array(bars)[unsure]:
            bar.set_alpha(_PALE)
    interval = {"fmt": "none", "ecolor": INK, "elinewidth": 1, "capsize": 2}
    upper.errorbar(place[0] + place[1] / 2, held, np.maximum([held - low, high - held], 0), **interval)
    upper.plot([0, 1], [0, 1], "--", color=SOFT, linewidth=1)
    upper.set(ylabel="right", xlim=(0, 1), ylim=(0, 1.001))
    lower.bar(left, reliability.counts, width, color=SERIES[0], **style)
    lower.set(xlabel="confidence", ylabel="answers")
    for axes in (upper, lower):
        _style(axes)
    upper.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    upper.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    handles = [Patch(color=color, label=label) for color, label in zip(SERIES, _RELIABILITY, strict=False)]
    if unsure.any():
        handles.append(Patch(color=SOFT, alpha=_PALE, label="few answers"))
    _legend(upper, handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, handlelength=1)
    return figure


def trade_off_figures(trade_offs: Sequence[TradeOff]) -> tuple[Figure, Figure]:
    """Return the ROC curves and precision over recall; of more classes than there are colours, the hardest ones.

    A dot is the threshold 0.5; on the curves of two classes there are others, with their numbers.
    """
    roc, left = _panel(width=4.8, height=4.2)
    precision_recall, right = _panel(width=4.8, height=4.2)
    drawn = hardest(trade_offs, len(SERIES))
    numbered = len(drawn) <= MAX_NUMBERED_CLASSES
    for place, (color, one) in enumerate(zip(SERIES, drawn, strict=False)):
        name = shorten(one.class_name)
        left.plot(*one.roc.T, color=color, label=name)
        steps = "steps-pre" if len(one.precision_recall) < _STEPS else "default"
        right.plot(*one.precision_recall.T, color=color, drawstyle=steps, label=name)
        for point in one.points:
            if numbered or point.threshold == 0.5:
                number = f"{point.threshold:g}" if numbered else ""
                # On either side of the curves, which for two classes often lie on each other.
                _dot(left, point.false_positive_rate, point.recall, number, color, (1, -1) if place else (-1, 1))
                _dot(right, point.recall, point.precision, number, color, (-1, -1) if place else (1, 1))
    left.plot([0, 1], [0, 1], "--", color=SOFT, linewidth=1)
    left.set(xlabel="false positive rate", ylabel="recall")
    right.set(xlabel="recall", ylabel="precision")
    for axes, corner in ((left, "lower right"), (right, "lower left")):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        _legend(axes, loc=corner)
    return roc, precision_recall


def _dot(axes: Axes, x: float, y: float | None, number: str, color: str, away: tuple[int, int]) -> None:
    """Draw a dot on a curve, and its number to the right (1) or left (-1) of it, above (1) or below (-1)."""
    if y is None:
        return
    axes.plot([x], [y], "o", color=color, markersize=4)
    place: dict[str, Any] = {"xytext": (3 * away[0], 3 * away[1]), "textcoords": "offset points"}
    place |= {"ha": "left" if away[0] > 0 else "right", "va": "bottom" if away[1] > 0 else "top"}
    axes.annotate(number, (x, y), color=SOFT, fontsize=8, **place)


def confusion_figure(matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Return a chart of how often each true class was taken for each class.

    Colour is the share of the true class, so that a rare class shows as well as a frequent one. Counts are
    written up to `MAX_COUNTED_CLASSES` classes, names up to `MAX_NAMED_CLASSES`.

    Args:
        matrix: images by `[true class][predicted class]`.
        class_names: in the order of the rows.
    """
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # a class without images is a row of 0
    side = min(MAX_SIDE, 2.6 + 0.24 * max(len(class_names), 8))
    figure = Figure(figsize=(side, 0.94 * side), layout="constrained")
    axes = figure.subplots()
    _style(axes, grid=False)
    # Opacity rather than a scale of colours: what is empty is the page, whatever colour that has.
    cells = np.empty((*shares.shape, 4))
    cells[..., :3], cells[..., 3] = to_rgb(SERIES[0]), shares
    axes.imshow(cells, interpolation="none")
    axes.spines[:].set_visible(True)
    axes.set(xlabel="predicted", ylabel="true")
    _write_names(axes, class_names)
    if len(class_names) <= MAX_COUNTED_CLASSES:
        _write_counts(axes, counts, shares)
    return figure


def draw_confusion_matrix(matrix: list[list[int]], class_names: list[str], path: Path) -> None:
    """Draw `confusion_figure` into a file, whose suffix is the format."""
    save_figure(confusion_figure(matrix, class_names), path)


def mosaic_figure(mosaic: np.ndarray, texts: Sequence[tuple[float, float, str]] = ()) -> Figure:
    """Return a chart of pictures that were put together.

    Args:
        mosaic: uint8 `(height, width, 4)`: red, green, blue, opacity.
        texts: column and row of the upper left corner, in pixels of the mosaic, and what to write there.
    """
    height, width = mosaic.shape[:2]
    figure = Figure(figsize=(width / DPI, height / DPI))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(mosaic, interpolation="none")
    style: dict[str, Any] = {"parse_math": False, "fontfamily": _font_families(), "fontsize": 7, "color": INK}
    for column, row, text in texts:
        axes.text(column, row, text, va="top", ha="left", linespacing=1.3, **style)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a chart as a picture on white.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(path) as temporary, _glyphs_may_be_missing():
        figure.savefig(temporary, dpi=DPI, bbox_inches="tight", facecolor="white")


def to_svg(figure: Figure, description: str) -> str:
    """Return a chart as an SVG element for a page that has the variables `--ink`, `--soft`, `--line`, `--series-1`...

    Args:
        figure: any of this module's.
        description: for who cannot see it.
    """
    text = io.StringIO()
    plain: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "trainkit"}), _glyphs_may_be_missing():
        figure.savefig(text, format="svg", transparent=True, metadata=plain)
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>\s*", "", drawing, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', drawing))
    drawing = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", drawing)
    for color, variable in _VARIABLES.items():
        drawing = drawing.replace(color, variable)
    drawing = re.sub(r"<\w[^>]*>", lambda tag: _shortened(tag[0]), drawing)
    view = re.search(r'viewBox="[^"]*"', drawing)
    assert view is not None
    opening = f'<svg class="chart" role="img" aria-label="{_escaped(description)}" {view[0]}>'
    return re.sub(r"<svg[^>]*>", lambda _: opening, drawing, count=1).replace("xlink:href", "href").strip()


def _shortened(tag: str) -> str:
    """Leave out the font's family, which is the page's, and the thousandths of a point, which nobody sees."""
    tag = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", tag)
    tag = re.sub(r"; font-family: [^;\"]*", "", tag)
    return re.sub(r"(\.\d\d)\d+", r"\1", tag)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _panel(*, width: float = 4.6, height: float = 2.9) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _style(axes)
    return figure, axes


def _style(axes: Axes, *, grid: bool = True) -> None:
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(LINE)
    axes.tick_params(colors=SOFT, labelcolor=SOFT)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(SOFT)
        label.set_parse_math(False)  # it may be the name of a column
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color=LINE, linewidth=0.8)


def _metrics_of(rows: Sequence[Row]) -> list[str]:
    """Return what is drawn against the epoch, as far as the rows have it."""
    there = {key.removeprefix("val_") for row in rows for key in row}
    accuracies = sorted(key for key in there if key.endswith(_SHARES))
    return [key for key in ("loss", *accuracies, "learning_rate") if key in there]


def _draw_metric(axes: Axes, rows: Sequence[Row], metric: str, several: bool) -> None:
    marker = "o" if len(rows) <= MAX_MARKED_EPOCHS else None
    series = ((metric, "training"), (f"val_{metric}", "validation"), (f"{metric}_estimate", "with training images"))
    for number, (key, label) in enumerate(series):
        points = [(row["epoch"], row[key]) for row in rows if isinstance(row.get(key), (int, float))]
        if points:
            axes.plot(*zip(*points, strict=True), color=SERIES[number], label=label, marker=marker, markersize=4)
    if rows:
        axes.set_xlim(rows[0]["epoch"] - 0.5, rows[-1]["epoch"] + 0.5)
        _show_phases(axes, rows)
    _scale(axes, metric, several)


def _scale(axes: Axes, metric: str, several: bool) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch", ylabel=metric_in_words(metric, several=several))
    if metric.removesuffix(_ESTIMATE).endswith(_SHARES):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))
        axes.set_ylim(top=min(1.01, axes.get_ylim()[1]))
    if metric == "learning_rate":
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif len(axes.get_lines()) > 1:
        _legend(axes)


def _legend(axes: Axes, **place: Any) -> None:
    style: dict[str, Any] = {"family": _font_families(), "size": 9}
    legend = axes.legend(frameon=False, labelcolor=INK, prop=style, **place)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _mark_kept(axes: Axes, rows: Sequence[Row], kept: int | None) -> None:
    """Draw a line at the epoch whose weights were kept, and say so beside it, where the curves leave more room."""
    if kept is None or not any(row["epoch"] == kept for row in rows):
        return
    late = kept - rows[0]["epoch"] > rows[-1]["epoch"] - kept
    high = _is_low(axes, kept)
    axes.axvline(kept, color=SOFT, linewidth=1)
    style: dict[str, Any] = {"textcoords": "offset points", "color": SOFT, "fontsize": 8}
    style |= {"ha": "right" if late else "left", "va": "top" if high else "bottom"}
    place = (-3 if late else 3, -2 if high else 2)
    axes.annotate("kept", (kept, float(high)), xytext=place, xycoords=("data", "axes fraction"), **style)


def _is_low(axes: Axes, epoch: int) -> bool:
    """Whether the curves are nearer to the bottom than to the top at an epoch."""
    bottom, top = axes.get_ylim()
    heights = [
        (y - bottom) / (top - bottom)
        for line in axes.get_lines()
        if line.get_transform() == axes.transData  # not that between two phases
        for x, y in np.asarray(line.get_xydata())
        if x == epoch and np.isfinite(y)
    ]
    return bool(heights) and min(heights) < 1 - max(heights)


def _show_phases(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw a line where one phase of the training ended and the next began."""
    for before, after in pairwise(rows):
        if before.get("phase") != after.get("phase"):
            axes.axvline((before["epoch"] + after["epoch"]) / 2, color=SOFT, linewidth=1, linestyle=":")
            axes.annotate(
                shorten(f"{after.get('phase')}"),
                ((before["epoch"] + after["epoch"]) / 2, 1),
                xycoords=("data", "axes fraction"),
                color=SOFT,
                parse_math=False,
                fontsize=8,
                ha="center",
                va="bottom",
            )


def _write_names(axes: Axes, class_names: Sequence[str]) -> None:
    if len(class_names) > MAX_NAMED_CLASSES:
        axes.set(xticks=[], yticks=[])
        return
    labels = [shorten(name) for name in class_names]
    # A `$` in a name is a letter, not the start of a formula.
    style: dict[str, Any] = {"parse_math": False, "fontfamily": _font_families()}
    style["fontsize"] = 9 if len(labels) <= 30 else 7
    axes.set_yticks(range(len(labels)), labels, **style)
    if max(map(len, labels)) * len(labels) > MAX_LEVEL_LETTERS:
        style.update(rotation=45, rotation_mode="anchor", ha="right")
    axes.set_xticks(range(len(labels)), labels, **style)


def shorten(name: str, most: int = MAX_NAME) -> str:
    """Leave out the middle of a name of more letters: class names often differ only at the end."""
    name, half = harmless(name), most // 2
    return name if len(name) <= most else f"{name[:half]}…{name[1 - half :]}"


@cache
def _font_families() -> list[str]:
    """Return only fonts that are installed: matplotlib logs a complaint about each that is not."""
    installed = set(get_font_names())
    return ["DejaVu Sans", *(name for name in _STAND_INS if name in installed)]


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.6 else INK if count else SOFT
        axes.text(column, row, str(count), color=color, ha="center", va="center", fontsize=8)


@contextmanager
def _glyphs_may_be_missing() -> Iterator[None]:
    """Let a letter that no font has become a box; the tables of the page have the names in full."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from|Matplotlib currently does not support")
        yield
