"""Tables of images: a CSV file with the columns `image` and `label`, and perhaps `split`."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainkit.data._duplicates import LabelledFile, find_duplicates, warnings_of
from trainkit.data._inspection import inspect_files
from trainkit.data._reading import AS_NAMED, Reading
from trainkit.data._split import choose_sides, natural_side, read_pins, shares_of, write_pins
from trainkit.errors import DataError

SUFFIXES = (".csv", ".tsv")
BETWEEN_LABELS = "|"
_DELIMITERS = (",", ";", "\t")
_SIDE_COLUMNS = ("split", "side")
_SIDES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NAMED = 5  # of many, in a sentence


@dataclass(frozen=True, slots=True)
class _Row:
    line: int  # of the file, from 1
    path: Path
    labels: tuple[str, ...]
    side: str | None  # train, val, test; `None` where the table has no column for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The usable images of a table, by side, and what there is to say about the others."""

    class_names: list[str]
    multi_label: bool  # whether an image may have several labels, or none
    sides: dict[str, list[LabelledFile]]  # train, and where there are any val, test
    warnings: list[str]


def read_table(path: Path, *, validation: float, reading: Reading = AS_NAMED) -> Table:
    """Look at every image of a table and put it on its side.

    Where no column says the side, the content of the image does, as for a folder.

    Args:
        path: of a CSV file; a path in it is relative to the folder of the file.
        validation: the share of the training images that is held out where there is no side `val`; 0 for none.
        reading: which columns are meant, and what is in them.

    Raises:
        DataError: no such file, columns or images are missing, labels contradict, or a class cannot be on every side.
    """
    files, warnings = read_files(path, reading)
    usable = _usable(path, files, warnings)
    sides, pins = choose_sides_of_rows(path, files, validation=validation)
    class_names = sorted(_labels_of(files))
    if pins:
        contents = {name: [one.file.sha256 for one in usable if name in one.labels] for name in class_names}
        warnings.append(write_pins(path, pins, contents))
    for side in ("val", "test"):
        if side in sides and (missing := set(class_names) - _labels_of(sides[side])):
            warnings.append(f"{path} has no {side} image of {_named(sorted(missing))}.")
    repeats = find_duplicates([file for of_side in sides.values() for file in of_side])
    return Table(
        class_names=class_names,
        multi_label=any(len(file.labels) > 1 for file in usable),
        sides=sides,
        warnings=warnings + warnings_of(repeats, path),
    )


def choose_sides_of_rows(
    path: Path, files: Sequence[LabelledFile], *, validation: float
) -> tuple[dict[str, list[LabelledFile]], dict[str, str]]:
    """Put the usable images of a table on their sides, and say which pins have to be written for them to stay there.

    Raises:
        DataError: a class has no training image, or too few images to be split.
    """
    usable = [labelled for labelled in files if not labelled.file.problem]
    sides = {side: [one for one in usable if (one.side or "train") == side] for side in ("train", "val", "test")}
    sides = {side: of_side for side, of_side in sides.items() if of_side}
    class_names = sorted(_labels_of(files))
    _check_training_classes(path, class_names, sides.get("train", []))
    pins: dict[str, str] = {}
    if shares := shares_of(sides, validation):
        split, pins = _split(path, class_names, sides["train"], shares)
        sides.update(split)
    return {side: [replace(one, side=side) for one in of_side] for side, of_side in sides.items()}, pins


def read_files(path: Path, reading: Reading = AS_NAMED) -> tuple[list[LabelledFile], list[str]]:
    """Read a table and look at its images, also those that cannot be used; return it with what there is to say.

    Raises:
        DataError: it is no table, labels are missing or contradict, or images are missing.
    """
    rows, warnings = _without_repeated(path, _parse(path))
    _check_labels(path, rows)
    missing = [f"{row.path} (line {row.line})" for row in rows if not os.path.isfile(row.path)]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(rows)} images of {path} {'is' if len(missing) == 1 else 'are'} missing: "
            f"{_named(missing)}. Expected paths relative to {path.parent.absolute()}, or absolute ones."
        )
    looked_at = inspect_files([row.path for row in rows])
    return [LabelledFile(file, row.labels, row.side) for row, file in zip(rows, looked_at, strict=True)], warnings


def _parse(path: Path) -> list[_Row]:
    text = _decode(path)
    delimiter = _delimiter(io.StringIO(text, newline="").readline())
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        columns = _columns(path, next(reader, []))
        rows = [_row(path, reader.line_num, columns, cells) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}. Expected CSV, a quote in quotes doubled.") from error
    if not rows:
        raise DataError(f"{path} has no rows. Expected a line for each image below the header.")
    return rows


def _decode(path: Path) -> str:
    """Read UTF-8, with or without a mark at its beginning, or UTF-16 with one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path} is not in UTF-8 (line {line}). Save it as `CSV UTF-8`.") from error
    if "\0" in text:
        raise DataError(f"{path} is no text. Expected a CSV file with the columns image and label.")
    return text


def _delimiter(header: str) -> str:
    """Return what parts the columns: in some countries spreadsheets write a semicolon."""
    return max(_DELIMITERS, key=header.count)


def _columns(path: Path, header: Sequence[str]) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    for name in ("image", "label"):
        if name not in names:
            raise DataError(
                f"{path} has no column `{name}`. Expected a first line such as `image,label` or `image,label,split`. "
                f"Received: {_named(name for name in names if name) or 'an empty line'}"
            )
    for name in ("image", "label", *_SIDE_COLUMNS):
        if names.count(name) > 1:
            raise DataError(f"{path} has the column `{name}` {names.count(name)} times. Expected it once.")
    if all(name in names for name in _SIDE_COLUMNS):
        raise DataError(f"{path} has a column `split` and a column `side`. Expected one of them.")
    known = ("image", "label", *_SIDE_COLUMNS)
    return {"side" if name in _SIDE_COLUMNS else name: names.index(name) for name in known if name in names}


def _row(path: Path, line: int, columns: Mapping[str, int], cells: Sequence[str]) -> _Row:
    values = {name: cells[index].strip() if index < len(cells) else "" for name, index in columns.items()}
    if not values["image"]:
        raise DataError(f"{path}, line {line}: there is no image. Expected a path in the column `image`.")
    labels = dict.fromkeys(label for part in values["label"].split(BETWEEN_LABELS) if (label := part.strip()))
    for label in labels:
        if not label.isprintable():
            raise DataError(f"{path}, line {line}: the label {label!r} cannot be printed. Change it.")
    side = _SIDES.get(values["side"].lower()) if "side" in values else None
    if "side" in values and side is None:
        raise DataError(f"{path}, line {line}: expected train, val or test. Received: {values['side'] or 'nothing'}")
    return _Row(line, path.parent / values["image"], tuple(labels), side)


def _without_repeated(path: Path, rows: Sequence[_Row]) -> tuple[list[_Row], list[str]]:
    first: dict[Path, _Row] = {}
    repeated = []
    for row in rows:
        known = first.setdefault(row.path, row)
        if (set(row.labels), row.side) != (set(known.labels), known.side):
            raise DataError(
                f"{path}, lines {known.line} and {row.line}: {row.path.name} is there twice, and they contradict. "
                f"Expected one line for an image, with several labels as `cat{BETWEEN_LABELS}dog`."
            )
        if row is not known:
            repeated.append(str(row.line))
    warnings = [f"{path} repeats rows, which count once: lines {_named(repeated)}"] if repeated else []
    return list(first.values()), warnings


def _check_labels(path: Path, rows: Sequence[_Row]) -> None:
    unlabelled = [str(row.line) for row in rows if not row.labels]
    if unlabelled and not any(len(row.labels) > 1 for row in rows):
        raise DataError(
            f"{path} has images without a label: lines {_named(unlabelled)}. Expected one each: only where other "
            "images have several, one may have none."
        )
    names = _labels_of(rows)
    if len(names) < 2:
        raise DataError(
            f"Only one class in {path}: `{names.pop()}`. Expected at least two labels in the column `label`."
        )


def _labels_of(rows: Iterable[_Row | LabelledFile]) -> set[str]:
    return {label for row in rows for label in row.labels}


def _usable(path: Path, files: Sequence[LabelledFile], warnings: list[str]) -> list[LabelledFile]:
    bad = [labelled.file for labelled in files if labelled.file.problem]
    if bad:
        named = "; ".join(f"{file.path.name} {file.problem}" for file in bad[:20])
        more = f"; and {len(bad) - 20} more" if len(bad) > 20 else ""
        if len(bad) == len(files):
            raise DataError(f"No usable image in {path}: {named}{more}. Name JPEG or PNG images.")
        warnings.append(f"Left out {len(bad)} of {len(files)} images of {path}: {named}{more}")
    return [labelled for labelled in files if not labelled.file.problem]


def _check_training_classes(path: Path, class_names: Sequence[str], rows: Sequence[LabelledFile]) -> None:
    if not rows:
        raise DataError(f"{path} has no usable training image. Expected rows with `train` in the column for the side.")
    if missing := set(class_names) - _labels_of(rows):
        raise DataError(f"{path} has no usable training image of {_named(sorted(missing))}. Add some.")


def _split(
    path: Path, class_names: Sequence[str], files: Sequence[LabelledFile], shares: Mapping[str, float]
) -> tuple[dict[str, list[LabelledFile]], dict[str, str]]:
    """Split images by their content; the pins of small classes lie in the folder of the table."""
    pins = read_pins(path.parent)
    contents = {name: [one.file.sha256 for one in files if name in one.labels] for name in class_names}
    chosen, added = choose_sides(contents, shares, pins)
    side_of = {sha: chosen.get(sha) or natural_side(sha, shares, pins) for sha in {one.file.sha256 for one in files}}
    split = {side: [one for one in files if side_of[one.file.sha256] == side] for side in (*shares, "train")}
    return split, {**pins, **added} if added else {}


def _named(names: Iterable[str]) -> str:
    """Return the first few of many names."""
    found = list(names)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
