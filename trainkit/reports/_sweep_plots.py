"""The charts of a sweep: how it went, which settings mattered, what the good trials have in common."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from trainkit.deploy.python._showing import harmless
from trainkit.reports._plots import INK, LINE, SERIES, SOFT, _font_families, _legend, _panel, _style, shorten
from trainkit.reports._templates import to_words

BEST, OTHERS = SERIES[1], SERIES[0]
_FEW = 5  # values of a setting, each of which is written at its axis
_NEAR = 0.06  # of an axis: two of them would be written over each other
_FAINTEST, _STRONGEST = 0.12, 0.7  # opacity of a line, by the rank of its trial

Points = Sequence[tuple[int, float]]  # number of a trial, its value


def history_figure(finished: Points, pruned: Points, *, monitor: str) -> Figure:
    """Return a chart of the value of each trial, and of the best so far."""
    figure, axes = _panel(width=6, height=3.4)
    if pruned:
        axes.plot(*zip(*pruned, strict=True), "x", color=SOFT, markersize=5, label="pruned")
    if finished:
        axes.plot(*zip(*finished, strict=True), "o", color=OTHERS, markersize=5, label="finished")
        best = _best_so_far(finished, smaller=monitor == "loss")
        axes.step(*zip(*best, strict=True), where="post", color=BEST, linewidth=1.5, label="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="trial", ylabel=f"validation {monitor}")
    if monitor != "loss":
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    if finished or pruned:
        _legend(axes, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, handlelength=1.2)
    return figure


def _best_so_far(finished: Points, *, smaller: bool) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = []
    for number, value in sorted(finished):
        better = not found or (value < found[-1][1] if smaller else value > found[-1][1])
        found.append((number, value if better else found[-1][1]))
    return found


def importance_figure(importance: Mapping[str, float]) -> Figure:
    """Return a chart of how much each setting tells of the differences between trials."""
    figure, axes = _panel(width=6, height=1.2 + 0.36 * len(importance))
    keys = list(importance)[::-1]
    axes.barh(names_of(keys), [importance[key] for key in keys], color=OTHERS, height=0.6)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.set(xlabel="share of the importance", xlim=(0, 1))
    axes.grid(visible=False, axis="y")
    for label in axes.get_yticklabels():
        label.set(color=INK, parse_math=False, fontfamily=_font_families())
    return figure


def names_of(keys: Sequence[str]) -> list[str]:
    """Return settings in words, without their sections where they are told apart without them."""
    short = ["model" if key == "model.name" else key.rpartition(".")[2] for key in keys]
    names = [key if short.count(one) > 1 else one for key, one in zip(keys, short, strict=True)]
    return [harmless(name.replace("_", " ").replace(".", ": ")) for name in names]


def parallel_figure(
    rows: Sequence[tuple[Mapping[str, Any], float]], *, monitor: str, log_scaled: Collection[str] = ()
) -> Figure:
    """Return parallel coordinates: a line a trial, an axis a setting, the value on the last one; the best is marked.

    Args:
        rows: settings and value of each trial, the best first.
        monitor: what the values are.
        log_scaled: the settings that are drawn by their logarithms.
    """
    keys = list(dict.fromkeys(key for settings, _ in rows for key in settings))
    scales = [_Scale([settings[key] for settings, _ in rows if key in settings], key in log_scaled) for key in keys]
    scales.append(_Scale([value for _, value in rows], False))
    figure, axes = _panel(width=max(6.0, 1.6 * len(scales)), height=3.8)
    _style(axes, grid=False)
    axes.spines[:].set_visible(False)
    for rank, (settings, value) in reversed(list(enumerate(rows))):
        values = [*(settings.get(key) for key in keys), value]
        places = [scale.place(one) for scale, one in zip(scales, values, strict=True)]
        points = [(number, place) for number, place in enumerate(places) if place is not None]
        share = 1 - rank / max(1, len(rows) - 1)
        style: dict[str, Any] = {"color": BEST, "linewidth": 2.0} if rank == 0 else {"color": OTHERS, "linewidth": 1.0}
        alpha = 1.0 if rank == 0 else _FAINTEST + (_STRONGEST - _FAINTEST) * share
        axes.plot(*zip(*points, strict=True), alpha=alpha, **style)
    for number, (name, scale) in enumerate(zip([*names_of(keys), monitor], scales, strict=True)):
        axes.plot([number, number], [0, 1], color=LINE, linewidth=1, zorder=0)
        _write_axis(axes, number, name, scale)
    axes.set(xlim=(-0.4, len(scales) - 0.6), ylim=(-0.25, 1.12), xticks=[], yticks=[])
    marked = Line2D([], [], color=BEST, linewidth=2)
    _legend(axes, handles=[marked], labels=["the best"], loc="lower left", bbox_to_anchor=(-0.02, 1))
    return figure


def _write_axis(axes: Any, number: int, name: str, scale: _Scale) -> None:
    style: dict[str, Any] = {"parse_math": False, "fontfamily": _font_families()}
    axes.text(number, -0.17, name, va="top", ha="center", fontsize=9, color=INK, **style)
    for place, text in scale.ticks():
        # Beyond the ends, where no line passes; in between beside the axis.
        offset, align = ((0, -4), "top") if place == 0 else ((0, 4), "bottom") if place == 1 else ((4, 0), "center")
        axes.annotate(
            text,
            (number, place),
            offset,
            textcoords="offset points",
            fontsize=8,
            color=SOFT,
            va=align,
            ha="left" if align == "center" else "center",
            **style,
        )


class _Scale:
    """Where the values of a setting stand on its axis, from 0 to 1."""

    def __init__(self, values: Sequence[Any], log: bool) -> None:
        """Take the least and the greatest of numbers, or count others."""
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        self._log = log and min(numbers, default=0) > 0
        self._kinds = None if len(numbers) == len(values) else sorted({to_words(value) for value in values})
        self._ends = (min(numbers), max(numbers)) if self._kinds is None and numbers else (0.0, 1.0)
        self._numbers = sorted(set(numbers))

    def place(self, value: Any) -> float | None:
        """Return the place of a value, `None` where a trial has none."""
        if value is None:
            return None
        if self._kinds is not None:
            return self._kinds.index(to_words(value)) / max(1, len(self._kinds) - 1)
        low, high, one = (math.log(number) if self._log else number for number in (*self._ends, value))
        return 0.5 if high == low else (one - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """Return places and what is written there: of a few values each, of many the least and the greatest."""
        if self._kinds is not None:
            last = max(1, len(self._kinds) - 1)
            return [(number / last, shorten(kind)) for number, kind in enumerate(self._kinds)]
        shown = self._numbers if len(self._numbers) <= _FEW else self._ends
        ticks = dict.fromkeys(self._ends)  # the ends are written in any case
        for number in shown:
            if all(abs((self.place(number) or 0.0) - (self.place(other) or 0.0)) > _NEAR for other in ticks):
                ticks[number] = None
        return [(self.place(number) or 0.0, f"{number:.3g}") for number in sorted(ticks)]
