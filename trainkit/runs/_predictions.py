"""What a network answered, image by image, as a table in a file: CSV, or Parquet in a folder."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.data._dataset import Part
from trainkit.errors import MissingPackageError, UsageError
from trainkit.files import building, cannot_write, check_new, replacing

COLUMNS = ("file", "true", "predicted", "probability")  # before a column for each class
CLASS_PREFIX = "p:"
BETWEEN_LABELS = "|"  # of an image that has several, as in a table of images
PARQUET_FILE = "part-00000.parquet"
BLOCK_FILES = "rows-*.parquet"  # those that `trainkit.cluster` writes
_THRESHOLD = 0.5  # from which on an image has a label, where it may have several


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """A row for each image: what it is, what the network took it for, and how probable that was."""

    files: list[str]  # a path; of an image that is no file its side and number, `test[17]`
    truth: list[str | None]  # class names, `None` where nobody knows
    predicted: list[str | None]  # class names, `None` for none of them
    probability: list[float | None]  # of the likeliest class; `None` where an image may have several
    probabilities: np.ndarray  # float32 (N, classes)
    class_names: list[str]

    def columns(self) -> list[str]:
        """Return the names of the columns; where two classes are called the same, the second is `p:crane (2)`."""
        taken, names = set(self.class_names), dict.fromkeys(self.class_names, 0)
        called = []
        for name in self.class_names:
            names[name] += 1
            number, own = names[name], name
            while number > 1 and own in taken:
                own, number = f"{name} ({number})", number + 1
            taken.add(own)
            called.append(CLASS_PREFIX + own)
        return [*COLUMNS, *called]


def decide(probabilities: np.ndarray, output: dict[str, Any]) -> list[list[int]]:
    """Return the numbers of the classes that each image is given.

    Args:
        probabilities: `(N, classes)`.
        output: what a manifest says of it: `multi_label`, and what it may ask a class to reach.
    """
    if output.get("multi_label", False):
        least = np.asarray(output.get("thresholds", _THRESHOLD), probabilities.dtype)
        return [np.flatnonzero(row).tolist() for row in probabilities >= least]
    least, best = output.get("reject_below", 0.0), probabilities.argmax(axis=1)
    return [[int(number)] if row[number] >= least else [] for row, number in zip(probabilities, best, strict=True)]


def build_predictions(
    files: Sequence[str],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    *,
    output: dict[str, Any],
    truth: Sequence[str | None] | None = None,
) -> Predictions:
    """Put the answers to some images together.

    Args:
        files: of the images.
        probabilities: `(N, classes)`.
        class_names: of the columns.
        output: as for `decide`.
        truth: what the images are, where that is known.
    """
    several = output.get("multi_label", False)
    return Predictions(
        files=list(files),
        truth=list(truth) if truth is not None else [None] * len(files),
        predicted=[_joined(numbers, class_names) for numbers in decide(probabilities, output)],
        probability=[None if several else float(row.max()) for row in probabilities],
        probabilities=np.asarray(probabilities, np.float32),
        class_names=list(class_names),
    )


def predictions_of_part(
    part: Part, side: str, probabilities: np.ndarray, class_names: Sequence[str], output: dict[str, Any]
) -> Predictions:
    """Put the answers to the images of a part together, with what they are.

    Args:
        part: the images, their labels by the numbers of `class_names`.
        side: what the part is called.
        probabilities: `(N, classes)`.
        class_names: of the columns.
        output: as for `decide`.
    """
    numbers = [np.flatnonzero(row).tolist() if part.labels.ndim == 2 else [int(row)] for row in part.labels]
    paths = [part.path(index) for index in range(len(part))]
    return build_predictions(
        [f"{side}[{index}]" if path is None else str(path.absolute()) for index, path in enumerate(paths)],
        probabilities,
        class_names,
        output=output,
        truth=[_joined(chosen, class_names) for chosen in numbers],
    )


def _joined(numbers: Sequence[int], class_names: Sequence[str]) -> str | None:
    return BETWEEN_LABELS.join(class_names[number] for number in numbers) or None


def check_predictions_target(target: Path) -> None:
    """Raise unless predictions can be written there, before anything is predicted.

    Raises:
        OutputError: there are some already, or the folder cannot be written.
        UsageError: it is neither a `.csv` file nor a folder.
        MissingPackageError: it is a folder, and pyarrow is not installed.
    """
    if not _is_folder(target):
        check_new(target)
        return
    check_new(target / PARQUET_FILE if target.is_dir() else target)
    import_pyarrow()


def _is_folder(target: Path) -> bool:
    if target.is_dir():
        return True
    suffix = target.suffix.lower()
    if suffix and suffix != ".csv":
        raise UsageError(
            f"--predictions takes a file whose name ends in .csv, or a folder for Parquet. Received: {target}"
        )
    return not suffix


def import_pyarrow() -> Any:
    """Return pyarrow, with its `parquet`.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            'Parquet needs the package pyarrow, which is not installed: pip install "trainkit[parquet]". Or name a '
            ".csv file."
        ) from error
    return pyarrow


def save_predictions(predictions: Predictions, target: Path) -> None:
    """Write predictions, whole or not at all: into a `.csv` file, or as Parquet into a folder.

    Raises:
        OutputError: there are some already, or they cannot be written.
    """
    check_predictions_target(target)
    if not _is_folder(target):
        write_csv(predictions, target)
    elif target.is_dir():
        with replacing(target / PARQUET_FILE) as temporary:
            _write_parquet(predictions, temporary)
    else:
        try:
            with building(target.parent) as temporary:
                _write_parquet(predictions, temporary / PARQUET_FILE)
                temporary.rename(target)
        except OSError as error:
            raise cannot_write(target, error) from error


def write_csv(predictions: Predictions, path: Path, *, probabilities: bool = True) -> None:
    """Write predictions as CSV in UTF-8, as RFC 4180 has it.

    Args:
        predictions: the rows.
        path: a file, which is replaced where it is there.
        probabilities: whether there is a column for each class.

    Raises:
        OutputError: it cannot be written.
    """
    columns = predictions.columns() if probabilities else list(COLUMNS)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(row[: len(columns)] for row in _rows(predictions))


def _rows(predictions: Predictions) -> Iterator[list[str]]:
    answers = zip(predictions.files, predictions.truth, predictions.predicted, predictions.probability, strict=True)
    for (file, true, predicted, probability), row in zip(answers, predictions.probabilities, strict=True):
        least = "" if probability is None else str(np.float32(probability))
        yield [to_utf8(file), true or "", predicted or "", least, *map(str, row)]


def to_utf8(name: str) -> str:
    """Return a file name as UTF-8, which a name need not be: other bytes are written out, as `repr` does."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _write_parquet(predictions: Predictions, path: Path) -> None:
    arrow = import_pyarrow()
    text, number = arrow.string(), arrow.float32()
    arrays = [
        arrow.array([to_utf8(file) for file in predictions.files], text),
        arrow.array(predictions.truth, text),
        arrow.array(predictions.predicted, text),
        arrow.array(predictions.probability, number),
        *(arrow.array(column, number) for column in np.ascontiguousarray(predictions.probabilities.T)),
    ]
    arrow.parquet.write_table(arrow.Table.from_arrays(arrays, predictions.columns()), path)
