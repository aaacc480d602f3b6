"""Pictures that are there more than once, and what they spoil: labels that contradict each other, tests that leak."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

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


def find_duplicates(files: Sequence[LabelledFile], *, show: Callable[[Path], np.ndarray] | None = None) -> Duplicates:
    """Find the pictures that are there more than once; files with a problem are passed over.

    Args:
        files: inspected already; or images in arrays, which have a path as their name, a hash of their pixels and a
            fingerprint too.
        show: returns an image by its path, uint8 `(height, width, 3)`, BGR; `None` where the paths are of files.
    """
    usable = [labelled for labelled in files if not labelled.file.problem]
    usable.sort(key=lambda labelled: labelled.file.path)

    def show_small(index: int) -> np.ndarray | None:
        path = usable[index].file.path
        return to_thumbnail(show(path)) if show else read_thumbnail(path)

    contents = [labelled.file.sha256 for labelled in usable]
    fingerprints = [labelled.file.fingerprint for labelled in usable]
    duplicates, near = (
        [[usable[index] for index in group] for group in groups]
        for groups in _find_repeats(contents, fingerprints, show_small)
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
    contents: Sequence[str], fingerprints: Sequence[Fingerprint | None], show: Callable[[int], np.ndarray | None]
) -> tuple[_Groups, _Groups]:
    """Return the groups of equal contents and those of near-duplicates, as indices in order."""
    first_with: dict[str, int] = {}
    copies: dict[int, list[int]] = {}  # by the first of them
    for index, content in enumerate(contents):
        if (first := first_with.setdefault(content, index)) != index:
            copies.setdefault(first, [first]).append(index)
    different = array("q", (index for index in first_with.values() if fingerprints[index]))
    del first_with  # ten megabytes for 100,000 images
    seen = [one for index in different if (one := fingerprints[index])]
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
