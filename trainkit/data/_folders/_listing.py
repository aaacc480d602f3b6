"""Class folders: `FOLDER/<class name>/*.jpg`, or the same under `train/`, `val/` and `test/`."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from trainkit.data._binding import choose_bound_sides
from trainkit.data._folders._labels import in_words, label_of
from trainkit.data._folders._layout import Layout, recognize
from trainkit.data._folders._names import judge_names
from trainkit.data._folders._tree import Aside, entries, files_below, is_picture, is_within, walk
from trainkit.data._folders._unclear import suggest
from trainkit.data._groups import groups_in_names, warn_of_spread
from trainkit.data._inspection import ImageFile, inspect_files
from trainkit.data._reading import AS_NAMED, Reading, check_group_in_names
from trainkit.data._repeats._duplicates import LabelledFile, find_duplicates, warnings_of
from trainkit.data._sides import is_junk
from trainkit.data._split import choose_sides, read_pins, shares_of, write_pins
from trainkit.errors import DataError

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What lies in a folder, by name only."""

    folder: Path
    layout: Layout
    files: dict[str, dict[str, list[Path]]]  # side, class name, files in order
    aside: Aside = field(default_factory=Aside)
    left_out: list[Path] = field(default_factory=list)  # folders that training does not look into
    warnings: list[str] = field(default_factory=list)  # how it was read
    nameless: list[Path] = field(default_factory=list)  # files whose names have no class, where they should


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
    split = choose_sides_of(listing, usable, validation=validation, reading=reading)
    sides = split.images
    if split.pins:
        warnings.append(write_pins(folder, split.pins, split.contents))
    labelled = label(sides, group_by=reading.group_by, folder=folder)
    warnings += [*split.warnings, *warn_of_spread(labelled), *warnings_of(find_duplicates(labelled), folder)]
    class_names = list(sides["train"])
    return ClassFolders(
        class_names=class_names,
        sides={
            side: [(file, index) for index, name in enumerate(class_names) for file in of_class[name]]
            for side, of_class in sides.items()
        },
        warnings=warnings,
    )


def label(images: Images, *, group_by: str | None = None, folder: Path | None = None) -> list[LabelledFile]:
    """Return the images one by one, with class and side, and with the group in their names where one is wanted.

    Raises:
        DataError: a name says nothing of a group.
    """
    labelled = [
        LabelledFile(file, labels, side)
        for side, of_class in images.items()
        for labels, files in (((name,), files) for name, files in of_class.items())  # one tuple for a whole class
        for file in files
    ]
    if group_by is None or folder is None:
        return labelled
    groups = groups_in_names([one.file.path for one in labelled], group_by, folder=folder)
    return [replace(one, group=group) for one, group in zip(labelled, groups, strict=True)]


def list_folder(folder: Path, reading: Reading = AS_NAMED) -> Listing:
    """List what lies in a folder, whatever is wrong with it; hidden files and links that leave it are set apart.

    Raises:
        DataError: there is no such folder, or it cannot be read.
    """
    if os.path.isfile(folder):
        raise DataError(f"{folder} is a file. Expected a folder with one folder of images for each class.")
    if not os.path.isdir(folder):
        raise DataError(f"No such folder: {folder}. Expected a folder with one folder of images for each class.")
    layout = recognize(folder, reading)
    listing = Listing(
        folder=folder,
        layout=layout,
        files={side: {} for side in layout.sides},
        left_out=list(layout.left_out),
        warnings=list(layout.warnings),
    )
    if layout.refusal:
        listing.aside.strays.extend(path for path in files_below(folder) if is_picture(path))
        return listing
    _list_tops(listing)
    for side in layout.sides:
        _list_side(side, listing, reading)
    if reading.by_name:
        _leave_out_unlabelled(listing)
    listing.warnings.extend(judge_names(folder, listing.files, by_name=reading.by_name))
    for paths in (listing.aside.strays, listing.aside.hidden, listing.aside.links, listing.left_out):
        paths.sort()
    return listing


def _list_tops(listing: Listing) -> None:
    """Note what lies beside the folders of the classes."""
    roots = {path for of_side in listing.layout.sides.values() for path, _ in of_side}
    pictures = []
    for top in listing.layout.tops:
        if top in roots:
            continue
        inside = [os.path.realpath(path) for path in (listing.folder, top)]
        for entry in entries(top):
            path = Path(entry.path)
            if is_junk(entry.name):
                listing.aside.note_hidden(path)
                continue
            if entry.is_symlink() and not is_within(path, inside):
                listing.aside.links.append(path)
            if not os.path.isdir(path):
                listing.aside.strays.append(path)
                pictures += [path] if is_picture(path) else []
    if pictures and any(label for of_side in listing.layout.sides.values() for _, label in of_side):
        listing.warnings.append(
            f"Left out {len(pictures)} images beside the class folders of {listing.folder}: {_named(pictures)}"
        )


def _list_side(side: str, listing: Listing, reading: Reading) -> None:
    layout = listing.layout
    others = {path for of_side in layout.sides.values() for path, _ in of_side}  # a side may be inside another
    apart = others.union(listing.left_out)
    for root, label in layout.sides[side]:
        # A linked class is followed wherever it leads: its owner has put it there.
        inside = [os.path.realpath(path) for path in (listing.folder, root.parent, root)]
        found = sorted(walk(root, inside, {inside[-1]}, listing.aside, apart))
        if label is not None:
            listing.files[side].setdefault(label, []).extend(found)
            continue
        for path in found:
            name = label_of(path.name, reading.pattern) if is_picture(path) else None
            if name is not None:
                listing.files[side].setdefault(name, []).append(path)
            else:
                (listing.nameless if is_picture(path) else listing.aside.strays).append(path)
    listing.files[side] = dict(sorted(listing.files[side].items()))


def _leave_out_unlabelled(listing: Listing) -> None:
    """Leave out a side for validation or testing no file of which has a class in its name."""
    for side in [side for side, of_class in listing.files.items() if side != "train" and not of_class]:
        del listing.files[side]
        for root, _ in listing.layout.sides[side]:
            listing.left_out.append(root)
            listing.nameless[:] = [path for path in listing.nameless if root not in path.parents]
            listing.warnings.append(f"{root} is left out: no file in it has a class in its name.")


def _named(paths: list[Path]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(path.name if path.name.isprintable() else ascii(path.name) for path in paths[:_SHOWN]) + more


def check_listing(listing: Listing) -> None:
    """Raise unless a model can be trained on the folder, as far as names tell.

    Raises:
        DataError: it can be read in several ways, has fewer than two classes, or sides that do not fit together.
    """
    layout = listing.layout
    if layout.refusal:
        raise DataError(layout.refusal)
    check_names(listing)
    if "train" not in layout.sides:
        part = layout.side_folders[min(layout.sides)]
        raise DataError(
            f"{layout.base} has {part.name}/ but no train/. Expected {layout.base}/train/<class name>/*.jpg, or "
            f"--no-sides where {part.name} is a class."
        )
    train = layout.side_folders.get("train", layout.base)
    class_names = list(listing.files["train"])
    if not class_names:
        raise DataError(f"No class folders in {train}. Expected {train}/<class name>/*.jpg.{suggest(train)}")
    if len(class_names) == 1:
        roots = [path for path, label in layout.sides["train"] if label]
        more = suggest(*roots, beside=train) if roots else ""
        raise DataError(f"Only one class in {train}: `{class_names[0]}`. Expected at least two class folders.{more}")
    for name in class_names:
        if not name.isprintable():
            raise DataError(f"The class folder {name!r} in {train} has a name that cannot be printed. Rename it.")
    for side, of_class in listing.files.items():
        if strangers := of_class.keys() - set(class_names):
            raise DataError(_explain_strangers(layout, side, strangers, listing))


def check_names(listing: Listing) -> None:
    """Raise where a file that should have its class in its name has none."""
    if bad := listing.nameless:
        total = len(bad) + sum(len(paths) for of_class in listing.files.values() for paths in of_class.values())
        raise DataError(
            f"{len(bad)} of {total} images in {listing.folder} have no class in their name: {_named(bad)}. Expected "
            "names such as cat_001.jpg, or --pattern with a regular expression whose group is the class; move away "
            "what has none."
        )


def _explain_strangers(layout: Layout, side: str, strangers: Collection[str], listing: Listing) -> str:
    part = layout.side_folders.get(side, layout.base / side)
    train = layout.side_folders.get("train", layout.base / "train")
    known = {name.lower() for name in listing.files["train"]}
    case = " Their names differ in capital letters: rename them." if {s.lower() for s in strangers} <= known else ""
    return (
        f"{part} has class folders that {train.name}/ has not: {', '.join(sorted(strangers))}. Add or remove them."
        f"{case} Where these are no sides, --no-sides takes the folders for classes."
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
    warnings = list(listing.warnings)
    if links := listing.aside.links:
        names = ", ".join(map(str, links[:3])) + (f" and {more} more" if (more := len(links) - 3) > 0 else "")
        warnings.append(f"Symbolic links leave {listing.folder}, which is not the whole of the data then: {names}")
    usable = {
        side: {
            name: _usable(listing.layout.folder_of(side, name), of_class.get(name, []), side, warnings)
            for name in images["train"]
        }
        for side, of_class in images.items()
    }
    return usable, warnings + missing_classes(listing, usable)


def missing_classes(listing: Listing, images: Images) -> list[str]:
    """Say which classes have no images on the sides for validation and testing.

    Raises:
        DataError: a side has none at all.
    """
    warnings = []
    for side, of_class in images.items():
        if not any(of_class.values()):
            raise DataError(f"No usable image in {listing.layout.side_folders.get(side, listing.folder)}: add some.")
        if side != "train" and (missing := [f"`{name}`" for name, files in of_class.items() if not files]):
            folder = listing.layout.side_folders.get(side, listing.folder)
            warnings.append(f"{folder} has no {side} image of {in_words(missing)}.")
    return warnings


def _usable(folder: Path, files: list[ImageFile], side: str, warnings: list[str]) -> list[ImageFile]:
    if not files and side == "train":
        raise DataError(f"No images in {folder}. Expected {folder}/*.jpg")
    bad = [file for file in files if file.problem]
    if len(bad) == len(files) and side == "train":
        raise DataError(
            f"No usable image in {folder}: {bad[0].path.name} {bad[0].problem} ({len(bad)} of {len(files)} left out). "
            "Put JPEG or PNG images there."
        )
    if bad:
        named = "; ".join(f"{file.path.name} {file.problem}" for file in bad[:20])
        more = f"; and {len(bad) - 20} more" if len(bad) > 20 else ""
        warnings.append(f"Left out {len(bad)} of {len(files)} files in {folder}: {named}{more}")
    return [file for file in files if not file.problem]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The images of a folder on their sides, and what has to be written down for them to stay there."""

    images: Images
    pins: dict[str, str] = field(default_factory=dict)
    contents: dict[str, list[str]] = field(default_factory=dict)  # class name to what was split, for the words of it
    warnings: list[str] = field(default_factory=list)


def choose_sides_of(listing: Listing, images: Images, *, validation: float, reading: Reading = AS_NAMED) -> Split:
    """Put the images on their sides, and say which pins have to be written for them to stay there.

    Raises:
        DataError: a class has too few images to be split.
    """
    if reading.binds:
        return _choose_bound(listing, images, validation, reading)
    shares = shares_of(images, validation)
    if not shares:
        return Split(images=images)
    pins = read_pins(listing.folder)
    contents = {name: [file.sha256 for file in files] for name, files in images["train"].items()}
    sides, added = choose_sides(contents, shares, pins)
    chosen = {
        side: {name: [file for file in files if sides[file.sha256] == side] for name, files in images["train"].items()}
        for side in (*shares, "train")
    }
    return Split(images={**images, **chosen}, pins={**pins, **added} if added else {}, contents=contents)


def _choose_bound(listing: Listing, images: Images, validation: float, reading: Reading) -> Split:
    """Split the training images so that what belongs together stays so; a fold takes the place of the test images."""
    check_group_in_names(reading, str(listing.folder))
    files = label({"train": images["train"]}, group_by=reading.group_by, folder=listing.folder)
    pins = {} if reading.held_out else read_pins(listing.folder)
    bound = choose_bound_sides(files, chosen=images, validation=validation, reading=reading, pins=pins)
    sides: Images = {side: {name: [] for name in images["train"]} for side in dict.fromkeys(("train", *bound.sides))}
    for labelled, side in zip(files, bound.sides, strict=True):
        sides[side][labelled.labels[0]].append(labelled.file)
    others = {side: of_class for side, of_class in images.items() if not (side == "test" and reading.held_out)}
    return Split(images={**others, **sides}, pins=bound.pins, contents=bound.contents, warnings=bound.warnings)


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
