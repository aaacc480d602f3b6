"""What the names of classes and files say of a folder that is read: masks beside pictures, one class in two ways."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from trainkit.data._folders._labels import in_words
from trainkit.data._folders._tree import is_picture
from trainkit.data._tables._labels import warn_of_names

_MARK = re.compile(
    r"(?P<picture>.+?)[\s._-]+(?:masks?|seg|segmentation|gt|ground[ _-]?truth|labels?|annotations?|trimap|bbox)"
    r"(?:[\s._-]*\d+)?",
    re.IGNORECASE,
)
_NUMBER_WITHIN = re.compile(r"(?<=[ ._-])\d+")


def judge_names(folder: Path, files: Mapping[str, Mapping[str, list[Path]]], *, by_name: bool) -> list[str]:
    """Say which pictures seem to mark others, and which classes are perhaps one.

    Args:
        folder: that is read.
        files: by side and class.
        by_name: whether the class is in the name of the file.
    """
    classes = {name for of_class in files.values() for name in of_class}
    warnings = warn_of_names(folder, classes)
    if marks := [path for of_class in files.values() for paths in of_class.values() for path in _marks_among(paths)]:
        warnings.append(
            f"{folder}: {len(marks)} pictures are called like masks or other marks on pictures beside them, and are "
            f"trained on as they are: {marks[0].relative_to(folder)} is the first. Move them away unless they are "
            "pictures of their class."
        )
    if by_name and (numbered := _numbered(classes)):
        warnings.append(
            f"{folder}: only a number tells classes apart: {in_words(numbered)}. Where they are one class, --pattern "
            r"says what is before it, such as '^([^\W\d_]+)'."
        )
    return warnings


def _marks_among(paths: list[Path]) -> Iterator[Path]:
    """Yield the pictures that have the name of another in their folder, and a word for marks behind it."""
    named = [(path, match) for path in paths if is_picture(path) and (match := _MARK.fullmatch(path.stem))]
    if named:
        pictures = {path.with_suffix("") for path in paths}
        yield from (path for path, match in named if path.with_name(match["picture"]) in pictures)


def _numbered(classes: set[str]) -> list[str]:
    """Return the first classes that differ in a number in their names, and in nothing else."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(classes):
        if _NUMBER_WITHIN.search(name):
            alike[_NUMBER_WITHIN.sub("#", name)].append(name)
    return next((names for names in alike.values() if len(names) > 1), [])
