"""Numbered folders: pieces of one set of pictures, whose labels stand elsewhere, or classes."""

from __future__ import annotations

from pathlib import Path

from trainkit.data._folders._labels import in_words, suggest_names
from trainkit.data._folders._search import Search, is_aside, shown
from trainkit.data._folders._unclear import UnclearError, likely_table, side_option
from trainkit.data._sides import is_fold, is_piece, stem_of_pieces


def judge_numbered(search: Search, classes: list[Path]) -> None:
    """Judge class folders that only a number tells apart.

    Raises:
        UnclearError: they look like pieces of one set of pictures, and there is a table that may have the labels.
    """
    classes = [path for path in classes if not is_aside(path)]
    names = [path.name for path in classes]
    if len(classes) < 2:
        return
    stem, table = stem_of_pieces(names), _table_beside(search, classes[0].parent)
    if stem and table and is_piece(stem) and not search.reading.sides:
        sides = search.side_folders
        option = side_option(sides, search.base) if sides else "--no-sides"
        raise UnclearError(
            f"{classes[0].parent} can be read in two ways: {in_words(names)} look like pieces of one set of pictures, "
            f"whose labels are in {table.name}. With all images moved into one folder, train on {table} --images "
            f"FOLDER; {option} takes these folders for classes. Say which."
        )
    hint = suggest_names([classes[0]]) and suggest_names(classes)
    if hint and all(is_fold(name) or name.isdecimal() for name in names):
        search.warnings.append(f"{search.base}: the classes are {shown(classes)}.{hint}")
    elif stem and (is_piece(stem) or (table and not search.side_folders)):
        labels = f" The labels may be in {table.name}: name that as DATA instead." if table else ""
        search.warnings.append(
            f"{search.base}: the classes are {shown(classes)}, which only a number or letter tells apart.{labels}"
        )


def _table_beside(search: Search, folder: Path) -> Path | None:
    """Return the table that lies beside folders, or beside those around them."""
    tables = (likely_table(path) for path in (folder, *folder.parents) if path.is_relative_to(search.folder))
    return next((table for table in tables if table), None)
