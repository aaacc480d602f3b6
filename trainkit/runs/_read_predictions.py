"""Predictions read again from what `--predictions` wrote: CSV, or Parquet in a folder."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.data._dataset import Dataset
from trainkit.errors import DataError
from trainkit.runs._predictions import CLASS_PREFIX, PARQUET_FILE, import_pyarrow, to_utf8

_NAMED = 5  # of many, in a sentence


def read_probabilities(path: Path, whole: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Find the images of a data set among predictions.

    Args:
        path: a `.csv` file, or a folder with Parquet in it.
        whole: as `load_whole` gives it.

    Returns:
        int64 `(N,)`, the numbers of the images that have a row, and float32 `(N, classes)`, their probabilities in the
        order of the data's classes.

    Raises:
        DataError: it is no such file, has other classes, or no row for any of the images.
    """
    files, columns = _read(path)
    wanted = [f"{CLASS_PREFIX}{name}" for name in whole.class_names]
    if missing := [name for name in wanted if name not in columns]:
        raise DataError(
            f"{path} has no column {_named(missing)}. Expected one for each class of {whole.name}, as --predictions "
            "writes them."
        )
    table = np.stack([_numbers(path, name, columns[name]) for name in wanted], axis=1)
    row_of = {file: number for number, file in enumerate(files)}
    rows = np.array([row_of.get(to_utf8(name), -1) for name in whole.image_names], np.int64)
    found = np.flatnonzero(rows >= 0)
    if not len(found):
        raise DataError(
            f"{path} has no row for any image of {whole.name}: it begins with {_named(files[:1]) or 'nothing'}, and "
            f"the images with {_named(whole.image_names[:1])}. Expected predictions of `trainkit cross-validate` on it."
        )
    return found, table[rows[found]]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"`{name}`" for name in names[:_NAMED]) + more


def _read(path: Path) -> tuple[list[str], Mapping[str, Sequence[Any]]]:
    """Return the files, and the columns of all classes."""
    if not os.path.exists(path):
        raise DataError(f"No such file: {path}. Expected what `trainkit cross-validate --predictions` wrote.")
    try:
        columns = _read_parquet(path) if path.is_dir() else _read_csv(path)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise DataError(f"{path} is not what --predictions writes: {error}") from error
    if "file" not in columns:
        raise DataError(f"{path} is not what --predictions writes. Expected a column `file`.")
    return [str(file) for file in columns["file"]], columns


def _read_csv(path: Path) -> dict[str, list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if any(len(row) != len(header) for row in rows):
        raise ValueError("its rows are not all as long as its header")
    return {name: [row[number] for row in rows] for number, name in enumerate(header)}


def _read_parquet(folder: Path) -> dict[str, list[Any]]:
    """Return the columns of all files in a folder: of the one that most commands write, or of `predict`'s blocks."""
    arrow = import_pyarrow()
    files = sorted(folder.glob("[!.]*.parquet")) or [folder / PARQUET_FILE]
    table = arrow.concat_tables([arrow.parquet.read_table(file) for file in files])
    if "error" in table.column_names:  # of blocks: of what could not be read, nothing is known
        table = table.filter(table.column("error").is_null())
    names = {"path": "file"} if "file" not in table.column_names else {}
    return {names.get(name, str(name)): table.column(name).to_pylist() for name in table.column_names}


def _numbers(path: Path, name: str, values: Sequence[Any]) -> np.ndarray:
    try:
        numbers = np.array(values, np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: the column `{name}` must have probabilities. {error}") from error
    if not ((numbers >= 0) & (numbers <= 1)).all():
        raise DataError(f"{path}: the column `{name}` must have probabilities, from 0 to 1.")
    return numbers
