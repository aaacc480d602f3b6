"""The sides of pictures of which some belong together: those of one group, those that look alike, and whole folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from trainkit.data._folds import hold_out
from trainkit.data._groups import alike_contents, bind
from trainkit.data._reading import Reading
from trainkit.data._repeats._duplicates import LabelledFile, find_duplicates
from trainkit.data._split import choose_sides, natural_side, shares_of

TESTS_STAY_OUT = "The data has images for testing of its own: they stay out of the folds, for the end."
WHAT = "groups of images that stay together"


@dataclass(frozen=True, slots=True)
class Bound:
    """The side of each picture, and what there is to write down and to say."""

    sides: list[str]
    pins: dict[str, str] = field(default_factory=dict)  # that had to be added, and those of before
    contents: dict[str, list[str]] = field(default_factory=dict)  # class name to the keys of its groups
    warnings: list[str] = field(default_factory=list)


def choose_bound_sides(
    files: Sequence[LabelledFile],
    *,
    chosen: Collection[str],
    validation: float,
    reading: Reading,
    pins: Mapping[str, str],
) -> Bound:
    """Choose a side for every picture, so that what belongs together is on one: also near-duplicates.

    Args:
        files: the usable ones that nobody has chosen a side for, with their groups.
        chosen: the sides that somebody has chosen images for.
        validation: the share that is held out for validation where there is no such side; 0 for none.
        reading: says what belongs together, and which fold is held out.
        pins: SHA-256 to side, from earlier runs.

    Raises:
        DataError: there are too few groups.
    """
    contents = [labelled.file.sha256 for labelled in files]
    key_of = bind(contents, [labelled.group for labelled in files], alike_contents(find_duplicates(files)))
    keys, labels = [key_of[content] for content in contents], [labelled.labels for labelled in files]
    return choose_bound(keys, labels, chosen=chosen, validation=validation, reading=reading, pins=pins)


def choose_bound(
    keys: Sequence[str],
    labels: Sequence[Sequence[str]],
    *,
    chosen: Collection[str],
    validation: float,
    reading: Reading,
    pins: Mapping[str, str],
) -> Bound:
    """Choose a side for every picture, equal keys on one; otherwise as `choose_bound_sides`."""
    if reading.fold_held_out is not None:
        fold, folds = reading.fold_held_out
        share = 0.0 if "val" in chosen else validation
        sides, warnings = hold_out(keys, labels, fold=fold, folds=folds, validation=share)
        if "test" in chosen:
            warnings.append(TESTS_STAY_OUT)
        return Bound(sides, warnings=warnings)
    of_class: dict[str, list[str]] = {}
    for key, of_image in zip(keys, labels, strict=True):
        for name in of_image:
            of_class.setdefault(name, []).append(key)
    shares = shares_of(chosen, validation)
    if not shares:
        return Bound(["train"] * len(keys))
    side_of, added = choose_sides(of_class, shares, pins, what=WHAT)
    sides = [side_of.get(key) or natural_side(key, shares, pins) for key in keys]
    return Bound(sides, {**pins, **added} if added else {}, of_class, _warn_of_few(keys, sides))


def _warn_of_few(keys: Sequence[str], sides: Sequence[str]) -> list[str]:
    """Say so where little is left to learn from: a side follows from a group's name alone, however large it is."""
    left = sides.count("train")
    if 2 * left >= len(sides):
        return []
    key, most = Counter(keys).most_common(1)[0]
    return [
        f"Only {left:,} of {len(sides):,} images are for training: they are {len(set(keys))} groups that stay "
        f"together, the largest of {most:,} images for {sides[keys.index(key)]}. Choose the sides yourself (train/, "
        "val/ and test/ folders, or a column `split`), or use `trainkit cross-validate`."
    ]
