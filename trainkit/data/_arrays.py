"""Images that are arrays: in memory, or in an `.npz` file that may come from a stranger.

The names are those of `.npz` files: `x` and `y`, perhaps `x_val`, `y_val`, `x_test`, `y_test` and `class_names`.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np

from trainkit.data._dataset import ArrayImages, Dataset, Part
from trainkit.data._split import choose_sides, natural_side, shares_of
from trainkit.deploy.python._values import MAX_SIDE
from trainkit.errors import DataError

Pair = tuple[Any, Any]
Arrays = Pair | tuple[Pair, Pair]  # (x, y), or ((x, y), (x_test, y_test)) as `keras.datasets` give it

_SUFFIXES = {"train": "", "val": "_val", "test": "_test"}
_NAMES = ("class_names", *(f"{axis}{suffix}" for suffix in _SUFFIXES.values() for axis in "xy"))
_BLOCK = 256  # images that are looked at together


def load_arrays(arrays: Arrays, *, validation: float = 0.1, class_names: Sequence[str] | None = None) -> Dataset:
    """Take images in memory for a data set; the arrays stay as they are.

    Args:
        arrays: `(x, y)`, or `((x, y), (x_test, y_test))`. x: uint8, or other numbers that are whole and 0 to 255,
            `(N, height, width)`, `(N, height, width, 1)` or, in the order R, G, B, `(N, height, width, 3)`. y: numbers
            of the classes `(N,)` or `(N, 1)`, or `(N, classes)` of 0 and 1; where a row has not exactly one 1, an
            image may have several classes.
        validation: the share of the training images that is held out.
        class_names: of the classes, in the order of their numbers; without them a class is called by its number.

    Raises:
        DataError: they are no images, or no classes.
    """
    names = None if class_names is None else _texts(np.asarray(class_names))
    return _build(_named(arrays), validation=validation, name="arrays", class_names=names)


def save_arrays(arrays: Arrays, path: Path, class_names: Sequence[str] | None = None) -> None:
    """Write what `load_arrays` takes to an `.npz` file; the pixels as uint8.

    Raises:
        DataError: they are no images.
    """
    named = {name: _pixels(name, array) if name[0] == "x" else array for name, array in _named(arrays).items()}
    if class_names is not None:
        named["class_names"] = np.asarray(class_names)
    with path.open("xb") as file:
        np.savez(file, allow_pickle=False, **named)


def load_npz(path: Path, *, validation: float = 0.1) -> Dataset:
    """Load the arrays of an `.npz` file; uint8 pixels that are not compressed are mapped rather than read.

    Raises:
        DataError: it is missing, damaged, holds something else, or is larger than the memory.
    """
    named = dict(_read_members(path))
    names = named.pop("class_names", None)
    return _build(named, validation=validation, name=path.stem, class_names=None if names is None else _texts(names))


def _named(arrays: Arrays) -> dict[str, Any]:
    pairs = arrays if isinstance(arrays, tuple) and all(isinstance(part, tuple) for part in arrays) else (arrays,)
    if not 1 <= len(pairs) <= 2 or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise DataError("Expected arrays as (x, y), or as ((x, y), (x_test, y_test)).")
    names = (("x", "y"), ("x_test", "y_test"))
    return {
        name: array
        for of_side, pair in zip(names, pairs, strict=False)
        for name, array in zip(of_side, pair, strict=True)
    }


def _build(arrays: Mapping[str, Any], *, validation: float, name: str, class_names: list[str] | None) -> Dataset:
    images: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray] = {}
    for side, suffix in _SUFFIXES.items():
        x, y = f"x{suffix}", f"y{suffix}"
        if (x in arrays) != (y in arrays):
            there, missing = (x, y) if x in arrays else (y, x)
            raise DataError(f"There is `{there}`, but no `{missing}`. Expected both.")
        if x in arrays:
            images[side], labels[side] = _pixels(x, arrays[x]), _labels(y, arrays[y])
            if len(images[side]) != len(labels[side]):
                raise DataError(
                    f"`{x}` has {len(images[side])} images and `{y}` {len(labels[side])}. Expected as many."
                )
    if "train" not in images:
        raise DataError(f"Expected arrays `x` and `y`. Received: {', '.join(arrays) or 'none'}")
    multi_label, labels = _in_one_form(labels)
    class_names = class_names or [str(number) for number in range(_count_classes(labels["train"]))]
    _check_classes(labels, class_names)
    chosen: dict[str, np.ndarray | None] = dict.fromkeys(images)
    if shares := shares_of(images, validation):
        chosen.update(_split(images["train"], labels["train"], class_names, shares))
    parts = {}
    for side, indices in chosen.items():
        source = side if side in images and side != "train" else "train"
        of_side = labels[source] if indices is None else labels[source][indices]
        parts[side] = Part(ArrayImages(images[source], indices), of_side)
    return Dataset(name=name, class_names=class_names, parts=parts, multi_label=multi_label)


def _pixels(name: str, array: Any) -> np.ndarray:
    """Return uint8 `(N, height, width)` or `(N, height, width, 3)`; the same memory where it is uint8 already."""
    pixels = _to_array(name, array)
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    if not (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 3)):
        hint = " Move the channels to the end." if pixels.ndim == 4 and pixels.shape[1] in (1, 3) else ""
        raise DataError(
            f"`{name}` must be images: (N, height, width), (N, height, width, 1) or (N, height, width, 3). "
            f"Received: {pixels.shape}.{hint}"
        )
    if not len(pixels) or not (min(pixels.shape[1:3]) >= 1 and max(pixels.shape[1:3]) <= MAX_SIDE):
        raise DataError(f"`{name}` must have images of 1 to {MAX_SIDE} pixels a side. Received: {pixels.shape}")
    return pixels if pixels.dtype == np.uint8 else _to_uint8(name, pixels)


def _to_array(name: str, array: Any) -> np.ndarray:
    try:
        found = np.asarray(array)
    except ValueError as error:  # lists of different lengths
        raise DataError(f"`{name}` is no array ({error}).") from error
    if found.dtype.kind not in "buif":
        hint = ""
        if name[0] == "y" and found.dtype.kind in "UO":
            hint = " Names become numbers by `names, y = numpy.unique(y, return_inverse=True)`; class_names=names."
        raise DataError(f"`{name}` must be numbers. Received: {found.dtype}.{hint}")
    return found


def _to_uint8(name: str, pixels: np.ndarray) -> np.ndarray:
    converted = np.empty(pixels.shape, np.uint8)
    for first in range(0, len(pixels), _BLOCK):
        block = pixels[first : first + _BLOCK]
        if not (block.min() >= 0 and block.max() <= 255):  # so written, NaN is refused too
            raise DataError(f"`{name}` must be grey levels, 0 to 255. Received: {block.min()} to {block.max()}")
        converted[first : first + _BLOCK] = block
        if not np.array_equal(converted[first : first + _BLOCK], block):
            raise DataError(
                f"`{name}` must be whole levels, 0 to 255. Received: {block.min():g} to {block.max():g}, fractions. "
                "Give the pixels as they were before they were scaled: the preprocessing scales them."
            )
    return converted


def _labels(name: str, array: Any) -> np.ndarray:
    """Return int64 `(N,)`, or float32 `(N, classes)` of 0 and 1."""
    labels = _to_array(name, array)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        if not np.isin(labels, (0, 1)).all():
            raise DataError(f"`{name}` of {labels.shape} must be 0 and 1. Received: {labels.min()} to {labels.max()}")
        return labels.astype(np.float32)
    if labels.ndim != 1 or not len(labels):
        raise DataError(f"`{name}` must be classes: (N,), (N, 1) or (N, classes). Received: {labels.shape}")
    if not (labels.min() >= 0 and labels.max() < 2**31 and (labels == np.floor(labels)).all()):
        raise DataError(f"`{name}` must be numbers of classes, from 0. Received: {labels.min()} to {labels.max()}")
    return labels.astype(np.int64)


def _in_one_form(labels: Mapping[str, np.ndarray]) -> tuple[bool, dict[str, np.ndarray]]:
    """Tell whether images may have several classes, and return the labels of all sides in the form of that."""
    rows = [of_side for of_side in labels.values() if of_side.ndim == 2]
    multi_label = any((of_side.sum(axis=1) != 1).any() for of_side in rows)
    if len({of_side.shape[1] for of_side in rows}) > 1 or (multi_label and len(rows) < len(labels)):
        shapes = ", ".join(f"`y{_SUFFIXES[side]}` {of_side.shape}" for side, of_side in labels.items())
        raise DataError(f"The labels must have one form on all sides. Received: {shapes}")
    if multi_label:
        return True, dict(labels)
    return False, {side: one.argmax(axis=1) if one.ndim == 2 else one for side, one in labels.items()}


def _count_classes(labels: np.ndarray) -> int:
    return labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1


def _check_classes(labels: Mapping[str, np.ndarray], class_names: Sequence[str]) -> None:
    count = len(class_names)
    if count < 2:
        raise DataError("Only one class. Expected at least two numbers of classes in `y`.")
    for side, of_side in labels.items():
        if _count_classes(of_side) > count or (of_side.ndim == 2 and of_side.shape[1] != count):
            raise DataError(f"`y{_SUFFIXES[side]}` has {_count_classes(of_side)} classes. Expected {count}.")
    train = labels["train"]
    present = np.flatnonzero(train.any(axis=0)) if train.ndim == 2 else np.unique(train)
    if len(present) < count:
        missing = next(number for number in range(count) if number not in present)
        raise DataError(
            f"`y` has {len(present)} of {count} classes. Expected an image of class {missing}, for example."
        )


def _split(
    pixels: np.ndarray, labels: np.ndarray, class_names: Sequence[str], shares: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Return the numbers of the images of each side, which follows from their pixels alone."""
    contents = _hash(pixels)
    of_class: dict[str, list[str]] = {name: [] for name in class_names}
    for index, row in enumerate(labels):
        for number in np.flatnonzero(row) if labels.ndim == 2 else (row,):
            of_class[class_names[int(number)]].append(contents[index])
    chosen, _ = choose_sides(of_class, shares, {})
    sides = [chosen.get(content) or natural_side(content, shares, {}) for content in contents]
    return {side: np.flatnonzero([one == side for one in sides]) for side in ("train", *shares)}


def _hash(pixels: np.ndarray) -> list[str]:
    def of_block(first: int) -> list[str]:
        block = np.ascontiguousarray(pixels[first : first + _BLOCK])
        return [hashlib.sha256(image.data).hexdigest() for image in block]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [one for block in pool.map(of_block, range(0, len(pixels), _BLOCK)) for one in block]


def _texts(names: np.ndarray) -> list[str]:
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(f"`class_names` must be a list of texts. Received: {names.dtype} {names.shape}")
    texts = [str(name) for name in names]
    if len(set(texts)) < len(texts) or not all(text and text.isprintable() for text in texts):
        raise DataError("`class_names` must be different texts that can be printed, one for each class.")
    return texts


def _read_members(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Read the arrays that are ours; no object is unpickled, and nothing is read that its header does not announce."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in _NAMES:
                    yield name, _read_member(path, archive, info)
    except DataError:
        raise
    except Exception as error:  # zipfile and numpy raise whatever their parsers meet in a damaged file
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is no .npz file, or damaged ({reason}). Expected arrays `x` and `y`.") from error


def _read_member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:
        shape, fortran_order, dtype = _read_header(member)
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if dtype.hasobject or member.tell() + size != info.file_size:
            raise DataError(f"{path}: {info.filename} is no plain array, or was cut off. Save it again.")
        if dtype == np.uint8 and not fortran_order and info.compress_type == zipfile.ZIP_STORED and size:
            return np.memmap(path, np.uint8, "r", _data_offset(path, info) + member.tell(), shape)
        if size > _memory_bytes():
            raise DataError(f"{path}: {info.filename} has {size / 1e9:.0f} GB, more than the memory. Save it as uint8.")
    with archive.open(info) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(member)


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where a member's bytes begin: behind its local header, whose last two numbers are lengths of texts."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        lengths = np.frombuffer(file.read(4), "<u2")
    return info.header_offset + 30 + int(lengths.sum())


def _memory_bytes() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # unknown on Windows
        return float("inf")
