"""Predictions read again from what `--predictions` wrote: CSV, or Parquet in a folder."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.data._dataset import Dataset
from trainkit.data._whole import WHOLE
from trainkit.errors import DataError
from trainkit.runs._predictions import BLOCK_FILES, CLASS_PREFIX, PARQUET_FILE, import_pyarrow, to_utf8

_NAMED = 5  # of many, in a sentence
_MOST_CORRECTED = 0.1  # of the labels, since the predictions were made

log = logging.getLogger("trainkit")


def read_probabilities(path: Path, whole: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Find the images of a data set among predictions.

    Args:
        path: a `.csv` file, or a folder with Parquet in it.
        whole: as `load_whole` gives it.

    Returns:
        int64 `(N,)`, the numbers of the images that have a row, and float32 `(N, classes)`, their probabilities in the
        order of the data's classes.

    Raises:
        DataError: it is no such file, has other classes or labels, or no row for any of the images.
    """
    files, columns = _read(path)
    wanted = [f"{CLASS_PREFIX}{name}" for name in whole.class_names]
    _check_classes(path, columns, wanted, whole.name)
    table = np.stack([_numbers(path, name, columns[name]) for name in wanted], axis=1)
    row_of = {file: number for number, file in enumerate(files)}
    if len(row_of) < len(files):
        twice = [file for number, file in enumerate(files) if row_of[file] != number]
        raise DataError(f"{path} has several rows for {_named(twice)}. Expected one for each image.")
    rows = np.array([row_of.get(to_utf8(name), -1) for name in whole.image_names], np.int64)
    found = np.flatnonzero(rows >= 0)
    if not len(found):
        raise DataError(
            f"{path} has no row for any image of {whole.name}: it begins with {_named(files[:1]) or 'nothing'}, and "
            f"the images with {_named(whole.image_names[:1])}. Expected predictions of `trainkit cross-validate` on it."
        )
    if "true" in columns:
        _check_labels(path, [str(columns["true"][row]) for row in rows[found]], found, whole)
    return found, table[rows[found]]


def _check_classes(path: Path, columns: Iterable[str], wanted: Sequence[str], data: str) -> None:
    if missing := [name for name in wanted if name not in columns]:
        raise DataError(
            f"{path} has no column {_named(missing)}. Expected one for each class of {data}, as --predictions writes "
            "them."
        )
    if more := [name for name in columns if name.startswith(CLASS_PREFIX) and name not in wanted]:
        raise DataError(f"{path} has a column {_named(more)}, and {data} has no such class. Expected its own alone.")


def _check_labels(path: Path, said: Sequence[str], found: np.ndarray, whole: Dataset) -> None:
    """Raise where the labels are mostly others than the images have: it is of other images that are called the same."""
    labels = [whole.class_names[int(number)] for number in whole.parts[WHOLE].labels[found]]
    other = [number for number, (one, label) in enumerate(zip(said, labels, strict=True)) if one != to_utf8(label)]
    if not other:
        return
    first = f"`{whole.image_names[found[other[0]]]}` is `{said[other[0]]}` there and `{labels[other[0]]}` here"
    if len(other) > _MOST_CORRECTED * len(labels):
        raise DataError(
            f"{path} has other labels than {whole.name} for {len(other)} of {len(labels)} images: {first}. Expected "
            "predictions for these images: run `trainkit cross-validate --predictions` on this data."
        )
    log.warning("%d labels of %s are not those of %s any more: %s.", len(other), whole.name, path, first)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"`{name}`" for name in names[:_NAMED]) + more


def _read(path: Path) -> tuple[list[str], Mapping[str, Sequence[Any]]]:
    """Return the files, and the columns of all classes."""
    if not os.path.exists(path):
        raise DataError(f"No such file: {path}. Expected what `trainkit cross-validate --predictions` wrote.")
    try:
        columns = _read_parquet(path) if path.is_dir() else _read_csv(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not what --predictions writes: it is not UTF-8. Save it so.") from error
    except (OSError, csv.Error, ValueError) as error:
        raise DataError(f"{path} is not what --predictions writes: {error}") from error
    if "file" not in columns:
        raise DataError(
            f"{path} is not what --predictions writes. Expected a column `file`, the columns parted by commas. "
            f"Received: {_named(list(columns)) or 'nothing'}"
        )
    return [str(file) for file in columns["file"]], columns


def _read_csv(path: Path) -> dict[str, list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(
                f"its row {number} has {len(row)} values, and its header {len(header)}. Expected commas between them, "
                "and points in numbers"
            )
    return {name: [row[number] for row in rows] for number, name in enumerate(header)}


def _read_parquet(folder: Path) -> dict[str, list[Any]]:
    """Return the columns of the one file that most commands write into a folder, or of all blocks of `predict`."""
    arrow = import_pyarrow()
    whole = folder / PARQUET_FILE
    files = [whole] if whole.is_file() else sorted(folder.glob(BLOCK_FILES))
    if not files:
        raise ValueError(f"there is no {PARQUET_FILE} in it")
    table = arrow.concat_tables([arrow.parquet.read_table(file) for file in files])
    if files != [whole]:  # of what could not be read, nothing is known
        table = table.filter(table.column("error").is_null())
    return {"file" if name == "path" else str(name): table.column(name).to_pylist() for name in table.column_names}


def _numbers(path: Path, name: str, values: Sequence[Any]) -> np.ndarray:
    numbers = np.empty(len(values), np.float32)
    for row, value in enumerate(values):
        try:
            numbers[row] = value
        except (ValueError, TypeError):
            numbers[row] = np.nan
        if not 0 <= numbers[row] <= 1:
            raise DataError(
                f"{path}: the column `{name}` must have probabilities, from 0 to 1. Received in row {row + 2}: "
                f"{value!r}"
            )
    return numbers
