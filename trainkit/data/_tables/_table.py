"""Tables of images: a CSV file with a column of images and one of labels, and perhaps one of sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainkit.data._binding import Bound, choose_bound_sides
from trainkit.data._groups import warn_of_spread
from trainkit.data._inspection import inspect_files
from trainkit.data._reading import AS_NAMED, Reading
from trainkit.data._repeats._duplicates import LabelledFile, find_duplicates, warnings_of
from trainkit.data._split import choose_sides, natural_side, read_pins, shares_of, write_pins
from trainkit.data._tables._columns import choose_columns
from trainkit.data._tables._groups import read_groups
from trainkit.data._tables._images import ImageFinder, locate_images
from trainkit.data._tables._labels import BETWEEN_LABELS, read_labels, warn_of_names
from trainkit.data._tables._sheets import naming, read_sheet
from trainkit.data._tables._sides import read_sides
from trainkit.errors import DataError

SUFFIXES = (".csv", ".tsv")


@dataclass(frozen=True, slots=True)
class _Row:
    line: int  # of the file, from 1
    path: Path
    labels: tuple[str, ...]
    side: str | None  # train, val, test; `None` where the table has no column for it
    group: str | None  # whose pictures stay on one side, where it was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The usable images of a table, by side, and what there is to say about the others."""

    class_names: list[str]
    multi_label: bool  # whether an image may have several labels, or none
    sides: dict[str, list[LabelledFile]]  # train, and where there are any val, test
    warnings: list[str]


def read_table(path: Path, *, validation: float, reading: Reading = AS_NAMED) -> Table:
    """Look at every image of a table and put it on its side.

    Where no column says the side, the content of the image does, as for a folder.

    Args:
        path: of a CSV file; a path in it is relative to the folder of the file.
        validation: the share of the training images that is held out where there is no side `val`; 0 for none.
        reading: which columns are meant, and what is in them.

    Raises:
        DataError: no such file, columns or images are missing, labels contradict, or a class cannot be on every side.
    """
    files, several, warnings = _read(path, reading)
    _usable(path, files, warnings)
    sides, split = choose_sides_of_rows(path, files, validation=validation, reading=reading)
    class_names = sorted(_labels_of(files))
    if split.pins:
        warnings.append(write_pins(path, split.pins, split.contents))
    warnings += split.warnings
    for side in ("val", "test"):
        if side in sides and (missing := set(class_names) - _labels_of(sides[side])):
            warnings.append(f"{path} has no {side} image of {naming(sorted(missing))}.")
    repeats = find_duplicates([file for of_side in sides.values() for file in of_side])
    return Table(
        class_names=class_names,
        multi_label=several,
        sides=sides,
        warnings=warnings + warnings_of(repeats, path),
    )


def choose_sides_of_rows(
    path: Path, files: Sequence[LabelledFile], *, validation: float, reading: Reading = AS_NAMED
) -> tuple[dict[str, list[LabelledFile]], Bound]:
    """Put the usable images of a table on their sides, and say which pins have to be written for them to stay there.

    Raises:
        DataError: a class has no training image, or too few images to be split.
    """
    usable = [labelled for labelled in files if not labelled.file.problem]
    sides = {side: [one for one in usable if (one.side or "train") == side] for side in ("train", "val", "test")}
    sides = {side: of_side for side, of_side in sides.items() if of_side}
    class_names = sorted(_labels_of(files))
    _check_training_classes(path, class_names, sides.get("train", []))
    bound = _split(path, class_names, sides, validation, reading)
    if bound.sides:
        if reading.held_out:
            sides.pop("test", None)
        undecided = sides["train"]
        for side in dict.fromkeys(("train", *bound.sides)):
            sides[side] = [one for one, of_one in zip(undecided, bound.sides, strict=True) if of_one == side]
    sides = {side: [replace(one, side=side) for one in of_side] for side, of_side in sides.items()}
    spread = warn_of_spread(one for of_side in sides.values() for one in of_side)
    return sides, replace(bound, warnings=[*bound.warnings, *spread])


def read_files(path: Path, reading: Reading = AS_NAMED) -> tuple[list[LabelledFile], list[str]]:
    """Read a table and look at its images, also those that cannot be used; return it with what there is to say.

    Raises:
        DataError: it is no table, labels are missing or contradict, or images are missing.
    """
    files, _, warnings = _read(path, reading)
    return files, warnings


def read_whole_table(path: Path, reading: Reading = AS_NAMED) -> tuple[list[LabelledFile], bool, list[str]]:
    """Read a table of images that nothing is to be trained on: of few of them, or of a single class.

    Returns:
        Every usable image, whether one may have several labels, and what there is to say.

    Raises:
        DataError: it is no table, labels are missing or contradict, or images are missing.
    """
    files, several, warnings = _read(path, reading, trained=False)
    return _usable(path, files, warnings), several, warnings


def _read(path: Path, reading: Reading, *, trained: bool = True) -> tuple[list[LabelledFile], bool, list[str]]:
    rows, several, warnings = _parse(path, reading)
    rows = _without_repeated(path, rows, warnings)
    _check_labels(path, rows, several=several)
    if trained:
        _check_names_of_classes(path, rows, several=several)
    looked_at = inspect_files([row.path for row in rows])
    files = [LabelledFile(file, row.labels, row.side, row.group) for row, file in zip(rows, looked_at, strict=True)]
    return files, several, warnings


def _parse(path: Path, reading: Reading) -> tuple[list[_Row], bool, list[str]]:
    """Return the rows of a table, whether an image may have several labels, and what was chosen on the way."""
    sheet = read_sheet(path)
    finder = _finder(path, reading)
    columns = choose_columns(sheet, reading, finder)
    if not sheet.rows:
        raise DataError(f"{path} has no rows. Expected a line for each image below the header.")
    taken = [columns.image, *([] if columns.label is None else [columns.label]), *columns.classes]
    sides = read_sides(sheet, reading, taken=taken)
    labels = read_labels(sheet, columns, reading)
    paths = locate_images(sheet, columns.image, finder)
    groups = read_groups(sheet, reading, paths)
    rows = [_Row(*of_row) for of_row in zip(sheet.lines, paths, labels.of_rows, sides.of_rows, groups, strict=True)]
    names = warn_of_names(path, _labels_of(rows))
    return rows, labels.several, [*columns.warnings, *sides.warnings, *labels.warnings, *names, *finder.warnings(path)]


def _finder(path: Path, reading: Reading) -> ImageFinder:
    if reading.images is None:
        return ImageFinder(path.parent)
    folder = Path(reading.images)
    if not folder.is_dir():
        raise DataError(f"No such folder: {folder}. Expected the folder that the images of {path} are in.")
    return ImageFinder(folder, below=True)


def _without_repeated(path: Path, rows: Sequence[_Row], warnings: list[str]) -> list[_Row]:
    first: dict[Path, _Row] = {}
    repeated = []
    for row in rows:
        known = first.setdefault(row.path, row)
        if (set(row.labels), row.side, row.group) != (set(known.labels), known.side, known.group):
            raise DataError(
                f"{path}, lines {known.line} and {row.line}: {row.path.name} is there twice, and they contradict. "
                f"Expected one line for an image, with several labels as `cat{BETWEEN_LABELS}dog`."
            )
        if row is not known:
            repeated.append(str(row.line))
    if repeated:
        warnings.append(f"{path} repeats rows, which count once: lines {naming(repeated)}")
    return list(first.values())


def _check_labels(path: Path, rows: Sequence[_Row], *, several: bool) -> None:
    unlabelled = [str(row.line) for row in rows if not row.labels]
    if unlabelled and not several:
        raise DataError(
            f"{path} has images without a label: lines {naming(unlabelled)}. Expected one each: only where other "
            "images have several, one may have none."
        )


def _check_names_of_classes(path: Path, rows: Sequence[_Row], *, several: bool) -> None:
    names = _labels_of(rows)
    if len(names) > max(len(rows) / 2, 5) and not several:
        raise DataError(
            f"{path} has {len(names)} different labels for {len(rows)} images: {naming(sorted(names))}. Expected "
            "classes, with several images each. Where another column has these, name it: --columns label=NAME"
        )
    if len(names) < 2:
        raise DataError(
            f"Only one class in {path}: `{names.pop()}`. Expected at least two labels in the column `label`."
        )


def _labels_of(rows: Iterable[_Row | LabelledFile]) -> set[str]:
    return {label for row in rows for label in row.labels}


def _usable(path: Path, files: Sequence[LabelledFile], warnings: list[str]) -> list[LabelledFile]:
    bad = [labelled.file for labelled in files if labelled.file.problem]
    if bad:
        named = "; ".join(f"{file.path.name} {file.problem}" for file in bad[:20])
        more = f"; and {len(bad) - 20} more" if len(bad) > 20 else ""
        if len(bad) == len(files):
            raise DataError(f"No usable image in {path}: {named}{more}. Name JPEG or PNG images.")
        warnings.append(f"Left out {len(bad)} of {len(files)} images of {path}: {named}{more}")
    return [labelled for labelled in files if not labelled.file.problem]


def _check_training_classes(path: Path, class_names: Sequence[str], rows: Sequence[LabelledFile]) -> None:
    if not rows:
        raise DataError(f"{path} has no usable training image. Expected rows with `train` in the column for the side.")
    if missing := set(class_names) - _labels_of(rows):
        raise DataError(f"{path} has no usable training image of {naming(sorted(missing))}. Add some.")


def _split(
    path: Path,
    class_names: Sequence[str],
    sides: Mapping[str, Sequence[LabelledFile]],
    validation: float,
    reading: Reading,
) -> Bound:
    """Split the training images by their content; the pins of small classes lie in the folder of the table."""
    files, shares = sides["train"], shares_of(sides, validation)
    if reading.binds:
        pins = {} if reading.held_out else read_pins(path.parent)
        return choose_bound_sides(files, chosen=sides, validation=validation, reading=reading, pins=pins)
    if not shares:
        return Bound([])
    pins = read_pins(path.parent)
    contents = {name: [one.file.sha256 for one in files if name in one.labels] for name in class_names}
    chosen, added = choose_sides(contents, shares, pins)
    of_rows = [chosen.get(one.file.sha256) or natural_side(one.file.sha256, shares, pins) for one in files]
    return Bound(of_rows, {**pins, **added} if added else {}, contents)
