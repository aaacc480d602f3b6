"""Data that only Python has: `tf.data`, `PyDataset`, Hugging Face, pandas. Known by what they can do, not imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import doing
from trainkit.data._dataset import PackedPixels
from trainkit.data._python_data._elements import pair_in
from trainkit.data._python_data._hugging_face import is_hugging_face, stream_rows
from trainkit.data._python_data._pixel_files import PixelFile
from trainkit.data._python_data._streams import Stream
from trainkit.data._reading import Reading, check_applies
from trainkit.data._tables._words_of_sides import side_of_word
from trainkit.errors import DataError, TrainkitError, UsageError

TAKEN = "a tf.data.Dataset, a keras.utils.PyDataset, a datasets.Dataset, a pandas table"  # in words
_MOST_UNBOUNDED = 1_000_000  # images of what does not say how many it has


@dataclass(frozen=True, slots=True)
class Gathered:
    """What streams came to: arrays under our names."""

    arrays: dict[str, tuple[str, Any]]  # `x`, `y`, `x_val`, ...: what it is called, and the array
    class_names: list[str] | None
    warnings: list[str]


def is_table(data: Any) -> bool:
    """Whether this is a table of pandas, or of somebody who writes CSV like it."""
    return hasattr(data, "to_csv") and hasattr(data, "columns") and hasattr(data, "iloc")


def write_table(data: Any, path: Path) -> None:
    """Write such a table as CSV, with its index where that has a name.

    Raises:
        UsageError: it holds images rather than their paths.
    """
    for column in data.columns:
        first = next(iter(data[column]), None)
        if isinstance(first, (bytes, Mapping, np.ndarray)) or hasattr(first, "getbands"):
            raise UsageError(
                f"The column `{column}` of the table holds {type(first).__name__}. Expected the paths of images; give "
                "images themselves as arrays, (numpy.stack(images), labels)."
            )
    names = getattr(getattr(data, "index", None), "names", ())
    path.write_text(data.to_csv(index=any(name is not None for name in names)), encoding="utf-8")


def is_stream(data: Any) -> bool:
    """Whether images come one after the other out of this, or sides of such."""
    if isinstance(data, Mapping):
        return True
    if isinstance(data, (tuple, list)):
        return len(data) <= 3 and any(_open_one(one) is not None or _is_generator(one) for one in data)
    return _open_one(data) is not None or _is_generator(data)


def gather(data: Any, folder: Path, *, class_names: Sequence[str] | None, reading: Reading) -> Gathered:
    """Read every image and label, once.

    Args:
        data: one of what `is_stream` knows; a tuple of three, or a mapping of sides to them.
        folder: where the pixels are written to; they are mapped from there as long as the result is in use.
        class_names: in the order of their numbers, where the data does not know them.
        reading: which columns are meant, where there are columns.

    Raises:
        DataError: it has no end, no images, or the labels are none.
        UsageError: it is of a kind that cannot be read.
    """
    streams = _open_sides(data, reading)
    names = next((stream.class_names for stream in streams.values() if stream.class_names), None)
    if any(stream.class_names not in (None, names) for stream in streams.values()):
        raise DataError("The sides have different classes. Expected the same, in the same order.")
    if names and class_names is not None:
        raise UsageError("`class_names` go with arrays: other data has its own.")
    check_applies(replace(reading, columns=None) if _has_columns(data) else reading, "arrays", "`data`")
    pixels: dict[str, np.ndarray | PackedPixels] = {}
    labels: dict[str, list[Any]] = {}
    warnings: list[str] = []
    for side, stream in streams.items():
        if found := _read(stream, folder / f"{side}.pixels", warnings, needed=side == "train"):
            pixels[side], labels[side] = found
    known, arrays = names or (list(class_names) if class_names is not None else None), {}
    if any(isinstance(label, str) for of_side in labels.values() for label in of_side):
        known = known or sorted({str(label) for of_side in labels.values() for label in of_side})
    for side, of_side in labels.items():
        suffix, word = ("", "") if side == "train" else (f"_{side}", f"{side} ")
        arrays[f"x{suffix}"] = (f"{word}images", pixels[side])
        arrays[f"y{suffix}"] = (f"{word}labels", _to_numbers(of_side, known, streams[side].name))
    return Gathered(arrays, known, warnings)


def _open_sides(data: Any, reading: Reading) -> dict[str, Stream]:
    if isinstance(data, Mapping):
        sides = {key: side_of_word(str(key)) for key in data}
        if None in sides.values() or len(set(sides.values())) < len(sides) or "train" not in sides.values():
            raise UsageError(
                f"Expected the sides train, and perhaps val and test. Received: {', '.join(map(str, data))}"
            )
        found = {str(sides[key]): _open(one, reading, f"`{key}`") for key, one in data.items()}
        return {side: found[side] for side in ("train", "val", "test") if side in found}
    if isinstance(data, (tuple, list)):
        if len(data) != 3:
            raise UsageError(
                f"{len(data)} data sets may be for training and validation, or for training and testing. Say which: "
                "{'train': ..., 'val': ...} or {'train': ..., 'test': ...}"
            )
        return {
            side: _open(one, reading, f"`{side}`") for side, one in zip(("train", "val", "test"), data, strict=True)
        }
    return {"train": _open(data, reading, "The data set")}


def _has_columns(data: Any) -> bool:
    sides = data.values() if isinstance(data, Mapping) else data if isinstance(data, (tuple, list)) else (data,)
    return any(map(is_hugging_face, sides))


def _open(data: Any, reading: Reading, name: str) -> Stream:
    if _is_generator(data):
        raise UsageError(
            f"{name} is a generator: nobody can tell whether it ends, and it can be read only once. Give its images as "
            "arrays, (numpy.stack(images), numpy.array(labels)), as a keras.utils.PyDataset, or as a tf.data.Dataset "
            "that ends."
        )
    if is_hugging_face(data):
        return stream_rows(data, reading, name)
    if isinstance(data, tuple) and len(data) == 2:  # arrays
        return Stream(name, lambda: zip(*data, strict=True), None)
    stream = _open_one(data)
    if stream is None:
        raise UsageError(f"{name} must be {TAKEN}, or arrays as (x, y). Received: {type(data).__name__}")
    return stream(name)


def _is_generator(data: Any) -> bool:
    return hasattr(data, "__next__")


def _open_one(data: Any) -> Callable[[str], Stream] | None:
    """Return what opens this; `None` for what is no stream."""
    kinds = {(base.__module__.split(".")[0], base.__name__) for base in type(data).__mro__}
    if ("tensorflow", "DatasetV2") in kinds:
        return lambda name: _open_tensors(data, name)
    if kinds & {(module, name) for module in ("keras", "tensorflow", "tf_keras") for name in ("PyDataset", "Sequence")}:
        return lambda name: _open_batches(data, name)
    if is_hugging_face(data):
        return lambda name: stream_rows(data, Reading(), name)
    return None


def _open_tensors(data: Any, name: str) -> Stream:
    count = int(data.cardinality())
    if count == -1:  # tf.data.INFINITE_CARDINALITY
        raise UsageError(
            f"{name} has no end: leave out .repeat(), or say how much of it is meant with .take(count). Every epoch "
            "reads all of it anyway."
        )
    names, warnings = getattr(data, "class_names", None), list[str]()
    return Stream(
        name,
        lambda: map(pair_in(name, warnings), data.as_numpy_iterator()),
        list(names) if names else None,
        warnings,
        is_bounded=count >= 0,
    )


def _open_batches(data: Any, name: str) -> Stream:
    count = len(data) if hasattr(data, "__len__") else data.num_batches
    if count is None:
        raise UsageError(f"{name} has no end. Give it a `__len__`: how many batches a pass over it has.")
    numbers = getattr(data, "class_indices", None)  # of ImageDataGenerator
    names = sorted(numbers, key=numbers.__getitem__) if numbers else getattr(data, "class_names", None)
    warnings: list[str] = []
    pair = pair_in(name, warnings)
    return Stream(name, lambda: (pair(data[index]) for index in range(count)), names, warnings)


def _read(
    stream: Stream, path: Path, warnings: list[str], *, needed: bool
) -> tuple[np.ndarray | PackedPixels, list[Any]] | None:
    """Read a stream to its end; `None` for one without any labels that is not needed."""
    labels: list[Any] = []
    bound = "" if stream.is_bounded else ", which does not say how much there is"
    with PixelFile(path, stream.name) as file, doing(f"Reading {stream.name}{bound}"):
        for image, label in _examples(stream):
            file.add(image)
            labels.append(label)
            _check_bound(stream, len(labels))
        warnings += stream.warnings
        if not labels and not needed:
            return None
        pixels, said = file.finish()
    warnings += said
    return pixels, labels


def _check_bound(stream: Stream, count: int) -> None:
    """Raise where so many images came that there is perhaps no end."""
    if not stream.is_bounded and count > _MOST_UNBOUNDED:
        raise UsageError(
            f"{stream.name} does not say how many elements it has, and perhaps it has no end: more than "
            f"{_MOST_UNBOUNDED:,} images came. Where it ends, say how many elements there are: "
            ".apply(tf.data.experimental.assert_cardinality(count)); where it has none, take fewer: .take(count)"
        )


def _examples(stream: Stream) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield image and label, one after the other, whether they come in batches or alone."""
    try:
        for images, labels in stream.elements():
            images, labels = np.asarray(images), np.asarray(labels)
            if images.ndim == 4 or (images.ndim == 3 and _is_batch(images, labels)):
                if labels.ndim == 0 or len(labels) != len(images):
                    raise DataError(f"{stream.name} has {images.shape} images with {labels.shape} labels in a batch.")
                yield from zip(images, map(_plain, labels), strict=True)
            else:
                yield images, _plain(labels)
    except TrainkitError:
        raise
    except Exception as error:  # whatever the code of the data set raises
        raise DataError(f"{stream.name} failed ({type(error).__name__}: {' '.join(str(error).split())}).") from error


def _is_batch(images: np.ndarray, labels: np.ndarray) -> bool:
    """Tell a batch of grey images from one image with channels; that has one label, or a row of 0 and 1."""
    return labels.ndim > 0 and len(labels) == len(images) and not (images.shape[2] in (1, 3) and labels.ndim == 1)


def _plain(label: Any) -> Any:
    """Return a label as text, a number, or a row of them."""
    value = np.asarray(label)
    if value.dtype.kind in "SUO" and value.size == 1:
        text = value.reshape(()).item()
        return text.decode("utf-8") if isinstance(text, bytes) else str(text)
    return value


def _to_numbers(labels: Iterable[Any], names: Sequence[str] | None, name: str) -> np.ndarray:
    found = list(labels)
    if any(isinstance(label, str) for label in found):
        number_of = {one: number for number, one in enumerate(names or ())}
        if unknown := sorted({str(label) for label in found} - number_of.keys()):
            raise DataError(f"{name} has labels that are not in `class_names`: {', '.join(unknown[:5])}")
        return np.array([number_of[str(label)] for label in found], np.int64)
    try:
        return np.stack(found)
    except ValueError as error:
        raise DataError(f"{name} has labels of different shapes. Expected one form for all.") from error


def without_place(sentence: str, path: Path) -> str:
    """Return a sentence about a table in memory without the file that it was written to."""
    return sentence.replace(str(path), "the table")
