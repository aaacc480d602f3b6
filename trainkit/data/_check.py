"""What is in a data set, and what is wrong with it, before anything is trained on it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainkit.data._duplicates import Duplicates, Group, LabelledFile, find_duplicates
from trainkit.data._folders import check_listing, choose_sides_of, inspect_listing, label, list_folder, usable_images
from trainkit.data._inspection import inspect_files
from trainkit.data._reading import AS_NAMED, Reading
from trainkit.data._split import PINS_FILE, read_pins
from trainkit.data._tables import SUFFIXES, choose_sides_of_rows, read_files
from trainkit.errors import DataError
from trainkit.files import write_json

VALIDATION = 0.1  # the share that `train` holds out unless told otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCheck:
    """What was found in a data set."""

    data: Path
    files: list[LabelledFile]  # also those that cannot be used
    repeats: Duplicates
    chosen_sides: list[str] = field(default_factory=list)  # that have no folder: `train` chooses them by the content
    refusal: str | None = None  # the sentence with which `train` would end
    hidden: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)  # symbolic links that leave the folder
    strays: list[Path] = field(default_factory=list)  # beside the class folders

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
        return _count_classes(self.files)

    @property
    def sides(self) -> dict[str, dict[str, int]]:
        """Usable images by side and class."""
        by_side = {side: [file for file in self.files if file.side == side] for side in ("train", "val", "test")}
        return {side: _count_classes(files) for side, files in by_side.items() if files}

    @property
    def imbalance(self) -> float | None:
        """How many times as many images the largest class has as the smallest; `None` where that means nothing."""
        counts = self.classes.values()
        return max(counts) / min(counts) if len(counts) > 1 and min(counts) else None

    @property
    def own_leaks(self) -> list[Group]:
        """The leaks that `train` itself would make, by choosing sides for pictures that look alike."""
        own = {"train", *self.chosen_sides}
        return [group for group in self.repeats.leaks if self.chosen_sides and {file.side for file in group} <= own]

    @property
    def spoiled_by(self) -> list[str]:
        """What should be put right before anything is trained on this: keys of the document."""
        document = self.to_json()
        return [key for key in ("leaks", "contradictions", "unreadable", "refusal") if document[key]]

    def to_json(self) -> dict[str, Any]:
        """Return everything for a JSON document; paths are absolute."""
        usable = [labelled.file for labelled in self.usable]
        return {
            "data": to_text(self.data),
            "images": len(usable),
            "classes": self.classes,
            "imbalance": self.imbalance,
            "sides": self.sides,
            "chosen_sides": self.chosen_sides,
            "sizes": _count(f"{file.width}x{file.height}" for file in usable),
            "modes": _count(file.mode for file in usable),
            "formats": _count(file.format for file in usable),
            "orientations": _count(str(file.orientation) for file in usable),
            "unreadable": _paths(self.unreadable),
            "problems": {to_text(labelled.file.path): labelled.file.problem for labelled in self.unreadable},
            "duplicates": list(map(_paths, self.repeats.duplicates)),
            "near_duplicates": list(map(_paths, self.repeats.near_duplicates)),
            "contradictions": list(map(_paths, self.repeats.contradictions)),
            "leaks": list(map(_paths, self.repeats.leaks)),
            "hidden": list(map(to_text, self.hidden)),
            "links": list(map(to_text, self.links)),
            "strays": list(map(to_text, self.strays)),
            "refusal": self.refusal,
        }


def check_images(files: Sequence[LabelledFile], *, data: Path) -> DataCheck:
    """Report on images whose classes and sides are known, wherever they are from.

    Args:
        files: inspected already, those with a problem too.
        data: the folder or table that they are from.
    """
    return DataCheck(data=data, files=list(files), repeats=find_duplicates(files))


def check_data(
    data: str | os.PathLike[str], *, validation: float = VALIDATION, reading: Reading | None = None
) -> DataCheck:
    """Report on a folder or a table, see `check_folder` and `check_table`.

    Raises:
        DataError: there is no such data, or it cannot be read.
    """
    path = Path(data)
    if path.suffix.lower() in SUFFIXES and not os.path.isdir(path):
        return check_table(path, validation=validation, reading=reading or AS_NAMED)
    return check_folder(path, validation=validation, reading=reading or AS_NAMED)


def check_table(path: Path, *, validation: float = VALIDATION, reading: Reading = AS_NAMED) -> DataCheck:
    """Report on the images of a table as `train` sees them.

    Raises:
        DataError: it is no table, labels are missing or contradict, or images are missing.
    """
    files, _ = read_files(path, reading)
    refusal, chosen = None, []
    try:
        sides, _ = choose_sides_of_rows(path, files, validation=validation)
        chosen = sorted(set(sides) - {"train"} - {str(labelled.side) for labelled in files})
        bad = [labelled for labelled in files if labelled.file.problem]
        files = [labelled for of_side in sides.values() for labelled in of_side] + bad
    except DataError as error:
        refusal = str(error)
    return replace(check_images(files, data=path), chosen_sides=chosen, refusal=refusal)


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
    strays, refusal, chosen = listing.strays, None, []
    try:
        check_listing(listing)
        sides, _ = choose_sides_of(listing, usable_images(listing, images)[0], validation=validation)
        chosen = [side for side in sides if side not in listing.parts]
        files = label(sides) + [labelled for labelled in files if labelled.file.problem]
    except DataError as error:
        refusal = str(error)
        if not listing.has_parts:
            files = [replace(labelled, side=None) for labelled in files]
        if not any(listing.files.values()):
            files, strays = [LabelledFile(file, (), None) for file in inspect_files(strays)], []
    return replace(
        check_images(files, data=folder),
        chosen_sides=chosen,
        refusal=refusal,
        hidden=listing.hidden,
        links=listing.links,
        strays=strays,
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


def _count_classes(files: Iterable[LabelledFile]) -> dict[str, int]:
    counts = Counter({name: 0 for labelled in files for name in labelled.labels})
    counts.update(name for labelled in files if not labelled.file.problem for name in labelled.labels)
    return dict(sorted(counts.items()))


def _count(values: Iterable[str]) -> dict[str, int]:
    """Return how often each value comes, the most frequent first."""
    return dict(Counter(values).most_common())


def _paths(group: Group) -> list[str]:
    return [to_text(labelled.file.path) for labelled in group]


def to_text(path: Path) -> str:
    """Return a path, absolute, as it can be printed: bytes that are not UTF-8 in hexadecimal."""
    return os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")
