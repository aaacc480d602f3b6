"""Words of sides in a table: in the cells of a column, or in its paths alone: `train/a.jpg`, `test/b.jpg`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from trainkit.data._sides import SIDE_OF
from trainkit.data._tables._sheets import Sheet, naming, plain


def side_of_word(word: str) -> str | None:
    """Return the side that a cell or folder names; `None` where it names none."""
    return SIDE_OF.get(plain(word).replace("trainval", "train").removesuffix("set"))


def are_sides(cells: Sequence[str]) -> bool:
    """Tell whether most values of a column are words of sides, by their kinds or by the rows."""
    sides = {cell: side_of_word(cell) for cell in cells}
    known = {side for side in sides.values() if side}
    if len(sides) < 2 or not ("train" in known or len(known) > 1):
        return False
    foreign = [cell for cell, side in sides.items() if side is None]
    return 2 * len(foreign) <= len(sides) or 2 * sum(sides[cell] is None for cell in cells) <= len(cells)


def sides_in_paths(sheet: Sheet, image: int, warnings: list[str]) -> Sequence[str | None] | None:
    """Return the side of each row where the first folder that differs is a side for all of them; `None` where not.

    Args:
        sheet: the table.
        image: the column of paths.
        warnings: get a word of what was obeyed or passed over.
    """
    folders = _first_differing([re.split(r"[\\/]+", cell)[:-1] for cell in sheet.column(image)])
    side_of_folder = {folder: side_of_word(folder) for folder in set(folders)}
    known = {side for side in side_of_folder.values() if side}
    if len(known) < 2 or "train" not in known:
        return None
    sides = [side_of_folder[folder] for folder in folders]
    if None not in sides:
        warnings.append(
            f"{sheet.path}: the sides are taken from the folders in its paths: {naming(sorted(side_of_folder))}. A "
            "column `split` says otherwise."
        )
        return sides
    if 2 * sides.count(None) <= len(sides):
        line = sheet.lines[sides.index(None)]
        others = naming(sorted(folder or "no folder" for folder, side in side_of_folder.items() if side is None))
        warnings.append(
            f"{sheet.path}: most of its paths have a folder of a side, but not line {line} ({others}), so that these "
            "folders are passed over. A column `split` of train, val and test says which image is where."
        )
    return None


def _first_differing(paths: Sequence[list[str]]) -> list[str]:
    """Return the folder of each path behind those that all have; empty where a path has no more."""
    alike = (len(set(names)) == 1 for names in zip(*paths, strict=False))
    shared = sum(1 for _ in itertools.takewhile(bool, alike))
    return [path[shared] if len(path) > shared else "" for path in paths]
