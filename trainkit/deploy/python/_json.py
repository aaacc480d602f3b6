"""JSON of a stranger: what is not strictly JSON in UTF-8, or is not one thing to every reader, is refused."""

from __future__ import annotations

import json
import math
from typing import Any, Dict, List, Tuple

from trainkit.deploy.python._showing import MAX_SHOWN, harmless
from trainkit.deploy.python._values import MAX_DEPTH

_MAX_EXACT = 2**53  # up to here a double holds every whole number


def parse_json(data: bytes) -> Any:
    """Return the value of JSON (RFC 8259) in UTF-8.

    Numbers are doubles, as every reader has them; whole ones are given as int.

    Raises:
        ValueError: it is no JSON; has a key twice in one object, half a letter, or a number that no double holds; or it
            is nested too deep. The message is without a sentence around it.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_to_object,
            parse_int=_to_whole,
            parse_float=_to_number,
            parse_constant=_no_constant,
        )
    except RecursionError as error:
        raise ValueError(f"nested more than {MAX_DEPTH} deep") from error
    _check_levels(value)
    return value


def _to_object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key `{harmless(key)[:MAX_SHOWN]}` stands twice in one object")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")  # but Python would read it


def _to_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number beyond range")
    return number


def _to_whole(text: str) -> float:
    number = _to_number(text)  # Python's int() takes hours for a million digits, and refuses them since 3.11
    return int(number) if abs(number) <= _MAX_EXACT else number


def _check_levels(value: Any) -> None:
    """Look at all values, one level after the other."""
    level, depth = [value], 0
    while level:
        _check_letters([one for one in level if isinstance(one, str)])
        lists = [one for one in level if isinstance(one, list)]
        objects = [one for one in level if isinstance(one, dict)]
        depth += 1
        if depth > MAX_DEPTH and (lists or objects):
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        for one in objects:
            _check_letters(one)
        level = [inner for one in lists for inner in one]
        level += [inner for one in objects for inner in one.values()]


def _check_letters(texts: Any) -> None:
    try:
        "".join(texts).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("half a letter (a lone surrogate) in a text") from error
