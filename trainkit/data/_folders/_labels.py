"""The class in the name of a file: `cat.0.jpg`, `yellow_tulip_03.jpg`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from trainkit.data._folders._tree import pictures_in

# What stands before the number at the end, or before several of them: `cat.0`, `cat-12`, `red car (3)`, `cat12`; what
# an augmentation writes behind it is no part of the class: `cat_01_aug3`, `cat_01_rot90_flip`, `cat_1 - Copy`.
_CHANGES = "(?i:aug|augmented|copy|rot|rotated|[hv]?flip|flipped|crop|cropped|mirror|mirrored|blur|noise|bright)"
DEFAULT_PATTERN = (
    r"^(?P<label>[\W\d_]*[^\W\d_].*?)"
    rf"(?:(?:[ ._-]+\d+(?:[ ._-]+{_CHANGES}\d*)*|[ ._-]*\(\d+\)|[ ._-]+(?i:aug(?:mented)?)[ ._-]*\d*)+|\d+)\.\w+$"
)
_SHOWN = 5
_LOOKED_AT = 5000  # files, for a suggestion


def label_of(name: str, pattern: str | None) -> str | None:
    """Return the class in a file's name, `None` where the pattern finds none."""
    match = re.search(pattern or DEFAULT_PATTERN, name)
    if match is None:
        return None
    return match["label" if "label" in match.re.groupindex else 1] or None


def suggest_names(folders: Iterable[Path]) -> str:
    """Return a sentence that names the option, where the names of the pictures in one of these look like classes."""
    for folder in folders:
        names = [path.name for path in pictures_in(folder)][:_LOOKED_AT]
        counts = Counter(label_of(name, None) for name in names)
        nameless = counts.pop(None, 0)
        if len(counts) > 1 and nameless * 10 <= len(names) and len(counts) * 2 <= len(names):
            classes = in_words(sorted(map(str, counts)))
            return f" The names of the files look like classes ({classes}): --labels-from name takes them from there."
    return ""


def in_words(names: Collection[str]) -> str:
    """Return the first of these names, and how many more there are."""
    shown = ", ".join(list(names)[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
