"""Tables of text that fit a width without breaking what one would copy: a name, a path, a number."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from trainkit.deploy.python._showing import harmless

WORDS = r" "  # between any two words
ITEMS = r"(?<=[;=]) "  # after an item of a list: `a.jpg = b.jpg; c.jpg`
_HEADING = r" |(?<=-)(?=\w)"
_GAP = "  "

Breaks = Mapping[str, str]  # of some columns: the regular expression of where their cells may be wrapped


@dataclass(frozen=True, slots=True)
class Layout:
    """The lines of a table."""

    heading: list[str]
    body: list[str]
    left_out: list[str] = field(default_factory=list)  # columns for which there was no room


def lay_out(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None,
    breaks: Breaks | None = None,
    optional: Sequence[str] = (),
) -> Layout:
    """Lay a table out: a line a row where that fits, else without the optional columns, on two lines, or as a list.

    Args:
        columns: their names.
        rows: a cell for each column.
        width: of the terminal, in letters; `None` where there is none, and a row is a line, however long.
        breaks: where the cells of a column may be wrapped; the others' stay whole.
        optional: the columns that are left out first, the last one first, where there is no room.
    """
    columns, optional = [harmless(name) for name in columns], [harmless(name) for name in optional]
    cells = [[harmless(cell) for cell in row] for row in rows]
    breaks = {harmless(name): pattern for name, pattern in (breaks or {}).items()}
    if width is None:
        return _grid(columns, cells, _natural(columns, cells), {})
    for kept in range(len(optional), -1, -1):
        left_out = list(optional[kept:])
        shown = [index for index, name in enumerate(columns) if name not in left_out]
        names, some = [columns[index] for index in shown], [[row[index] for index in shown] for row in cells]
        if widths := _fit(names, some, width, breaks):
            grid = _grid(names, some, widths, breaks)
            return Layout(grid.heading, grid.body, left_out)
    return _two_lines(columns, cells, width, breaks) or _list(columns, cells, width, breaks)


def natural_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how many letters a row takes where nothing is wrapped."""
    shown = [[harmless(cell) for cell in row] for row in (columns, *rows)]
    return sum(_natural(shown[0], shown[1:])) + len(_GAP) * (len(columns) - 1)


def _natural(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]


def _fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, breaks: Breaks) -> list[int] | None:
    """Return the widths of the columns within `width`, or `None` where something would have to be broken."""
    natural, room = _natural(columns, rows), width - len(_GAP) * (len(columns) - 1)
    least = [
        max(
            _longest(name, _HEADING),
            *(_longest(row[index], breaks[name]) if name in breaks else cell_len(row[index]) for row in rows),
            0,
        )
        for index, name in enumerate(columns)
    ]
    if sum(least) > room:
        return None
    wanted = [most - few for most, few in zip(natural, least, strict=True)]
    share = min(1.0, (room - sum(least)) / (sum(wanted) or 1))
    return [few + int(share * more) for few, more in zip(least, wanted, strict=True)]


def _longest(text: str, pattern: str) -> int:
    return max(map(cell_len, re.split(pattern, text)))


def _wrap(text: str, width: int, pattern: str | None) -> list[str]:
    """Return lines of at most `width` letters; a part that is longer is a line of its own, and whole."""
    if pattern is None or cell_len(text) <= width:
        return [text]
    first, *rest = re.split(f"({pattern})", text)
    lines = [first]
    for separator, part in zip(rest[::2], rest[1::2], strict=True):
        if cell_len(lines[-1] + separator + part) <= width:
            lines[-1] += separator + part
        else:
            lines.append(part)
    return lines


def _grid(
    columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], breaks: Breaks, indent: str = ""
) -> Layout:
    patterns = [breaks.get(name) for name in columns]
    body = [line for row in rows for line in _row(row, widths, patterns, indent)]
    return Layout(_row(columns, widths, [_HEADING] * len(columns), indent), body)


def _row(row: Sequence[str], widths: Sequence[int], patterns: Sequence[str | None], indent: str) -> list[str]:
    cells = [_wrap(*cell) for cell in zip(row, widths, patterns, strict=True)]
    lines = []
    for number in range(max(map(len, cells))):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        padded = (part + " " * (width - cell_len(part)) for part, width in zip(parts, widths, strict=True))
        lines.append((indent + _GAP.join(padded)).rstrip())
    return lines


def _two_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, breaks: Breaks) -> Layout | None:
    """Put the first cell, which is not repeated, on a line of its own, and the others below it."""
    if len(columns) == 1:
        return None
    others = [row[1:] for row in rows]
    widths = _fit(columns[1:], others, width - len(_GAP), breaks)
    if widths is None:
        return None
    grid = _grid(columns[1:], [], widths, breaks, _GAP)
    body, above = [], None
    for row in rows:
        body += [] if row[0] == above else [row[0]]
        body += _grid(columns[1:], [row[1:]], widths, breaks, _GAP).body
        above = row[0]
    return Layout([columns[0], *grid.heading], body)


def _list(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, breaks: Breaks) -> Layout:
    """Put each cell on a line of its own, behind its column's name or, where it is too long, below that."""
    body, above = [], None
    for first, *others in rows:
        body += [] if first == above else [first]
        above = first
        for name, cell in zip(columns[1:], others, strict=True):
            line = f"{_GAP}{name}: {cell}"
            if cell and cell_len(line) <= width:
                body.append(line)
            elif cell:
                indented = _wrap(cell, width - 2 * len(_GAP), breaks.get(name))
                body += [f"{_GAP}{name}:", *(2 * _GAP + part for part in indented)]
    return Layout([], body)
