"""Folders that are sides: by their names, where what is in them agrees, or because somebody says so."""

from __future__ import annotations

import os
from pathlib import Path

from trainkit.data._folders._class_folders import find_classes, roots_inside
from trainkit.data._folders._search import Roots, Search, is_aside, leads_to, leave_out, listed, roots_of
from trainkit.data._folders._tree import class_folders, has_pictures, holds_files, holds_pictures, subfolders
from trainkit.data._folders._unclear import UnclearError, explain_flat, explain_two_ways, no_classes, suggest
from trainkit.data._folders._wrappers import enter_side, enter_wrappers, images_beside_marks
from trainkit.data._reading import SIDES
from trainkit.data._sides import PLAIN, guess_side, is_images, is_unlabelled, says_side_only, side_of, stem_of_pieces

_TOP = "what lies beside the other sides"


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
        if base not in found.values():
            leave_out(search, [path for path in subfolders(base) if not leads_to(path, found.values())])
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
            if side != other and within.startswith(path) and path != os.path.realpath(base) + os.sep:
                raise UnclearError(
                    f"--sides names {folders[side]} for {side} and {folders[other]} for {other}: one is in the other. "
                    "Expected folders that have no image in common."
                )


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
        top = _classes_beside(base, found, rest)
        if top and len(found) < len(deep):
            raise UnclearError(explain_twice(base, {**named, base: "train"}, [base, *deep]))
        found = {"train": base, **found} if top else found
    elif len(set(named.values())) == 1 and rest:
        guesses = {side: path for path in rest if (side := guess_side(path.name)) and side != "train"}
        others = [path for path in rest if path not in guesses.values()]
        raise UnclearError(explain_two_ways(base, {**found, **guesses}, class_folders(deep[0]), others))
    else:
        top = []
    flat = [path for path in named if path not in deep]
    for path in flat:
        search.warnings.append(f"{path} has no class folders: its images have no labels, and are left out.")
    search.left_out += flat
    leave_out(search, [path for path in subfolders(base) if path not in named and path not in top])
    sides = take_sides(search, found)
    tell_sides(search)
    return sides


def _classes_beside(base: Path, found: dict[str, Path], rest: list[Path]) -> list[Path]:
    """Return the class folders beside sides for validation and testing that have the same ones; none where none has.

    Raises:
        UnclearError: they share some, or a folder beside them has some.
    """
    inner = {path.name for folder in found.values() for path in class_folders(folder)}
    top = [path for path in subfolders(base) if path.name in inner]
    if top and inner == {path.name for path in (*top, *rest)}:
        return top
    if top:
        raise UnclearError(explain_two_ways(base, {"train": base, **found}, rest, []))
    likely = [path for path in rest if any(one.name in inner for one in class_folders(path))]
    if train := next((path for path in likely if guess_side(path.name) == "train"), (*likely, None)[0]):
        others = [path for path in rest if path != train]
        raise UnclearError(explain_two_ways(base, {"train": train, **found}, class_folders(train), others))
    return []


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
    if len(classes) == 1 and (deeper := class_folders(classes[0])):  # which is entered
        classes = deeper
    named_once = {side: paths[0] for side, paths in by_side.items()}
    pieces = stem_of_pieces([path.name for path in twice]) is not None
    merged = f" Where they are pieces of one folder, move all into {twice[0]}." if pieces else ""
    return explain_two_ways(base, named_once, classes, [], twice=(side, twice), by_name=by_name) + merged


def deep_sides(named: dict[Path, str]) -> list[Path]:
    """Return those of these folders that have class folders."""
    known = {one.name for path, side in named.items() if side == "train" for one in class_folders(path)}
    return [
        path
        for path in named
        if has_classes(path) or (len(known) > 1 and any(one.name in known for one in class_folders(path)))
    ]


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
    told = [f"{_TOP if name == '.' else name} for {side}" for side, name in found if PLAIN.get(name) != side]
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
    base = search.base
    search.side_folders = {side: path if path == base else enter_side(search, path) for side, path in folders.items()}
    _enter_alike(search)
    if not search.reading.sides:
        _check_nested(search)
    sides = {side: _roots_beside(search, path) for side, path in search.side_folders.items()}
    for side, roots in sides.items():
        if not roots:
            folder = search.side_folders[side]
            raise UnclearError(no_classes(folder) + suggest(folder))
    return sides


def _roots_beside(search: Search, folder: Path) -> Roots:
    """Return where the images of a side are; of the whole folder, without what is another side's."""
    roots = roots_of(search, folder)
    if folder != search.base or search.reading.by_name:
        return roots
    others = [path for path in search.side_folders.values() if path != folder]
    found = [(path, label) for path, label in roots if not leads_to(path, [*others, *search.left_out])]
    return [(path, label) for path, label in found if holds_pictures(path) or not holds_files(path)]


def _enter_alike(search: Search) -> None:
    """Go into the only folder of all sides, where it is called the same in each and has the classes, with a word."""
    beneath = {side: subfolders(path) for side, path in search.side_folders.items()}
    names = {path.name for paths in beneath.values() for path in paths}
    if search.reading.by_name or len(names) != 1 or any(len(paths) != 1 for paths in beneath.values()):
        return
    inner = {side: paths[0] for side, paths in beneath.items()}
    if all(len(class_folders(path)) > 1 and not has_pictures(path) for path in inner.values()):
        search.side_folders = inner
        search.tops += inner.values()
        search.warnings.append(f"{search.base}: the classes are in {names.pop()}, which each side has alone.")


def _check_nested(search: Search) -> None:
    """Raise where the folders in a side are called like sides, and are no classes as it seems."""
    others = {*search.side_folders.values(), *search.left_out}
    for side, folder in search.side_folders.items():
        inner = {path: side_of(path.name) for path in class_folders(folder) if path not in others}
        inner = {path: name for path, name in inner.items() if name and says_side_only(path.name)}
        deeper = any(not is_images(one.name) for path in inner for one in class_folders(path))
        if len(set(inner.values())) > 1 or (deeper and not search.reading.by_name):
            sides = {name: path for path, name in reversed(inner.items()) if name}
            rest = {other: path for other, path in search.side_folders.items() if other != side}
            classes = [] if search.reading.by_name else class_folders(next(iter(sides.values())))
            by_name = search.reading.by_name
            raise UnclearError(explain_two_ways(search.base, {**rest, **sides}, classes, [], by_name=by_name))
