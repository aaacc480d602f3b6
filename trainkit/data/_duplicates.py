"""Pictures that are there more than once, and what they spoil: labels that contradict each other, tests that leak."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainkit._progress import doing
from trainkit.data._fingerprints import group_near_duplicates
from trainkit.data._inspection import ImageFile

_NAMED = 3  # groups that a warning names


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """An image with what it is called, and the side it is on."""

    file: ImageFile
    labels: tuple[str, ...]  # one class; several of a multi-label table; none where there are no classes
    side: str | None  # train, val, test; `None` where nobody has chosen sides


Group = list[LabelledFile]  # of one picture, in the order of their paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """The groups of files that show the same picture. A group can be in several of these lists."""

    duplicates: list[Group]  # the same bytes
    near_duplicates: list[Group]  # look alike, and not all of them have the same bytes
    contradictions: list[Group]  # of either kind, with different labels
    leaks: list[Group]  # of either kind, on different sides


def find_duplicates(files: Sequence[LabelledFile]) -> Duplicates:
    """Find the pictures that are there more than once; files with a problem are passed over."""
    copies: dict[str, Group] = defaultdict(list)  # by content
    for labelled in sorted(files, key=lambda labelled: labelled.file.path):
        if not labelled.file.problem:
            copies[labelled.file.sha256].append(labelled)
    contents = [same for same in copies.values() if same[0].file.fingerprint]
    fingerprints = [one for same in contents if (one := same[0].file.fingerprint)]
    with doing(f"Looking for near-duplicates among {len(fingerprints):,} images"):
        groups_alike = group_near_duplicates(fingerprints)
    alike = [[contents[index] for index in indices] for indices in groups_alike]
    near = [_in_order([labelled for same in group for labelled in same]) for group in alike]
    in_near = {same[0].file.sha256 for group in alike for same in group}
    duplicates = [same for same in copies.values() if len(same) > 1]
    groups = near + [same for same in duplicates if same[0].file.sha256 not in in_near]
    return Duplicates(
        duplicates=duplicates,
        near_duplicates=near,
        contradictions=_that_differ(groups, lambda labelled: tuple(sorted(labelled.labels))),
        leaks=_that_differ(groups, lambda labelled: labelled.side),
    )


def _in_order(group: Group) -> Group:
    return sorted(group, key=lambda labelled: labelled.file.path)


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
