"""What `trainkit data stats` reports: the statistics of a data set's pixels, and the call they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from trainkit.data._dataset import FileImages, Images, JoinedImages
from trainkit.data._folders._listing import check_names, list_folder
from trainkit.data._inspection import ImageFile
from trainkit.data._kinds import kind_of
from trainkit.data._reading import Reading, check_applies
from trainkit.data._sources import SOURCES, load_dataset
from trainkit.data._statistics import Statistics, measure_files, measure_images
from trainkit.data._tables._table import read_files
from trainkit.errors import DataError, UsageError, unknown
from trainkit.files import check_new
from trainkit.preprocessing import Color, Resize, build_preprocessing, parse_size, save_mean_image

Split = Literal["all", "train", "val", "test"]
_LEAST_DEVIATION = 1e-3  # grey levels: below, there is nothing to divide by


@dataclass(frozen=True, slots=True, kw_only=True)
class DataStatistics:
    """The statistics of a data set, and what they are of."""

    data: str
    split: Split
    color: Color
    size: tuple[int, int] | None  # width, height; `None`: every image at its own
    resize: Resize
    found: Statistics
    mean_image: Path | None  # where it was written
    warnings: list[str]

    @property
    def blob(self) -> dict[str, Any] | None:
        """The arguments of `cv2.dnn.blobFromImage`, as for `--preprocessing standardize`; `size` where there is one.

        `None` where a channel has no deviation to divide by.
        """
        if min(self.found.std) < _LEAST_DEVIATION:
            return None
        width, height = self.size or (1, 1)
        preprocessing = build_preprocessing(
            "standardize",
            height=height,
            width=width,
            resize=self.resize,
            color=self.color,
            statistics=(self.found.mean, self.found.std),
        )
        return {key: value for key, value in preprocessing.blob.items() if key != "size" or self.size}

    def to_json(self) -> dict[str, Any]:
        """Return everything for a JSON document."""
        return {
            "data": self.data,
            "split": self.split,
            "images": self.found.images,
            "pixels": self.found.pixels,
            "color": self.color,
            "mean": list(self.found.mean),
            "std": list(self.found.std),
            "size": f"{self.size[0]}x{self.size[1]}" if self.size else None,
            "blob": self.blob,
            "mean_image": str(self.mean_image.absolute()) if self.mean_image else None,
        }


def measure_data(
    data: str | Path,
    *,
    split: str = "all",
    validation: float = 0.1,
    size: tuple[int, int] | str | None = None,
    color: str = "rgb",
    resize: str | None = None,
    mean_image: str | Path | None = None,
    reading: Reading | None = None,
) -> DataStatistics:
    """Measure the pixels of a data set, from 0 to 255, each image decoded as training decodes it.

    Args:
        data: as for `trainkit.train`, or a folder of images without classes.
        split: `all` for every usable image, or the side whose images are meant: `train`, `val` or `test`.
        validation: the share of the training images that is held out, which decides on the sides.
        size: (width, height) or "WxH" that the images are brought to; without it each has its own.
        color: `rgb`, `bgr` or `gray`, the order of the results.
        resize: `stretch`, `crop` or `pad`; for `size`.
        mean_image: where to write the mean of each pixel, float32 `(height, width, channels)`, as a `.npy` file.
        reading: how a folder or a table is read, where its names do not tell.

    Raises:
        DataError: there is no such data or side, or the mean image needs a size.
        OutputError: the mean image cannot be written, or there is such a file.
        UsageError: an argument is impossible.
    """
    for kind, value, known in (("split", split, Split), ("color", color, Color), ("resize", resize, Resize)):
        if value is not None and value not in get_args(known):
            raise unknown(kind, value, get_args(known))
    wanted = parse_size(size)
    if resize and not wanted:
        raise UsageError(f"--resize {resize} needs a size. Received no --size.")
    out = Path(mean_image) if mean_image is not None else None
    if out is not None:
        if out.suffix != ".npy":
            raise UsageError(f"A mean image is a .npy file. Received: {out}")
        check_new(out)
    images, warnings = _find_images(str(data), split, validation, reading or Reading())
    geometry: dict[str, Any] = {"color": color, "resize": resize or "stretch"}
    preprocessing = build_preprocessing("none", width=wanted[0], height=wanted[1], **geometry) if wanted else None
    options: dict[str, Any] = {"color": color, "preprocessing": preprocessing, "with_image": out is not None}
    if isinstance(images, list):
        found, more = _measure_folder(str(data), images, options)
        warnings = warnings + more
    else:
        found = measure_images(images, **options)
    if out is not None and found.mean_image is not None:
        save_mean_image(out, found.mean_image)
    how: dict[str, Any] = {"split": split, **geometry}
    return DataStatistics(data=str(data), size=wanted, found=found, mean_image=out, warnings=warnings, **how)


def _find_images(data: str, split: str, validation: float, reading: Reading) -> tuple[Images | list[Path], list[str]]:
    """Return the images that are meant, or files that may be some, and what there is to say about the others."""
    path = Path(data)
    if split == "all" and data not in SOURCES and path.exists():
        kind = kind_of(path)
        check_applies(reading, kind, data)
        if kind == "folder":
            return _files_of_folder(path, reading)
        if kind == "table":
            labelled, warnings = read_files(path, reading)
            images, more = _usable(data, [one.file for one in labelled])
            return images, warnings + more
    dataset = load_dataset(data, validation=validation, reading=reading)
    if split != "all":
        if split not in dataset.parts:
            raise DataError(f"{data} has no side `{split}`. It has: {', '.join(dataset.parts)}")
        return dataset.parts[split].images, dataset.warnings
    return JoinedImages([part.images for part in dataset.parts.values()]), dataset.warnings


def _files_of_folder(folder: Path, reading: Reading) -> tuple[list[Path], list[str]]:
    """Return the files in class folders; where there are none, those in the folder itself."""
    listing = list_folder(folder, reading)
    check_names(listing)
    found = [path for of_class in listing.files.values() for paths in of_class.values() for path in paths]
    return found or listing.aside.strays, listing.warnings


def _measure_folder(data: str, paths: list[Path], options: dict[str, Any]) -> tuple[Statistics, list[str]]:
    """Measure the files that are images, and say which are not."""
    found, problems = measure_files(paths, **options)
    if found is None:
        raise _no_image(data)
    bad = [f"{path} {problem}" for path, problem in zip(paths, problems, strict=True) if problem]
    return found, _left_out(bad, len(paths))


def _usable(data: str, files: Sequence[ImageFile]) -> tuple[FileImages, list[str]]:
    bad = [f"{file.path} {file.problem}" for file in files if file.problem]
    if len(bad) == len(files):
        raise _no_image(data)
    return FileImages([file.path for file in files if not file.problem]), _left_out(bad, len(files))


def _no_image(data: str) -> DataError:
    return DataError(f"No usable image in {data}. Expected JPEG or PNG images.")


def _left_out(bad: Sequence[str], count: int) -> list[str]:
    return [f"Left out {len(bad)} of {count} files: {'; '.join(bad[:20])}"] if bad else []
