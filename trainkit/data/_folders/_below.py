"""What lies below the classes: marks on the pictures, folders of sides, and folders that may be the classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainkit.data._folders._labels import in_words
from trainkit.data._folders._pieces import judge_numbered
from trainkit.data._folders._search import Roots, Search
from trainkit.data._folders._tree import class_folders, has_pictures, holds_pictures, subfolders
from trainkit.data._folders._unclear import UnclearError, side_option
from trainkit.data._reading import NO_SIDES
from trainkit.data._sides import is_images, says_marks_only, says_side_only, side_of

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Inner:
    """A folder below a class whose name speaks of a side."""

    top: Path  # the class
    path: Path
    side: str

    @property
    def place(self) -> str:
        return str(self.path.relative_to(self.top))


def judge_below(search: Search, sides: dict[str, Roots]) -> None:
    """Leave out marks below the classes, and say what else is there.

    Raises:
        UnclearError: there are folders whose names speak of another side.
    """
    labels = {path: label for roots in sides.values() for path, label in roots if label is not None}
    classes = {side: [path for path, label in roots if label is not None] for side, roots in sides.items()}
    _leave_out_marks(search, list(labels))
    if search.reading.sides == NO_SIDES:
        return
    inner = [
        one
        for side, paths in classes.items()
        for path in paths
        for one in _inner_sides(search, path)
        if one.side != side and one.path not in labels  # a side inside a class
    ]
    judge_numbered(search, [path for path in classes.get("train", []) if path.name == labels[path]])
    if inner:
        _judge_inner(search, classes, inner)
    else:
        _tell_deeper(search, classes.get("train", []), labels)


def _leave_out_marks(search: Search, classes: list[Path]) -> None:
    marks = list(dict.fromkeys(path for top in classes for path in _marks_below(top)))
    search.left_out += marks
    if marks:
        names = in_words([str(path.relative_to(search.base)) for path in marks[:_SHOWN]])
        more = f" and {len(marks) - _SHOWN} more" if len(marks) > _SHOWN else ""
        search.warnings.append(
            f"{search.base}: left out, for their names, folders of masks or other marks below the classes: "
            f"{names}{more}. Rename them where they hold pictures to train on."
        )


def _marks_below(folder: Path) -> Iterator[Path]:
    """Yield the folders of marks that lie beside pictures, in a folder and below."""
    beneath = subfolders(folder)
    marks = [path for path in beneath if says_marks_only(path.name) and holds_pictures(path)]
    others = [path for path in beneath if path not in marks and not path.is_symlink()]
    if marks and (has_pictures(folder) or any(map(holds_pictures, others))):
        yield from marks
    for path in others:
        yield from _marks_below(path)


def _inner_sides(search: Search, top: Path) -> list[_Inner]:
    """Return the folders below a class whose names speak of sides."""
    found, todo = [], subfolders(top)
    while todo:
        path = todo.pop()
        side = side_of(path.name)
        if path in search.left_out or path in search.side_folders.values() or path.is_symlink():
            continue
        if side and says_side_only(path.name) and holds_pictures(path):
            found.append(_Inner(top, path, side))
        else:
            todo += subfolders(path)
    return sorted(found, key=lambda one: str(one.path))


def _judge_inner(search: Search, classes: dict[str, list[Path]], inner: list[_Inner]) -> None:
    """Refuse sides below classes, unless somebody has said which folders are the sides.

    Raises:
        UnclearError: nobody has.
    """
    first = inner[0]
    what = f"the folder {first.path.relative_to(search.base)} below a class looks like one for {first.side}"
    if search.reading.sides:
        search.warnings.append(f"{search.base}: {what}, and is taken together with what --sides names.")
        return
    if search.side_folders:
        together = side_option(search.side_folders, search.base) + " takes all below a class together"
    else:
        together = "--no-sides takes all below a class together"
    base = first.top.parent
    where = "" if base == search.base else f" with {base} as DATA"
    option = _option_inside(search, classes, base) if len(classes) == 1 else None
    inside = f"{option}{where} takes it for that side" if option else "for a side, move its images out of the class"
    raise UnclearError(f"{search.base} can be read in two ways: {what}. {together}; {inside}. Say which.")


def _option_inside(search: Search, classes: dict[str, list[Path]], base: Path) -> str | None:
    """Return the option that takes sides inside each class; `None` where they are not called the same in all."""
    places: dict[str, set[str]] = {}
    tops = [path for paths in classes.values() for path in paths]
    for top in tops:
        for one in _inner_sides(search, top):
            places.setdefault(one.side, set()).add(one.place)
    places.setdefault("train", {"."})
    if any(len(names) > 1 for names in places.values()):
        return None
    if not all((top / name).is_dir() for top in tops for name in places["train"]):
        return None
    return side_option({side: base / names.pop() for side, names in places.items()}, base)


def _tell_deeper(search: Search, told: list[Path], labels: dict[Path, str]) -> None:
    """Say what is taken together where there are only folders in a class."""
    below: dict[Path, set[str]] = {}
    for path in told:
        beneath = {one.name for one in class_folders(path) if one not in search.left_out and one not in labels}
        if not has_pictures(path) and not all(is_images(name) or name == path.name for name in beneath):
            below[path] = beneath
    if not below:
        return
    names = in_words(sorted({name for beneath in below.values() for name in beneath}))
    other = None if search.reading.sides or search.side_folders else _other_reading(told, below)
    otherwise = f" Where these are the classes, {other}" if other else ""
    search.warnings.append(
        f"{search.base}: the classes are {in_words([labels[path] for path in told])}; what is in the folders below "
        f"them ({names}) is taken together.{otherwise}"
    )


def _other_reading(classes: list[Path], below: dict[Path, set[str]]) -> str | None:
    """Say how what is below is taken for the classes: of one folder, of sides, or of the only one that has any."""
    first, last, base = classes[0], classes[-1], classes[0].parent
    if len(classes) > 1 and all(len(below.get(path, ())) > 1 and below[path] == below[first] for path in classes):
        one, other = (
            side_option({"train": path, "test": beside}, base) for path, beside in ((first, last), (last, first))
        )
        return f"name one of the folders as DATA, such as {first}, or the sides: {one} or {other}"
    wrappers = [path for path, names in below.items() if len(names) > 1]
    return f"say {side_option({'train': wrappers[0]}, base)}" if len(wrappers) == len(below) == 1 else None
