"""Folders that only hold another one with all that matters, and `images` beside marks on them."""

from __future__ import annotations

from pathlib import Path

from trainkit.data._folders._labels import suggest_names
from trainkit.data._folders._search import Search, listed
from trainkit.data._folders._tree import class_folders, has_pictures, holds_files, holds_pictures, subfolders
from trainkit.data._folders._unclear import UnclearError
from trainkit.data._reading import NO_SIDES
from trainkit.data._sides import is_certainly_marks, is_images, is_marks, side_of


def enter_wrappers(search: Search) -> None:
    """Go into a folder that has all, as often as there is one, with a word."""
    while inner := _inner(search, search.base):
        beside = [path for path in subfolders(search.base) if path != inner]
        search.left_out += beside
        name = inner.relative_to(search.folder)
        more = f"; left out: {listed(beside)}" if beside else ""
        entered = f"{search.folder}: all is in {name}, and taken from there{more}."
        search.warnings.append(entered)
        search.base = inner
        search.tops.append(inner)


def _inner(search: Search, folder: Path) -> Path | None:
    """Return the folder in a folder that has all its pictures, but for marks on them; `None` where there is none."""
    said = search.reading.sides == NO_SIDES
    images = None if said else images_beside_marks(folder, by_name=search.reading.by_name)
    if images:
        return images
    beneath = class_folders(folder)
    if len(beneath) != 1:
        return None
    if any(path != beneath[0] and not holds_files(path) for path in subfolders(folder)):
        return None  # an empty class
    deeper = class_folders(beneath[0])
    if has_pictures(folder) and (len(deeper) < 2 or search.reading.by_name):
        return None
    if not deeper or (side_of(beneath[0].name) and not said and not any(side_of(path.name) for path in deeper)):
        return None
    return beneath[0]


def images_beside_marks(folder: Path, *, by_name: bool) -> Path | None:
    """Return `images` beside `masks` or `annotations`, where it has the classes.

    Raises:
        UnclearError: it has none: the marks are boxes or masks.
    """
    tops = subfolders(folder)
    marks = [path for path in tops if is_marks(path.name)]
    images = [path for path in tops if is_images(path.name) and holds_pictures(path)]
    rest = [path for path in tops if path not in marks and path not in images and holds_pictures(path)]
    if len(rest) == 1 and not images and class_folders(rest[0]) and not has_pictures(rest[0]):
        images, rest, marks = rest, [], [path for path in marks if is_certainly_marks(path.name)]
    if not marks or len(images) != 1 or rest:
        return None
    deeper = class_folders(images[0])
    if by_name or any(not side_of(path.name) or class_folders(path) for path in deeper):
        return images[0]
    raise UnclearError(
        f"{folder} has {images[0].name}/ and beside it {listed(marks)}/, which marks them: boxes or masks. trainkit "
        f"classifies whole images: expected {folder}/<class name>/*.jpg.{suggest_names([images[0], *deeper])}"
    )


def enter_side(search: Search, folder: Path) -> Path:
    """Go into a folder in a side's folder that only repeats its name, or says that there are images."""
    search.tops.append(folder)
    if images := images_beside_marks(folder, by_name=search.reading.by_name):
        beside = [path for path in subfolders(folder) if path != images]
        search.left_out += beside
        search.warnings.append(f"{folder}: the images are in {images.name}; left out: {listed(beside)}.")
        return enter_side(search, images)
    beneath = subfolders(folder)
    if len(beneath) == 1 and not has_pictures(folder) and class_folders(beneath[0]):
        name = beneath[0].name
        if side_of(name) or is_images(name) or name.lower() == folder.name.lower():
            return enter_side(search, beneath[0])
    return folder
