"""The classes of a table's images: one in a cell, several in a cell, or a column for each class."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainkit.data._reading import Reading
from trainkit.data._tables._columns import Columns, is_number, is_yes
from trainkit.data._tables._sheets import Sheet, naming
from trainkit.errors import DataError

BETWEEN_LABELS = "|"
_SUSPICIOUS = (",", ";", " ", "/", "&", "+")  # that people write between labels
_WORDS_FOR_NOTHING = "nan null #n/a <na> none nil n/a na - -- ? ?? -1 -1.0 unknown unlabeled unlabelled undefined"
_MISSING = frozenset(_WORDS_FOR_NOTHING.split())  # what programs and people write
_SELDOM = 0.05  # a share of the rows: so few that have several labels are perhaps mistakes


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of each row."""

    of_rows: list[tuple[str, ...]]
    several: bool  # whether the table says that an image may have several, or none
    warnings: list[str]


def read_labels(sheet: Sheet, columns: Columns, reading: Reading) -> Labels:
    """Read the classes of each row.

    Raises:
        DataError: a label cannot be printed, or is a list as Python prints it.
    """
    if columns.label is None:
        return _read_columns(sheet, columns.classes)
    cells, warnings = sheet.column(columns.label), list[str]()
    separator = BETWEEN_LABELS if reading.separator is None else reading.separator
    parted = {cell: _part(cell, separator) for cell in set(cells)}
    for cell, line in zip(cells, sheet.lines, strict=True):
        _check_cell(sheet.path, line, cell, parted[cell])
    if reading.separator is None:
        if looks := _looks_parted(parted):
            warnings.append(looks.format(path=sheet.path))
    elif not any(len(labels) > 1 for labels in parted.values()):
        warnings.append(f"{sheet.path}: --separator {_said(separator)} parts no label: each image has one.")
    of_rows = [parted[cell] for cell in cells]
    warnings += _seldom_several(sheet, cells, of_rows, separator)
    return Labels(of_rows, any(len(one) > 1 for one in parted.values()), warnings)


def _seldom_several(
    sheet: Sheet, cells: Sequence[str], of_rows: Sequence[tuple[str, ...]], separator: str
) -> list[str]:
    """Say that a few rows alone have several labels, which makes every image one that may."""
    several = [index for index, labels in enumerate(of_rows) if len(labels) > 1]
    if not several or (len(several) > 1 and len(several) > _SELDOM * len(of_rows)):
        return []
    lines = naming(str(sheet.lines[index]) for index in several)
    return [
        f"{sheet.path}, line {lines}: `{cells[several[0]]}` means several labels, which only {len(several)} of "
        f"{len(of_rows)} rows have: therefore any image may have several, or none. Where each has one, write it "
        f"without {_said(separator)}."
    ]


def warn_of_names(path: Path, class_names: Iterable[str]) -> list[str]:
    """Say which classes are perhaps one, or none."""
    alike: dict[str, list[str]] = defaultdict(list)
    names = sorted(class_names)
    for name in names:
        alike[_plain(name)].append(name)
    warnings = []
    if groups := [group for group in alike.values() if len(group) > 1]:
        said = naming(" and ".join(f"`{name}`" for name in group) for group in groups)
        warnings.append(f"{path}: {said} are different classes, as they are written. Write one class in one way.")
    if missing := [f"`{name}`" for name in names if name.lower() in _MISSING and not _is_sign(name, names)]:
        warnings.append(
            f"{path}: {naming(missing)} is a class, as it is written. Where it means that there is no label, remove "
            "its rows."
        )
    return warnings


def _is_sign(name: str, names: Sequence[str]) -> bool:
    """Tell whether -1 is the class beside 1, as yes and no are."""
    return is_number(name) and len(names) == 2 and all(map(is_number, names))


def _plain(name: str) -> str:
    """Return what two spellings of one class have in common: case, spaces, and how a number is written."""
    if is_number(name):
        return repr(float(name))
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split())


def _part(cell: str, separator: str) -> tuple[str, ...]:
    parts = cell.split() if separator == "space" else cell.split(separator)
    return tuple(dict.fromkeys(label for part in parts if (label := part.strip())))


def _check_cell(path: Path, line: int, cell: str, labels: Sequence[str]) -> None:
    for label in labels:
        if not label.isprintable():
            raise DataError(f"{path}, line {line}: the label {label!r} cannot be printed. Change it.")
    if len(cell) > 1 and (cell[0] + cell[-1]) in ("[]", "{}", "()"):
        inside = [part.strip(" '\"") for part in cell[1:-1].split(",")]
        raise DataError(
            f"{path}, line {line}: {cell} is a list as Python prints it. Expected labels as "
            f"{BETWEEN_LABELS.join(filter(None, inside)) or 'an empty cell'}"
        )


def _looks_parted(parted: dict[str, tuple[str, ...]]) -> str | None:
    """Say that labels look like several in one cell: their parts come again and again."""
    labels = {label for several in parted.values() for label in several}
    for sign in _SUSPICIOUS:
        parts = {label: _part(label, "space" if sign == " " else sign) for label in labels}
        if not (composite := sorted(label for label in labels if len(parts[label]) > 1)):
            continue
        every = {part for of_label in parts.values() for part in of_label}
        if len(every) < len(labels) or any(labels.issuperset(parts[label]) for label in composite):
            example = next((one for one in composite if labels.issuperset(parts[one])), composite[0])
            return (
                f"{{path}}: `{_braced(example)}` is one class. Where it means {len(parts[example])} labels, say what "
                f"parts them: --separator {_said(sign)}"
            )
    return None


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _said(sign: str) -> str:
    return "space" if sign == " " else sign if sign in ",/+" or sign.isalpha() else f"'{sign}'"


def _read_columns(sheet: Sheet, classes: Sequence[int]) -> Labels:
    """Read a table that has a column of 0 and 1, or of -1 and 1, for each class."""
    of_rows = [tuple(sheet.header[index] for index in classes if is_yes(row[index])) for row in sheet.rows]
    there = {name for labels in of_rows for name in labels}
    names = [sheet.header[index] for index in classes]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{sheet.path} has the column `{twice}` {names.count(twice)} times. Expected it once.")
    several = any(len(labels) != 1 for labels in of_rows)
    how = "an image may have several labels, or none, with one column a class" if several else "one column a class"
    said = f"{sheet.path}: {how}: {naming((name for name in names if name in there), most=12)}."
    if empty := [name for name in names if name not in there]:
        said += f" Without an image, and therefore no class: {naming(empty, most=12)}."
    if any(not row[index] for row in sheet.rows for index in classes):
        said += " An empty cell is a 0."
    return Labels(of_rows, several, [said])
