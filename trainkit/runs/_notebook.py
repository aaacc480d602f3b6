"""How objects show themselves in a notebook: tables and curves, as HTML that needs nothing else.

Text and axes take the colour of the page's text, so that they are read on white and on black.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trainkit.deploy.python._showing import harmless

Curves = Mapping[str, Sequence[tuple[float, float]]]

_SIDES = {"training": "", "validation": "val_"}  # by what a curve is called, the beginning of its column
_COLORS = ("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#6b7280")  # seen on white and on black
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _LINE = 320, 170, 52, 34, 22, 16  # pixels
_MOST_POINTS = 400  # of a curve; a line is no finer on the screen


def figures_html(title: str, figures: Mapping[str, object]) -> str:
    """Return a heading and a table of two columns; what is `None` is left out."""
    rows = [(name, value) for name, value in figures.items() if value is not None]
    lines = "".join(_row_html("td", (harmless(name), _text_of(value)), ("left", "left")) for name, value in rows)
    return f"{heading_html(title)}<table><tbody>{lines}</tbody></table>"


def heading_html(title: str) -> str:
    """Return a line in bold."""
    return f"<div><strong>{escape(title)}</strong></div>"


def table_html(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table, which scrolls where it is long; columns of numbers stand on the right."""
    texts = [[_text_of(value) for value in row] for row in rows]
    sides = ["right" if _are_numbers(column[1:]) else "left" for column in zip(columns, *texts, strict=True)]
    head = _row_html("th", columns, sides)
    body = "".join(_row_html("td", row, sides) for row in texts)
    table = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
    return f'<div style="max-height:30em;overflow:auto">{table}</div>'


def _row_html(tag: str, texts: Sequence[str], sides: Sequence[str]) -> str:
    aligned = zip(texts, sides, strict=True)
    cells = [f'<{tag} style="text-align:{side}">{escape(text)}</{tag}>' for text, side in aligned]
    return f"<tr>{''.join(cells)}</tr>"


def _text_of(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()  # as settings take it
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else harmless(str(value))


def _are_numbers(texts: Sequence[str]) -> bool:
    """Whether a column holds numbers, and else words without a digit, such as `shared`."""
    with_digits = [text for text in texts if any(map(str.isdigit, text))]
    return bool(with_digits) and all(re.fullmatch(r"-?[\d,.]+(e[-+]\d+)?%?", text) for text in with_digits)


def epochs_html(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """Return a picture for each of some figures, with its curves by epoch.

    Args:
        rows: an epoch each, as `Run.metrics` has them.
        names: what each column is called.
    """
    return "".join(
        curves_html(
            f"{words} by epoch",
            {
                side: [(row["epoch"], row[column]) for row in rows if isinstance(row.get(column), float)]
                for side, prefix in _SIDES.items()
                if (column := f"{prefix}{name}")
            },
        )
        for name, words in names.items()
    )


def curves_html(title: str, curves: Curves, *, logarithmic: bool = False, mark: float | None = None) -> str:
    """Return lines over a common pair of axes as one SVG picture; nothing where there is no line to draw.

    Args:
        title: what is drawn.
        curves: by the name of each line, its points (x, y); those that are not finite are left out.
        logarithmic: whether x is, whose values are above 0 then.
        mark: where along x to draw a dashed line.
    """
    lines = {name: points for name, given in curves.items() if len(points := _finite(given)) > 1}
    if not lines:
        return ""
    scale = math.log10 if logarithmic else float
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)

    def across(x: float) -> float:
        span = scale(right) - scale(left) or 1
        return _LEFT + (scale(x) - scale(left)) / span * (_WIDTH - _LEFT - 8)

    def down(y: float) -> float:
        return _HEIGHT - _BOTTOM - (y - low) / (high - low or 1) * (_HEIGHT - _BOTTOM - _TOP)

    parts = [_text(_LEFT, 14, title, weight="bold"), _axes()]
    parts += [_text(_LEFT - 4, down(y) + 4, f"{y:.4g}", anchor="end") for y in dict.fromkeys((low, high))]
    parts += [_text(across(left), _HEIGHT - 20, f"{left:.3g}"), _text(_WIDTH - 8, _HEIGHT - 20, f"{right:.3g}", "end")]
    if mark is not None:
        parts.append(_line(across(mark), _TOP, across(mark), _HEIGHT - _BOTTOM, 'stroke-dasharray="4 3"'))
    for number, (name, points) in enumerate(lines.items()):
        color, y = _COLORS[number % len(_COLORS)], _HEIGHT + number * _LINE
        drawn = " ".join(f"{across(x):.1f},{down(value):.1f}" for x, value in points)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        if len(lines) == 1:  # the title says it
            continue
        parts.append(f'<rect x="{_LEFT}" y="{y - 8}" width="12" height="4" fill="{color}"/>')
        parts.append(_text(_LEFT + 18, y - 3, name))
    height = _HEIGHT - _LINE + (len(lines) * _LINE + 6 if len(lines) > 1 else 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="11">{"".join(parts)}</svg>'
    )


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    kept = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    step = max(1, math.ceil(len(kept) / _MOST_POINTS))
    return [*kept[:-1:step], *kept[-1:]]


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    style = f'text-anchor="{anchor}" font-weight="{weight}" fill="currentColor"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="currentColor" {style}/>'


def _axes() -> str:
    floor = _HEIGHT - _BOTTOM
    return _line(_LEFT, _TOP, _LEFT, floor, 'opacity="0.5"') + _line(_LEFT, floor, _WIDTH - 8, floor, 'opacity="0.5"')
