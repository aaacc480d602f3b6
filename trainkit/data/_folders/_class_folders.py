"""Folders that are classes, and those in which the sides are inside the classes."""

from __future__ import annotations

from pathlib import Path

from trainkit.data._folders._labels import in_words
from trainkit.data._folders._search import Roots, Search, leads_to, leave_out, listed, roots_of
from trainkit.data._folders._tree import class_folders, has_pictures, subfolders
from trainkit.data._folders._unclear import UnclearError, explain_two_ways, side_option
from trainkit.data._reading import SIDES
from trainkit.data._sides import (
    guess_side,
    is_fold,
    is_images,
    is_small_copies,
    is_unlabelled,
    is_wrapper,
    says_marks_only,
    says_unlabelled_only,
    side_of,
)


def find_inside(search: Search) -> dict[str, Roots] | None:
    """Return the sides where each class has folders for them, `None` where none has."""
    classes = class_folders(search.base)
    sides = {path: {one: side_of(one.name) for one in class_folders(path)} for path in classes}
    known = {side for of_class in sides.values() for side in of_class.values()} - {None}
    if len(known) < 2 or not any(len(set(of_class.values()) - {None}) > 1 for of_class in sides.values()):
        return None
    if several := [path for path in classes if any(class_folders(one) for one, side in sides[path].items() if side)]:
        raise UnclearError(_explain_several(search.base, several, sides[several[0]], classes))
    told = all(of_class and all(of_class.values()) and not has_pictures(path) for path, of_class in sides.items())
    once = all(len(set(of_class.values())) == len(of_class) for of_class in sides.values())
    example = next(path for path, of_class in sides.items() if len(set(of_class.values()) - {None}) > 1)
    inside = [path.name for path, _ in sorted(sides[example].items(), key=lambda pair: (*SIDES, None).index(pair[1]))]
    if not told or not once or "train" not in known:
        raise UnclearError(
            f"{search.base} can be read in two ways: {listed([example])} has the folders {', '.join(inside)}, which "
            f"look like sides, and {_what_else(sides)}. --no-sides takes all below a class for its images; "
            f"{_how_to_take(sides)}."
        )
    search.warnings.append(
        f"{search.base}: the sides are inside the classes, such as {example.name}/{inside[0]}. --no-sides takes all "
        "below a class together."
    )
    return roots_inside(search, {path: {str(s): one for one, s in of.items()} for path, of in sides.items()})


def _explain_several(base: Path, several: list[Path], inner: dict[Path, str | None], classes: list[Path]) -> str:
    if len(several) == 1:
        sides = {side: path for path, side in inner.items() if side}
        rest = [path for path in classes if path not in several]
        return explain_two_ways(base, sides, class_folders(next(iter(sides.values()))), rest)
    return (
        f"{base} has several data sets, {in_words([path.name for path in several])}, each with sides that "
        f"have class folders. Name one of them, such as {several[0]}, or take --no-sides: each is a class then."
    )


def _how_to_take(sides: dict[Path, dict[Path, str | None]]) -> str:
    """Say how the sides inside the classes are taken: by an option where each class has the same folders."""
    names = [{side: path.name for path, side in of_class.items() if side} for of_class in sides.values()]
    once = all(sum(map(bool, of_class.values())) == len(names[0]) for of_class in sides.values())
    if once and "train" in names[0] and all(of_class == names[0] for of_class in names):
        base = next(iter(sides))
        option = side_option({side: base / name for side, name in names[0].items()}, base)
        return f"{option} takes these for sides, and leaves out what is beside them"
    return "for sides, put each image into a folder of its side, once for each class"


def _what_else(sides: dict[Path, dict[Path, str | None]]) -> str:
    """Say why these are not simply the sides of each class."""
    for path, of_class in sides.items():
        if set(of_class.values()) == {None} or not of_class:
            return f"not every class has them: {path.name}"
        if strange := [one.name for one, side in of_class.items() if side is None]:
            return f"{path.name} has {in_words(strange)} beside them"
        if has_pictures(path):
            return f"{path.name} has images beside them"
    return "not every class has them for training, once for each side"


def roots_inside(search: Search, folders: dict[Path, dict[str, Path]]) -> dict[str, Roots]:
    """Return where the images are, from class to its folders by side."""
    found: dict[str, Roots] = {}
    beside: list[Path] = []
    for path, of_class in folders.items():
        search.tops.append(path)
        for side, folder in of_class.items():
            if folder.is_dir():
                found.setdefault(side, []).append((folder, None if search.reading.by_name else path.name))
        beside += [
            one for one in subfolders(path) if path not in of_class.values() and not leads_to(one, of_class.values())
        ]
    search.left_out += beside
    if beside:
        names = in_words([str(path.relative_to(search.base)) for path in beside])
        search.warnings.append(f"{search.base}: left out, beside the sides inside the classes: {names}")
    leave_out(search, [path for path in subfolders(search.base) if path not in folders])
    return found


def find_classes(search: Search) -> dict[str, Roots]:
    """Take every folder for a class; say so where something else could be the classes.

    Raises:
        UnclearError: they may be sides, pieces of one set of pictures, or one of them may hold the classes.
    """
    classes = class_folders(search.base)
    if len(classes) > 1:
        _check_alike(search.base, classes)
        _check_wrapper(search.base, classes)
        _tell_doubtful(search, classes)
    return {"train": roots_of(search, search.base)}


def _check_alike(base: Path, classes: list[Path]) -> None:
    """Raise where folders have the same folders in them, and names of sides or folds."""
    below = [{one.name for one in class_folders(path)} for path in classes]
    if any(has_pictures(path) for path in classes) or len(below[0]) < 2 or any(names != below[0] for names in below):
        return
    guesses = {path: guess_side(path.name) for path in classes}
    sides = {side: path for path, side in guesses.items() if side}
    if len(sides) < len(classes) or "train" not in sides:
        sides = {"train": classes[0], "test": classes[-1]}
        if not all(is_fold(path.name) for path in classes):
            return
    raise UnclearError(explain_two_ways(base, sides, [classes[0] / name for name in sorted(below[0])], []))


def _check_wrapper(base: Path, classes: list[Path]) -> None:
    """Raise where one folder may have all the classes, and the others beside it none."""
    inner = {path: class_folders(path) for path in classes if not says_marks_only(path.name) and not has_pictures(path)}
    deep = [path for path, beneath in inner.items() if len(beneath) > 1 and not all(is_images(p.name) for p in beneath)]
    if len(deep) != 1:
        return
    rest = [path for path in classes if path != deep[0]]
    if is_wrapper(deep[0].name) or all(is_unlabelled(path.name) or says_marks_only(path.name) for path in rest):
        raise UnclearError(explain_two_ways(base, {"train": deep[0]}, inner[deep[0]], rest))


def _tell_doubtful(search: Search, classes: list[Path]) -> None:
    """Say which class folders have names that say that they are none."""
    for path in classes:
        if is_small_copies(path.name) or says_unlabelled_only(path.name):
            what = "of small copies" if is_small_copies(path.name) else "of pictures without labels"
            search.warnings.append(
                f"{path} is taken for a class, though its name speaks {what}: move it away where it has those."
            )
