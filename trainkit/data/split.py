"""Which image is on which side: training, validation or test.

The side follows from a hash of the file's content alone, so a file keeps its side when others are added, renamed or
moved, and copies of one picture stay together. A class so small that a side would stay empty gets one image pinned to
that side, and the pin is written down beside the images: no rule without a memory can fill every side and also never
move a file.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from trainkit.errors import DataError, OutputError
from trainkit.files import write_json

PINS_FILE = ".trainkit-split.json"


def choose_sides(
    contents: Mapping[str, list[str]], shares: Mapping[str, float], pins: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Choose a side for every content.

    Args:
        contents: class name to the SHA-256 of its images.
        shares: side to its share, 0 to 1; what is left is `train`.
        pins: SHA-256 to side, from earlier runs.

    Returns:
        SHA-256 to side, and the pins that had to be added.

    Raises:
        DataError: a class has fewer different images of its own than there are sides.
    """
    sides: dict[str, str] = {}
    added: dict[str, str] = {}
    wanted = [*shares, "train"]
    shared = Counter(sha for hashes in contents.values() for sha in set(hashes))  # by how many classes
    for class_name, hashes in contents.items():
        of_class = {sha: sides.get(sha) or _natural_side(sha, shares, pins) for sha in sorted(set(hashes))}
        own = {sha for sha in of_class if shared[sha] == 1}
        if len(of_class) < len(wanted):
            raise DataError(
                f"Class `{class_name}` has {len(of_class)} different images. Expected at least {len(wanted)}, one for "
                f"each of {', '.join(wanted)}. Add images, or make train/, val/ and test/ folders."
            )
        for side in wanted:
            if side not in of_class.values():
                sha = _spare(of_class, own, pins, class_name)
                of_class[sha] = added[sha] = side
        sides.update(of_class)
    return sides, added


def _natural_side(sha256: str, shares: Mapping[str, float], pins: Mapping[str, str]) -> str:
    """Return the side an image was pinned to, where there still is such a side, else that of its content."""
    pinned = pins.get(sha256)
    return pinned if pinned in (*shares, "train") else _side_of(sha256, shares)


def _side_of(sha256: str, shares: Mapping[str, float]) -> str:
    position = int(sha256[:16], 16) / 2**64
    for side, share in shares.items():
        if position < share:
            return side
        position -= share
    return "train"


def _spare(sides: Mapping[str, str], own: set[str], pins: Mapping[str, str], class_name: str) -> str:
    """Return one of its `own` images that can leave its side, from the side that has the most."""
    members: dict[str, list[str]] = defaultdict(list)
    for sha, side in sides.items():
        members[side].append(sha)
    for choice in (own - pins.keys(), own):  # what is pinned should stay
        for side in sorted(members, key=lambda side: -len(members[side])):
            movable = choice.intersection(members[side])
            if movable and len(members[side]) > 1:
                return min(movable)
    raise DataError(
        f"Class `{class_name}` has too few images that no other class has as well, to put one on each side. "
        "Add images, or make train/, val/ and test/ folders."
    )


def read_pins(folder: Path) -> dict[str, str]:
    """Read the pins of a folder; none where it has no such file.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / PINS_FILE
    if not path.is_file():
        return {}
    try:
        pins = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(value, str) for value in pins.values()):
            raise ValueError("expected SHA-256 to side")
    except (ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged ({error}). Put it back, or delete it and let the sides be chosen anew."
        ) from None
    return dict(pins)


def write_pins(folder: Path, pins: Mapping[str, str]) -> str:
    """Write the pins down and return a sentence for the user."""
    try:
        write_json(folder / PINS_FILE, dict(pins))
    except OutputError:
        return (
            f"{folder} is too small to be split by content alone, and cannot be written: the side of "
            f"{len(pins)} images may change when others are added. Make train/, val/ and test/ folders."
        )
    return f"{folder} is too small to be split by content alone: wrote {folder / PINS_FILE}, keep it with the images."
