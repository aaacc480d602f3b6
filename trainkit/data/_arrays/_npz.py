"""`.npz` files, which may come from strangers: their arrays by the names that Keras, MedMNIST and we give them."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from trainkit.data._sides import WORDS_OF_SIDES
from trainkit.errors import DataError
from trainkit.files import offset_in_zip

NAMES_EXPECTED = "`x_train` and `y_train`, or `train_images` and `train_labels`"
_AXES = {"x": ("x", "images?", "imgs?", "data"), "y": ("y", "labels?", "targets?")}
SHAPES = "_shapes"  # behind the name of images of several sizes: how high, wide and deep each is
_CLASS_NAMES = ("class_names", "label_names", "target_names")


def read_npz(path: Path) -> tuple[dict[str, tuple[str, np.ndarray]], list[str]]:
    """Read the arrays of a file; no object is unpickled, and nothing is read that its header does not announce.

    Returns:
        `x`, `y`, `x_val`, ..., `class_names` to the name in the file and the array; and the names of all others.

    Raises:
        DataError: it is missing, damaged, larger than the memory, or two arrays have one meaning.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            meant = match_names(members)
            found = {key: (name, _read_member(path, archive, members[name])) for key, name in meant.items()}
            return found, [name for name in members if name not in meant.values()]
    except DataError:
        raise
    except Exception as error:  # zipfile and numpy raise whatever their parsers meet in a damaged file
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is no .npz file, or damaged ({reason}). Expected arrays `x` and `y`.") from error


def match_names(names: Iterable[str]) -> dict[str, str]:
    """Return which of some names means `x`, `y`, `x_val`, `y_val`, `x_test`, `y_test` and `class_names`.

    Raises:
        DataError: two of them mean one.
    """
    meant: dict[str, str] = {}
    for name in names:
        if (key := _meaning(name)) is None:
            continue
        if key in meant:
            raise DataError(f"`{meant[key]}` and `{name}` may both be `{key}`. Save the arrays that are meant, alone.")
        meant[key] = name
    return meant


def _meaning(name: str) -> str | None:
    """Return what an array of this name is; `None` where its name does not tell."""
    if name in _CLASS_NAMES:
        return "class_names"
    if name in (f"x{SHAPES}", f"x_val{SHAPES}", f"x_test{SHAPES}"):
        return name
    for axis, words in _AXES.items():
        for side, side_words in WORDS_OF_SIDES.items():
            either = f"(?:{'|'.join(side_words)})"
            alone = f"|(?:{'|'.join(words)})" if side == "train" else ""
            pattern = f"{either}_?(?:{'|'.join(words)})|(?:{'|'.join(words)})_?{either}{alone}"
            if re.fullmatch(pattern, name, re.IGNORECASE):
                return axis if side == "train" else f"{axis}_{side}"
    return None


def _read_member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:
        shape, fortran_order, dtype = _read_header(member)
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if dtype.hasobject:
            raise DataError(
                f"{path}: {info.filename} is no plain array: it holds Python objects, which are not read from a file "
                "that may come from a stranger. Save numbers (y.astype('int64')), texts (names.astype(str)), and "
                "images of one size (numpy.stack(images))."
            )
        if member.tell() + size != info.file_size:
            raise DataError(f"{path}: {info.filename} is no plain array, or was cut off. Save it again.")
        if dtype == np.uint8 and not fortran_order and info.compress_type == zipfile.ZIP_STORED and size:
            return np.memmap(path, np.uint8, "r", offset_in_zip(path, info) + member.tell(), shape)
        if size > _memory_bytes():
            raise DataError(f"{path}: {info.filename} has {size / 1e9:.0f} GB, more than the memory. Save it as uint8.")
    with archive.open(info) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(member)


def _memory_bytes() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # unknown on Windows
        return float("inf")
