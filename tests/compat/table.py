"""The tables of docs/matrix.md, each written between two marks; and the results as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from cells import Cell
from environments import READERS, USUAL_READERS

from trainkit.files import write_text

BEGIN, END = "<!-- compat: begin -->", "<!-- compat: end -->"
KINDS_BEGIN, KINDS_END = "<!-- compat kinds: begin -->", "<!-- compat kinds: end -->"


def count(cells: Sequence[Cell]) -> str:
    """Return `12 green, 1 declared, 0 red`."""
    counts = Counter(cell.status for cell in cells)
    return ", ".join(f"{counts[status]} {status}" for status in ("green", "declared", "red"))


def to_markdown(cells: Sequence[Cell]) -> str:
    """Return the table: a row for each network and format, a column for each usual reader; the others are counted."""
    readers = [name for name in USUAL_READERS if any(cell.reader == name for cell in cells)]
    others = [cell for cell in cells if cell.reader not in USUAL_READERS]
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
    if others:
        names = dict.fromkeys(cell.reader for cell in others)
        lines += ["", f"In {', '.join(names)}, which lie between them: {count(others)}."]
    return "\n".join(lines)


def to_markdown_of_kinds(cells: Sequence[Cell], kinds: Mapping[str, Sequence[str]]) -> str:
    """Return a table with a row for each kind of networks: how many are green; `–` before those that are declared.

    Args:
        cells: of ONNX files.
        kinds: the networks of each.
    """
    readers = [name for name in READERS if any(cell.reader == name for cell in cells)]
    found = {(cell.network, cell.reader): cell.status for cell in cells}
    lines = [
        f"{count(cells)}.",
        "",
        "| three networks of the kind | " + " | ".join(READERS[name].title for name in readers) + " |",
        "|---|" + "---|" * len(readers),
    ]
    for kind, networks in kinds.items():
        counted = [Counter(found.get((network, reader)) for network in networks) for reader in readers]
        lines.append(f"| {kind} | {' | '.join(map(_counted, counted))} |")
    return "\n".join(lines)


def _counted(statuses: Counter[str | None]) -> str:
    marks = (("green", ""), ("declared", "–"), ("red", "red "))
    return " ".join(f"{mark}{statuses[status]}" for status, mark in marks if statuses[status])


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
    write_between(page, BEGIN, END, to_markdown(cells))


def write_kinds(page: Path, cells: Sequence[Cell], kinds: Mapping[str, Sequence[str]]) -> None:
    """Put the table of kinds between its own marks, which `write_table` leaves alone.

    Raises:
        ValueError: the page has no such marks.
    """
    write_between(page, KINDS_BEGIN, KINDS_END, to_markdown_of_kinds(cells, kinds))


def write_between(page: Path, begin: str, end: str, table: str) -> None:
    """Put a table between two marks of a page.

    Raises:
        ValueError: the page has no such marks.
    """
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{page} needs the lines {begin} and {end} around the table.")
    write_text(page, f"{before}{begin}\n{table}\n{end}{after}")


def save_results(path: Path, cells: Sequence[Cell]) -> None:
    """Write every cell, with its reason and its figures; infinity becomes `null`."""
    rows = [{key: None if value == float("inf") else value for key, value in asdict(cell).items()} for cell in cells]
    write_text(path, json.dumps({"count": count(cells), "cells": rows}, indent=1, ensure_ascii=False) + "\n")


def load_results(path: Path) -> list[Cell]:
    """Read what `save_results` wrote."""
    return [Cell(**row) for row in json.loads(path.read_text(encoding="utf-8"))["cells"]]
