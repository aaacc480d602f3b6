"""Pictures that stay on one side because they belong together: those of one person, of one group by any other name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainkit.data._repeats._duplicates import Duplicates, LabelledFile
from trainkit.errors import DataError

_NAMED = 5  # of many, in a sentence


def group_in_name(path: Path, pattern: str, *, folder: Path) -> str | None:
    """Return what a picture's name says of its group, `None` where it says nothing.

    Args:
        path: of the picture.
        pattern: a regular expression: its group `group`, or its first one. It is looked for in the name of the file,
            and where there is a `/` in it, in the path below the folder.
        folder: the data.
    """
    text = path.relative_to(folder).as_posix() if "/" in pattern and path.is_relative_to(folder) else path.name
    if "/" in pattern and not path.is_relative_to(folder):
        text = path.as_posix()
    match = re.search(pattern, text)
    if match is None:
        return None
    return match["group" if "group" in match.re.groupindex else 1] or None


def groups_in_names(paths: Sequence[Path], pattern: str, *, folder: Path) -> list[str]:
    """Return the group of each picture by its name.

    Raises:
        DataError: a name says nothing of a group.
    """
    found = [group_in_name(path, pattern, folder=folder) for path in paths]
    if without := [path.name for path, group in zip(paths, found, strict=True) if group is None]:
        more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
        raise DataError(
            f"--group-by {pattern} finds no group in {len(without)} of {len(paths)} names: "
            f"{', '.join(without[:_NAMED])}{more}. Expected one in each: change the expression, or rename these."
        )
    return [str(group) for group in found]


def bind(contents: Sequence[str], groups: Sequence[str | None], alike: Iterable[Sequence[str]] = ()) -> dict[str, str]:
    """Return a key for each content: what has the same key stays on one side.

    Args:
        contents: the SHA-256 of each picture.
        groups: the group of each picture, `None` for none.
        alike: contents that look alike.

    Returns:
        Content to key, a SHA-256 too. Whatever stands alone is its own key; the key of a group follows from its name
        alone, so that it stays the same when others are added.
    """
    joined = _Joined()
    for content, group in zip(contents, groups, strict=True):
        joined.join(("content", content), ("content", content) if group is None else ("group", group))
    for first, *others in alike:
        for other in others:
            joined.join(("content", first), ("content", other))
    least: dict[tuple[str, str], tuple[bool, str]] = {}  # of each set, its first name: of a group where it has one
    for node in joined.nodes():
        root, name = joined.root(node), (node[0] == "content", node[1])
        least[root] = min(least.get(root, name), name)
    return {content: _key(*least[joined.root(("content", content))]) for content in dict.fromkeys(contents)}


def _key(is_content: bool, name: str) -> str:
    return name if is_content else hashlib.sha256(b"group\0" + name.encode(errors="surrogateescape")).hexdigest()


class _Joined:
    """Sets of nodes that grow together."""

    def __init__(self) -> None:
        self._above: dict[tuple[str, str], tuple[str, str]] = {}

    def nodes(self) -> list[tuple[str, str]]:
        return list(self._above)

    def root(self, node: tuple[str, str]) -> tuple[str, str]:
        above = self._above.setdefault(node, node)
        while above != node:
            self._above[node] = self._above[above]
            node, above = above, self._above[above]
        return node

    def join(self, one: tuple[str, str], other: tuple[str, str]) -> None:
        self._above[self.root(one)] = self.root(other)


def alike_contents(found: Duplicates) -> list[list[str]]:
    """Return the contents of pictures that look alike, group by group."""
    return [[labelled.file.sha256 for labelled in group] for group in found.near_duplicates]


def warn_of_spread(files: Iterable[LabelledFile]) -> list[str]:
    """Say which groups are on more than one side: only where somebody has chosen the sides."""
    sides: dict[str, set[str]] = {}
    for labelled in files:
        if labelled.group is not None and labelled.side is not None:
            sides.setdefault(labelled.group, set()).add(labelled.side)
    spread = [
        f"`{group}` ({', '.join(side for side in ('train', 'val', 'test') if side in found)})"
        for group, found in sides.items()
        if len(found) > 1
    ]
    if not spread:
        return []
    more = f" and {len(spread) - _NAMED} more" if len(spread) > _NAMED else ""
    many = "1 group of --group-by is" if len(spread) == 1 else f"{len(spread)} groups of --group-by are"
    return [
        f"LEAK: {many} on more than one side, so that the figures will look better than they are: "
        f"{', '.join(spread[:_NAMED])}{more}. The sides were chosen by hand: move the pictures of each to one of them."
    ]
