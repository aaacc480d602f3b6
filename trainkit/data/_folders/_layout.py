"""Which folders are sides and which are classes, as their names and what is in them tell; refused where they do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from trainkit.data._folders._below import judge_below
from trainkit.data._folders._class_folders import find_classes, find_inside
from trainkit.data._folders._search import Roots, Search, is_aside, leave_out, listed, roots_of
from trainkit.data._folders._side_folders import (
    check_flat,
    deep_sides,
    explain_twice,
    find_said,
    find_sides,
    take_sides,
    tell_sides,
)
from trainkit.data._folders._tree import class_folders, pictures_in, subfolders
from trainkit.data._folders._unclear import UnclearError, explain_two_ways
from trainkit.data._folders._wrappers import enter_wrappers
from trainkit.data._reading import NO_SIDES, SIDES, Reading
from trainkit.data._sides import is_marks, says_side_only, side_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the images of each side and class are."""

    folder: Path
    base: Path  # the folder itself, or the one in it that has all
    sides: dict[str, Roots]  # only `train` where nobody has chosen sides; none where there is a refusal
    side_folders: dict[str, Path] = field(default_factory=dict)  # none where the sides are inside the classes
    tops: list[Path] = field(default_factory=list)  # folders whose own files belong to no class
    left_out: list[Path] = field(default_factory=list)  # folders
    warnings: list[str] = field(default_factory=list)
    refusal: str | None = None

    @property
    def has_sides(self) -> bool:
        """Whether somebody has chosen sides: there are folders for them."""
        return bool(self.side_folders) or len(self.sides) > 1

    def folder_of(self, side: str, name: str) -> Path:
        """Return where the images of a class are expected."""
        roots = [path for path, label in self.sides[side] if label in (name, None)]
        return roots[0] if roots else self.side_folders.get(side, self.base) / name


def recognize(folder: Path, reading: Reading) -> Layout:
    """Find the sides and classes of a folder.

    Raises:
        DataError: it cannot be read.
    """
    search = Search(folder, reading, folder, tops=[folder])
    try:
        sides = _find(search)
        if not reading.by_name:
            judge_below(search, sides)
    except UnclearError as refusal:
        return Layout(folder=folder, base=folder, sides={}, refusal=str(refusal))
    return Layout(
        folder=folder,
        base=search.base,
        sides={side: sides[side] for side in SIDES if side in sides},
        side_folders=search.side_folders,
        tops=list(dict.fromkeys(search.tops)),
        left_out=sorted(set(search.left_out)),
        warnings=search.warnings,
    )


def _find(search: Search) -> dict[str, Roots]:
    if search.reading.side_folders:
        return find_said(search, search.reading.side_folders)
    enter_wrappers(search)
    if search.reading.sides == NO_SIDES:
        return {"train": roots_of(search, search.base)}
    named = {path: side for path in class_folders(search.base) if (side := side_of(path.name))}
    if search.reading.by_name:
        return _find_by_name(search, named)
    if deep := deep_sides(named):
        return find_sides(search, named, deep)
    if named:
        check_flat(search, named)
    return find_inside(search) or find_classes(search)


def _find_by_name(search: Search, named: dict[Path, str]) -> dict[str, Roots]:
    """Find the sides where the class is in the name of the file: folders say nothing of it."""
    base = search.base
    rest = [path for path in class_folders(base) if path not in named and not is_aside(path)]
    if "train" in named.values():
        return _take_named(search, named, rest)
    if named and all(says_side_only(path.name) for path in named):
        sides = {side: path for path, side in named.items()} | ({"train": rest[0]} if rest else {})
        raise UnclearError(explain_two_ways(base, sides, [], rest[1:], by_name=True))
    if inside := find_inside(search):
        return inside
    aside = [path for path in subfolders(base) if is_marks(path.name) and (rest or pictures_in(base))]
    if aside:
        search.left_out += aside
        search.warnings.append(f"{base}: left out, for their names: {listed(aside)}")
    return {"train": roots_of(search, base)}


def _take_named(search: Search, named: dict[Path, str], rest: list[Path]) -> dict[str, Roots]:
    found: dict[str, Path] = {}
    for path, side in named.items():
        if side in found:
            raise UnclearError(explain_twice(search.base, named, list(named), by_name=True))
        found[side] = path
    if len(found) == 1 and rest:
        raise UnclearError(explain_two_ways(search.base, found, [], rest, by_name=True))
    leave_out(search, [path for path in subfolders(search.base) if path not in named])
    sides = take_sides(search, found)
    tell_sides(search)
    return sides
