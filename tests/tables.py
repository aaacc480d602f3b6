"""Reads the tables of a page in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator


def tables(text: str) -> Iterator[list[list[str]]]:
    """Yield the tables of a text: rows of cells, the header first."""
    for block in re.findall(r"(?:^\|.*\n?)+", text, flags=re.M):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().split("\n")]
        yield [rows[0], *rows[2:]]


def rows_of(text: str, header: list[str]) -> list[list[str]]:
    """Return the rows of the one table of a text with this header."""
    (found,) = [table[1:] for table in tables(text) if table[0] == header]
    return found


def codes(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", text)
