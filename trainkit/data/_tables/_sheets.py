"""The text of a table: a header and rows of cells, as spreadsheets, pandas and people write them."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainkit.data._reading import write_pair
from trainkit.errors import DataError

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_NAMED = 5  # of many, in a sentence
_LINES_TRIED = 20  # that tell what parts the columns


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table as text; what is in its columns is not known yet."""

    path: Path
    header: list[str]  # stripped; a column without a name has an empty one
    rows: list[list[str]]  # stripped, each as long as the header
    lines: list[int]  # of the file, from 1: where each row ends

    def column(self, index: int) -> list[str]:
        """Return the cells of a column, below its header."""
        return [row[index] for row in self.rows]


def read_sheet(path: Path) -> Sheet:
    """Read a table.

    Raises:
        DataError: it is no text, is not written as CSV, has no rows, or a row has other cells than the header.
    """
    text = _decode(path)
    before, text, named = _skip_preamble(text)
    delimiter = named or _delimiter(text, path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    sheet = Sheet(path, [], [], [])
    try:
        sheet.header.extend(map(str.strip, next(reader, [])))
        for cells in reader:
            row, line = list(map(str.strip, cells)), reader.line_num + before
            if any(row):
                _check_count(sheet, row, line, _DELIMITERS[delimiter])
                sheet.rows.append(row)
                sheet.lines.append(line)
    except csv.Error as error:
        line = reader.line_num + before
        raise DataError(f"{path}, line {line}: {error}. Expected CSV, a quote in quotes doubled.") from error
    return sheet


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


def _skip_preamble(text: str) -> tuple[int, str, str | None]:
    """Leave out what stands above the header: empty lines, comments, and Excel's `sep=;`.

    Returns:
        How many lines that were, the text below them, and what parts the columns where it is said.
    """
    before, delimiter = 0, None
    while first := io.StringIO(text, newline="").readline():
        if match := re.fullmatch(r'"?sep=([,;\t])"?', first.strip("\r\n"), re.IGNORECASE):
            delimiter = match[1]
        elif first.strip("\r\n") and not _is_comment(first, text[len(first) :]):
            break
        before, text = before + 1, text[len(first) :]
    return before, text, delimiter


def _is_comment(first: str, below: str) -> bool:
    """Tell a comment from a header whose first name begins with the same sign: it has other cells than the lines below.

    A header that was written as a comment, `# image,label`, is none.
    """
    if not first.startswith("#"):
        return False
    second = io.StringIO(below, newline="").readline()
    return not any(first.count(sign) and first.count(sign) == second.count(sign) for sign in _DELIMITERS)


def _delimiter(text: str, path: Path) -> str:
    """Return what parts the columns: in some countries spreadsheets write a semicolon."""
    lines = list(itertools.islice(io.StringIO(text, newline=""), _LINES_TRIED))
    header = lines[0] if lines else ""
    if path.suffix.lower() == ".tsv" and "\t" in header:
        return "\t"
    return max(_DELIMITERS, key=lambda sign: (_parts_alike(lines, sign), header.count(sign)))


def _parts_alike(lines: Sequence[str], delimiter: str) -> bool:
    """Tell whether the lines have as many cells as the header, and more than one."""
    try:
        counts = {len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if any(row)}
    except csv.Error:
        return False
    return len(counts) == 1 and counts != {1}


def _check_count(sheet: Sheet, row: list[str], line: int, delimiter: str) -> None:
    """Raise where a row has other cells than the header: nobody can say which of them is the label then."""
    count, expected = len(row), len(sheet.header)
    if count == expected:
        return
    cells = "1 cell" if count == 1 else f"{count} cells"
    surplus = len(row) - max(index + 1 for index, cell in enumerate(row) if cell)
    if count - surplus <= expected < count:
        hint = f"The last {count - expected} are empty: take the {delimiter}s at the end of the line away."
    else:
        hint = f"Put a cell that holds a {delimiter} in quotes." if count > expected else "Leave none out."
    raise DataError(f"{sheet.path}, line {line}: {cells}. Expected {expected}, as in the first line. {hint}")


def naming(names: Iterable[str], *, most: int = _NAMED) -> str:
    """Return the first few of many names."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def find_column(sheet: Sheet, role: str, name: str) -> int:
    """Return the column that somebody names.

    Raises:
        DataError: there is none, or several.
    """
    wanted = name.strip().lower()
    found = [index for index, one in enumerate(sheet.header) if one.lower() == wanted]
    if len(found) > 1:
        raise DataError(f"{sheet.path} has the column `{name}` {len(found)} times. Expected it once.")
    if not found:
        raise DataError(
            f"{sheet.path} has no column `{name}`, which {option(role, name)} names. Received: {received(sheet)}"
        )
    return found[0]


def plain(name: str) -> str:
    """Return a column's name without what people write in many ways."""
    return re.sub(r"[\s_.-]+", "", name).lower()


def option(role: str, name: str) -> str:
    """Return the option that names a column, ready to copy."""
    return f"--columns {shlex.quote(write_pair(role, name))}"


def received(sheet: Sheet) -> str:
    """Return the names of a table's columns, for a message."""
    return naming((f"`{name}`" if "," in name else name for name in sheet.header if name), most=12) or "an empty line"
