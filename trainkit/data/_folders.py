"""Class folders: `FOLDER/<class name>/*.jpg`, or the same under `train/`, `val/` and `test/`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from trainkit.data._duplicates import LabelledFile, find_duplicates, warnings_of
from trainkit.data._inspection import ImageFile, inspect_files
from trainkit.data._reading import AS_NAMED, Reading
from trainkit.data._split import PINS_FILE, choose_sides, read_pins, shares_of, write_pins
from trainkit.errors import DataError

_PART_FOLDERS = {"val": ("val", "validation", "valid"), "test": ("test",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What lies in a folder, by name only."""

    folder: Path
    parts: dict[str, Path]  # side to folder; only `train`, the folder itself, where it has no such folders
    files: dict[str, dict[str, list[Path]]]  # side, class name, files in order
    strays: list[Path] = field(default_factory=list)  # files beside the class folders
    others: list[Path] = field(default_factory=list)  # folders beside `train/`, `val/` and `test/`
    hidden: list[Path] = field(default_factory=list)  # files and folders whose name begins with a dot
    links: list[Path] = field(default_factory=list)  # symbolic links that leave the folder

    @property
    def has_parts(self) -> bool:
        """Whether somebody has chosen sides: there are folders for them."""
        return self.parts.get("train") != self.folder


Images = dict[str, dict[str, list[ImageFile]]]  # side, class name, images


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFolders:
    """The usable images of a folder, by side, and what there is to say about the others."""

    class_names: list[str]
    sides: dict[str, list[tuple[ImageFile, int]]]  # train, val, test: the image and its class
    warnings: list[str]


def read_class_folders(folder: Path, *, validation: float, reading: Reading = AS_NAMED) -> ClassFolders:
    """Look at every image of a folder and put it on its side.

    Args:
        folder: has class folders, or `train/` and perhaps `val/` and `test/` that have them.
        validation: the share of the training images that is held out where there is no `val/`; 0 for none.
        reading: which folders are sides, and where the classes stand.

    Raises:
        DataError: no such folder, fewer than two classes, or a class without a usable image.
    """
    listing = list_folder(folder, reading)
    check_listing(listing)
    images = inspect_listing(listing)
    usable, warnings = usable_images(listing, images)
    sides, pins = choose_sides_of(listing, usable, validation=validation)
    if pins:
        contents = {name: [file.sha256 for file in files] for name, files in usable["train"].items()}
        warnings.append(write_pins(folder, pins, contents))
    warnings += warnings_of(find_duplicates(label(sides)), folder)
    class_names = list(sides["train"])
    return ClassFolders(
        class_names=class_names,
        sides={
            side: [(file, index) for index, name in enumerate(class_names) for file in of_class[name]]
            for side, of_class in sides.items()
        },
        warnings=warnings,
    )


def label(images: Images) -> list[LabelledFile]:
    """Return the images one by one, with class and side."""
    return [
        LabelledFile(file, (name,), side)
        for side, of_class in images.items()
        for name, files in of_class.items()
        for file in files
    ]


def list_folder(folder: Path, reading: Reading = AS_NAMED) -> Listing:
    """List what lies in a folder, whatever is wrong with it; hidden files and links that leave it are set apart.

    Raises:
        DataError: there is no such folder, or it cannot be read.
    """
    if os.path.isfile(folder):
        raise DataError(f"{folder} is a file. Expected a folder with one folder of images for each class.")
    if not os.path.isdir(folder):
        raise DataError(f"No such folder: {folder}. Expected a folder with one folder of images for each class.")
    parts = _part_folders(folder)
    listing = Listing(folder=folder, parts=parts, files={side: {} for side in parts})
    sides = {part: side for side, part in parts.items()}
    for top in dict.fromkeys([folder, *parts.values()]):
        _list_top(top, sides, listing)
    for paths in (listing.strays, listing.others, listing.hidden, listing.links):
        paths.sort()
    return listing


def _list_top(top: Path, sides: dict[Path, str], listing: Listing) -> None:
    """List a folder that has class folders, or folders that have them."""
    inside = [os.path.realpath(path) for path in (listing.folder, top)]
    for entry in _entries(top):
        path = Path(entry.path)
        if entry.name.startswith("."):
            _note_hidden(path, listing)
            continue
        if entry.is_symlink() and not _is_within(path, inside):
            listing.links.append(path)
        if not os.path.isdir(path):
            listing.strays.append(path)
        elif top in sides:  # a linked class is followed wherever it leads: its owner has put it there
            real = os.path.realpath(path)
            listing.files[sides[top]][entry.name] = sorted(_walk(path, [*inside, real], {real}, listing))
        elif path not in sides:
            listing.others.append(path)


def _part_folders(folder: Path) -> dict[str, Path]:
    """Return side to folder. `train` is a part only when it holds folders: it may also be a class of railway photos."""
    found = {"train": folder / "train"} if _has_subfolders(folder / "train") else {}
    for side, names in _PART_FOLDERS.items():
        there = [folder / name for name in names if (folder / name).is_dir()]
        if there and (found or (not (folder / "train").exists() and _has_subfolders(there[0]))):
            found[side] = there[0]
    return found or {"train": folder}


def _has_subfolders(folder: Path) -> bool:
    if not os.path.isdir(folder):
        return False
    return any(os.path.isdir(entry.path) and not entry.name.startswith(".") for entry in _entries(folder))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"Cannot read {folder}: {error.strerror}.") from error


def _walk(folder: Path, inside: Sequence[str], seen: set[str], listing: Listing) -> list[Path]:
    """Return every file below a folder; note what is hidden and what leads outside, and enter no folder twice."""
    files = []
    for entry in _entries(folder):
        path = Path(entry.path)
        if entry.name.startswith("."):
            _note_hidden(path, listing)
            continue
        real = os.path.realpath(path)
        leaves = entry.is_symlink() and not _is_within(path, inside)
        upwards = entry.is_symlink() and _is_within(folder, [real])
        if leaves:
            listing.links.append(path)
        if not os.path.isdir(path):  # unlike the entry's own, false for a link that leads in a circle
            files.append(path)
        elif not leaves and not upwards and real not in seen:
            seen.add(real)
            files += _walk(path, inside, seen, listing)
    return files


def _note_hidden(path: Path, listing: Listing) -> None:
    if path.name != PINS_FILE:  # is ours
        listing.hidden.append(path)


def _is_within(path: Path, folders: Sequence[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == folder or real.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def check_listing(listing: Listing) -> None:
    """Raise unless a model can be trained on the folder, as far as names tell.

    Raises:
        DataError: fewer than two classes, parts that do not fit together, or a class without files.
    """
    folder, parts = listing.folder, listing.parts
    if "train" not in parts:
        side = min(parts)
        raise DataError(f"{folder} has {parts[side].name}/ but no train/. Expected {folder}/train/<class name>/*.jpg")
    class_names = list(listing.files["train"])
    if not class_names:
        raise DataError(f"No class folders in {parts['train']}. Expected {parts['train']}/<class name>/*.jpg")
    if len(class_names) == 1:
        raise DataError(f"Only one class in {parts['train']}: `{class_names[0]}`. Expected at least two class folders.")
    for name in class_names:
        if not name.isprintable():
            raise DataError(
                f"The class folder {name!r} in {parts['train']} has a name that cannot be printed. Rename it."
            )
    for side, part in parts.items():
        if strangers := listing.files[side].keys() - set(class_names):
            raise DataError(
                f"{part} has class folders that train/ has not: {', '.join(sorted(strangers))}. Add or remove them."
            )


def inspect_listing(listing: Listing) -> Images:
    """Look at every file."""
    paths = [path for of_class in listing.files.values() for paths in of_class.values() for path in paths]
    looked_at = iter(inspect_files(paths))
    return {
        side: {name: list(islice(looked_at, len(paths))) for name, paths in of_class.items()}
        for side, of_class in listing.files.items()
    }


def usable_images(listing: Listing, images: Images) -> tuple[Images, list[str]]:
    """Return the images that can be used, and what there is to say about the others.

    Raises:
        DataError: a class has none.
    """
    warnings: list[str] = []
    if listing.others:
        names = ", ".join(path.name for path in listing.others)
        warnings.append(f"{listing.folder} has train/, so the folders beside it are left out: {names}")
    if listing.links:
        names = ", ".join(map(str, listing.links[:3])) + (
            f" and {more} more" if (more := len(listing.links) - 3) > 0 else ""
        )
        warnings.append(f"Symbolic links leave {listing.folder}, which is not the whole of the data then: {names}")
    usable = {
        side: {name: _usable(listing.parts[side] / name, of_class.get(name, []), warnings) for name in images["train"]}
        for side, of_class in images.items()
    }
    return usable, warnings


def _usable(folder: Path, files: list[ImageFile], warnings: list[str]) -> list[ImageFile]:
    if not files:
        raise DataError(f"No images in {folder}. Expected {folder}/*.jpg")
    bad = [file for file in files if file.problem]
    if len(bad) == len(files):
        raise DataError(
            f"No usable image in {folder}: {bad[0].path.name} {bad[0].problem} ({len(bad)} of {len(files)} left out). "
            "Put JPEG or PNG images there."
        )
    if bad:
        named = "; ".join(f"{file.path.name} {file.problem}" for file in bad[:20])
        more = f"; and {len(bad) - 20} more" if len(bad) > 20 else ""
        warnings.append(f"Left out {len(bad)} of {len(files)} files in {folder}: {named}{more}")
    return [file for file in files if not file.problem]


def choose_sides_of(listing: Listing, images: Images, *, validation: float) -> tuple[Images, dict[str, str]]:
    """Put the images on their sides, and say which pins have to be written for them to stay there.

    Raises:
        DataError: a class has too few images to be split.
    """
    shares = shares_of(images, validation)
    if not shares:
        return images, {}
    pins = read_pins(listing.folder)
    contents = {name: [file.sha256 for file in files] for name, files in images["train"].items()}
    sides, added = choose_sides(contents, shares, pins)
    chosen = {
        side: {name: [file for file in files if sides[file.sha256] == side] for name, files in images["train"].items()}
        for side in (*shares, "train")
    }
    return {**images, **chosen}, {**pins, **added} if added else {}


def inspect_folder(folder: Path) -> list[ImageFile]:
    """Return every usable image below a folder, whatever its class.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"No such folder: {folder}. Expected a folder of images.")
    usable = [file for file in inspect_files(files_below(folder)) if not file.problem]
    if not usable:
        raise DataError(f"No usable image in {folder}. Expected {folder}/*.jpg")
    return usable


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder, without hidden ones."""
    real = os.path.realpath(folder)
    listing = Listing(folder=folder, parts={}, files={})
    files = _walk(folder, [real], {real}, listing)
    return sorted(files)
