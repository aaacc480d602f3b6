"""The data sets that trainkit knows by name, folders, tables and arrays: everything becomes the same `Dataset`."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.data._arrays._labelled import load_npz
from trainkit.data._binding import choose_bound
from trainkit.data._dataset import ArrayImages, ChosenImages, ColorImages, Dataset, FileImages, Images, Part
from trainkit.data._folders._layout import recognize
from trainkit.data._folders._listing import inspect_folder, read_class_folders
from trainkit.data._inspection import ImageFile
from trainkit.data._kinds import ARRAYS, kind_of
from trainkit.data._reading import AS_NAMED, Reading, check_applies
from trainkit.data._repeats._duplicates import LabelledFile
from trainkit.data._tables._table import SUFFIXES, read_table
from trainkit.errors import DataError
from trainkit.preprocessing import Color

_IDX_SIDES = ("train", "t10k")
_SPLIT_SEED = 0  # the sides of a named data set stay the same whatever the seed of the training


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A data set that is known by name."""

    load: Callable[[], tuple[list[str], dict[str, tuple[np.ndarray, np.ndarray]]]]
    size: tuple[int, int]  # width, height of the network's input; 8x8 digits are too small for more than one block
    color: Color
    model: str  # the one that suits it


def load_digits() -> tuple[list[str], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Load the handwritten digits that scikit-learn carries: 1,797 images of 8x8; a fifth of them is the test part."""
    from sklearn.datasets import load_digits as load

    digits = load()
    # 17 grey levels, 0 to 16, spread over 0 to 255.
    images, labels = np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)
    rest, test = _hold_out(labels, 0.2)
    return list("0123456789"), {"train": (images[rest], labels[rest]), "test": (images[test], labels[test])}


def load_fashion_mnist() -> tuple[list[str], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Load Fashion-MNIST from Keras' cache, or through Keras, which downloads it once: 60,000 + 10,000 of 28x28.

    Raises:
        DataError: it is neither in Keras' cache nor can be downloaded.
    """
    try:
        (train, train_labels), (test, test_labels) = _cached_fashion_mnist() or _download_fashion_mnist()
    except Exception as error:  # whatever the network, the cache or a damaged file raise
        folder = Path(os.environ.get("KERAS_HOME", "~/.keras"), "datasets")
        raise DataError(
            f"Fashion-MNIST could not be loaded ({error}). Put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
            f"t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz into {folder}/fashion-mnist, or go online once."
        ) from error
    names = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    return names, {"train": (train, train_labels.astype(np.int64)), "test": (test, test_labels.astype(np.int64))}


def _cached_fashion_mnist() -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Return what Keras has downloaded, without loading Keras; `None` where something is missing."""
    folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras", "datasets", "fashion-mnist")
    sides = [(folder / f"{side}-images-idx3-ubyte.gz", folder / f"{side}-labels-idx1-ubyte.gz") for side in _IDX_SIDES]
    if not all(path.is_file() for side in sides for path in side):
        return None
    return [(_read_idx(images, 16).reshape(-1, 28, 28), _read_idx(labels, 8)) for images, labels in sides]


def _read_idx(path: Path, head_bytes: int) -> np.ndarray:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=head_bytes)


def _download_fashion_mnist() -> Any:
    from trainkit.backend import downloading, keras

    with downloading("Fashion-MNIST"):
        return keras.datasets.fashion_mnist.load_data()


SOURCES = {
    "digits": Source(load=load_digits, size=(32, 32), color="gray", model="small-cnn"),
    "fashion-mnist": Source(load=load_fashion_mnist, size=(28, 28), color="gray", model="fashion-mnist"),
}
DATA_EXPECTED = f"{', '.join(SOURCES)}, a folder of class folders, a .csv or an .npz file"  # in words


def load_dataset(data: str, *, validation: float = 0.1, reading: Reading = AS_NAMED) -> Dataset:
    """Load a data set by its name, the class folders of a folder, a table (`.csv`), or arrays (`.npz`).

    Args:
        data: one of `SOURCES`, or a path.
        validation: the share of the training images that is held out for validation, 0 to below 1.
        reading: how a folder or a table is read, where its names do not tell.

    Raises:
        DataError: there is no such data, or it cannot be used; says what was expected.
        UsageError: the reading says something that means nothing for this kind of data.
    """
    if data in SOURCES:
        check_applies(reading, "name", data)
        return _from_source(data, validation, reading)
    folder = Path(data)
    if not os.path.exists(folder):  # unlike Path's, false for a name that is too long
        near = get_close_matches(folder.name.lower(), SOURCES, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        what = "file" if folder.suffix.lower() in (*SUFFIXES, ARRAYS) else "folder"
        raise DataError(f"No such {what}: {data}.{hint} Expected {DATA_EXPECTED}.")
    kind = kind_of(folder)
    check_applies(reading, kind, data)
    if kind == "arrays":
        return load_npz(folder, validation=validation, reading=reading)
    if kind == "table":
        return _from_table(folder, validation, reading)
    return _from_folder(folder, validation, reading)


def load_images(data: str) -> Part:
    """Load the images that a model is to be tried on: the test part of a data set, or every image in a folder.

    Raises:
        DataError: there is no such data, or no usable image in it.
    """
    if data in SOURCES or os.path.isfile(data) or _has_sides(Path(data)):
        dataset = load_dataset(data)
        return dataset.parts[dataset.test_split or "train"]
    files = inspect_folder(Path(data))
    return Part(file_images(files), np.zeros(len(files), np.int64))


def _has_sides(folder: Path) -> bool:
    if not os.path.isdir(folder):
        return False
    layout = recognize(folder, AS_NAMED)
    return layout.has_sides and len(layout.sides.get("train", [])) > 1


def load_sample_images() -> Part:
    """Load 2 photographs that scikit-learn carries, and 14 pieces of them in several sizes.

    They are there to compare two runtimes where a model comes without photographs of its own: different enough in
    colour and detail, and the same everywhere.
    """
    from sklearn import datasets

    folder = Path(datasets.__file__).parent / "images"
    files = FileImages([folder / "china.jpg", folder / "flower.jpg"])
    pieces = []
    for row, column, height, width in _PIECES:
        for image in (files[0], files[1]):
            pieces.append(np.ascontiguousarray(image[row : row + height, column : column + width]))
    chosen: list[tuple[Images, int]] = [(files, 0), (files, 1)]
    chosen += [(ColorImages(pieces), index) for index in range(len(pieces))]
    return Part(ChosenImages(chosen), np.zeros(len(chosen), np.int64))


# Pieces of a photograph of 427x640: row, column, height, width. Square, upright and wide; down to a few pixels.
_PIECES = (
    (0, 0, 224, 224),
    (100, 200, 320, 240),
    (200, 300, 120, 320),
    (50, 420, 96, 128),
    (300, 60, 100, 64),
    (150, 150, 32, 32),
    (0, 320, 427, 320),
)


def _from_source(name: str, validation: float, reading: Reading) -> Dataset:
    class_names, arrays = SOURCES[name].load()
    if reading.held_out:
        return _hold_out_fold(name, class_names, *arrays["train"], validation, reading)
    if validation:
        images, labels = arrays["train"]
        rest, held_out = _hold_out(labels, validation)
        arrays = {"train": (images[rest], labels[rest]), "val": (images[held_out], labels[held_out]), **_others(arrays)}
    parts = {side: Part(ArrayImages(images), labels) for side, (images, labels) in arrays.items()}
    return Dataset(name=name, class_names=class_names, parts=parts)


def _hold_out_fold(
    name: str, class_names: list[str], images: np.ndarray, labels: np.ndarray, validation: float, reading: Reading
) -> Dataset:
    """Split the training images into folds; those for testing stay out."""
    keys = [hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() for image in images]
    of_images = [[class_names[int(number)]] for number in labels]
    bound = choose_bound(keys, of_images, chosen=("test",), validation=validation, reading=reading, pins={})
    parts = {}
    for side in dict.fromkeys(("train", *bound.sides)):
        numbers = np.flatnonzero([one == side for one in bound.sides])
        parts[side] = Part(ArrayImages(images, numbers), labels[numbers])
    return Dataset(name=name, class_names=class_names, parts=parts, warnings=bound.warnings)


def _others(arrays: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {side: pair for side, pair in arrays.items() if side != "train"}


def _hold_out(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices that stay and those that are held out, in order, every class with its share."""
    from sklearn.model_selection import train_test_split

    if min(share, 1 - share) * len(labels) < len(np.unique(labels)):
        raise DataError(
            f"A validation share of {share:g} leaves a class without images, of {len(labels)} in all. Expected more of "
            "them on each side, such as --validation 0.1, or 0 for none."
        )
    rest, held_out = train_test_split(
        np.arange(len(labels)), test_size=share, stratify=labels, random_state=_SPLIT_SEED
    )
    return np.sort(rest), np.sort(held_out)


def file_images(files: Sequence[ImageFile]) -> FileImages:
    """Return images that lie in files which were looked at."""
    return FileImages([file.path for file in files], [file.sha256 for file in files])


def _from_folder(folder: Path, validation: float, reading: Reading) -> Dataset:
    found = read_class_folders(folder, validation=validation, reading=reading)
    parts: dict[str, Part] = {}
    for side in ("train", "val", "test"):
        if side in found.sides:
            files = found.sides[side]
            labels = np.array([label for _, label in files], np.int64)
            parts[side] = Part(file_images([file for file, _ in files]), labels)
    name = Path(os.path.realpath(folder)).name
    return Dataset(name=name, class_names=found.class_names, parts=parts, warnings=found.warnings)


def part_of_table(files: Sequence[LabelledFile], class_names: Sequence[str], *, multi_label: bool) -> Part:
    """Return images of a table with the numbers of their classes: int64 `(N,)`.

    With `multi_label` the labels are float32 `(N, classes)`, 1 where an image has the class and else 0.
    """
    number_of = {name: number for number, name in enumerate(class_names)}
    if multi_label:
        labels = np.zeros((len(files), len(class_names)), np.float32)
        for row, labelled in zip(labels, files, strict=True):
            row[[number_of[name] for name in labelled.labels]] = 1
    else:
        labels = np.array([number_of[labelled.labels[0]] for labelled in files], np.int64)
    return Part(file_images([labelled.file for labelled in files]), labels)


def _from_table(path: Path, validation: float, reading: Reading) -> Dataset:
    table = read_table(path, validation=validation, reading=reading)
    parts = {
        side: part_of_table(files, table.class_names, multi_label=table.multi_label)
        for side, files in table.sides.items()
    }
    return Dataset(
        name=path.stem,
        class_names=table.class_names,
        parts=parts,
        warnings=table.warnings,
        multi_label=table.multi_label,
    )
