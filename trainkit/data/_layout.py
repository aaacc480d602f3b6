"""Which folders are sides and which are classes, as their names and what is in them tell; refused where they do not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainkit.data._labels import in_words, suggest_names
from trainkit.data._reading import NO_SIDES, SIDES, Reading
from trainkit.data._sides import (
    PLAIN,
    is_certainly_marks,
    is_fold,
    is_images,
    is_marks,
    is_unlabelled,
    says_side_only,
    side_of,
)
from trainkit.data._tree import class_folders, has_pictures, holds_files, holds_pictures, pictures_in, subfolders
from trainkit.data._unclear import UnclearError, explain_flat, explain_two_ways, no_classes, side_option, suggest

Roots = list[tuple[Path, str | None]]  # folders, and the class of all that is below; `None`: as the file's name says


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the images of each side and class are."""

    folder: Path
    base: Path  # the folder itself, or the one in it that has all
    sides: dict[str, Roots]  # only `train` where nobody has chosen sides; none where there is a refusal
    side_folders: dict[str, Path]  # those that are sides; none where the sides are inside the classes
    tops: list[Path]  # folders whose own files belong to no class
    left_out: list[Path]  # folders
    warnings: list[str]
    refusal: str | None = None

    @property
    def has_sides(self) -> bool:
        """Whether somebody has chosen sides: there are folders for them."""
        return bool(self.side_folders) or len(self.sides) > 1

    def folder_of(self, side: str, name: str) -> Path:
        """Return where the images of a class are expected."""
        roots = [path for path, label in self.sides[side] if label in (name, None)]
        return roots[0] if roots else self.side_folders.get(side, self.base) / name


@dataclass(slots=True)
class _Search:
    """What is found on the way."""

    folder: Path
    reading: Reading
    base: Path
    side_folders: dict[str, Path] = field(default_factory=dict)
    tops: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def recognize(folder: Path, reading: Reading) -> Layout:
    """Find the sides and classes of a folder.

    Raises:
        DataError: it cannot be read.
    """
    search = _Search(folder, reading, folder, tops=[folder])
    try:
        sides = _find(search)
    except UnclearError as refusal:
        nothing: dict[str, Path] = {}
        return Layout(
            folder=folder,
            base=folder,
            sides={},
            side_folders=nothing,
            tops=[folder],
            left_out=[],
            warnings=[],
            refusal=str(refusal),
        )
    return Layout(
        folder=folder,
        base=search.base,
        sides={side: sides[side] for side in SIDES if side in sides},
        side_folders=search.side_folders,
        tops=list(dict.fromkeys(search.tops)),
        left_out=sorted(set(search.left_out)),
        warnings=search.warnings,
    )


def _find(search: _Search) -> dict[str, Roots]:
    if search.reading.side_folders:
        return _find_said(search, search.reading.side_folders)
    _enter_wrappers(search)
    if search.reading.sides == NO_SIDES:
        return {"train": _roots(search, search.base)}
    named = {path: side for path in class_folders(search.base) if (side := side_of(path.name))}
    if search.reading.by_name:
        return _find_by_name(search, named)
    if deep := [path for path in named if _has_classes(path)]:
        return _find_deep(search, named, deep)
    if named:
        _check_flat(search, named)
    return _find_inside(search) or _find_classes(search)


# Folders that hold just one folder


def _enter_wrappers(search: _Search) -> None:
    while inner := _inner(search, search.base):
        beside = [path for path in subfolders(search.base) if path != inner]
        search.left_out += beside
        name = inner.relative_to(search.folder)
        more = f"; left out: {_names(beside)}" if beside else ""
        entered = f"{search.folder}: all is in {name}, and taken from there{more}."
        search.warnings.append(entered)
        search.base = inner
        search.tops.append(inner)


def _inner(search: _Search, folder: Path) -> Path | None:
    """Return the folder in a folder that has all its pictures, but for marks on them; `None` where there is none."""
    said = search.reading.sides == NO_SIDES
    images = None if said else _images_beside_marks(folder, by_name=search.reading.by_name)
    if images:
        return images
    beneath = class_folders(folder)
    if len(beneath) != 1 or has_pictures(folder):
        return None
    if any(path != beneath[0] and not holds_files(path) for path in subfolders(folder)):
        return None  # an empty class
    deeper = class_folders(beneath[0])
    if not deeper or (side_of(beneath[0].name) and not said and not any(side_of(path.name) for path in deeper)):
        return None
    return beneath[0]


def _images_beside_marks(folder: Path, *, by_name: bool) -> Path | None:
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
        f"{folder} has {images[0].name}/ and beside it {_names(marks)}/, which marks them: boxes or masks. trainkit "
        f"classifies whole images: expected {folder}/<class name>/*.jpg.{suggest_names([images[0], *deeper])}"
    )


def _enter_side(search: _Search, folder: Path) -> Path:
    """Go into a folder in a side's folder that only repeats its name, or says that there are images."""
    search.tops.append(folder)
    if images := _images_beside_marks(folder, by_name=search.reading.by_name):
        search.left_out += [path for path in subfolders(folder) if path != images]
        return _enter_side(search, images)
    beneath = subfolders(folder)
    if len(beneath) == 1 and not has_pictures(folder) and class_folders(beneath[0]):
        name = beneath[0].name
        if side_of(name) or is_images(name) or name.lower() == folder.name.lower():
            return _enter_side(search, beneath[0])
    return folder


# What somebody has said


def _find_said(search: _Search, folders: dict[str, str]) -> dict[str, Roots]:
    if not _all_there(search.base, folders):
        _enter_wrappers(search)
    base = search.base
    if _all_there(base, folders):
        _check_apart(base, folders)
        found = {side: base / name for side, name in folders.items()}
        _leave_out(search, [path for path in subfolders(base) if not _leads_to(path, found.values())])
        return _take(search, found)
    inside = [path for path in class_folders(base) if any((path / name).is_dir() for name in folders.values())]
    if len(inside) > 1 and not search.reading.by_name:
        return _roots_inside(search, {path: {s: path / n for s, n in folders.items()} for path in inside})
    missing = [name for name in folders.values() if not (base / name).is_dir()]
    raise UnclearError(
        f"{base} has no folder `{missing[0]}`, which --sides names. It has: {_names(subfolders(base)) or 'none'}"
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


# Sides by their names


def _find_deep(search: _Search, named: dict[Path, str], deep: list[Path]) -> dict[str, Roots]:
    """Judge folders whose names speak of sides, some of which have class folders."""
    base = search.base
    found: dict[str, Path] = {}
    for path in deep:
        if named[path] in found and "train" in [named[one] for one in deep]:
            raise UnclearError(_explain_twice(base, named, deep))
        found.setdefault(named[path], path)
    rest = [path for path in class_folders(base) if path not in named and not _is_aside(path)]
    if "train" not in found and rest and not any(says_side_only(path.name) for path in deep):
        return _find_classes(search)
    flat = [path for path in named if path not in deep]
    if "train" not in found and (untold := [path for path in flat if named[path] == "train"]):
        raise UnclearError(no_classes(untold[0]) + f" {_names(deep)}/ has class folders.")
    if len(set(named.values())) == 1 and any(_is_like(path, deep[0]) for path in rest):
        raise UnclearError(explain_two_ways(base, found, class_folders(deep[0]), rest))
    for path in flat:
        search.warnings.append(f"{path} has no class folders: its images have no labels, and are left out.")
    search.left_out += flat
    _leave_out(search, [path for path in subfolders(base) if path not in named])
    sides = _take(search, found)
    _tell(search)
    return sides


def _explain_twice(base: Path, named: dict[Path, str], deep: list[Path], *, by_name: bool = False) -> str:
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


def _has_classes(path: Path) -> bool:
    """Whether there are class folders in a folder: not just one that repeats its name, or that says nothing."""
    beneath = class_folders(path)
    if len(beneath) != 1 or class_folders(beneath[0]):
        return bool(beneath)
    name = beneath[0].name
    return not (side_of(name) or is_images(name) or is_unlabelled(name) or name.lower() == path.name.lower())


def _is_aside(path: Path) -> bool:
    return is_unlabelled(path.name) or is_marks(path.name)


def _check_flat(search: _Search, named: dict[Path, str]) -> None:
    """Judge folders whose names speak of sides and which have pictures but no class folders.

    Raises:
        UnclearError: they may be no classes.
    """
    base = search.base
    for path in named:
        _images_beside_marks(path, by_name=False)
    rest = [path for path in class_folders(base) if path not in named and not _is_aside(path)]
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


def _tell(search: _Search) -> None:
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


def _take(search: _Search, folders: dict[str, Path]) -> dict[str, Roots]:
    """Take folders for sides.

    Raises:
        UnclearError: one has no class folders.
    """
    search.side_folders = {side: _enter_side(search, path) for side, path in folders.items()}
    sides = {side: _roots(search, path) for side, path in search.side_folders.items()}
    for side, roots in sides.items():
        if not roots:
            folder = search.side_folders[side]
            raise UnclearError(no_classes(folder) + suggest(folder))
    return sides


def _leave_out(search: _Search, folders: list[Path]) -> None:
    search.left_out += folders
    if folders and search.reading.sides:
        search.warnings.append(f"--sides does not name these folders of {search.base}, left out: {_names(folders)}")
    elif folders:
        train = next((path.name for path in class_folders(search.base) if side_of(path.name) == "train"), "sides")
        search.warnings.append(f"{search.base} has {train}/, so the folders beside it are left out: {_names(folders)}")


# Sides inside the classes


def _find_inside(search: _Search) -> dict[str, Roots] | None:
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
            f"{search.base} can be read in two ways: {_names([example])} has the folders {', '.join(inside)}, which "
            "look like sides, and not every class has them. --no-sides takes all below a class for its images; for "
            "sides, put each image into a folder of its side, once for each class."
        )
    search.warnings.append(
        f"{search.base}: the sides are inside the classes, such as {example.name}/{inside[0]}. --no-sides takes all "
        "below a class together."
    )
    return _roots_inside(search, {path: {str(s): one for one, s in of.items()} for path, of in sides.items()})


def _roots_inside(search: _Search, folders: dict[Path, dict[str, Path]]) -> dict[str, Roots]:
    found: dict[str, Roots] = {}
    for path, of_class in folders.items():
        search.tops.append(path)
        for side, folder in of_class.items():
            if folder.is_dir():
                found.setdefault(side, []).append((folder, None if search.reading.by_name else path.name))
        search.left_out += [one for one in subfolders(path) if one not in of_class.values()]
    _leave_out(search, [path for path in subfolders(search.base) if path not in folders])
    return found


# Classes


def _roots(search: _Search, folder: Path) -> Roots:
    if search.reading.by_name:
        return [(folder, None)]
    return [(path, path.name) for path in subfolders(folder)]


def _find_classes(search: _Search) -> dict[str, Roots]:
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
        search.warnings.append(f"{search.base}: the classes are {_first(classes)}.{suggest_names(classes)}")
    return {"train": _roots(search, search.base)}


def _judge_nested(search: _Search, beneath: dict[Path, set[str]]) -> None:
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
        f"{base}: the classes are {_first(classes)}; what is in the folders below them ({in_words(below)}) is taken "
        f"together.{otherwise}"
    )


# The class in the name of the file


def _find_by_name(search: _Search, named: dict[Path, str]) -> dict[str, Roots]:
    base = search.base
    rest = [path for path in class_folders(base) if path not in named and not _is_aside(path)]
    if "train" in named.values():
        found: dict[str, Path] = {}
        for path, side in named.items():
            if side in found:
                raise UnclearError(_explain_twice(base, named, list(named), by_name=True))
            found[side] = path
        if len(found) == 1 and rest:
            raise UnclearError(explain_two_ways(base, found, [], rest, by_name=True))
        _leave_out(search, [path for path in subfolders(base) if path not in named])
        sides = _take(search, found)
        _tell(search)
        return sides
    if named and all(map(says_side_only, (path.name for path in named))):
        found = dict(zip(("train",), rest[:1], strict=False)) | {side: path for path, side in named.items()}
        raise UnclearError(explain_two_ways(base, found, [], rest[1:], by_name=True))
    if inside := _find_inside(search):
        return inside
    aside = [path for path in subfolders(base) if is_marks(path.name) and (rest or pictures_in(base))]
    if aside:
        search.left_out += aside
        search.warnings.append(f"{base}: left out, for their names: {_names(aside)}")
    return {"train": _roots(search, base)}


def _first(paths: Sequence[Path]) -> str:
    return in_words([path.name for path in paths])


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)
