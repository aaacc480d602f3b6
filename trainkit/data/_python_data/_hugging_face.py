"""Data sets of Hugging Face, by their interface: rows, and features that say what is in a column."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from trainkit.data._python_data._streams import Stream
from trainkit.data._reading import Reading
from trainkit.data._tables._columns import column_meaning
from trainkit.errors import DataError, UsageError


def is_hugging_face(data: Any) -> bool:
    """Whether this has rows, and features of its columns."""
    return hasattr(data, "features") and hasattr(data, "column_names") and hasattr(data, "__iter__")


def stream_rows(data: Any, reading: Reading, name: str) -> Stream:
    """Open a data set.

    Raises:
        DataError: no column has images, or labels, or several have.
        UsageError: it has no length: it is streamed.
    """
    if not hasattr(data, "__len__") or not data.features:
        raise UsageError(
            f"{name} is streamed, so that nobody can tell whether it ends. Load it without streaming=True."
        )
    if "split" in reading.column_names:
        raise UsageError("Sides of such data are {'train': ..., 'test': ...}. Leave split out of --columns.")
    image = _column(data.features, reading, "image", ("Image",), name)
    label = _column(data.features, reading, "label", ("ClassLabel",), name)
    feature = data.features[label]
    inner = getattr(feature, "feature", None)
    class_names: list[str] = list(getattr(inner if inner is not None else feature, "names", None) or ())
    warnings: list[str] = []

    def rows() -> Iterator[tuple[Any, Any]]:
        unlabelled = 0
        for number, row in enumerate(data):
            value = row[label]
            if value is None or (inner is None and class_names and not isinstance(value, str) and int(value) < 0):
                unlabelled += 1  # -1 stands for a test part whose labels are secret
                continue
            if row[image] is None:
                raise DataError(f"{name} has no image in row {number}. Take the row out: data.filter(...)")
            if isinstance(row[image], str):
                raise UsageError(f"{name} holds paths of images in `{image}`. Give data.to_pandas(), a table of them.")
            several = inner is not None and class_names
            yield _to_array(row[image]), _to_row(value, len(class_names)) if several else value
        if unlabelled:
            warnings.append(f"{name} has {unlabelled} rows without a label, which are left out.")

    return Stream(name, rows, class_names or None, warnings)


def _column(features: Any, reading: Reading, role: str, kinds: tuple[str, ...], name: str) -> str:
    """Return the column of a role: the one that is named, that has the right feature, or else a usual name."""
    if wanted := reading.column_names.get(role):
        if wanted not in features:
            raise DataError(f"{name} has no column `{wanted}`. Received: {', '.join(features)}")
        return wanted
    found: list[str] = [column for column, feature in features.items() if _kind(feature) in kinds]
    found = found or [column for column in features if column_meaning(column) == role]
    if len(found) == 1:
        return found[0]
    example = f"reading=trainkit.data.Reading(columns='{role}={(found or list(features))[0]}')"
    if not found:
        raise DataError(
            f"{name} has no column that is surely the {role}'s. Say which: {example}. Received: {', '.join(features)}"
        )
    raise DataError(
        f"{name}: {' and '.join(f'`{one}`' for one in found)} may each be the {role}'s column. Say which: {example}"
    )


def _kind(feature: Any) -> str:
    inner = getattr(feature, "feature", None)
    return type(feature if inner is None else inner).__name__


def _to_array(image: Any) -> np.ndarray:
    """Return a picture of Pillow as grey or RGB, decoded as `cv2.imread` does it: upright, transparency is dropped."""
    if isinstance(image, dict) and "bytes" in image:  # Image(decode=False)
        image = Image.open(image["path"] if image["bytes"] is None else io.BytesIO(image["bytes"]))
    if not hasattr(image, "getbands"):
        return np.asarray(image)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def _to_row(numbers: Any, count: int) -> np.ndarray:
    row = np.zeros(count, np.float32)
    row[np.asarray(numbers, np.int64)] = 1
    return row
