"""The group of each row of a table: a column says it, or the name of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainkit.data._groups import groups_in_names
from trainkit.data._reading import Reading, has_regex_group
from trainkit.data._tables._sheets import Sheet, naming, received
from trainkit.errors import DataError


def group_column(sheet: Sheet, reading: Reading) -> int | None:
    """Return the column that `--group-by` names, `None` where it names none of the table's.

    Raises:
        DataError: several are called so, or none is, and it is no regular expression with a group either.
    """
    if reading.group_by is None:
        return None
    wanted = reading.group_by.strip().lower()
    found = [index for index, name in enumerate(sheet.header) if name.lower() == wanted]
    if len(found) > 1:
        raise DataError(f"{sheet.path} has the column `{reading.group_by}` {len(found)} times. Expected it once.")
    if not found and not has_regex_group(reading.group_by):
        raise DataError(
            f"{sheet.path} has no column `{reading.group_by}`, which --group-by names, and it is no regular expression "
            f"with a group. Received: {received(sheet)}"
        )
    return found[0] if found else None


def read_groups(sheet: Sheet, reading: Reading, paths: Sequence[Path]) -> Sequence[str | None]:
    """Return the group of each row, `None` where nobody asked for groups.

    Raises:
        DataError: a row has none.
    """
    if reading.group_by is None:
        return [None] * len(paths)
    column = group_column(sheet, reading)
    if column is None:
        return groups_in_names(paths, reading.group_by, folder=sheet.path.parent)
    cells = sheet.column(column)
    if empty := [str(line) for cell, line in zip(cells, sheet.lines, strict=True) if not cell]:
        raise DataError(
            f"{sheet.path}: the column `{sheet.header[column]}`, which --group-by names, is empty in lines "
            f"{naming(empty)}. Expected a group in each: where it is not known, a name that no other row has."
        )
    return cells
