"""What the documents of a run may hold: a stranger's are believed in nothing that was not looked at."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from typing import Any

from trainkit.deploy.python._showing import harmless

MAX_BYTES = 2**26  # of a document; a million epochs have as many
_MAX_WHOLE = 2**53  # up to which a number is the same in every language
_EXPECTED = {
    "text": "a text",
    "count": "a whole number from 0",
    "number": "a finite number",
    "object": "an object",
    "list": "a list",
    "flag": "true or false",
    "classes": "a list of classes, each with `label` and numbers",
    "matrix": "rows of whole numbers from 0, as many as columns",
    "value": "a text, a number, true or false",
}
_RESULT = {
    "status": "text",
    "message": "text?",
    "epochs": "count?",
    "best_epoch": "count?",
    "monitor": "text?",
    "seconds": "number?",
    "test_split": "text?",
    "test_accuracy": "number?",
    "test_loss": "number?",
    "mean_average_precision": "number?",
    "subset_accuracy": "number?",
    "macro_f1": "number?",
    "micro_f1": "number?",
    "images": "count?",
    "classes": "classes",
    "confusion_matrix": "matrix",
    "test_images": "text?",
    "keras_sha256": "text?",
}
_ENVIRONMENT = {
    "started": "text?",
    "seed": "count?",
    "data": "text?",
    "commit": "text?",
    "versions": "object",
    "machine": "object",
}
_TEXT_COLUMNS = ("phase",)


def parse_json_object(text: str, *, constants: bool = False) -> dict[str, Any]:
    """Return the object of a JSON document.

    Args:
        text: of the document.
        constants: whether it may have NaN and Infinity, which JSON has not.

    Raises:
        ValueError: it is none, or is nested too deep.
    """
    try:
        found = json.loads(text, parse_constant=None if constants else _no_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError(f"it must be an object. Received: {_shown(found)}")
    return found


def parse_result(text: str) -> dict[str, Any]:
    """Return what `result.json` holds; keys may be missing, as in a run that was made by an earlier version.

    Raises:
        ValueError: names the key.
    """
    return _checked(parse_json_object(text), _RESULT)


def parse_environment(text: str) -> dict[str, Any]:
    """Return what `environment.json` holds.

    Raises:
        ValueError: names the key.
    """
    found = _checked(parse_json_object(text), _ENVIRONMENT)
    for section in ("versions", "machine"):
        for key, value in found.get(section, {}).items():
            if value is not None and not _is_value(value):
                raise _wrong(f"{section}.{key}", "value", value)
    return found


def parse_metrics(text: str) -> list[dict[str, Any]]:
    """Return the rows of `metrics.csv`, numbers as such; one that was not written to its end is left out.

    Raises:
        ValueError: names the row and the column.
    """
    try:
        rows = list(csv.DictReader(text.splitlines()))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    read = [_numbers(number, row) for number, row in enumerate(rows, 1)]
    return [row for row in read if "epoch" in row]


def _numbers(number: int, row: dict[str | Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column, text in row.items():
        if not column or not text:  # a row of another length than its head, or an empty field
            continue
        found[column] = text if column in _TEXT_COLUMNS else _number(number, column, text)
    epoch = found.get("epoch", 1.0)
    if not (0 < epoch < _MAX_WHOLE and epoch == int(epoch)):
        raise ValueError(f"row {number}: `epoch` must be a whole number from 1. Received: {_shown(row['epoch'])}")
    return found


def _number(number: int, column: str, text: str) -> float:
    """Return a cell as a number; a loss may be none any more, nothing else."""
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not math.isfinite(value) and not ("loss" in column and text.lower() in ("nan", "inf", "-inf")):
        where = f"row {number}: `{harmless(column):.40}`"
        raise ValueError(f"{where} must be a finite number. Received: {_shown(text)}")
    return value


def check_keys(found: dict[str, Any], kinds: dict[str, str]) -> None:
    """Raise unless each key that is there is of its kind: `text`, `count`, `number` ..., with `?` where it may be null.

    Raises:
        ValueError: names the key.
    """
    for key, kind in kinds.items():
        if key in found and not (kind.endswith("?") and found[key] is None) and not _IS[kind.rstrip("?")](found[key]):
            raise _wrong(key, kind, found[key])


def _checked(found: dict[str, Any], kinds: dict[str, str]) -> dict[str, Any]:
    check_keys(found, kinds)
    return found


def _wrong(key: str, kind: str, value: Any) -> ValueError:
    expected = _EXPECTED[kind.rstrip("?")] + (" or null" if kind.endswith("?") else "")
    return ValueError(f"`{harmless(key):.40}` must be {expected}. Received: {_shown(value)}")


def _shown(value: Any) -> str:
    try:
        return harmless(repr(value))[:80]
    except (RecursionError, ValueError):  # a whole number of thousands of digits
        return "what cannot be written out"


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_WHOLE


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= _MAX_WHOLE if isinstance(value, int) else math.isfinite(value)


def _is_value(value: Any) -> bool:
    return isinstance(value, (str, bool)) or _is_number(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_classes(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_class, value))


def _is_class(value: Any) -> bool:
    if not isinstance(value, dict) or not _is_text(value.get("label")):
        return False
    return all(figure is None or _is_number(figure) for key, figure in value.items() if key != "label")


def _is_matrix(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, list) and len(row) == len(value) and all(map(_is_count, row)) for row in value
    )


_IS: dict[str, Callable[[Any], bool]] = {
    "text": _is_text,
    "count": _is_count,
    "number": _is_number,
    "object": _is_object,
    "list": _is_list,
    "flag": _is_flag,
    "classes": _is_classes,
    "matrix": _is_matrix,
}
