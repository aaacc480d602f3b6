"""The table of docs/matrix.md, written between two marks; and the results as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from cells import Cell
from environments import READERS

from trainkit.files import write_text

BEGIN, END = "<!-- compat: begin -->", "<!-- compat: end -->"


def count(cells: Sequence[Cell]) -> str:
    """Return `12 green, 1 declared, 0 red`."""
    counts = Counter(cell.status for cell in cells)
    return ", ".join(f"{counts[status]} {status}" for status in ("green", "declared", "red"))


def to_markdown(cells: Sequence[Cell]) -> str:
    """Return the table: a row for each network and format, a column for each reader."""
    readers = [name for name in READERS if any(cell.reader == name for cell in cells)]
    found = {(cell.network, cell.format, cell.reader): cell for cell in cells}
    rows = list(dict.fromkeys((cell.network, cell.format) for cell in cells))
    lines = [
        f"{count(cells)}.",
        "",
        "| network | format | " + " | ".join(READERS[name].title for name in readers) + " |",
        "|---|---|" + "---|" * len(readers),
    ]
    for network, model_format in rows:
        texts = [_text(found.get((network, model_format, name))) for name in readers]
        lines.append(f"| {network} | {model_format} | {' | '.join(texts)} |")
    return "\n".join(lines)


def _text(cell: Cell | None) -> str:
    if cell is None:
        return ""
    if cell.status == "declared":
        return "–"
    if cell.status == "red":
        return cell.status
    return f"{cell.logits:.0e}".replace("e-0", "e-") + ("*" if cell.loosened else "")


def write_table(page: Path, cells: Sequence[Cell]) -> None:
    """Put the table between the marks of a page.

    Raises:
        ValueError: it has no such marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} needs the lines {BEGIN} and {END} around the table.")
    write_text(page, f"{before}{BEGIN}\n{to_markdown(cells)}\n{END}{after}")


def save_results(path: Path, cells: Sequence[Cell]) -> None:
    """Write every cell, with its reason and its figures; infinity becomes `null`."""
    rows = [{key: None if value == float("inf") else value for key, value in asdict(cell).items()} for cell in cells]
    write_text(path, json.dumps({"count": count(cells), "cells": rows}, indent=1, ensure_ascii=False) + "\n")


def load_results(path: Path) -> list[Cell]:
    """Read what `save_results` wrote."""
    return [Cell(**row) for row in json.loads(path.read_text(encoding="utf-8"))["cells"]]
