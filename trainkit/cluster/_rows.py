"""Rows of answers in a folder: a Parquet file a block, each of which says what it holds and of what."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainkit._progress import counting
from trainkit.cluster import _places
from trainkit.cluster._paths import PathList
from trainkit.errors import OutputError
from trainkit.runs._predictions import build_predictions, import_pyarrow, to_utf8

ROWS_SUFFIX = ".parquet"
_NAME = "rows-{:010d}" + ROWS_SUFFIX  # by the first row, so that their names stand in the order of the list
_KEY = b"trainkit"  # of what a file says of itself
_ANOTHER = "Name another folder."


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that are answered together: their paths, from a place in the list on."""

    first: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A file of rows: which it holds, and of what."""

    name: str
    first: int
    rows: int
    errors: int
    first_error: str | None
    paths: str  # the SHA-256 of its paths
    answers: dict[str, Any]  # what decides them: see `trainkit.cluster._classifying`

    @property
    def end(self) -> int:
        """The row behind its last one."""
        return self.first + self.rows


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an image: the probabilities of its classes, or why there are none."""

    probabilities: np.ndarray | None = None
    error: str | None = None


def sha256_of_paths(paths: Sequence[str]) -> str:
    """Return what tells one list of paths from another."""
    return hashlib.sha256(b"\0".join(os.fsencode(path) for path in paths)).hexdigest()


def write_rows(
    block: Block,
    given: Sequence[Answer],
    folder: str,
    *,
    output: dict[str, Any],
    answers: dict[str, Any],
) -> Part:
    """Write the file of a block, whole or not at all.

    Args:
        block: the rows.
        given: an answer to each.
        folder: where the files are.
        output: what a manifest says of it.
        answers: what decides them; `all_probabilities` asks for a column a class.

    Raises:
        OutputError: it cannot be written.
    """
    errors = [to_utf8(one.error) for one in given if one.error is not None]
    part = Part(
        name=_NAME.format(block.first),
        first=block.first,
        rows=len(block.paths),
        errors=len(errors),
        first_error=errors[0] if errors else None,
        paths=sha256_of_paths(block.paths),
        answers=answers,
    )
    said = json.dumps({key: value for key, value in asdict(part).items() if key != "name"})
    table = _to_table(block, given, output, every_class=answers["all_probabilities"])
    _places.write_table(table.replace_schema_metadata({_KEY: said}), _places.join(folder, part.name))
    return part


def _to_table(block: Block, given: Sequence[Answer], output: dict[str, Any], *, every_class: bool) -> Any:
    names = output["class_names"]
    usable = [number for number, one in enumerate(given) if one.probabilities is not None]
    rows = np.full((len(given), len(names)), np.nan, np.float32)
    for number in usable:
        rows[number] = given[number].probabilities
    found = build_predictions([block.paths[number] for number in usable], rows[usable], names, output=output)
    label: list[str | None] = [None] * len(given)
    probability: list[float | None] = [None] * len(given)
    for number, name, value in zip(usable, found.predicted, found.probability, strict=True):
        label[number], probability[number] = name, value
    arrow = import_pyarrow()
    text, real = arrow.string(), arrow.float32()
    columns = {
        "row": arrow.array(range(block.first, block.first + len(given)), arrow.int64()),
        "path": arrow.array([to_utf8(path) for path in block.paths], text),
        "label": arrow.array(label, text),
        "probability": arrow.array(probability, real),
        "error": arrow.array([None if one.error is None else to_utf8(one.error) for one in given], text),
    }
    if every_class:
        missing = np.isnan(rows[:, 0])
        for name, column in zip(found.columns()[-len(names) :], rows.T, strict=True):
            columns[name] = arrow.array(np.ascontiguousarray(column), real, mask=missing)
    return arrow.table(columns)


def read_parts(folder: str, paths: PathList, answers: dict[str, Any]) -> list[Part]:
    """Return the files that are in a folder, in the order of their rows.

    Args:
        folder: where they are.
        paths: the list that is to be answered now.
        answers: what decides the answers now.

    Raises:
        OutputError: there is something else in the folder: other Parquet files, answers to another list or of another
            bundle.
    """
    names = _places.list_names(folder, ROWS_SUFFIX)
    parts = [_read_part(folder, name) for name in counting(names, "Reading what is there", unit="files")]
    parts.sort(key=lambda part: part.first)
    end = 0
    for part in counting(parts, "Comparing the list with what is there", unit="files"):
        _check_part(folder, part, end, paths, answers)
        end = part.end
    return parts


def _read_part(folder: str, name: str) -> Part:
    place = _places.join(folder, name)
    said = (_places.read_schema(place).metadata or {}).get(_KEY)
    if said is None:
        raise OutputError(f"{place} was not written by `trainkit predict` with --predictions {folder}. {_ANOTHER}")
    return Part(name, **json.loads(said))


def _check_part(folder: str, part: Part, end: int, paths: PathList, answers: dict[str, Any]) -> None:
    place = _places.join(folder, part.name)
    if part.answers != answers:
        other = ", ".join(key for key in answers if part.answers.get(key) != answers[key])
        raise OutputError(f"{folder} holds answers of which something else decided ({other}). {_ANOTHER}")
    if part.first < end:
        raise OutputError(f"{place} holds rows that another file has, too. Delete one of them, or name another folder.")
    if part.end > len(paths):
        raise OutputError(
            f"{folder} holds answers to another list: {place} goes to row {part.end - 1}, and the list has "
            f"{len(paths)} paths. {_ANOTHER}"
        )
    now = paths.read(part.first, part.rows)
    if sha256_of_paths(now) != part.paths:
        raise OutputError(
            f"{folder} holds answers to another list: other paths stand in the rows {part.first} to {part.end - 1} of "
            f"{place}. New paths may stand at the end of a list only. {_ANOTHER}"
        )


def missing_blocks(parts: Sequence[Part], paths: PathList, rows: int) -> Iterator[Block]:
    """Yield blocks of at most so many rows, of all that no file holds."""
    for first, end in missing_ranges(parts, len(paths)):
        for start in range(first, end, rows):
            yield Block(start, tuple(paths.read(start, min(rows, end - start))))


def missing_ranges(parts: Sequence[Part], count: int) -> list[tuple[int, int]]:
    """Return from which row to before which one there are no files."""
    ends = [0, *(part.end for part in parts)]
    starts = [*(part.first for part in parts), count]
    return [(end, start) for end, start in zip(ends, starts, strict=True) if end < start]
