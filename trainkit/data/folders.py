"""Class folders: `FOLDER/<class name>/*.jpg`, or the same under `train/`, `val/` and `test/`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainkit.data.inspection import ImageFile, inspect_files
from trainkit.data.split import choose_sides, read_pins, write_pins
from trainkit.errors import DataError

TEST_SHARE = 0.1  # of the images, where a folder has no parts of its own
_PART_FOLDERS = {"val": ("val", "validation", "valid"), "test": ("test",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFolders:
    """The usable images of a folder, by side, and what there is to say about the others."""

    class_names: list[str]
    sides: dict[str, list[tuple[ImageFile, int]]]  # train, val, test: the image and its class
    warnings: list[str]


def read_class_folders(folder: Path, *, validation: float) -> ClassFolders:
    """Look at every image of a folder and put it on its side.

    Args:
        folder: has class folders, or `train/` and perhaps `val/` and `test/` that have them.
        validation: the share of the training images that is held out where there is no `val/`; 0 for none.

    Raises:
        DataError: no such folder, fewer than two classes, or a class without a usable image.
    """
    if os.path.isfile(folder):
        raise DataError(f"{folder} is a file. Expected a folder with one folder of images for each class.")
    if not os.path.isdir(folder):
        raise DataError(f"No such folder: {folder}. Expected a folder with one folder of images for each class.")
    parts = _part_folders(folder)
    class_names = _class_names(parts["train"])
    warnings: list[str] = []
    if parts["train"] != folder and (others := set(_subfolders(folder)) - set(parts.values())):
        names = ", ".join(sorted(path.name for path in others))
        warnings.append(f"{folder} has train/, so the folders beside it are left out: {names}")
    files = {side: _inspect_part(part, class_names, warnings) for side, part in parts.items()}
    shares = {} if "val" in files or validation == 0 else {"val": validation}
    if "val" not in files and "test" not in files:
        shares = {"test": TEST_SHARE, **{side: share * (1 - TEST_SHARE) for side, share in shares.items()}}
    if shares:
        files.update(_split(folder, files["train"], shares, warnings))
    return ClassFolders(
        class_names=class_names,
        sides={side: _labelled(of_class, class_names) for side, of_class in files.items()},
        warnings=warnings,
    )


def _part_folders(folder: Path) -> dict[str, Path]:
    """Return side to folder. `train` is a part only when it holds folders: it may also be a class of railway photos."""
    train = folder / "train"
    if not train.is_dir() or not _subfolders(train):
        for name in ("test", "val"):
            if (folder / name).is_dir() and _subfolders(folder / name) and not train.exists():
                raise DataError(f"{folder} has {name}/ but no train/. Expected {train}/<class name>/*.jpg")
        return {"train": folder}
    parts = {"train": train}
    for side, names in _PART_FOLDERS.items():
        found = [folder / name for name in names if (folder / name).is_dir()]
        if found:
            parts[side] = found[0]
    return parts


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"Cannot read {folder}: {error.strerror}.") from None


def _class_names(folder: Path) -> list[str]:
    names = [path.name for path in _subfolders(folder)]
    if not names:
        raise DataError(f"No class folders in {folder}. Expected {folder}/<class name>/*.jpg")
    if len(names) == 1:
        raise DataError(f"Only one class in {folder}: `{names[0]}`. Expected at least two class folders.")
    for name in names:
        if not name.isprintable():
            raise DataError(f"The class folder {name!r} in {folder} has a name that cannot be printed. Rename it.")
    return names


def _inspect_part(folder: Path, class_names: list[str], warnings: list[str]) -> dict[str, list[ImageFile]]:
    strangers = {path.name for path in _subfolders(folder)} - set(class_names)
    if strangers:
        raise DataError(
            f"{folder} has class folders that train/ has not: {', '.join(sorted(strangers))}. Add or remove them."
        )
    files = [(name, path) for name in class_names for path in _files(folder / name)]
    by_class = defaultdict(list)
    for (name, _), file in zip(files, inspect_files([path for _, path in files]), strict=True):
        by_class[name].append(file)
    return {name: _usable(folder / name, by_class[name], warnings) for name in class_names}


def _files(folder: Path) -> list[Path]:
    """Return every file below a class folder, hidden ones left out."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if not name.startswith(".")]
    return sorted(found)


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


def _split(
    folder: Path, files: Mapping[str, list[ImageFile]], shares: Mapping[str, float], warnings: list[str]
) -> dict[str, dict[str, list[ImageFile]]]:
    pins = read_pins(folder)
    contents = {name: [file.sha256 for file in of_class] for name, of_class in files.items()}
    sides, added = choose_sides(contents, shares, pins)
    if added:
        warnings.append(write_pins(folder, {**pins, **added}))
    return {
        side: {name: [file for file in of_class if sides[file.sha256] == side] for name, of_class in files.items()}
        for side in (*shares, "train")
    }


def _labelled(of_class: Mapping[str, list[ImageFile]], class_names: list[str]) -> list[tuple[ImageFile, int]]:
    return [(file, label) for label, name in enumerate(class_names) for file in of_class[name]]


def inspect_folder(folder: Path) -> list[ImageFile]:
    """Return every usable image below a folder, whatever its class.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"No such folder: {folder}. Expected a folder of images.")
    usable = [file for file in inspect_files(_files(folder)) if not file.problem]
    if not usable:
        raise DataError(f"No usable image in {folder}. Expected {folder}/*.jpg")
    return usable
