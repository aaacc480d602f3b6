"""Which image is on which side: training, validation or test.

The side follows from a hash of the file's content alone, so a file keeps its side when others are added, renamed or
moved, and copies of one picture stay together. A class so small that a side would stay empty gets one image pinned to
that side, and the pin is written down beside the images: no rule without a memory can fill every side and also never
move a file.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from trainkit.errors import DataError, OutputError
from trainkit.files import write_json

PINS_FILE = ".trainkit-split.json"
_NAMED = 5  # of many, in a sentence
TEST_SHARE = 0.1  # of the images, where nobody has chosen any side


def shares_of(chosen: Collection[str], validation: float) -> dict[str, float]:
    """Return the sides that are split off the training images, and their shares of these.

    Args:
        chosen: the sides that somebody has chosen images for; `train` counts for nothing.
        validation: the share that is held out for validation where there is no such side; 0 for none.
    """
    shares = {} if "val" in chosen or validation == 0 else {"val": validation}
    if "val" in chosen or "test" in chosen:
        return shares
    return {"test": TEST_SHARE, **{side: share * (1 - TEST_SHARE) for side, share in shares.items()}}


def choose_sides(
    contents: Mapping[str, list[str]],
    shares: Mapping[str, float],
    pins: Mapping[str, str],
    *,
    what: str = "different images",
) -> tuple[dict[str, str], dict[str, str]]:
    """Choose a side for every content.

    Args:
        contents: class name to the SHA-256 of its images; one image may be in several classes.
        shares: side to its share, 0 to 1; what is left is `train`.
        pins: SHA-256 to side, from earlier runs.
        what: that is split, in words.

    Returns:
        SHA-256 to side, and the pins that had to be added.

    Raises:
        DataError: a class has fewer different images of its own than there are sides.
    """
    classes_of: dict[str, list[str]] = defaultdict(list)
    for class_name, hashes in contents.items():
        for sha in set(hashes):
            classes_of[sha].append(class_name)
    sides = {sha: natural_side(sha, shares, pins) for sha in sorted(classes_of)}
    counts = {name: Counter(sides[sha] for sha in set(hashes)) for name, hashes in contents.items()}
    added: dict[str, str] = {}
    wanted = [*shares, "train"]
    for class_name, hashes in contents.items():
        if len(set(hashes)) < len(wanted):
            raise DataError(
                f"Class `{class_name}` has {len(set(hashes))} {what}. Expected at least {len(wanted)}, one "
                f"for each of {', '.join(wanted)}. Add images, or choose the sides yourself: train/, val/ and test/ "
                "folders, or a column `split`."
            )
        for side in wanted:
            if not counts[class_name][side]:
                sha = _spare(class_name, set(hashes), sides, counts, classes_of, pins)
                for name in classes_of[sha]:
                    counts[name].subtract({sides[sha]: 1, side: -1})
                sides[sha] = added[sha] = side
    return sides, added


def natural_side(sha256: str, shares: Mapping[str, float], pins: Mapping[str, str]) -> str:
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


def _spare(
    class_name: str,
    hashes: set[str],
    sides: Mapping[str, str],
    counts: Mapping[str, Counter[str]],
    classes_of: Mapping[str, list[str]],
    pins: Mapping[str, str],
) -> str:
    """Return an image that can leave its side: none of its classes has it as the last one there.

    One that is not pinned comes first, then one that has no other class, then one from the side that has the most.
    """
    movable = [sha for sha in hashes if all(counts[name][sides[sha]] > 1 for name in classes_of[sha])]
    if not movable:
        raise DataError(
            f"Class `{class_name}` has too few images that no other class has as well, to put one on each side. "
            "Add images, or choose the sides yourself: train/, val/ and test/ folders, or a column `split`."
        )
    return min(movable, key=lambda sha: (sha in pins, len(classes_of[sha]) > 1, -counts[class_name][sides[sha]], sha))


_MAX_PINS_BYTES = 2**26  # an image has 75


def read_pins(folder: Path) -> dict[str, str]:
    """Read the pins of a folder; none where it has no such file.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / PINS_FILE
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > _MAX_PINS_BYTES:
            raise ValueError(f"it has more than {_MAX_PINS_BYTES} bytes")
        pins = json.loads(path.read_text(encoding="utf-8"))
        if not all(value in ("train", "val", "test") for value in pins.values()):
            raise ValueError("expected SHA-256 to side")
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} is damaged ({error}). Put it back, or delete it and let the sides be chosen anew."
        ) from error
    return dict(pins)


def write_pins(data: Path, pins: Mapping[str, str], contents: Mapping[str, Collection[str]]) -> str:
    """Write the pins down beside the images and return a sentence for the user.

    Args:
        data: the folder, or the table.
        pins: SHA-256 to side: those of before, and those that had to be added.
        contents: class name to the SHA-256 of its images that a side was chosen for.
    """
    path = (data if data.is_dir() else data.parent) / PINS_FILE
    before = read_pins(path.parent)
    added = {sha: side for sha, side in pins.items() if before.get(sha) != side}
    sentence = f"{data}: by chance, {_in_words(added, contents)}; an image was put there for each."
    try:
        write_json(path, dict(pins))
    except OutputError as error:
        return (
            f"{sentence} This could not be written down ({error}): the side of {len(added)} images may change when "
            "others are added. Make train/, val/ and test/ folders, or a column `split`."
        )
    return f"{sentence} Wrote {path}, keep it with the images."


def _in_words(added: Mapping[str, str], contents: Mapping[str, Collection[str]]) -> str:
    """Return which classes the added pins were for: "class `cat` got no test image"."""
    without: dict[str, list[str]] = {}  # by side: several classes may share an image
    for name, hashes in contents.items():
        for side in dict.fromkeys(added[sha] for sha in hashes if sha in added):
            without.setdefault(side, []).append(f"`{name}`")
    parts = []
    for side, names in without.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        kind = "class" if len(names) == 1 else "classes"
        parts.append(f"{kind} {', '.join(names[:_NAMED])}{more} got no {side} image")
    return ", ".join(parts)
