"""What is said where a folder can be read in more than one way: both readings, and the option that decides."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainkit.data._folders._labels import in_words, suggest_names
from trainkit.data._folders._tree import class_folders, entries, subfolders
from trainkit.data._kinds import ARCHIVES, ARRAYS
from trainkit.data._reading import SIDES
from trainkit.data._sides import is_marks
from trainkit.data._tables._table import SUFFIXES
from trainkit.errors import DataError


class UnclearError(DataError):
    """A folder cannot be read without a word from its owner; the message names the option."""


def no_classes(folder: Path) -> str:
    """Say that there are no class folders, and what was expected."""
    return f"No class folders in {folder}. Expected {folder}/<class name>/*.jpg."


def explain_two_ways(
    base: Path,
    sides: Mapping[str, Path],
    classes: Sequence[Path],
    rest: Sequence[Path],
    *,
    twice: tuple[str, Sequence[Path]] | None = None,
    by_name: bool = False,
) -> str:
    """Show both readings of folders: as sides, and as classes, or as none where the files have the classes."""
    inner = f" with the classes {in_words([path.name for path in classes])}" if classes else ""
    doubt = f"{' and '.join(path.name for path in twice[1])} could both be for {twice[0]}: " if twice else ""
    beside = f", {in_words([path.name for path in rest])} left out" if rest else ""
    folders = in_words([path.name for path in subfolders(base)])
    otherwise = "takes all images together" if by_name else f"takes the folders for classes: {folders}"
    return (
        f"{base} can be read in two ways. {doubt}{side_option(sides, base)} takes sides{inner}{beside}; --no-sides "
        f"{otherwise}. Say which."
    )


def explain_flat(base: Path, named: Sequence[Path], rest: Sequence[Path]) -> str:
    """Say what can be done with sides that have no class folders."""
    names = in_words([path.name for path in named])
    moved = f", or move {names} away to leave {'it' if len(named) == 1 else 'them'} out" if rest else ""
    return (
        f"{base} can be read in two ways: {names} look like sides and have no class folders in them, but they may be "
        f"classes. --no-sides takes the folders for classes; for sides, put class folders into them{moved}."
        f"{suggest(*named, beside=base)}"
    )


def suggest(*folders: Path, beside: Path | None = None) -> str:
    """Say what else could have the classes, where these folders have pictures but no class folders.

    Args:
        folders: that have pictures.
        beside: the folder that may have a table or arrays; the first one unless given.
    """
    top = beside or folders[0]
    found = suggest_names([*folders, *(inner for folder in folders for inner in class_folders(folder))])
    files = [Path(entry.path) for entry in entries(top)]
    if table := likely_table(top):
        images = next((path for path in folders if "train" in path.name.lower()), folders[0])
        found += f" Where a table has the labels, name that: {_quoted(table)} --images {_quoted(images)}."
    if arrays := [path for path in files if path.suffix.lower() == ARRAYS]:
        found += f" There are arrays: name {_quoted(arrays[0])}."
    if marks := [path.name for path in subfolders(top) if is_marks(path.name)]:
        found += f" {in_words(marks)} may mark boxes or masks: trainkit classifies whole images."
    if archives := [path.name for path in files if path.suffix.lower() in ARCHIVES]:
        found += f" There are archives: unpack {in_words(archives)} first."
    return found


def likely_table(folder: Path) -> Path | None:
    """Return the table in a folder that is most likely to have the labels, `None` where there is none."""
    files = [Path(entry.path) for entry in entries(folder)]
    tables = {path.stem.lower(): path for path in files if path.suffix.lower() in SUFFIXES}
    likely = [tables[name] for name in ("train", "labels", "train_labels", "trainlabels") if name in tables]
    return next(iter([*likely, *tables.values()]), None)


def side_option(sides: Mapping[str, Path], base: Path) -> str:
    """Write the option; a name with a comma has to be changed first."""
    order = [side for side in SIDES if side in sides]
    names = [str(sides[side].relative_to(base)) for side in order]
    if any("," in name or name != name.strip() for name in names):
        return "--sides train=... (of folders without a comma in their names)"
    pairs = ",".join(f"{side}={name}" for side, name in zip(order, names, strict=True))
    return "--sides " + ("" if "train" in sides else "train=...,") + shlex.quote(pairs)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
