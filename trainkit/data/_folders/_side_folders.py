"""Folders that are sides: by their names, where what is in them agrees, or because somebody says so."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from trainkit.data._folders._class_folders import find_classes, roots_inside
from trainkit.data._folders._search import Roots, Search, is_aside, leave_out, listed, roots_of
from trainkit.data._folders._tree import class_folders, has_pictures, subfolders
from trainkit.data._folders._unclear import UnclearError, explain_flat, explain_two_ways, no_classes, suggest
from trainkit.data._folders._wrappers import enter_side, enter_wrappers, images_beside_marks
from trainkit.data._reading import SIDES
from trainkit.data._sides import PLAIN, is_images, is_unlabelled, says_side_only, side_of


def find_said(search: Search, folders: dict[str, str]) -> dict[str, Roots]:
    """Return the sides whose folders somebody has named, in the folder or inside each class.

    Raises:
        UnclearError: there are no such folders.
    """
    if not _all_there(search.base, folders):
        enter_wrappers(search)
    base = search.base
    if _all_there(base, folders):
        _check_apart(base, folders)
        found = {side: base / name for side, name in folders.items()}
        leave_out(search, [path for path in subfolders(base) if not _leads_to(path, found.values())])
        return take_sides(search, found)
    inside = [path for path in class_folders(base) if any((path / name).is_dir() for name in folders.values())]
    if len(inside) > 1 and not search.reading.by_name:
        return roots_inside(search, {path: {s: path / n for s, n in folders.items()} for path in inside})
    missing = [name for name in folders.values() if not (base / name).is_dir()]
    raise UnclearError(
        f"{base} has no folder `{missing[0]}`, which --sides names. It has: {listed(subfolders(base)) or 'none'}"
    )


def _all_there(base: Path, folders: dict[str, str]) -> bool:
    return all((base / name).is_dir() for name in folders.values())


def _check_apart(base: Path, folders: dict[str, str]) -> None:
    real = {side: os.path.realpath(base / name) + os.sep for side, name in folders.items()}
    for side, path in real.items():
        for other, within in real.items():
            if side != other and within.startswith(path):
                raise UnclearError(
                    f"--sides names {folders[side]} for {side} and {folders[other]} for {other}: one is in the other. "
                    "Expected folders that have no image in common."
                )


def _leads_to(path: Path, folders: Iterable[Path]) -> bool:
    return any(path == one or path in one.parents for one in folders)


def find_sides(search: Search, named: dict[Path, str], deep: list[Path]) -> dict[str, Roots]:
    """Judge folders whose names speak of sides, some of which have class folders.

    Raises:
        UnclearError: they could be classes as well, or two are for one side.
    """
    base = search.base
    found: dict[str, Path] = {}
    for path in deep:
        if named[path] in found and "train" in [named[one] for one in deep]:
            raise UnclearError(explain_twice(base, named, deep))
        found.setdefault(named[path], path)
    rest = [path for path in class_folders(base) if path not in named and not is_aside(path)]
    if "train" not in found and rest and not any(says_side_only(path.name) for path in deep):
        return find_classes(search)
    if "train" not in found:
        _check_train(base, named, deep)
    if len(set(named.values())) == 1 and any(_is_like(path, deep[0]) for path in rest):
        raise UnclearError(explain_two_ways(base, found, class_folders(deep[0]), rest))
    flat = [path for path in named if path not in deep]
    for path in flat:
        search.warnings.append(f"{path} has no class folders: its images have no labels, and are left out.")
    search.left_out += flat
    leave_out(search, [path for path in subfolders(base) if path not in named])
    sides = take_sides(search, found)
    tell_sides(search)
    return sides


def _check_train(base: Path, named: dict[Path, str], deep: list[Path]) -> None:
    """Raise where there is a folder to train on, but no class folders with images in it.

    Raises:
        UnclearError: says what is missing there.
    """
    for path in subfolders(base):
        if side_of(path.name) == "train":
            has = no_classes(path) if path in named else f"No images in {path}. Expected {path}/<class name>/*.jpg."
            raise UnclearError(f"{has} {listed(deep)}/ has class folders.")


def explain_twice(base: Path, named: dict[Path, str], deep: list[Path], *, by_name: bool = False) -> str:
    """Say which folders could both be for one side."""
    by_side: dict[str, list[Path]] = {}
    for path in deep:
        by_side.setdefault(named[path], []).append(path)
    side, twice = next((side, paths) for side, paths in by_side.items() if len(paths) > 1)
    classes = [] if by_name else class_folders(twice[0])
    named_once = {side: paths[0] for side, paths in by_side.items()}
    return explain_two_ways(base, named_once, classes, [], twice=(side, twice), by_name=by_name)


def _is_like(path: Path, side: Path) -> bool:
    """Whether a folder beside the only side could be a class as well as that: it has pictures, or the same folders."""
    names = {one.name for one in class_folders(side)}
    return has_pictures(path) or any(one.name in names for one in class_folders(path))


def has_classes(path: Path) -> bool:
    """Whether there are class folders in a folder: not just one that repeats its name, or that says nothing."""
    beneath = class_folders(path)
    if len(beneath) != 1 or class_folders(beneath[0]):
        return bool(beneath)
    name = beneath[0].name
    return not (side_of(name) or is_images(name) or is_unlabelled(name) or name.lower() == path.name.lower())


def check_flat(search: Search, named: dict[Path, str]) -> None:
    """Judge folders whose names speak of sides and which have pictures but no class folders.

    Raises:
        UnclearError: they may be no classes.
    """
    base = search.base
    for path in named:
        images_beside_marks(path, by_name=False)
    rest = [path for path in class_folders(base) if path not in named and not is_aside(path)]
    only = [path for path in named if says_side_only(path.name)]
    if not rest and len(named) == 1:
        raise UnclearError(no_classes(next(iter(named))) + suggest(*named, beside=base))
    unlabelled = [path for path in only if named[path] != "train"]
    if len(set(named.values())) > 1 or (only and not rest) or (unlabelled and len(rest) > 1):
        raise UnclearError(explain_flat(base, list(named), rest))
    for path in named:
        search.warnings.append(
            f"{path} is taken for a class, though its name speaks of a side: it holds images, as the folders beside "
            "it do."
        )


def tell_sides(search: Search) -> None:
    """Say which folders were taken for sides, where their names are not the plain ones."""
    found = [
        (side, str(search.side_folders[side].relative_to(search.base))) for side in SIDES if side in search.side_folders
    ]
    told = [f"{name} for {side}" for side, name in found if PLAIN.get(name) != side]
    if told:
        first, *others = [told[0].replace(" for ", " is taken for ", 1), *told[1:]]
        said = " and ".join([", ".join([first, *others[:-1]]), *others[-1:]])
        otherwise = "all images together" if search.reading.by_name else "the folders for classes"
        search.warnings.append(f"{search.base}: {said}. --no-sides takes {otherwise}.")


def take_sides(search: Search, folders: dict[str, Path]) -> dict[str, Roots]:
    """Take folders for sides.

    Raises:
        UnclearError: one has no class folders.
    """
    search.side_folders = {side: enter_side(search, path) for side, path in folders.items()}
    sides = {side: roots_of(search, path) for side, path in search.side_folders.items()}
    for side, roots in sides.items():
        if not roots:
            folder = search.side_folders[side]
            raise UnclearError(no_classes(folder) + suggest(folder))
    return sides
