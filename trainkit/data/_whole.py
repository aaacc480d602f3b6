"""Every labelled image of a data set, on no side: what a network is measured on that was trained on others."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.data._arrays._labelled import LabelledArrays, label_arrays, name_arrays, read_arrays, to_class_names
from trainkit.data._dataset import ArrayImages, ChosenImages, Dataset, Images, Part, to_images
from trainkit.data._folders._listing import check_names, inspect_listing, list_folder
from trainkit.data._groups import groups_in_names
from trainkit.data._inspection import ImageFile
from trainkit.data._kinds import kind_of
from trainkit.data._python_data._reading import TAKEN, gather, is_stream, is_table, write_table
from trainkit.data._reading import AS_NAMED, Reading, check_applies, check_group_in_names
from trainkit.data._sources import SOURCES, file_images, load_dataset, part_of_table
from trainkit.data._tables._table import read_whole_table
from trainkit.errors import DataError, UsageError

WHOLE = "data"  # what the one side is called
_NAMED = 20  # files that cannot be used, in a sentence


def load_whole(
    data: Any,
    folder: Path,
    *,
    reading: Reading = AS_NAMED,
    class_names: Sequence[str] | None = None,
    grouped: bool = False,
) -> Dataset:
    """Load every usable image of a data set, of all its sides, with its labels; nothing is split off.

    Unlike for training, a class may have one image or none, and there may be one class alone.

    Args:
        data: whatever `trainkit.train` takes.
        folder: for what has to be written down to be read; it has to stay as long as the images are in use.
        reading: how a folder or a table is read, where its names do not tell.
        class_names: of arrays, in the order of their numbers.
        grouped: whether the groups of the reading are wanted.

    Raises:
        DataError: there is no such data, or it cannot be used; says what was expected.
        UsageError: it is of a kind that cannot be read, or the reading means nothing for it.
    """
    if reading.held_out or (reading.group_by and not grouped):
        raise UsageError(
            "--group-by and `reading.held_out` are about sides. Here all images are taken: leave them out."
        )
    if isinstance(data, (str, os.PathLike)):
        if class_names is not None:
            raise UsageError("`class_names` go with arrays: other data has its own.")
        return _load_path(os.fspath(data), reading)
    if is_table(data):
        path = folder / "dataframe.csv"
        write_table(data, path)
        found = Reading(**{**_said(reading), "images": reading.images or str(Path.cwd())})
        return _from_table(path, found)
    if is_stream(data):
        gathered = gather(data, folder, class_names=class_names, reading=reading)
        return _from_arrays(label_arrays(gathered.arrays, gathered.class_names, trained=False), "data")
    if isinstance(data, tuple):
        check_applies(reading, "arrays", "`data`")
        names = None if class_names is None else to_class_names(np.asarray(class_names))
        return _from_arrays(label_arrays(name_arrays(data), names, trained=False), "data")
    raise UsageError(
        f"`data` must be a name, a path, {TAKEN}, or arrays as the tuple (x, y). Received: {type(data).__name__}"
    )


def _said(reading: Reading) -> dict[str, Any]:
    return {key.removeprefix("reading."): value for key, value in reading.to_settings().items()}


def _load_path(data: str, reading: Reading) -> Dataset:
    path = Path(data)
    if data in SOURCES:
        check_applies(reading, "name", data)
        names, arrays = SOURCES[data].load()
        parts: dict[str, Images] = {side: ArrayImages(pixels) for side, (pixels, _) in arrays.items()}
        return _one_part(data, names, parts, [labels for _, labels in arrays.values()])
    if not os.path.exists(path):
        return load_dataset(data, reading=reading)  # which says so, and what was expected
    kind = kind_of(path)
    check_applies(reading, kind, data)
    if kind == "arrays":
        return _from_arrays(read_arrays(path, trained=False), path.stem)
    return _from_table(path, reading) if kind == "table" else _from_folder(path, reading)


def _from_folder(folder: Path, reading: Reading) -> Dataset:
    listing = list_folder(folder, reading)
    if listing.layout.refusal:
        raise DataError(listing.layout.refusal)
    check_names(listing)
    files: list[ImageFile] = []
    labels: list[str] = []
    for of_class in inspect_listing(listing).values():
        for name, images in of_class.items():
            files += images
            labels += [name] * len(images)
    if not files:
        raise DataError(f"No class folders in {folder}. Expected {folder}/<class name>/*.jpg")
    class_names, warnings = sorted(set(labels)), list(listing.warnings)
    usable = [number for number, file in enumerate(files) if not file.problem]
    if left_out := _describe_problems(folder, files):
        warnings.append(left_out)
    number_of = {name: number for number, name in enumerate(class_names)}
    numbers = np.array([number_of[labels[number]] for number in usable], np.int64)
    images_of = file_images([files[number] for number in usable])
    check_group_in_names(reading, str(folder))
    groups = groups_in_names(images_of.paths, reading.group_by, folder=folder) if reading.group_by else None
    return Dataset(
        name=folder.name,
        class_names=class_names,
        parts={WHOLE: Part(images_of, numbers)},
        warnings=warnings,
        image_names=_names(images_of.paths),
        groups=groups,
    )


def _describe_problems(folder: Path, files: Sequence[ImageFile]) -> str:
    """Say which files cannot be used.

    Raises:
        DataError: none can.
    """
    bad = [f"{file.path.name} {file.problem}" for file in files if file.problem]
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    named = "; ".join(bad[:_NAMED]) + more
    if len(bad) == len(files):
        raise DataError(f"No usable image in {folder}: {named}. Put JPEG or PNG images there.")
    return f"Left out {len(bad)} of {len(files)} files in {folder}: {named}" if bad else ""


def _names(files: Sequence[Path]) -> list[str]:
    return [str(path.absolute()) for path in files]


def _from_table(path: Path, reading: Reading) -> Dataset:
    files, several, warnings = read_whole_table(path, reading)
    class_names = sorted({name for file in files for name in file.labels})
    return Dataset(
        name=path.stem,
        class_names=class_names,
        parts={WHOLE: part_of_table(files, class_names, multi_label=several)},
        warnings=warnings,
        multi_label=several,
        image_names=_names([file.file.path for file in files]),
        groups=[str(file.group) for file in files] if reading.group_by else None,
    )


def _from_arrays(arrays: LabelledArrays, name: str) -> Dataset:
    images: dict[str, Images] = {side: to_images(pixels) for side, pixels in arrays.images.items()}
    return _one_part(name, arrays.class_names, images, list(arrays.labels.values()), arrays)


def _one_part(
    name: str,
    class_names: list[str],
    sides: Mapping[str, Images],
    labels: Sequence[np.ndarray],
    arrays: LabelledArrays | None = None,
) -> Dataset:
    images = list(sides.values())
    together = images[0]
    if len(images) > 1:
        together = ChosenImages([(of_side, index) for of_side in images for index in range(len(of_side))])
    return Dataset(
        name=name,
        class_names=class_names,
        parts={WHOLE: Part(together, np.concatenate(labels))},
        warnings=arrays.warnings if arrays else [],
        multi_label=bool(arrays and arrays.multi_label),
        image_names=[f"{side}[{index}]" for side, of_side in sides.items() for index in range(len(of_side))],
    )
