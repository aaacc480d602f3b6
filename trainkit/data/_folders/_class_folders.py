"""Folders that are classes, and those in which the sides are inside the classes."""

from __future__ import annotations

from pathlib import Path

from trainkit.data._folders._labels import in_words, suggest_names
from trainkit.data._folders._search import Roots, Search, leave_out, listed, roots_of, shown
from trainkit.data._folders._tree import class_folders, has_pictures, subfolders
from trainkit.data._folders._unclear import UnclearError, explain_two_ways, side_option
from trainkit.data._reading import SIDES
from trainkit.data._sides import is_fold, is_images, side_of


def find_inside(search: Search) -> dict[str, Roots] | None:
    """Return the sides where each class has folders for them, `None` where none has."""
    classes = class_folders(search.base)
    sides = {path: {one: side_of(one.name) for one in class_folders(path)} for path in classes}
    known = {side for of_class in sides.values() for side in of_class.values()} - {None}
    if len(known) < 2 or not any(len(set(of_class.values()) - {None}) > 1 for of_class in sides.values()):
        return None
    if several := [path for path in classes if any(class_folders(one) for one, side in sides[path].items() if side)]:
        raise UnclearError(
            f"{search.base} has several data sets, {in_words([path.name for path in several])}, each with sides that "
            f"have class folders. Name one of them, such as {several[0]}, or take --no-sides: each is a class then."
        )
    told = all(of_class and all(of_class.values()) and not has_pictures(path) for path, of_class in sides.items())
    once = all(len(set(of_class.values())) == len(of_class) for of_class in sides.values())
    example = next(path for path, of_class in sides.items() if len(set(of_class.values()) - {None}) > 1)
    inside = [path.name for path, _ in sorted(sides[example].items(), key=lambda pair: (*SIDES, None).index(pair[1]))]
    if not told or not once or "train" not in known:
        raise UnclearError(
            f"{search.base} can be read in two ways: {listed([example])} has the folders {', '.join(inside)}, which "
            "look like sides, and not every class has them. --no-sides takes all below a class for its images; for "
            "sides, put each image into a folder of its side, once for each class."
        )
    search.warnings.append(
        f"{search.base}: the sides are inside the classes, such as {example.name}/{inside[0]}. --no-sides takes all "
        "below a class together."
    )
    return roots_inside(search, {path: {str(s): one for one, s in of.items()} for path, of in sides.items()})


def roots_inside(search: Search, folders: dict[Path, dict[str, Path]]) -> dict[str, Roots]:
    """Return where the images are, from class to its folders by side."""
    found: dict[str, Roots] = {}
    for path, of_class in folders.items():
        search.tops.append(path)
        for side, folder in of_class.items():
            if folder.is_dir():
                found.setdefault(side, []).append((folder, None if search.reading.by_name else path.name))
        search.left_out += [one for one in subfolders(path) if one not in of_class.values()]
    leave_out(search, [path for path in subfolders(search.base) if path not in folders])
    return found


def find_classes(search: Search) -> dict[str, Roots]:
    """Take every folder for a class; say so where something else could be the classes.

    Raises:
        UnclearError: their names are those of folds, and they have the same folders.
    """
    classes = class_folders(search.base)
    beneath = {path: {one.name for one in class_folders(path)} for path in classes}
    if len(classes) > 1 and all(names and not has_pictures(path) for path, names in beneath.items()):
        _judge_nested(search, beneath)
    numbered = all(is_fold(path.name) or path.name.isdecimal() for path in classes)
    if len(classes) > 1 and numbered and all(suggest_names([path]) for path in classes):
        search.warnings.append(f"{search.base}: the classes are {shown(classes)}.{suggest_names(classes)}")
    return {"train": roots_of(search, search.base)}


def _judge_nested(search: Search, beneath: dict[Path, set[str]]) -> None:
    """Judge class folders that have nothing but folders."""
    base, classes = search.base, list(beneath)
    below = sorted({name for names in beneath.values() for name in names})
    if all(map(is_images, below)):
        return
    alike = len(below) > 1 and all(names == set(below) for names in beneath.values())
    sides = {"train": classes[0], "test": classes[-1]}
    if alike and all(is_fold(path.name) for path in classes):
        raise UnclearError(explain_two_ways(base, sides, [classes[0] / name for name in below], []))
    otherwise = f" Where these are the classes, name the sides: {side_option(sides)}" if alike else ""
    search.warnings.append(
        f"{base}: the classes are {shown(classes)}; what is in the folders below them ({in_words(below)}) is taken "
        f"together.{otherwise}"
    )
