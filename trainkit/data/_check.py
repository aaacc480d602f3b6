"""What is in a data set, and what is wrong with it, before anything is trained on it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.data._arrays._labelled import choose_sides_of_arrays, read_arrays, without_tests
from trainkit.data._arrays._repeats import label_images, show_image
from trainkit.data._folders._listing import (
    check_listing,
    choose_sides_of,
    inspect_listing,
    label,
    list_folder,
    missing_classes,
    usable_images,
)
from trainkit.data._folders._tree import holds_pictures
from trainkit.data._groups import warn_of_spread
from trainkit.data._inspection import inspect_files, read_image
from trainkit.data._kinds import kind_of
from trainkit.data._reading import AS_NAMED, Reading, check_applies
from trainkit.data._repeats._duplicates import Duplicates, Group, LabelledColumns, LabelledFile, find_duplicates
from trainkit.data._split import PINS_FILE, read_pins
from trainkit.data._tables._table import choose_sides_of_rows, read_files
from trainkit.errors import DataError
from trainkit.files import write_json

VALIDATION = 0.1  # the share that `train` holds out unless told otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCheck:
    """What was found in a data set."""

    data: Path
    files: Sequence[LabelledFile]  # also those that cannot be used; of arrays, objects that are made when asked for
    repeats: Duplicates
    can_pin: bool = True  # whether sides of single images can be written down beside them
    chosen_sides: list[str] = field(default_factory=list)  # that have no folder: `train` chooses them by the content
    show: Callable[[Path], np.ndarray] = field(default=read_image, repr=False)  # uint8 BGR, of one of the files
    refusal: str | None = None  # the sentence with which `train` would end
    hidden: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)  # symbolic links that leave the folder
    strays: list[Path] = field(default_factory=list)  # beside the class folders
    left_out: list[Path] = field(default_factory=list)  # folders that `train` does not look into
    missed: list[Path] = field(default_factory=list)  # of these, those with images, where nobody has named the sides
    warnings: list[str] = field(default_factory=list)  # how it was read, where names do not say all

    @property
    def usable(self) -> list[LabelledFile]:
        """The files that are images."""
        return [labelled for labelled in self.files if not labelled.file.problem]

    @property
    def unreadable(self) -> list[LabelledFile]:
        """The files that are not."""
        return [labelled for labelled in self.files if labelled.file.problem]

    @property
    def classes(self) -> dict[str, int]:
        """Usable images by class, also where a class has none; an image with several labels counts for each."""
        return _count(self.files).classes

    @property
    def sides(self) -> dict[str, dict[str, int]]:
        """Usable images by side and class."""
        return _count(self.files).sides

    @property
    def imbalance(self) -> float | None:
        """How many times as many images the largest class has as the smallest; `None` where that means nothing."""
        return _imbalance(self.classes)

    @property
    def own_leaks(self) -> list[Group]:
        """The leaks that `train` itself would make, by choosing sides for pictures that look alike.

        Those that `keep_together` can close: for arrays none.
        """
        if not self.can_pin:
            return []
        own = {"train", *self.chosen_sides}
        return [group for group in self.repeats.leaks if self.chosen_sides and {file.side for file in group} <= own]

    @property
    def spoiled_by(self) -> list[str]:
        """What should be put right before anything is trained on this: keys of the document."""
        document = self.to_json()
        found = [key for key in ("leaks", "contradictions", "unreadable", "refusal") if document[key]]
        return [*found, "left_out"] if self.missed else found

    def to_json(self) -> dict[str, Any]:
        """Return everything for a JSON document; paths are absolute."""
        counts = _count(self.files)
        return {
            "data": to_text(self.data),
            "images": counts.images,
            "classes": counts.classes,
            "imbalance": _imbalance(counts.classes),
            "sides": counts.sides,
            "chosen_sides": self.chosen_sides,
            "sizes": counts.most_common("size"),
            "modes": counts.most_common("mode"),
            "formats": counts.most_common("format"),
            "orientations": counts.most_common("orientation"),
            "unreadable": _paths(counts.unreadable),
            "problems": {to_text(labelled.file.path): labelled.file.problem for labelled in counts.unreadable},
            "duplicates": list(map(_paths, self.repeats.duplicates)),
            "near_duplicates": list(map(_paths, self.repeats.near_duplicates)),
            "contradictions": list(map(_paths, self.repeats.contradictions)),
            "leaks": list(map(_paths, self.repeats.leaks)),
            "hidden": list(map(to_text, self.hidden)),
            "links": list(map(to_text, self.links)),
            "strays": list(map(to_text, self.strays)),
            "left_out": list(map(to_text, self.left_out)),
            "warnings": self.warnings,
            "refusal": self.refusal,
        }


def check_images(
    files: Sequence[LabelledFile], *, data: Path, show: Callable[[Path], np.ndarray] | None = None
) -> DataCheck:
    """Report on images whose classes and sides are known, wherever they are from.

    Args:
        files: inspected already, those with a problem too.
        data: the folder, table or arrays that they are from.
        show: returns an image by its path, where the paths are of no files.
    """
    kept = files if isinstance(files, LabelledColumns) else list(files)
    return DataCheck(data=data, files=kept, repeats=find_duplicates(kept, show=show), show=show or read_image)


def check_data(
    data: str | os.PathLike[str], *, validation: float = VALIDATION, reading: Reading | None = None
) -> DataCheck:
    """Report on a folder, a table or arrays, see `check_folder`, `check_table` and `check_arrays`.

    Raises:
        DataError: there is no such data, or it cannot be read.
        UsageError: the reading says something that means nothing for this kind of data.
    """
    path, reading = Path(data), reading or AS_NAMED
    kind = kind_of(path)
    check_applies(reading, kind, str(data))
    if kind == "table":
        return check_table(path, validation=validation, reading=reading)
    if kind == "arrays":
        return check_arrays(path, validation=validation, reading=reading)
    return check_folder(path, validation=validation, reading=reading)


def check_table(path: Path, *, validation: float = VALIDATION, reading: Reading = AS_NAMED) -> DataCheck:
    """Report on the images of a table as `train` sees them.

    Raises:
        DataError: it is no table, labels are missing or contradict, or images are missing.
    """
    files, warnings = read_files(path, reading)
    refusal, chosen = None, []
    try:
        sides, bound = choose_sides_of_rows(path, files, validation=validation, reading=reading)
        warnings += bound.warnings
        chosen = sorted(set(sides) - {"train"} - {str(labelled.side) for labelled in files})
        bad = [labelled for labelled in files if labelled.file.problem]
        files = [labelled for of_side in sides.values() for labelled in of_side] + bad
    except DataError as error:
        refusal = str(error)
    return replace(check_images(files, data=path), chosen_sides=chosen, refusal=refusal, warnings=warnings)


def check_arrays(path: Path, *, validation: float = VALIDATION, reading: Reading = AS_NAMED) -> DataCheck:
    """Report on the images of an `.npz` file as `train` sees them; each is called by its array and its number.

    Raises:
        DataError: they are no images, no classes, or do not go together.
    """
    arrays = without_tests(read_arrays(path), reading)
    refusal, sides = None, dict.fromkeys(arrays.images)
    try:
        sides = choose_sides_of_arrays(arrays, validation=validation, reading=reading)
    except DataError as error:
        refusal = str(error)
    files = label_images(arrays, sides, path=path, known_sides=len(sides) > 1 or not refusal)
    return replace(
        check_images(files, data=path, show=partial(show_image, arrays)),
        chosen_sides=sorted(sides.keys() - arrays.images.keys()),
        can_pin=False,
        refusal=refusal,
        warnings=arrays.warnings,
    )


def check_folder(folder: Path, *, validation: float = VALIDATION, reading: Reading = AS_NAMED) -> DataCheck:
    """Report on a folder as `train` sees it, and as far as possible where `train` would refuse it.

    Args:
        folder: of class folders, or of `train/`, `val/` and `test/` that have them, or of images.
        validation: the share that `train` would hold out; it decides which pictures are on different sides.
        reading: which folders are sides, and where the classes stand.

    Raises:
        DataError: there is no such folder, or it cannot be read.
    """
    listing = list_folder(folder, reading)
    images = inspect_listing(listing)
    files = label(images)
    strays, refusal, chosen = listing.aside.strays, None, []
    try:
        check_listing(listing)
        usable, _ = usable_images(listing, images)
        listing.warnings.extend(missing_classes(listing, usable))
        split = choose_sides_of(listing, usable, validation=validation, reading=reading)
        sides = split.images
        chosen = [side for side in sides if side not in listing.files]
        usable_files = label(sides, group_by=reading.group_by, folder=folder)
        listing.warnings.extend([*split.warnings, *warn_of_spread(usable_files)])
        files = usable_files + [labelled for labelled in files if labelled.file.problem]
    except DataError as error:
        refusal = str(error)
        if not listing.layout.has_sides:
            files = [replace(labelled, side=None) for labelled in files]
        if not any(listing.files.values()):
            files, strays = [LabelledFile(file, (), None) for file in inspect_files(strays)], []
    return replace(
        check_images(files, data=folder),
        chosen_sides=chosen,
        refusal=refusal,
        hidden=listing.aside.hidden,
        links=listing.aside.links,
        strays=strays,
        left_out=listing.left_out,
        missed=[] if reading.sides else [path for path in listing.left_out if holds_pictures(path)],
        warnings=listing.warnings,
    )


def keep_together(check: DataCheck) -> None:
    """Write down beside the images that those of each of our own leaks are for training, from now on.

    `train` does not do this by itself. No rule can both keep pictures that look alike together and leave every file on
    its side when others are added: one that looks like a picture for training and like one for testing may come.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = check.data if check.data.is_dir() else check.data.parent
    pins = {labelled.file.sha256: "train" for group in check.own_leaks for labelled in group}
    if pins:
        write_json(folder / PINS_FILE, {**read_pins(folder), **pins})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """How many images there are, of which kinds."""

    images: int  # that can be used
    unreadable: Group
    classes: dict[str, int]  # also where a class has none
    sides: dict[str, dict[str, int]]
    facts: Counter[tuple[str, str]]  # what is counted, and which

    def most_common(self, what: str) -> dict[str, int]:
        """Return how often each value of a fact comes, the most frequent first."""
        return dict(
            Counter({value: count for (kind, value), count in self.facts.items() if kind == what}).most_common()
        )


def _count(files: Iterable[LabelledFile]) -> _Counts:
    """Go through the images once: of a million in arrays, each is made for this and forgotten."""
    unreadable: Group = []
    of_side: dict[str | None, Counter[str]] = {}
    facts: Counter[tuple[str, str]] = Counter()
    images = 0
    for labelled in files:
        file, counts = labelled.file, of_side.setdefault(labelled.side, Counter())
        usable = 0 if file.problem else 1
        for name in labelled.labels:
            counts[name] += usable
        if not usable:
            unreadable.append(labelled)
            continue
        images += 1
        facts["size", f"{file.width}x{file.height}"] += 1
        facts["mode", file.mode] += 1
        facts["format", file.format] += 1
        facts["orientation", str(file.orientation)] += 1
    together: Counter[str] = Counter()
    for counts in of_side.values():
        for name, count in counts.items():
            together[name] += count
    return _Counts(
        images=images,
        unreadable=unreadable,
        classes=dict(sorted(together.items())),
        sides={side: dict(sorted(of_side[side].items())) for side in ("train", "val", "test") if side in of_side},
        facts=facts,
    )


def _imbalance(classes: Mapping[str, int]) -> float | None:
    counts = classes.values()
    return max(counts) / min(counts) if len(counts) > 1 and min(counts) else None


def _paths(group: Group) -> list[str]:
    return [to_text(labelled.file.path) for labelled in group]


def to_text(path: Path) -> str:
    """Return a path, absolute, as it can be printed: bytes that are not UTF-8 in hexadecimal."""
    return os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")
