"""The column of a table that says which image is for training, for validation and for testing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainkit.data._reading import Reading
from trainkit.data._sides import side_of
from trainkit.data._tables._sheets import Sheet, find_column, naming, option, plain
from trainkit.data._tables._words_of_sides import are_sides, side_of_word, sides_in_paths
from trainkit.errors import DataError

_OURS = ("split", "side")  # always about sides: what else is in them is an error
_USUAL_NAMES = "set sets subset subsets dataset datasplit splits splitname partition phase usage traintest trainvaltest"
_USUAL = frozenset(_USUAL_NAMES.split())
_FOLDS = frozenset(["fold", "folds", "kfold", "cvfold", "foldid"])
_ANSWERS = {  # columns of yes and no: the side of each
    "isvalid": ("val", "train"),
    "isval": ("val", "train"),
    "isvalidation": ("val", "train"),
    "istest": ("test", "train"),
    "istrain": ("train", "test"),
    "istraining": ("train", "test"),
}
_YES, _NO = ("1", "1.0", "true", "yes", "t"), ("0", "0.0", "false", "no", "f")


@dataclass(frozen=True, slots=True)
class Sides:
    """The side of each row, `None` where the table says nothing of it."""

    of_rows: Sequence[str | None]
    warnings: list[str]


def is_side_column(plain_name: str) -> bool:
    """Tell whether columns of this name, without spaces and underscores, are usually about sides."""
    return plain_name in _OURS or plain_name in _USUAL or plain_name in _FOLDS or plain_name in _ANSWERS


def read_sides(sheet: Sheet, reading: Reading, *, taken: Sequence[int]) -> Sides:
    """Find the column of sides and obey it where its values say what they are.

    Args:
        sheet: the table.
        reading: names the column, or the fold that is for validation.
        taken: columns that are the images' or the labels'.

    Raises:
        DataError: a value says no side where others do, two columns contradict, or there is no such fold.
    """
    warnings: list[str] = []
    free = [index for index in range(len(sheet.header)) if index not in taken]
    folds = [index for index in free if plain(sheet.header[index]) in _FOLDS]
    columns = [index for index in free if is_side_column(plain(sheet.header[index]))]
    if name := reading.column_names.get("split"):
        columns = [find_column(sheet, "split", name)]
        folds = folds or (columns if reading.fold is not None else [])
    _check_ours(sheet, columns)
    found: dict[int, list[str]] = {}
    for index in columns:
        if reading.fold is not None and index in folds:
            continue
        sides = _sides_in(sheet, index, strict=bool(name) or plain(sheet.header[index]) in _OURS)
        if sides is None:
            warnings.append(_passed_over(sheet, index, is_fold=index in folds))
        else:
            found[index] = sides
    if not found:
        warnings += _warn_of_like_sides(sheet, [index for index in free if index not in columns])
    of_rows = _choose(sheet, found, warnings)
    if not found and reading.fold is None:
        of_rows = sides_in_paths(sheet, taken[0], warnings) or of_rows
    if reading.fold is not None:
        of_rows = _with_fold(sheet, folds, reading.fold, of_rows)
    return Sides(of_rows, warnings)


def _check_ours(sheet: Sheet, columns: Sequence[int]) -> None:
    names = [sheet.header[index].lower() for index in columns]
    for name in _OURS:
        if names.count(name) > 1:
            raise DataError(f"{sheet.path} has the column `{name}` {names.count(name)} times. Expected it once.")
    if all(name in names for name in _OURS):
        raise DataError(f"{sheet.path} has a column `split` and a column `side`. Expected one of them.")


def _sides_in(sheet: Sheet, index: int, *, strict: bool) -> list[str] | None:
    """Return the side of each row; `None` where no value is one, unless the column is surely about sides."""
    cells = sheet.column(index)
    of_cell = _side_of_answer if plain(sheet.header[index]) in _ANSWERS else _side_of_cell
    sides = {cell: of_cell(cell, plain(sheet.header[index])) for cell in set(cells)}
    if not any(sides.values()) and not strict:
        return None
    found = []
    for cell, line in zip(cells, sheet.lines, strict=True):
        if (side := sides[cell]) is None:
            raise DataError(
                f"{sheet.path}, line {line}: the column `{sheet.header[index]}` is about sides: expected train, val or "
                f"test. Received: {cell or 'nothing'}. Take such rows out, or rename the column where it is about "
                "something else."
            )
        found.append(side)
    return found


def _side_of_cell(cell: str, _: str) -> str | None:
    return side_of_word(cell)


def _side_of_answer(cell: str, column: str) -> str | None:
    yes, no = _ANSWERS[column]
    return yes if cell.lower() in _YES else no if cell.lower() in _NO else None


def _passed_over(sheet: Sheet, index: int, *, is_fold: bool) -> str:
    name, values = sheet.header[index], sorted(set(sheet.column(index)))
    if is_fold:
        numbers = [one for value in values if (one := _fold_of(value)) is not None]
        how = (
            f"--fold {numbers[0]} takes its rows with {numbers[0]} for validation."
            if numbers
            else f"its values are no numbers, but {naming(value or 'nothing' for value in values)}. Write 0, 1, 2 for "
            "them, and --fold 0 takes the rows with 0 for validation."
        )
        return f"{sheet.path}: the column `{name}` is passed over: {how}"
    return (
        f"{sheet.path}: the column `{name}` is passed over: its values are not train, val or test, but "
        f"{naming(value or 'nothing' for value in values)}."
    )


def _warn_of_like_sides(sheet: Sheet, free: Sequence[int]) -> list[str]:
    """Say which columns of other names look like sides, by their values, or by their names where they say yes or no."""
    flags = [(index, side) for index in free if (side := _side_of_flag(sheet, index))]
    warnings = [said for index in free if (said := _like_sides(sheet, index))]
    if len(flags) > 1:
        names = naming(f"`{sheet.header[index]}`" for index, _ in flags)
        warnings.append(
            f"{sheet.path}: the columns {names} look like sides, and are passed over. Put them into one column `split` "
            "of train, val and test to have them obeyed."
        )
    elif flags:
        ((index, side),) = flags
        warnings.append(
            f"{sheet.path}: the column `{sheet.header[index]}` looks like sides, and is passed over. Call it "
            f"`is_{'valid' if side == 'val' else side}` to have it obeyed."
        )
    return warnings


def _side_of_flag(sheet: Sheet, index: int) -> str | None:
    """Return the side that the name of a column of yes and no speaks of: `train`, `in_train`, `is_training_img`."""
    name = sheet.header[index]
    side = side_of_word(name) or side_of(name)
    return side if side and all(cell.lower() in (*_YES, *_NO) for cell in sheet.column(index)) else None


def _like_sides(sheet: Sheet, index: int) -> str | None:
    """Say that most values of a column are words of sides; `None` where they are not."""
    cells, name = sheet.column(index), sheet.header[index]
    if not are_sides(cells):
        return None
    foreign = sorted({cell for cell in cells if side_of_word(cell) is None})
    begin = f"{sheet.path}: the column `{name}` looks like sides, and is passed over"
    if not foreign:
        return f"{begin}: {option('split', name)} obeys it."
    return (
        f"{begin}: {naming(cell or 'nothing' for cell in foreign)} is no side. Take these rows out, or write train, "
        f"val or test in them: {option('split', name)} obeys it then."
    )


def _choose(sheet: Sheet, found: dict[int, list[str]], warnings: list[str]) -> Sequence[str | None]:
    if not found:
        return [None] * len(sheet.rows)
    chosen = next((index for index in found if plain(sheet.header[index]) in _OURS), next(iter(found)))
    differing = [sheet.header[index] for index, sides in found.items() if sides != found[chosen]]
    name = sheet.header[chosen]
    if differing and plain(name) not in _OURS:
        raise DataError(
            f"{sheet.path}: the columns `{name}` and `{differing[0]}` put images on different sides. Say which is "
            f"meant: {option('split', name)} or {option('split', differing[0])}"
        )
    if differing:
        warnings.append(
            f"{sheet.path}: the sides are taken from `{name}`, not from `{differing[0]}`: "
            f"{option('split', differing[0])} takes these."
        )
    if plain(name) in ("istrain", "istraining"):
        warnings.append(f"{sheet.path}: images whose `{name}` is not true are taken for testing.")
    return found[chosen]


def _with_fold(sheet: Sheet, folds: Sequence[int], fold: int, of_rows: Sequence[str | None]) -> list[str | None]:
    """Put the rows of a fold into validation, and the others into training, but for those that are for testing."""
    if not folds:
        raise DataError(
            f"{sheet.path} has no column `fold`, for which --fold {fold} is. Name the column that has the folds: "
            "--columns split=NAME"
        )
    if "val" in of_rows:
        raise DataError(f"{sheet.path} has images for validation already. Leave out --fold {fold}.")
    cells = sheet.column(folds[0])
    chosen = [_fold_of(cell) == fold for cell in cells]
    if not any(chosen):
        hint = "" if any(_fold_of(cell) is not None for cell in cells) else ". Write 0, 1, 2 for them"
        raise DataError(
            f"{sheet.path}: no row of the column `{sheet.header[folds[0]]}` has {fold}. Expected one of "
            f"{naming(sorted(set(cells)), most=12)}{hint}"
        )
    return [
        "test" if side == "test" else "val" if is_val else "train" for side, is_val in zip(of_rows, chosen, strict=True)
    ]


def _fold_of(cell: str) -> int | None:
    """Return the number of a fold: `3`, `3.0`, `fold_3`."""
    match = re.fullmatch(r"(?:fold)?[\s_-]*(\d{1,18})(?:\.0)?", cell, re.IGNORECASE)
    return int(match[1]) if match else None
