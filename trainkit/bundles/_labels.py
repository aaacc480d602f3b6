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
_HOLDERS = ("class_names", "classes", "labels", "names", "class_indices", "id2label", "label2id")
_NUMBERS = (
    *("id", "index", "idx", "number", "no", "nr", "#", "class_id", "class_index", "label_id", "label_index"),
    *("label", "class", "target", "code", "output", "", "unnamed: 0"),  # where they hold numbers
)
_COUNTS = ("count", "counts", "images", "samples", "total", "frequency", "support", "size", "n", "train", "test")
_IMAGES = (
    *("image", "images", "img", "file", "filename", "file_name", "path", "filepath", "file_path", "image_id"),
    *("image_path", "image_name"),
)
_NUMBER_AFTER_SPACE = re.compile(r"(.*\S)\s+(\d+)")
_RANGE = re.compile(r"\d+\s*(?:-|–|to)\s*\d+")
_KEY_OF_YAML = re.compile(rf"(?:{'|'.join(_HOLDERS)})\s*:\s*(?:[\[{{].*)?|nc\s*:\s*\d+")
# What no name for people is: a value behind a colon, or text in quotes before one.
_STRUCTURE = re.compile(r".*\S\s*[:=]\s*[\d\"'\[{(].*|.*[{}\[\]]|[\"'].*")
_QUOTED_KEY = re.compile(r"([\"']).*\1\s*:.*")
_DELIMITERS = (",", ";", "\t")


def read_labels(path: Path) -> list[str]:
    """Read class names in the order of a model's outputs.

    Raises:
        DataError: the file cannot be read, or does not say one name for each of the numbers from 0.
    """
    text = _check_digits(path, _read_text(path))
    body = re.sub(r"^\w+ *= *(?=[\[({])", "", text.strip())
    if not body:
        raise DataError(f"The labels {path} cannot be read (it is empty). {_FORMS}.")
    if body[0] in "{[(" or re.match(r"(array|dict_keys|list|tuple)\(", body):
        return _from_value(path, _parse(path, body))
    if (made_by := re.match(r"([A-Za-z_][\w.]*)\(\s*[\[{(<]", body)) and body.endswith(")"):
        raise DataError(
            f"{path} is what Python prints for {made_by[1]}(...), which is not read. Write the class names as JSON, in "
            'the order of the outputs, ["cats", "dogs"], or with their numbers, {"cats": 0, "dogs": 1}.'
        )
    lines = text.rstrip().splitlines()
    if path.suffix.lower() == ".pbtxt" or re.match(r"item\s*\{", body):
        raise DataError(
            f"{path} is a label map of object detection (`item {{ id: 1 ... }}`), which counts from 1. {_FORMS}."
        )
    if path.suffix.lower() in (".yaml", ".yml") or any(_KEY_OF_YAML.fullmatch(line.strip()) for line in lines):
        return _from_yaml(path, [re.sub(r"(^|\s+)#.*", "", line).rstrip() for line in lines])
    if path.suffix.lower() in (".csv", ".tsv"):
        return _from_csv(path, lines)
    return _from_lines(path, [line.strip() for line in lines])


def _from_yaml(path: Path, lines: list[str]) -> list[str]:
    """Return the names of a YAML file that is nothing but a list, or has one behind a key such as `names`."""
    lines = [line for line in lines if line.strip() and line != "---"]
    keys = [(place, re.match(r"([A-Za-z_]\w*)\s*:\s*(.*)", line)) for place, line in enumerate(lines)]
    keys = [(place, key) for place, key in keys if key]
    held = [(place, key[2]) for place, key in keys if key and key[1] in _HOLDERS]
    if not keys:
        return _from_lines(path, [line.strip() for line in lines])
    if len(held) != 1:
        raise DataError(
            f"{path} is read as YAML, and has {len(held)} keys such as `names` with the class names. Expected one: "
            f"`names: [cats, dogs]`. Otherwise: {_FORMS[0].lower()}{_FORMS[1:]}."
        )
    (start, first), ends = held[0], [place for place, _ in keys if place > held[0][0]]
    rest = [line.strip() for line in lines[start + 1 : ends[0] if ends else len(lines)]]
    if not first:
        if not rest:
            raise DataError(f"{path} has no class names behind its key. Expected `names: [cats, dogs]`.")
        return _from_lines(path, rest)
    flow = " ".join([first, *rest])
    if not re.fullmatch(r"\[.*\]|\{.*\}", flow):
        raise DataError(f"{path} has {flow!r:.80} for the class names. Expected `names: [cats, dogs]`.")
    if bare := re.fullmatch(r"[\[{]([^\[\]{}\"']+)[\]}]", flow):  # YAML needs no quotes
        return _from_lines(path, [name.strip() for name in bare[1].rstrip(", ").split(",")])
    return _from_value(path, _parse(path, flow))


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


def _check_digits(path: Path, text: str) -> str:
    """Raise where a number has more digits than Python takes for one, and no class has such a number."""
    if re.search(r"\d{1000}", text):
        raise DataError(f"{path} has a number of more than a thousand digits, which no class has. {_FORMS}.")
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
    if len(lines) > 1 and all(line.endswith(",") for line in lines[:-1]):  # the inside of a list, or of a dictionary
        lines = [re.sub(r"^([\"'])(\d+)\1\s*:", r"\2:", line.removesuffix(",").rstrip()) for line in lines]
    if (delimiter := _delimiter_of_headings(lines)) is not None:
        return _from_table(path, lines, delimiter)
    for delimiter in _DELIMITERS:
        if (table := _numbered_table(lines, delimiter)) is not None:
            return _in_order(path, table)
    if all(_RANGE.fullmatch(line) for line in lines) and _numbered_lines(lines) is not None:
        raise DataError(
            f"The lines of {path} read as ranges, such as {lines[0]!r}, and not as numbered class names. If that is "
            'what the classes are called, write them as JSON: ["0 to 2", "3 to 9"].'
        )
    if (numbered := _numbered_lines(lines)) is not None:
        return _in_order(path, [(number, name) for (number, _), name in zip(numbered, _bare(numbered), strict=True)])
    if all(re.match(r"-\s+\S", line) for line in lines):  # a list in YAML
        lines = [line[1:].strip() for line in lines]
    names = _bare([(0, line) for line in lines])
    if all(_STRUCTURE.fullmatch(name) for name in names) or any(_QUOTED_KEY.fullmatch(name) for name in names):
        raise DataError(
            f"The lines of {path}, such as {lines[0]!r:.80}, hold more than a class name, in a form that is not read. "
            f"{_FORMS}."
        )
    return names


def _numbered_lines(lines: list[str]) -> list[tuple[int, str]] | None:
    """Return number and name of each line, none where they are not all numbered."""
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if all(numbered) and not _are_part_of_names(lines):
        return [(int(match[1]), match[2]) for match in numbered if match]
    joined = [re.fullmatch(r"(\d+)[._-](\S.*)", line) for line in lines]
    if sorted(int(match[1]) for match in joined if match) == list(range(len(lines))):
        return [(int(match[1]), match[2]) for match in joined if match]
    behind = [_NUMBER_BEHIND.fullmatch(line) for line in lines]
    if all(behind):
        return [(int(match[2]), match[1]) for match in behind if match]
    spaced = [(int(match[2]), match[1]) for match in map(_NUMBER_AFTER_SPACE.fullmatch, lines) if match]
    # `type 0` and `type 1` are names, and so are `Boeing 737` and `Airbus 320`.
    complete = sorted(number for number, _ in spaced) == list(range(len(lines)))
    return spaced if complete and 1 < len({name for _, name in spaced}) == len(lines) else None


def _bare(numbered: list[tuple[int, str]]) -> list[str]:
    """Return the names, without quotes where all have them."""
    quoted = [re.fullmatch(r"([\"'])((?:(?!\1).)+)\1", name) for _, name in numbered]
    return [match[2].strip() for match in quoted if match] if all(quoted) else [name for _, name in numbered]


def _delimiter_of_headings(lines: list[str]) -> str | None:
    """Return what parts the columns of a table, where its first line says what is in them."""
    for delimiter in _DELIMITERS:
        heading = [cell.strip().lower() for cell in lines[0].split(delimiter)]
        known = {*_HEADINGS, *_NUMBERS, *_COUNTS, *_IMAGES} - {""}
        if len(heading) > 1 and len(lines) > 1 and known.issuperset(heading) and {*_HEADINGS} & {*heading}:
            return delimiter
    return None


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
    called = [place for place in numbers if heading and heading[place] in _NUMBERS]
    # There may be a count of images too, beside the class's number or without one.
    numbers = called or [place for place in numbers if not heading or heading[place] not in _COUNTS]
    if len(numbers) > 1 or (heading and not called):
        numbers = [place for place in numbers if sorted(map(int, columns[place])) == list(range(len(rows)))]
    if not rows or len(numbers) != 1 or not names:
        return None
    return [(int(row[numbers[0]]), row[names[-1]]) for row in rows]


def _from_csv(path: Path, lines: list[str]) -> list[str]:
    """Return the names of a CSV file: by its column of numbers, or else by the column that is called so."""
    counts = {delimiter: lines[0].count(delimiter) for delimiter in _DELIMITERS}
    delimiter = max(counts, key=lambda key: counts[key])
    return _from_table(path, [line for line in lines if line.strip()], delimiter)


def _from_table(path: Path, filled: list[str], delimiter: str) -> list[str]:
    if (table := _numbered_table(filled, delimiter)) is not None:
        return _in_order(path, table)
    rows = [[cell.strip() for cell in row] for row in csv.reader(filled, delimiter=delimiter)]
    heading = [cell.lower() for cell in rows[0]]
    if images := [cell for cell in heading if cell in _IMAGES and cell not in _COUNTS]:
        raise DataError(
            f"{path} has a column `{images[0]}`: it is a table of images, and says nothing of the order of a model's "
            f"outputs. {_FORMS}."
        )
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
    names = [row[place] for row in rows]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{path} has the class {twice[0]!r} more than once. Expected one row for each class.")
    return names
