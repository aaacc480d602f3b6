"""What is found while the layout of a folder is looked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainkit.data._folders._labels import in_words
from trainkit.data._folders._tree import class_folders, holds_files, subfolders
from trainkit.data._reading import Reading
from trainkit.data._sides import is_marks, is_unlabelled, side_of

Roots = list[tuple[Path, str | None]]  # folders, and the class of all below; `None`: as the file's name says


@dataclass(slots=True)
class Search:
    """What is found on the way."""

    folder: Path
    reading: Reading
    base: Path
    side_folders: dict[str, Path] = field(default_factory=dict)
    tops: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def roots_of(search: Search, folder: Path) -> Roots:
    """Return where the images in a folder are: in each folder in it, or all below where the files have the classes."""
    if search.reading.by_name:
        return [(folder, None)]
    return [(path, path.name) for path in subfolders(folder)]


def leads_to(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a folder is one of these, or has one of these below it."""
    return any(path == one or path in one.parents for one in folders)


def leave_out(search: Search, folders: list[Path]) -> None:
    """Leave folders out, with a word."""
    search.left_out += folders
    if folders and search.reading.sides:
        search.warnings.append(f"--sides does not name these folders of {search.base}, left out: {listed(folders)}")
    elif folders:
        train = next((path for path in class_folders(search.base) if side_of(path.name) == "train"), None)
        why = f"has {train.name}/, so the folders beside it are" if train else "has sides; beside them are"
        names = ", ".join(path.name if holds_files(path) else f"{path.name} (empty)" for path in folders)
        search.warnings.append(f"{search.base} {why} left out: {names}")


def is_aside(path: Path) -> bool:
    """Whether a folder beside sides is no class by its name."""
    return is_unlabelled(path.name) or is_marks(path.name)


def shown(paths: Sequence[Path]) -> str:
    """Return the names of the first, and how many more there are."""
    return in_words([path.name for path in paths])


def listed(paths: Sequence[Path]) -> str:
    """Return the names of all."""
    return ", ".join(path.name for path in paths)
