"""The names of many models in few words, for help and messages: `vgg16/19, resnet50/101/152-v2`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trainkit.errors import UsageError, unknown

# What members of a family differ in, at the end of the name or before its version: `resnet|50|-v2`, `convnext-|tiny`.
_MEMBER = re.compile(r"(.*?)(\d+|(?<=-)(?:tiny|small|base|large|xlarge|mobile|[sml]))(-v2)?")
_WIDEST = 31  # letters


def list_models(names: Iterable[str]) -> str:
    """Return names in the order in which they come, but those of one family together, with a slash between them."""
    families: dict[tuple[str, str], list[str]] = {}
    for name in names:
        found = _MEMBER.fullmatch(name)
        stem, member, end = found.groups("") if found else (name, "", "")
        families.setdefault((stem, end), []).append(member)
    return ", ".join(part for (stem, end), members in families.items() for part in _parts(stem, members, end))


def _parts(stem: str, members: list[str], end: str) -> list[str]:
    """Return a family in one word, or in several where the column of `--help` would cut it off."""
    whole = f"{stem}{'/'.join(members)}{end}"
    if len(whole) <= _WIDEST or len(members) == 1:
        return [whole]
    half = -(-len(members) // 2)
    return [*_parts(stem, members[:half], end), *_parts(stem, members[half:], end)]


def unknown_model(name: str, known: Iterable[str], *, otherwise: str = "") -> UsageError:
    """Say that there is no model of this name, with the nearest one and what there is.

    Args:
        name: what came.
        known: names of models.
        otherwise: what may stand there instead of a name.
    """
    names = list(known)
    return unknown("model", name, names, listed=list_models(names) + otherwise)
