"""What is said where a folder can be read in more than one way: both readings, and the option that decides."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from trainkit.data._labels import in_words, suggest_names
from trainkit.data._tables import SUFFIXES
from trainkit.data._tree import entries, subfolders
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
    twice: tuple[str, Sequence[Path]] | None = None,
) -> str:
    """Show both readings of folders that have class folders: as sides, and as classes."""
    all_folders = in_words([path.name for path in subfolders(base)])
    inner = f" with the classes {in_words([path.name for path in classes])}" if classes else ""
    names = " and ".join(path.name for path in twice[1]) if twice else ""
    doubt = f"{names} could both be for {twice[0]}: " if twice else ""
    beside = f", {in_words([path.name for path in rest])} left out" if rest else ""
    return (
        f"{base} can be read in two ways. {doubt}{_option(sides)} takes sides{inner}{beside}; --no-sides takes the "
        f"folders for classes: {all_folders}. Say which."
    )


def explain_flat(base: Path, named: Collection[Path], *, only: bool, rest: Sequence[Path] = ()) -> str:
    """Say what can be done with sides that have no class folders."""
    table = _table(base, named)
    if not only:
        return table
    names = in_words([path.name for path in named])
    moved = f", or move {names} away to leave {'it' if len(named) == 1 else 'them'} out" if rest else ""
    return (
        f"{base} can be read in two ways: {names} look like sides and have no class folders in them, but they may be "
        f"classes. --no-sides takes the folders for classes; for sides, put class folders into them{moved}."
        f"{suggest_names(named)}{table}"
    )


def _table(base: Path, named: Collection[Path]) -> str:
    """Name a table that lies beside the pictures, as competitions have it."""
    tables = [Path(entry.path) for entry in entries(base) if Path(entry.name).suffix.lower() in SUFFIXES]
    if not tables:
        return ""
    found = {path.stem.lower(): path for path in tables}
    likely = [found[name] for name in ("train", "labels", "train_labels", "trainlabels") if name in found]
    best = (likely or tables)[0]
    folder = next(iter(named))
    for path in named:
        if "train" in path.name.lower():
            folder = path
    return f" Where a table has the labels, name that: {_quoted(best)} --images {_quoted(folder)}."


def _option(sides: Mapping[str, Path]) -> str:
    order = [side for side in ("train", "val", "test") if side in sides]
    return "--sides " + shlex.quote(",".join(f"{side}={sides[side].name}" for side in order))


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
