"""Pictures that are there more than once, and what they spoil: labels that contradict each other, tests that leak."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import doing
from trainkit.data._inspection import ImageFile, read_thumbnail
from trainkit.data._repeats._fingerprints import Fingerprint, group_near_duplicates
from trainkit.data._repeats._same_picture import to_thumbnail

_KEPT = 512  # thumbnails of 16 kB, of pictures that are compared with several others
_NAMED = 3  # groups that a warning names


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """An image with what it is called, and the side it is on."""

    file: ImageFile
    labels: tuple[str, ...]  # one class; several of a multi-label table; none where there are no classes
    side: str | None  # train, val, test; `None` where nobody has chosen sides
    group: str | None = None  # whose pictures stay on one side, where it was asked for


Group = list[LabelledFile]  # of one picture, in the order of their paths
_Groups = list[list[int]]  # the same by their indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """The groups of files that show the same picture. A group can be in several of these lists."""

    duplicates: list[Group]  # the same bytes
    near_duplicates: list[Group]  # look alike, and not all of them have the same bytes
    contradictions: list[Group]  # of either kind, with different labels
    leaks: list[Group]  # of either kind, on different sides


class LabelledColumns(Sequence[LabelledFile]):
    """Images of which what is compared is kept in columns: an object is made of one when it is asked for."""

    def order(self) -> Sequence[int]:
        """Return the places of those that can be used, in the order of their paths."""
        raise NotImplementedError

    def contents(self) -> Sequence[str]:
        """Return what is the same for two of them whose contents are the same; by their places."""
        raise NotImplementedError

    def has_fingerprint(self, place: int) -> bool:
        """Whether one of them is no flat picture."""
        raise NotImplementedError

    def fingerprints(self, places: Sequence[int]) -> Sequence[Fingerprint]:
        """Return the fingerprints of some that have one."""
        raise NotImplementedError


class _Objects(LabelledColumns):
    """The same of images that are objects already."""

    def __init__(self, files: Sequence[LabelledFile]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, place: Any) -> Any:
        return self._files[place]

    def order(self) -> Sequence[int]:
        usable = [place for place, labelled in enumerate(self._files) if not labelled.file.problem]
        return sorted(usable, key=lambda place: self._files[place].file.path)

    def contents(self) -> Sequence[str]:
        return [labelled.file.sha256 for labelled in self._files]

    def has_fingerprint(self, place: int) -> bool:
        return self._files[place].file.fingerprint is not None

    def fingerprints(self, places: Sequence[int]) -> Sequence[Fingerprint]:
        found = (self._files[place].file.fingerprint for place in places)
        return [one for one in found if one is not None]


def find_duplicates(files: Sequence[LabelledFile], *, show: Callable[[Path], np.ndarray] | None = None) -> Duplicates:
    """Find the pictures that are there more than once; files with a problem are passed over.

    Args:
        files: inspected already; or images in arrays, which have a path as their name, a hash of their pixels and a
            fingerprint too.
        show: returns an image by its path, uint8 `(height, width, 3)`, BGR; `None` where the paths are of files.
    """
    columns = files if isinstance(files, LabelledColumns) else _Objects(files)
    order, made = columns.order(), dict[int, LabelledFile]()

    def one(index: int) -> LabelledFile:
        if index not in made:
            made[index] = columns[order[index]]  # one object, in whatever list it is
        return made[index]

    def show_small(index: int) -> np.ndarray | None:
        path = columns[order[index]].file.path
        return to_thumbnail(show(path)) if show else read_thumbnail(path)

    duplicates, near = (
        [[one(index) for index in group] for group in groups] for groups in _find_repeats(columns, order, show_small)
    )
    in_near = {id(labelled) for group in near for labelled in group}
    groups = near + [group for group in duplicates if id(group[0]) not in in_near]
    return Duplicates(
        duplicates=duplicates,
        near_duplicates=near,
        contradictions=_that_differ(groups, lambda labelled: tuple(sorted(labelled.labels))),
        leaks=_that_differ(groups, lambda labelled: labelled.side),
    )


def _find_repeats(
    columns: LabelledColumns, order: Sequence[int], show: Callable[[int], np.ndarray | None]
) -> tuple[_Groups, _Groups]:
    """Return the groups of equal contents and those of near-duplicates, as places in the order."""
    first_with: dict[str, int] = {}
    copies: dict[int, list[int]] = {}  # by the first of them
    contents = columns.contents()
    for index, place in enumerate(order):
        if (first := first_with.setdefault(contents[place], index)) != index:
            copies.setdefault(first, [first]).append(index)
    del contents
    different = array("q", (index for index in first_with.values() if columns.has_fingerprint(order[index])))
    del first_with  # ten megabytes for 100,000 images
    seen = columns.fingerprints([order[index] for index in different])
    with doing(f"Looking for near-duplicates among {len(seen):,} images"):
        alike = group_near_duplicates(seen, lru_cache(_KEPT)(lambda number: show(different[number])))
    near = [[different[number] for number in numbers] for numbers in alike]
    return list(copies.values()), [
        sorted(one for first in group for one in copies.get(first, [first])) for group in near
    ]


def _that_differ(groups: list[Group], aspect: Callable[[LabelledFile], Hashable]) -> list[Group]:
    differing = [group for group in groups if len({aspect(labelled) for labelled in group}) > 1]
    return sorted(differing, key=lambda group: group[0].file.path)


def warnings_of(found: Duplicates, data: Path | None) -> list[str]:
    """Say what spoils the training: leaks first, then contradictions; `data` is what can be checked again."""
    warnings = []
    shown = f" `trainkit data check {data}` shows them." if data is not None else ""
    if found.leaks:
        warnings.append(
            f"LEAK: {_count(found.leaks)} on more than one side, so that the figures will look better than they are: "
            f"{_name(found.leaks)}.{shown}"
        )
    if found.contradictions:
        warnings.append(
            f"CONTRADICTION: {_count(found.contradictions)} in more than one class: {_name(found.contradictions)}."
            f"{shown}"
        )
    return warnings


def _count(groups: list[Group]) -> str:
    return "1 picture is" if len(groups) == 1 else f"{len(groups)} pictures are"


def _name(groups: list[Group]) -> str:
    named = "; ".join(" = ".join(f"{labelled.file.path}" for labelled in _unlike(group)) for group in groups[:_NAMED])
    return named + (f"; and {len(groups) - _NAMED} more" if len(groups) > _NAMED else "")


def _unlike(group: Group) -> Group:
    """Return a member for each side and class of a group."""
    return list({(labelled.side, labelled.labels): labelled for labelled in reversed(group)}.values())[::-1]
