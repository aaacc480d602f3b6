from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from photographs import write_class_folders

from trainkit.data._check import check_data
from trainkit.data._data_statistics import measure_data
from trainkit.data._reading import Reading
from trainkit.data._sources import load_dataset
from trainkit.errors import DataError, UsageError

NO_DATA = {
    "photos.zip": "is an archive. Unpack it, `python -m zipfile -e ",
    "labels.csv.gz": "is a table that is packed. Unpack it, `python -m gzip -d ",
    "photos.tar.gz": "is an archive. Unpack it, `python -m tarfile -e ",
    "photos.tgz": "python -m tarfile -e ",
    "photos.tar": "python -m tarfile -e ",
    "photos.rar": "7z x ",
    "photos.7z": "7z x ",
    "labels.xlsx": "is a spreadsheet. Save it as a CSV file with the columns image and label",
    "labels.txt": "is a text file. Where it lists images and their labels, make it a CSV file",
    "coco.json": "holds annotations. Write them as a CSV file",
    "part.parquet": "is a binary table. Write it as a CSV file",
    "x.npy": "Save images x and class numbers y as an .npz file",
    "data.h5": "Save images x and class numbers y as an .npz file",
    "photo.JPG": "is a file. Expected a folder with one folder of images for each class",
    "film.mp4": "is a video. Expected a folder",
    "thing.docx": "is a file. Expected a folder with one folder of images for each class, a .csv or an .npz file.",
    "thing": "is a file. Expected a folder with one folder of images for each class, a .csv or an .npz file.",
}


@pytest.mark.parametrize("name", NO_DATA)
@pytest.mark.parametrize("read", [load_dataset, check_data, measure_data])
def test_a_file_of_another_kind_is_told_what_to_do(read: object, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x00\xff")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / name} ") + ".*" + re.escape(NO_DATA[name])):
        read(str(tmp_path / name))  # type: ignore[operator]


def test_advice_for_an_archive_works(tmp_path: Path) -> None:
    photos = write_class_folders(tmp_path / "photos", count=3)
    with zipfile.ZipFile(tmp_path / "my photos.zip", "w") as file:
        for path in photos.rglob("*.png"):
            file.write(path, path.relative_to(tmp_path))
    with tarfile.open(tmp_path / "others.tar.gz", "w:gz") as file:
        file.add(photos, "photos")
    for name, folder in (("my photos.zip", "my photos"), ("others.tar.gz", "others")):
        with pytest.raises(DataError) as error:
            load_dataset(str(tmp_path / name))
        command = re.search("`python (.*)`", str(error.value))
        assert command
        subprocess.run(f"{sys.executable} {command[1]}", shell=True, check=True, cwd=tmp_path)
        assert load_dataset(str(tmp_path / folder)).class_names == ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("photos", {"columns": "image=path"}, "--columns says how a table is read. It means nothing for .*photos"),
        ("photos", {"images": "here"}, "--images says how a table is read"),
        ("photos", {"separator": ","}, "--separator says"),
        ("photos", {"fold": 0}, "--fold says"),
        ("table.csv", {"sides": "train=a"}, r"--sides says how a folder is read. .* \(a table\): leave it out"),
        ("table.csv", {"sides": "none"}, "--no-sides says how a folder is read"),
        ("table.csv", {"labels_from": "name"}, "--labels-from says how a folder is read"),
        ("arrays.npz", {"pattern": "(a)"}, r"--pattern says how a folder is read. .*\(arrays\)"),
        ("digits", {"sides": "train=a"}, r"--sides .* digits \(a data set with a name\)"),
        ("digits", {"columns": "image=path"}, "--columns says"),
    ],
)
def test_an_option_that_means_nothing_for_the_data_is_refused(
    name: str, options: dict[str, object], message: str, tmp_path: Path
) -> None:
    write_class_folders(tmp_path / "photos", count=3)
    (tmp_path / "table.csv").write_text("image,label\nphotos/red/red-000.png,red\n")
    np.savez(tmp_path / "arrays.npz", x=np.zeros((4, 8, 8), np.uint8), y=[0, 1, 0, 1])
    data = name if name == "digits" else str(tmp_path / name)
    reading = Reading(**options)  # type: ignore[arg-type]
    for read in (load_dataset, measure_data) if name in ("digits", "arrays.npz") else (load_dataset, check_data):
        with pytest.raises(UsageError, match=message):
            read(data, reading=reading)  # type: ignore[operator]


def test_a_pattern_is_for_names() -> None:
    assert Reading(pattern="(a)").by_name and not Reading().by_name
    with pytest.raises(UsageError, match="--pattern finds the class in a file's name: it needs --labels-from name"):
        Reading(pattern="(a)", labels_from="folder")
