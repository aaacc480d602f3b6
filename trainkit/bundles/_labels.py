"""Class names from a file, as people keep them: a line each, numbered, a table, JSON, a printed list."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainkit.errors import DataError

_MAX_LABEL_BYTES = 2**24
_FORMS = (
    "Expected the class names in the order of the outputs: one a line, or all numbered from 0 (`0: cats`), a CSV file "
    "with a column of numbers, or JSON such as Keras' class_indices"
)
_NUMBERED = re.compile(r"(\d+)(?:\s*[:=\t]\s*|\s*[.)]\s+|\s+-\s+|\s+)(\S.*)")
_NUMBER_BEHIND = re.compile(r"(.*\S)\s*[:=\t]\s*(\d+)")
_HEADINGS = ("class", "class_name", "classname", "classes", "label", "labels", "name", "names", "category", "breed")
_NUMBERS = ("id", "index", "idx", "number", "no", "class_id", "class_index", "label_id")
_HOLDERS = ("class_names", "classes", "labels", "names", "class_indices", "id2label", "label2id")
_DELIMITERS = (",", ";", "\t")


def read_labels(path: Path) -> list[str]:
    """Read class names in the order of a model's outputs.

    Raises:
        DataError: the file cannot be read, or does not say one name for each of the numbers from 0.
    """
    text = _read_text(path)
    body = re.sub(r"^\w+ *= *(?=[\[({])", "", text.strip())
    if not body:
        raise DataError(f"The labels {path} cannot be read (it is empty). {_FORMS}.")
    if body[0] in "{[(" or re.match(r"(array|dict_keys|list|tuple)\(", body):
        return _from_value(path, _parse(path, body))
    lines = text.rstrip().splitlines()
    if path.suffix.lower() in (".csv", ".tsv"):
        return _from_csv(path, lines)
    return _from_lines(path, [line.strip() for line in lines])


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_LABEL_BYTES:
            raise DataError(f"{path} has more than {_MAX_LABEL_BYTES} bytes: no class names.")
        data = path.read_bytes()
        # PowerShell and Excel write UTF-16, which begins with one of two marks.
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The labels {path} cannot be read ({error}). Expected UTF-8, one class name a line."
        ) from error
    if "\0" in text:
        raise DataError(f"{path} is no text. {_FORMS}.")
    return text


def _parse(path: Path, body: str) -> Any:
    """Return what JSON says, or a list or dictionary as Python or numpy prints it."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    inner = re.sub(r"^(?:array|dict_keys|list|tuple)\(\s*(.*?)(?:,\s*dtype=[^()]*)?\)$", r"\1", body, flags=re.DOTALL)
    # numpy prints no commas, and Python would join the texts that stand beside each other into one.
    inner = re.sub(r"""(?<=['"])\s+(?=['"])""", ", ", inner)
    try:
        return ast.literal_eval(inner)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(f"{path} begins as a list or a dictionary and is none. {_FORMS}.") from error


def _from_value(path: Path, value: Any) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [_to_name(path, entry) for entry in value]
    if not isinstance(value, dict):
        raise DataError(f"{path} holds {type(value).__name__}. {_FORMS}.")
    for key in _HOLDERS:
        if isinstance(value.get(key), (dict, list)):
            return _from_value(path, value[key])
    if value and all(_is_number(entry) for entry in value.values()):
        return _in_order(path, [(int(number), _to_name(path, name)) for name, number in value.items()])
    if value and all(_is_number(key) or str(key).isdecimal() for key in value):
        return _in_order(path, [(int(number), _to_name(path, name)) for number, name in value.items()])
    raise DataError(
        f"{path} is a dictionary that does not give a number to each class. Expected such as "
        '{"cats": 0, "dogs": 1}, as Keras\' class_indices, or {"0": "cats", "1": "dogs"}.'
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _to_name(path: Path, value: Any) -> str:
    """Return a name; of a pair such as ImageNet's ["n01440764", "tench"], the word for people."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(entry, str) for entry in value):
        value = value[-1]
    if not isinstance(value, (str, int)) or isinstance(value, bool) or not str(value).strip():
        raise DataError(f"{path} has {value!r:.80} for a class name. Expected a text.")
    return str(value).strip()


def _in_order(path: Path, numbered: Sequence[tuple[int, str]]) -> list[str]:
    """Return the names by their numbers, which must be 0 to one less than there are names."""
    numbers = sorted(number for number, _ in numbered)
    if numbers != list(range(len(numbered))):
        missing = sorted(set(range(len(numbered))) - set(numbers))
        wrong = f"{missing[0]} is missing" if missing else "one is there twice"
        raise DataError(
            f"{path} numbers its {len(numbered)} class names from {numbers[0]} to {numbers[-1]}, and {wrong}. Expected "
            "each number from 0 once, as the model's outputs are counted. If the numbers are part of the names, "
            'write the names as JSON: ["1 euro", "2 euro"].'
        )
    return [name for _, name in sorted(numbered)]


def _from_lines(path: Path, lines: list[str]) -> list[str]:
    if not all(lines):
        raise DataError(f"{path} has an empty line. Expected one class name a line, in the order of the outputs.")
    for delimiter in _DELIMITERS:
        if (table := _numbered_table(lines, delimiter)) is not None:
            return _in_order(path, table)
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if all(numbered) and not _are_part_of_names(lines):
        return _in_order(path, [(int(match[1]), match[2]) for match in numbered if match])
    joined = [re.fullmatch(r"(\d+)[._-](\S.*)", line) for line in lines]
    if sorted(int(match[1]) for match in joined if match) == list(range(len(lines))):
        return _in_order(path, [(int(match[1]), match[2]) for match in joined if match])
    behind = [_NUMBER_BEHIND.fullmatch(line) for line in lines]
    if all(behind):
        return _in_order(path, [(int(match[2]), match[1]) for match in behind if match])
    if all(re.match(r"-\s+\S", line) for line in lines):  # a list in YAML
        return [line[1:].strip() for line in lines]
    return lines


def _are_part_of_names(lines: list[str]) -> bool:
    """Whether numbers stand before a space, in their order, and leave out the 0 from which outputs are counted."""
    spaced = [re.fullmatch(r"(\d+) +\w.*", line) for line in lines]
    numbers = [int(match[1]) for match in spaced if match]
    return len(numbers) == len(lines) and 0 not in numbers and numbers == sorted(set(numbers))


def _numbered_table(lines: list[str], delimiter: str) -> list[tuple[int, str]] | None:
    """Return number and name of each row of a table, none where not every row has one number."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    if len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        return None
    heading = [] if any(cell.isdecimal() for cell in rows[0]) else [cell.lower() for cell in rows[0]]
    rows = rows[1:] if heading else rows
    columns = list(zip(*rows, strict=True))
    numbers = [place for place, column in enumerate(columns) if all(cell.isdecimal() for cell in column)]
    names = [place for place in range(len(columns)) if place not in numbers]
    if len(numbers) > 1 or (heading and not any(heading[place] in _NUMBERS for place in numbers)):
        # There may be a count of images too, beside the class's number or without one.
        numbers = [place for place in numbers if sorted(map(int, columns[place])) == list(range(len(rows)))]
    if not rows or len(numbers) != 1 or not names:
        return None
    return [(int(row[numbers[0]]), row[names[-1]]) for row in rows]


def _from_csv(path: Path, lines: list[str]) -> list[str]:
    """Return the names of a CSV file: by its column of numbers, or else by the column that is called so."""
    counts = {delimiter: lines[0].count(delimiter) for delimiter in _DELIMITERS}
    delimiter = max(counts, key=lambda key: counts[key])
    filled = [line for line in lines if line.strip()]
    if (table := _numbered_table(filled, delimiter)) is not None:
        return _in_order(path, table)
    rows = [[cell.strip() for cell in row] for row in csv.reader(filled, delimiter=delimiter)]
    heading = [cell.lower() for cell in rows[0]]
    named = [place for place, cell in enumerate(heading) if cell in _HEADINGS]
    if len(named) == 1:
        place, rows = named[0], rows[1:]
    elif max(map(len, rows)) == 1:
        place = 0
    else:
        raise DataError(
            f"{path} has no column that says a class's number, and {len(named)} columns with its name. Expected a "
            "first line such as `index,name`."
        )
    uneven = [
        number for number, row in enumerate(rows, 2 if named else 1) if len(row) != len(heading) or not row[place]
    ]
    if uneven:
        raise DataError(f"{path} has no class name in row {uneven[0]}. Expected one in each, as in the first line.")
    return [row[place] for row in rows]
