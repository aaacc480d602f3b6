"""Images that are arrays: in memory, or in an `.npz` file that may come from a stranger.

The names are those of `.npz` files: `x` and `y`, perhaps `x_val`, `y_val`, `x_test`, `y_test` and `class_names`; and
what Keras, MedMNIST and others call these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.data._arrays._npz import NAMES_EXPECTED, SHAPES, read_npz
from trainkit.data._arrays._repeats import bind_arrays, warn_of_repeats
from trainkit.data._binding import TESTS_STAY_OUT, choose_bound
from trainkit.data._cores import all_cores
from trainkit.data._dataset import Dataset, PackedPixels, Part, Pixels, to_images
from trainkit.data._reading import AS_NAMED, Reading
from trainkit.data._split import choose_sides, natural_side, shares_of
from trainkit.data._tables._sheets import naming
from trainkit.deploy.python._values import MAX_CLASSES, MAX_SIDE
from trainkit.errors import DataError

Pair = tuple[Any, Any]
Arrays = Pair | tuple[Pair, Pair] | tuple[Pair, Pair, Pair]  # (x, y); as `keras.datasets` give it, perhaps with val
Given = Mapping[str, tuple[str, Any]]  # `x`, `y`, `x_val`, ...: what it is called, and the array

_SUFFIXES = {"train": "", "val": "_val", "test": "_test"}
_SIDES_OF_PAIRS = {1: ("train",), 2: ("train", "test"), 3: ("train", "val", "test")}
_BLOCK = 256  # images that are looked at together
_DARK = 32  # no level above this: nearly black
_FEW = 5  # images that may be so by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledArrays:
    """Arrays in the one form of theirs, before sides are chosen."""

    names: dict[str, str]  # side to what its images are called
    images: dict[str, Pixels]  # by side
    labels: dict[str, np.ndarray]  # side to int64 (N,), or float32 (N, classes) of 0 and 1 for several labels
    class_names: list[str]
    multi_label: bool
    warnings: list[str]
    contents: dict[str, list[str]]  # side to the SHA-256 of each image


def load_arrays(
    arrays: Arrays,
    *,
    validation: float = 0.1,
    class_names: Sequence[str] | None = None,
    reading: Reading = AS_NAMED,
) -> Dataset:
    """Take images in memory for a data set; the arrays stay as they are.

    Args:
        arrays: `(x, y)`, `((x, y), (x_test, y_test))` or `((x, y), (x_val, y_val), (x_test, y_test))`. x: uint8, bool,
            or other numbers that are whole and 0 to 255, `(N, height, width)`, `(N, height, width, 1)` or, in the order
            R, G, B, `(N, height, width, 3)`. y: numbers of the classes `(N,)` or `(N, 1)`, or `(N, classes)` of 0 and
            1; where a row has not exactly one 1, an image may have several classes.
        validation: the share of the training images that is held out.
        class_names: of the classes, in the order of their numbers; without them a class is called by its number.
        reading: which fold is held out.

    Raises:
        DataError: they are no images, or no classes.
    """
    return load_given(name_arrays(arrays), class_names, validation=validation, reading=reading)


def load_given(
    given: Given, class_names: Sequence[str] | None, *, validation: float, reading: Reading = AS_NAMED
) -> Dataset:
    """Take arrays that have our names.

    Raises:
        DataError: they are no images, or no classes.
    """
    names = None if class_names is None else to_class_names(np.asarray(class_names))
    return _build(label_arrays(given, names), validation=validation, reading=reading, name="arrays", path=None)


def save_arrays(arrays: Arrays, path: Path, class_names: Sequence[str] | None = None) -> None:
    """Write what `load_arrays` takes to an `.npz` file; the pixels as uint8.

    Raises:
        DataError: they are no images.
    """
    save_given(name_arrays(arrays), path, class_names)


def save_given(given: Given, path: Path, class_names: Sequence[str] | None = None) -> None:
    """Write arrays that have our names; images of several sizes as one row of values, and their shapes."""
    named: dict[str, Any] = {}
    for key, (name, array) in given.items():
        named[key] = _pixels(name, array) if key[0] == "x" else array
        if isinstance(named[key], PackedPixels):
            named |= {key: array.flat, f"{key}{SHAPES}": array.shapes}
    if class_names is not None:
        named["class_names"] = np.asarray(class_names)
    with path.open("xb") as file:
        np.savez(file, allow_pickle=False, **named)


def load_npz(path: Path, *, validation: float = 0.1, reading: Reading = AS_NAMED) -> Dataset:
    """Load the arrays of an `.npz` file; uint8 pixels that are not compressed are mapped rather than read.

    Raises:
        DataError: it is missing, damaged, holds something else, or is larger than the memory.
    """
    return _build(read_arrays(path), validation=validation, reading=reading, name=path.stem, path=path)


def read_arrays(path: Path, *, trained: bool = True) -> LabelledArrays:
    """Read the arrays of an `.npz` file; sides that are not in it are not chosen yet.

    Args:
        path: the file.
        trained: as for `label_arrays`.

    Raises:
        DataError: it is missing, damaged, holds something else, or is larger than the memory.
    """
    found, others = read_npz(path)
    given: dict[str, tuple[str, Any]] = dict(found)
    names = given.pop("class_names", None)
    if not {"x", "y"} & given.keys():
        received = naming([*(name for name, _ in given.values()), *others], most=12) or "none"
        raise DataError(f"Expected arrays `x` and `y`, or names such as {NAMES_EXPECTED}. Received: {received}")
    for key in [key for key in given if key.endswith(SHAPES)]:
        of_images = key.removesuffix(SHAPES)
        given[of_images] = (of_images, _unpack(path, given.get(of_images), given.pop(key)[1]))
    arrays = label_arrays(given, None if names is None else to_class_names(names[1]), trained=trained)
    if others:
        arrays.warnings.append(f"{path} has arrays that are not read: {naming(others)}.")
    return arrays


def _unpack(path: Path, values: tuple[str, Any] | None, shapes: np.ndarray) -> PackedPixels:
    """Return images of several sizes, as `save_given` writes them; the file may come from a stranger."""
    flat = np.empty(0, np.uint8) if values is None else values[1]
    if not (
        flat.ndim == 1
        and flat.dtype == np.uint8
        and shapes.ndim == 2
        and shapes.dtype == np.int64
        and shapes.shape[1] == 3
        and len(shapes)
        and shapes.min() >= 1
        and shapes[:, :2].max() <= MAX_SIDE
        and np.isin(shapes[:, 2], (1, 3)).all()
        and shapes.prod(axis=1).sum() == len(flat)
    ):
        raise DataError(f"{path}: images of several sizes do not go with their shapes. Save it again.")
    return PackedPixels.of(flat, shapes)


def name_arrays(arrays: Arrays) -> dict[str, tuple[str, Any]]:
    """Give arrays our names: `x`, `y`, `x_val`, ...

    Raises:
        DataError: they do not come in pairs.
    """
    pairs = arrays if isinstance(arrays, tuple) and all(isinstance(part, tuple) for part in arrays) else (arrays,)
    if len(pairs) not in _SIDES_OF_PAIRS or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise DataError(
            "Expected arrays as (x, y), or as ((x, y), (x_test, y_test)), or as "
            "((x, y), (x_val, y_val), (x_test, y_test))."
        )
    names = [(f"x{_SUFFIXES[side]}", f"y{_SUFFIXES[side]}") for side in _SIDES_OF_PAIRS[len(pairs)]]
    return {
        name: (name, array)
        for of_side, pair in zip(names, pairs, strict=True)
        for name, array in zip(of_side, pair, strict=True)
    }


def label_arrays(given: Given, class_names: list[str] | None, *, trained: bool = True) -> LabelledArrays:
    """Bring arrays into one form.

    Args:
        given: the arrays by our names.
        class_names: of the classes, where they have any.
        trained: whether something is to be trained on them: every class then has an image.

    Raises:
        DataError: they are no images, no classes, or do not go together.
    """
    images: dict[str, Pixels] = {}
    labels: dict[str, np.ndarray] = {}
    warnings: list[str] = []
    for side, suffix in _SUFFIXES.items():
        x, y = f"x{suffix}", f"y{suffix}"
        if (x in given) != (y in given):
            there, missing = (given[x][0], y) if x in given else (given[y][0], x)
            raise DataError(f"There is `{there}`, but no `{missing}`. Expected both.")
        if x in given:
            (x_name, x_array), (y_name, y_array) = given[x], given[y]
            images[side], labels[side] = _pixels(x_name, x_array, warnings), _labels(y_name, y_array)
            if len(images[side]) != len(labels[side]):
                raise DataError(
                    f"`{x_name}` has {len(images[side])} images and `{y_name}` {len(labels[side])}. Expected as many."
                )
    names = {side: given[f"y{_SUFFIXES[side]}"][0] for side in labels}
    multi_label, labels = _in_one_form(labels, names)
    if class_names is None:
        class_names = _numbers(labels["train"], names["train"], trained=trained)
    elif trained:
        _check_count_of_names(class_names, labels, names)
    _check_count_of_classes(labels, class_names, names)
    if trained:
        _check_classes(labels, class_names, names)
    return LabelledArrays(
        names={side: given[f"x{_SUFFIXES[side]}"][0] for side in images},
        images=images,
        labels=labels,
        class_names=class_names,
        multi_label=multi_label,
        warnings=warnings,
        contents={side: _hash(pixels) for side, pixels in images.items()},
    )


def choose_sides_of_arrays(
    arrays: LabelledArrays, *, validation: float, reading: Reading = AS_NAMED
) -> dict[str, np.ndarray | None]:
    """Return the numbers of the images of each side; `None` for an array that is a side as it stands.

    Raises:
        DataError: a class has too few images to be split.
    """
    chosen: dict[str, np.ndarray | None] = dict.fromkeys(arrays.images)
    if reading.held_out:
        labels = names_of(arrays.labels["train"], arrays.class_names)
        keys, there = bind_arrays(arrays), list(arrays.images)
        bound = choose_bound(keys, labels, chosen=there, validation=validation, reading=reading, pins={})
        sides = np.array(bound.sides)
        arrays.warnings.extend(bound.warnings)
        return {**chosen, **{side: np.flatnonzero(sides == side) for side in dict.fromkeys(("train", *bound.sides))}}
    if shares := shares_of(arrays.images, validation):
        chosen.update(_split(arrays.contents["train"], arrays.labels["train"], arrays.class_names, shares))
    return chosen


def without_tests(arrays: LabelledArrays, reading: Reading) -> LabelledArrays:
    """Leave the images for testing out where a fold takes their place."""
    if reading.held_out is None or "test" not in arrays.images:
        return arrays
    images = {side: pixels for side, pixels in arrays.images.items() if side != "test"}
    return replace(arrays, images=images, warnings=[*arrays.warnings, TESTS_STAY_OUT])


def names_of(labels: np.ndarray, class_names: Sequence[str]) -> list[list[str]]:
    """Return the classes of each image, of `(N,)` numbers or `(N, classes)` of 0 and 1."""
    return [
        [class_names[int(number)] for number in (np.flatnonzero(row) if labels.ndim == 2 else (row,))] for row in labels
    ]


def _build(arrays: LabelledArrays, *, validation: float, reading: Reading, name: str, path: Path | None) -> Dataset:
    arrays = without_tests(arrays, reading)
    chosen = choose_sides_of_arrays(arrays, validation=validation, reading=reading)
    parts: dict[str, Part] = {}
    for side, indices in chosen.items():
        source = side if side in arrays.images else "train"
        labels = arrays.labels[source]
        of_side = labels if indices is None else labels[indices]
        parts[side] = Part(to_images(arrays.images[source], indices), of_side)
    return Dataset(
        name=name,
        class_names=arrays.class_names,
        parts=parts,
        multi_label=arrays.multi_label,
        warnings=arrays.warnings + warn_of_repeats(arrays, chosen, path=path),
    )


def _pixels(name: str, array: Any, warnings: list[str] | None = None) -> Pixels:
    """Return uint8 `(N, height, width)` or `(N, height, width, 3)`; the same memory where it is uint8 already."""
    if isinstance(array, PackedPixels):
        _warn_of_dark(name, array.flat, len(array), warnings)
        return array
    pixels = _to_array(name, array)
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    if not (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 3)):
        hint = " Move the channels to the end." if pixels.ndim == 4 and pixels.shape[1] in (1, 3) else ""
        raise DataError(
            f"`{name}` must be images: (N, height, width), (N, height, width, 1) or (N, height, width, 3). "
            f"Received: {pixels.shape}.{hint}"
        )
    if not len(pixels):
        raise DataError(f"`{name}` has no images. Expected some. Received: {pixels.shape}")
    if not (min(pixels.shape[1:3]) >= 1 and max(pixels.shape[1:3]) <= MAX_SIDE):
        raise DataError(f"`{name}` must have images of 1 to {MAX_SIDE} pixels a side. Received: {pixels.shape}")
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    levels = pixels if pixels.dtype == np.uint8 else _to_uint8(name, pixels)
    _warn_of_dark(name, levels, len(levels), warnings)
    return levels


def _warn_of_dark(name: str, levels: np.ndarray, count: int, warnings: list[str] | None) -> None:
    """Say that levels end far below white: those of another scale, or of really dark images."""
    highest = _highest_level(levels)
    if warnings is None or not 0 < highest <= _DARK or (highest > 1 and count <= _FEW):
        return
    if highest == 1:
        warnings.append(
            f"`{name}` holds only 0 and 1, grey levels of nearly black images. Where 1 means white, give {name} * 255."
        )
        return
    warnings.append(
        f"`{name}` has no level above {highest}, of 255: nearly black images. Where {highest} means white, multiply by "
        f"255 / {highest} and round; where they are really so dark, nothing is to be done."
    )


def _highest_level(levels: np.ndarray) -> int:
    """Return the highest level; any above `_DARK` as soon as one is found."""
    most, step = 0, _BLOCK if levels.ndim > 1 else _BLOCK * 1024
    for first in range(0, len(levels), step):
        if (most := max(most, int(levels[first : first + step].max()))) > _DARK:
            break
    return most


def _to_array(name: str, array: Any) -> np.ndarray:
    try:
        found = np.asarray(array)
    except ValueError as error:  # lists of different lengths
        raise DataError(f"`{name}` is no array ({error}).") from error
    if found.dtype.kind not in "buif":
        hint = ""
        if found.ndim == 1 and found.dtype.kind in "UO":
            hint = " Names become numbers by `names, y = numpy.unique(y, return_inverse=True)`; class_names=names."
        raise DataError(f"`{name}` must be numbers. Received: {found.dtype}.{hint}")
    return found


def _to_uint8(name: str, pixels: np.ndarray) -> np.ndarray:
    converted = np.empty(pixels.shape, np.uint8)
    for first in range(0, len(pixels), _BLOCK):
        block = pixels[first : first + _BLOCK]
        if not (block.min() >= 0 and block.max() <= 255):  # so written, NaN is refused too
            raise DataError(
                f"`{name}` must be grey levels, 0 to 255. Received: {block.min()} to {block.max()}. Bring them to that "
                "range first."
            )
        converted[first : first + _BLOCK] = block
        if not np.array_equal(converted[first : first + _BLOCK], block):
            raise DataError(
                f"`{name}` must be whole levels, 0 to 255. Received: {block.min():g} to {block.max():g}, fractions. "
                "Give the pixels as they were before they were scaled: the preprocessing scales them."
            )
    if _highest_level(converted) == 1:
        raise DataError(
            f"`{name}` of {pixels.dtype} holds only 0 and 1, which can be read in two ways. Where 1 means white, give "
            f"({name} * 255).astype('uint8'). Where they are grey levels, of nearly black images, give "
            f"{name}.astype('uint8')."
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


def _in_one_form(labels: Mapping[str, np.ndarray], names: Mapping[str, str]) -> tuple[bool, dict[str, np.ndarray]]:
    """Tell whether images may have several classes, and return the labels of all sides in the form of that."""
    rows = [of_side for of_side in labels.values() if of_side.ndim == 2]
    multi_label = any((of_side.sum(axis=1) != 1).any() for of_side in rows)
    if len({of_side.shape[1] for of_side in rows}) > 1 or (multi_label and len(rows) < len(labels)):
        shapes = ", ".join(f"`{names[side]}` {of_side.shape}" for side, of_side in labels.items())
        raise DataError(f"The labels must have one form on all sides. Received: {shapes}")
    if multi_label:
        return True, dict(labels)
    return False, {side: one.argmax(axis=1) if one.ndim == 2 else one for side, one in labels.items()}


def _count_classes(labels: np.ndarray) -> int:
    return labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1


def _numbers(labels: np.ndarray, name: str, *, trained: bool) -> list[str]:
    """Return the names of classes that have none: their numbers."""
    count = _count_classes(labels)
    most = len(labels) if trained else MAX_CLASSES
    if count > most:  # before there are so many names: one label may be 2147483646
        raise DataError(
            f"`{name}` has {len(np.unique(labels))} different numbers, up to {count - 1}, and {len(labels)} images: "
            f"numbers of classes go from 0 without a gap. {_number_anew(name)}"
        )
    return list(map(str, range(count)))


def _number_anew(name: str) -> str:
    return f"Number them anew: names, {name} = numpy.unique({name}, return_inverse=True)."


def _check_count_of_names(
    class_names: Sequence[str], labels: Mapping[str, np.ndarray], names: Mapping[str, str]
) -> None:
    """Raise where there are more names than classes, or fewer."""
    named, counts = len(class_names), {side: _count_classes(of_side) for side, of_side in labels.items()}
    side = max(counts, key=lambda one: counts[one])  # the first that has the most
    name, count = names[side], counts[side]
    if count > named:
        has_gaps = labels[side].ndim == 1 and len(np.unique(labels[side])) == named
        raise DataError(
            f"`{name}` has {count} classes. Expected {named}, as many as `class_names` has names."
            + (f" Or the numbers have gaps: {_number_anew(name)}" if has_gaps else "")
        )
    if named > count > 1:
        raise DataError(
            f"`{name}` has {count} classes, and `class_names` {named} names. Expected as many: take out the names of "
            "classes that have no image, or add images of these."
        )


def _check_count_of_classes(
    labels: Mapping[str, np.ndarray], class_names: Sequence[str], names: Mapping[str, str]
) -> None:
    count = len(class_names)
    for side, of_side in labels.items():
        if _count_classes(of_side) > count or (of_side.ndim == 2 and of_side.shape[1] != count):
            raise DataError(f"`{names[side]}` has {_count_classes(of_side)} classes. Expected {count}.")


def _check_classes(labels: Mapping[str, np.ndarray], class_names: Sequence[str], names: Mapping[str, str]) -> None:
    count = len(class_names)
    if count < 2:
        raise DataError(f"Only one class. Expected at least two numbers of classes in `{names['train']}`.")
    train = labels["train"]
    present = np.flatnonzero(train.any(axis=0)) if train.ndim == 2 else np.unique(train)
    if len(present) < count:
        missing = next(number for number in range(count) if number not in present)
        hint = "" if train.ndim == 2 else f" Or the numbers have gaps: {_number_anew(names['train'])}"
        raise DataError(
            f"`{names['train']}` has {len(present)} of {count} classes. Expected an image of class {missing}, for "
            f"example.{hint}"
        )


def _split(
    contents: Sequence[str], labels: np.ndarray, class_names: Sequence[str], shares: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Return the numbers of the images of each side, which follows from their pixels alone."""
    of_class: dict[str, list[str]] = {name: [] for name in class_names}
    for index, row in enumerate(labels):
        for number in np.flatnonzero(row) if labels.ndim == 2 else (row,):
            of_class[class_names[int(number)]].append(contents[index])
    chosen, _ = choose_sides(of_class, shares, {})
    sides = [chosen.get(content) or natural_side(content, shares, {}) for content in contents]
    return {side: np.flatnonzero([one == side for one in sides]) for side in ("train", *shares)}


def _hash(pixels: Pixels) -> list[str]:
    def of_block(first: int) -> list[str]:
        if isinstance(pixels, PackedPixels):
            some = range(first, min(first + _BLOCK, len(pixels)))
            return [hashlib.sha256(np.ascontiguousarray(pixels[index]).data).hexdigest() for index in some]
        block = np.ascontiguousarray(pixels[first : first + _BLOCK])
        return [hashlib.sha256(image.data).hexdigest() for image in block]

    with all_cores() as pool:
        return [one for block in pool.map(of_block, range(0, len(pixels), _BLOCK)) for one in block]


def to_class_names(names: np.ndarray) -> list[str]:
    """Return the names of classes as texts.

    Raises:
        DataError: they are none, or not different ones.
    """
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(f"`class_names` must be a list of texts. Received: {names.dtype} {names.shape}")
    texts = [str(name) for name in names]
    if len(set(texts)) < len(texts) or not all(text and text.isprintable() for text in texts):
        raise DataError("`class_names` must be different texts that can be printed, one for each class.")
    return texts
