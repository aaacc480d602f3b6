"""What kind of data a path is: a folder, a table or arrays; for any other file, what can be done with it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from trainkit.data._folders._tree import PICTURES
from trainkit.data._reading import Kind
from trainkit.data._tables._table import SUFFIXES
from trainkit.errors import DataError

ARRAYS = ".npz"
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".tbz2", ".bz2", ".txz", ".xz", ".zst", ".rar", ".7z")
_CSV = "a CSV file with the columns image and label"
_ADVICE: dict[tuple[str, ...], str] = {
    (".xlsx", ".xls", ".xlsm", ".ods", ".numbers"): f"is a spreadsheet. Save it as {_CSV}, and name that.",
    (".txt", ".lst", ".dat"): (
        f"is a text file. Where it lists images and their labels, make it {_CSV}: the suffix .csv, a first line "
        "`image,label`, and commas, semicolons or tabs between the two."
    ),
    (".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml"): (
        f"holds annotations. Write them as {_CSV}, one line for each image, or name the folder of class folders."
    ),
    (".parquet", ".feather", ".arrow", ".orc"): f"is a binary table. Write it as {_CSV}, and name that.",
    (".npy", ".h5", ".hdf5", ".mat", ".pkl", ".pickle", ".pt", ".tfrecord", ".tfrecords", ".mdb"): (
        "holds arrays or records. Save images x and class numbers y as an .npz file, "
        "`numpy.savez('data.npz', x=x, y=y)`, and name that."
    ),
    PICTURES: (
        "is a file. Expected a folder with one folder of images for each class; `trainkit predict` classifies "
        "single images."
    ),
    (".mp4", ".avi", ".mov", ".mkv", ".webm"): (
        "is a video. Expected a folder with one folder of images for each class: save its frames as images first."
    ),
}


def kind_of(path: Path) -> Kind:
    """Say what a path is by its suffix; what is not there counts as what it would be.

    Raises:
        DataError: it is a file of another kind; says what to do with it.
    """
    suffix = path.suffix.lower()
    if os.path.isdir(path) or (suffix not in (*SUFFIXES, ARRAYS) and not os.path.isfile(path)):
        return "folder"
    if suffix in SUFFIXES:
        return "table"
    if suffix == ARRAYS:
        return "arrays"
    raise DataError(f"{path} {_what_to_do(path, suffix)}")


def _what_to_do(path: Path, suffix: str) -> str:
    if suffix == ".gz" and path.stem.lower().endswith(SUFFIXES):
        inner = shlex.quote(str(path.with_suffix("")))
        return f"is a table that is packed. Unpack it, `python -m gzip -d {shlex.quote(str(path))}`, and name {inner}."
    if suffix in ARCHIVES:
        return f"is an archive. Unpack it, `{_unpacking(path)}`, and name the folder that comes of it."
    found = (advice for suffixes, advice in _ADVICE.items() if suffix in suffixes)
    return next(found, "is a file. Expected a folder with one folder of images for each class, a .csv or an .npz file.")


def _unpacking(path: Path) -> str:
    name = path.name.lower()
    folder = shlex.quote(path.name.split(".")[0] or "data")
    file = shlex.quote(str(path))
    if name.endswith(".zip"):
        return f"python -m zipfile -e {file} {folder}"
    if name.endswith((".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")):
        return f"python -m tarfile -e {file} {folder}"
    return f"7z x {file} -o{folder}"
