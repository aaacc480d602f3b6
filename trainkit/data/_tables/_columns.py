"""Which column of a table is which: by its name, and by what is in it where a name could mean two things."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainkit.data._reading import Reading
from trainkit.data._tables._images import SUFFIXES, ImageFinder
from trainkit.data._tables._sheets import Sheet, find_column, naming, option, plain, received
from trainkit.data._tables._sides import is_side_column
from trainkit.data._tables._words_of_sides import are_sides, side_of_word
from trainkit.errors import DataError

# As `plain` has them: `File Path` and `file_path` are `filepath`.
_IMAGE_NAMES = (
    "image images img imgs file files filename filenames fname filepath filepaths fpath path paths "
    "imagepath imagepaths imgpath imagefile imgfile imagefilename imagename imgname imageid imgid "
    "imageids imageindex imageurl url id idcode name photo photos photoid photopath picture pictures "
    "relativepath"
)
_IMAGES = frozenset(_IMAGE_NAMES.split())
_LABEL_NAMES = (
    "label labels labelname labelnames labelid labelids class classes classname classnames classid "
    "classlabel breed breeds category categories categoryname categoryid target targets tag tags species "
    "diagnosis dx emotion groundtruth finalllabel findinglabels"
)
_LABELS = frozenset(_LABEL_NAMES.split())
_YES, _NO, _MINUS = ("1", "1.0", "true", "yes", "y", "x"), ("0", "0.0", "false", "no", "n"), ("-1", "-1.0")
_MEASURE_NAMES = "width height w h depth channels size imagesize imgsize filesize bytes filebytes area"
_MEASURES = frozenset(_MEASURE_NAMES.split())
_BOX = r"bbox|(bbox|box|roi)?(x1|y1|x2|y2|xmin|ymin|xmax|ymax)"
_MANY_NUMBERS = 64  # columns of them: pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What is in which column, by index."""

    image: int
    label: int | None  # `None` where each class has a column of its own
    classes: list[int]  # these columns
    warnings: list[str]  # what was chosen, where somebody may have meant something else


def choose_columns(sheet: Sheet, reading: Reading, finder: ImageFinder) -> Columns:
    """Find out which columns are the images' and the labels'.

    Raises:
        DataError: there are none, or several could be meant.
    """
    warnings: list[str] = []
    image = _image_column(sheet, reading, finder, warnings)
    label = _label_column(sheet, reading, image, warnings)
    classes: list[int] = []
    if label is None:
        others = _other_columns(sheet, image, reading)
        classes = _class_columns(sheet, others)
        if not classes:
            raise _no_label(sheet, image, others)
    if boxes := [name for name in sheet.header if re.fullmatch(_BOX, plain(name))]:
        warnings.append(f"{sheet.path} has boxes ({naming(boxes)}), which are not used: images are classified whole.")
    return Columns(image=image, label=label, classes=classes, warnings=warnings)


def column_meaning(name: str) -> str | None:
    """Return what a column of this name usually is: `image` or `label`; `None` where it may be anything."""
    return "image" if plain(name) in _IMAGES else "label" if plain(name) in _LABELS else None


def _image_column(sheet: Sheet, reading: Reading, finder: ImageFinder, warnings: list[str]) -> int:
    if name := reading.column_names.get("image"):
        return find_column(sheet, "image", name)
    found = _named(sheet, _IMAGES)
    _check_once(sheet, found)
    if not found:
        raise _no_image(sheet, finder)
    there = [index for index in found if finder.names_images(sheet.column(index))]
    if not there:
        return _preferred(sheet, found, "image")
    chosen = _preferred(sheet, there, "image")
    others = [index for index in there if not _same_images(sheet, chosen, index, finder)]
    if not others:
        return chosen
    if sheet.header[chosen].lower() != "image":
        raise _ambiguous(sheet, "image", [chosen, *others])
    _warn_of_others(sheet, "image", "images", chosen, others, warnings)
    return chosen


def _same_images(sheet: Sheet, one: int, other: int, finder: ImageFinder) -> bool:
    rows = sheet.rows[:100]
    return one == other or all(finder.find(row[one]) == finder.find(row[other]) for row in rows)


def _label_column(sheet: Sheet, reading: Reading, image: int, warnings: list[str]) -> int | None:
    if name := reading.column_names.get("label"):
        return find_column(sheet, "label", name)
    found = [index for index in _named(sheet, _LABELS) if index != image]
    _check_once(sheet, found)
    if not found:
        return None
    chosen = _preferred(sheet, found, "label")
    equal = [index for index in found if index != chosen and _say_the_same(sheet, chosen, index)]
    others = [index for index in found if index not in (chosen, *equal)]
    if sheet.header[chosen].lower() == "label":
        _warn_of_others(sheet, "label", "classes", chosen, [*equal, *others], warnings)
    elif others:
        raise _ambiguous(sheet, "label", found)
    elif equal:  # a number and a name: the name
        words = [index for index in (chosen, *equal) if not _all_numbers(sheet.column(index))]
        chosen = words[0] if words else chosen
        same = [index for index in found if index != chosen]
        _warn_of_others(sheet, "label", "classes", chosen, same, warnings)
    return chosen


def _warn_of_others(
    sheet: Sheet, role: str, what: str, chosen: int, others: Sequence[int], warnings: list[str]
) -> None:
    if others:
        names = [sheet.header[index] for index in others]
        warnings.append(
            f"{sheet.path}: the {what} are taken from `{sheet.header[chosen]}`, not from "
            f"{naming(f'`{name}`' for name in names)}: {option(role, names[0])} takes these."
        )


def _ambiguous(sheet: Sheet, role: str, found: Sequence[int]) -> DataError:
    names = [sheet.header[index] for index in found]
    what = "say where the images are" if role == "image" else "be the class"
    return DataError(
        f"{sheet.path}: `{'`, `'.join(names[:-1])}` and `{names[-1]}` may both {what}. Say which: "
        f"{' or '.join(option(role, name) for name in names)}"
    )


def _named(sheet: Sheet, names: frozenset[str]) -> list[int]:
    return [index for index, name in enumerate(sheet.header) if plain(name) in names]


def _preferred(sheet: Sheet, found: Sequence[int], name: str) -> int:
    """Return the column that is called exactly so, else the first; a mere number of the row comes last."""

    def rank(index: int) -> tuple[bool, bool]:
        return sheet.header[index].lower() != name, plain(sheet.header[index]) in ("id", "name")

    return min(found, key=rank)


def _check_once(sheet: Sheet, found: Sequence[int]) -> None:
    names = [sheet.header[index].lower() for index in found]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{sheet.path} has the column `{name}` {names.count(name)} times. Expected it once.")


def _say_the_same(sheet: Sheet, one: int, other: int) -> bool:
    """Tell whether each value of one column stands beside one value of the other, and the other way round."""
    pairs = {(row[one], row[other]) for row in sheet.rows}
    return len({first for first, _ in pairs}) == len({second for _, second in pairs}) == len(pairs)


def _class_columns(sheet: Sheet, others: list[int]) -> list[int]:
    """Return the columns of a table that has one for each class; none where it has not."""
    if len(others) < 2 or _signs(sheet, others) not in ({"0", "1"}, {"-1", "1"}, {"", "1"}):
        return []
    classes = [index for index in others if not side_of_word(sheet.header[index])]
    if not classes or classes == others or _one_each(sheet, others):  # a train may be a class, beside bus and car
        return others if classes else []
    if len(classes) > 1 and _one_each(sheet, classes):
        return classes
    name = next(sheet.header[index] for index in others if index not in classes)
    raise DataError(
        f"{sheet.path}: the column `{name}` may be a side or a class. Rename it: `is_{name.lower()}` where it is a "
        f"side, `class_{name.lower()}` where it is a class."
    )


def _one_each(sheet: Sheet, columns: Sequence[int]) -> bool:
    return all(sum(is_yes(row[index]) for index in columns) == 1 for row in sheet.rows)


def _signs(sheet: Sheet, columns: Sequence[int]) -> set[str | None]:
    return {_sign(cell) for index in columns for cell in sheet.column(index)}


def _sign(cell: str) -> str | None:
    """Return what a cell of a class's own column says; `None` for anything else: CheXpert's -1 beside 0 is a doubt."""
    if not cell:
        return ""
    return "1" if is_yes(cell) else "0" if cell.lower() in _NO else "-1" if cell in _MINUS else None


def _other_columns(sheet: Sheet, image: int, reading: Reading) -> list[int]:
    """Return the columns that are neither an image's name, nor a side, nor an index that pandas has written."""
    grouped = (reading.group_by or "").strip().lower()
    return [
        index
        for index, name in enumerate(sheet.header)
        if index != image
        and name
        and name.lower() not in (reading.column_names.get("split", "").strip().lower(), grouped)
        and not re.fullmatch(r"unnamed: \d+", name.lower())
        and (plain(name) not in _IMAGES or _is_yes_or_no(sheet, index))  # a class may be called `photo`
        and not is_side_column(plain(name))
        and not are_sides(sheet.column(index))
    ]


def _is_yes_or_no(sheet: Sheet, index: int) -> bool:
    signs = _signs(sheet, [index])
    return signs <= {"0", "1", ""} and signs != {""}


def is_yes(cell: str) -> bool:
    """Tell whether a cell of a class's own column says that the image has it."""
    return cell.lower() in _YES


def _all_numbers(cells: Sequence[str]) -> bool:
    return all(is_number(cell) for cell in cells)


def _is_share(cell: str) -> bool:
    return is_number(cell) and 0 <= float(cell) <= 1


def is_number(cell: str) -> bool:
    """Tell whether a cell holds a number."""
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", cell) is not None


def _no_image(sheet: Sheet, finder: ImageFinder) -> DataError:
    begin = f"{sheet.path} has no column `image`"
    if pixels := _pixels(sheet):
        return DataError(f"{begin}, but {pixels}")
    data = next((cell for cell in sheet.header if _looks_like_file(cell) or (cell and finder.find(cell))), None)
    if data:
        return DataError(
            f"{begin}: its first line is already one of an image ({data}). Put a line above it that names the columns, "
            "such as `image,label`."
        )
    found = [i for i in range(len(sheet.header)) if sheet.header[i] and finder.names_images(sheet.column(i))]
    return _nothing_named(sheet, "image", found[0] if found else None)


def _no_label(sheet: Sheet, image: int, others: list[int]) -> DataError:
    begin = f"{sheet.path} has no column `label`"
    yes_or_no = [index for index in others if _is_yes_or_no(sheet, index)]
    if others and all(side_of_word(sheet.header[index]) for index in others):
        names = naming(f"`{sheet.header[index]}`" for index in others)
        return DataError(f"{begin}: {names} speak of sides, not of classes. Add one that has the class of each image.")
    if len(others) > 1 and None not in (signs := _signs(sheet, others)) and "1" in signs:
        held = naming(sign or "nothing" for sign in sorted(map(str, signs)))
        return DataError(
            f"{begin}, but {len(others)} columns that hold {held}. Expected 0 and 1 alone, in a column for each class: "
            f"write one of them into every cell, or {option('label', sheet.header[others[0]])} for that column alone."
        )
    names = naming(sheet.header[index] for index in yes_or_no)
    if len(yes_or_no) > 1 and yes_or_no == others:
        return DataError(
            f"{begin}, but {len(others)} that hold no 1 at all ({names}). Expected 0 and 1, a column for each class: "
            "write a 1 into the column of each image's class."
        )
    if len(yes_or_no) > 1 and len(yes_or_no) >= len(others) - 2:
        odd = next(sheet.header[index] for index in others if index not in yes_or_no)
        return DataError(
            f"{begin}. {len(yes_or_no)} columns hold 0 and 1, as one for each class would ({names}), but `{odd}` does "
            f"not. Take it out of the table, or name the column that is meant: {option('label', odd)}"
        )
    if len(others) > 1 and all(_is_share(cell) for row in sheet.rows for cell in (row[index] for index in others)):
        return DataError(
            f"{begin}, but {len(others)} columns of shares from 0 to 1. Expected 0 and 1, a column for each class: "
            "trainkit learns no shares. Put 1 where the largest is, or add a column `label`."
        )
    others = [index for index in others if plain(sheet.header[index]) not in _MEASURES]
    plausible = [index for index in others if 1 < len(set(sheet.column(index))) <= max(2, len(sheet.rows) // 2)]
    if not plausible:  # one that is usually an image's: `Image,Id`, where the Id is the whale's
        left = [i for i, name in enumerate(sheet.header) if i != image and name and not is_side_column(plain(name))]
        plausible = others or [i for i in left if plain(sheet.header[i]) not in _MEASURES]
    return _nothing_named(sheet, "label", plausible[0] if plausible else None)


def _nothing_named(sheet: Sheet, role: str, example: int | None) -> DataError:
    said = f", or {option(role, sheet.header[example])}" if example is not None else ""
    if len(sheet.header) == 1 and re.search(r"[|: ]", sheet.header[0]):
        said += ", with commas, semicolons or tabs between the columns"
    if sheet.header and sheet.header[0].startswith("#"):
        said += ". Where the line with # is a comment, take it out"
    return DataError(
        f"{sheet.path} has no column `{role}`. Expected a first line such as `image,label` or `image,label,split`, "
        f"with other usual names for them{said}. Received: {received(sheet)}"
    )


def _looks_like_file(cell: str) -> bool:
    return any(cell.lower().endswith(suffix) for suffix in SUFFIXES)


def _pixels(sheet: Sheet) -> str | None:
    """Tell that a table holds the images themselves, as the end of a sentence; `None` where it does not."""
    how = "Make arrays of them, and save these: numpy.savez('images.npz', x=x, y=y), x uint8 (N, height, width)."
    if any(plain(name) == "pixels" for name in sheet.header):
        return f"the pixels themselves, in the column `pixels`. {how}"
    numbers = sum(map(is_number, sheet.rows[0])) if sheet.rows else 0
    if numbers < _MANY_NUMBERS:
        return None
    count = numbers - 1 if _is_square(numbers - 1) else numbers
    side = math.isqrt(count)
    size = f", images of {side}x{side} perhaps" if _is_square(count) else ""
    return f"{count} columns of pixels{size}. {how}"


def _is_square(count: int) -> bool:
    return math.isqrt(count) ** 2 == count
