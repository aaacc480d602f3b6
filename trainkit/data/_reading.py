"""How a folder or a table is understood where somebody says so; what is left open, its names tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

from trainkit.errors import UsageError

Kind = Literal["name", "folder", "table", "arrays"]
SIDES = ("train", "val", "test")
COLUMNS = ("image", "label", "split")
NO_SIDES = "none"
_QUOTED, _BARE = re.compile(r'[^=,]*=\s*"(?:[^"]|"")*"\s*(?=,|$)'), re.compile(r"[^,]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How data is read, as `[reading]` of a run's `config.toml` keeps it; `None`: as names and contents tell."""

    sides: str | None = None  # folders of the sides, `train=Training,test=Testing`; `none`: all folders are classes
    labels_from: str | None = None  # folder: the class is the folder's name; name: the file's
    pattern: str | None = (
        None  # a regular expression whose group `label`, or first group, is the class in a file's name
    )
    columns: str | None = None  # of a table, `image=path,label=breed,split=set`
    images: str | None = None  # the folder that the paths of a table begin in
    separator: str | None = None  # between the labels of one image in a table
    fold: int | None = None  # the value of a table's column `fold` whose rows are for validation
    group_by: str | None = None  # a table's column, or a regular expression: its first group, in a file's name
    held_out: str | None = None  # `2/5`: of five folds the second is for testing, as `cross_validate` has it

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                try:
                    object.__setattr__(self, field.name, _CONVERT[field.name](value))
                except (ValueError, TypeError) as error:
                    raise UsageError(
                        f"`reading.{field.name}` must be {EXPECTED[field.name]}. Received: {value!r}"
                    ) from error
        if self.pattern is not None and self.labels_from == "folder":
            raise UsageError("--pattern finds the class in a file's name: it needs --labels-from name.")

    def to_settings(self) -> dict[str, Any]:
        """Return what is said, by the dotted keys of a run's settings."""
        values = {f"reading.{field.name}": getattr(self, field.name) for field in fields(self)}
        return {key: value for key, value in values.items() if value is not None}

    @property
    def by_name(self) -> bool:
        """Whether the class stands in the name of the file."""
        return self.labels_from == "name" or self.pattern is not None

    @property
    def side_folders(self) -> dict[str, str] | None:
        """Side to the name of its folder; empty for `none`, `None` where the names decide."""
        if self.sides is None:
            return None
        return {} if self.sides == NO_SIDES else parse_pairs(self.sides, SIDES)

    @property
    def column_names(self) -> dict[str, str]:
        """Column by what is in it: `image`, `label`, `split`; those that are named."""
        return parse_pairs(self.columns, COLUMNS) if self.columns else {}

    @property
    def binds(self) -> bool:
        """Whether pictures that belong together, or look alike, have to stay on one side."""
        return self.group_by is not None or self.held_out is not None

    @property
    def fold_held_out(self) -> tuple[int, int] | None:
        """The fold that is held out, from 1, and how many there are."""
        if self.held_out is None:
            return None
        fold, _, folds = self.held_out.partition("/")
        return int(fold), int(folds)


AS_NAMED = Reading()
_KINDS: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("sides", "labels_from", "pattern"), ("folder",)),
    **dict.fromkeys(("columns", "images", "separator", "fold"), ("table",)),
    "group_by": ("folder", "table"),
    "held_out": ("name", "folder", "table", "arrays"),
}
_WORDS = {"name": "a data set with a name", "folder": "a folder", "table": "a table", "arrays": "arrays"}


def check_applies(reading: Reading, kind: Kind, data: str) -> None:
    """Raise where something is said that means nothing for this kind of data.

    Raises:
        UsageError: names the option.
    """
    for field in fields(reading):
        value, wanted = getattr(reading, field.name), _KINDS[field.name]
        kinds = " or ".join(_WORDS[one] for one in wanted)
        if value is not None and kind not in wanted:
            option = "--no-sides" if value == NO_SIDES and field.name == "sides" else f"--{field.name}"
            raise UsageError(
                f"{option.replace('_', '-')} says how {kinds} is read. It means nothing for {data} "
                f"({_WORDS[kind]}): leave it out."
            )


def check_group_in_names(reading: Reading, data: str) -> None:
    """Raise unless the groups are to be found in the names of files: a folder has no columns.

    Raises:
        UsageError: it is no regular expression with a group.
    """
    if reading.group_by is not None and not has_regex_group(reading.group_by):
        raise UsageError(
            f"--group-by takes a regular expression with a group for the names in a folder, such as (\\w+)_ for "
            f"anna_01.jpg; a column is for tables, and {data} is a folder. Received: {reading.group_by}"
        )


def has_regex_group(text: str) -> bool:
    """Tell whether a text is a regular expression with a group."""
    try:
        return re.compile(text).groups > 0
    except (re.error, RecursionError, OverflowError):
        return False


def parse_pairs(text: str, keys: tuple[str, ...]) -> dict[str, str]:
    """Take `key=value,key=value` apart; a value with a comma stands in double quotes, a quote in these doubled.

    Raises:
        ValueError: it is not of that form, a key is not one of these, or there twice.
    """
    pairs = [part.partition("=") for part in _split(text)]
    found = {key.strip(): _unquote(value.strip()) for key, _, value in pairs}
    if len(found) < len(pairs) or not found.keys() <= set(keys) or not all(found.values()):
        raise ValueError(text)
    return found


def _split(text: str) -> list[str]:
    """Split at the commas that are not in a quoted value."""
    parts: list[str] = []
    rest: str | None = text
    while rest is not None:
        part = (_QUOTED.match(rest) or _BARE.match(rest) or [""])[0]
        parts.append(part)
        rest = rest[len(part) + 1 :] if len(part) < len(rest) else None
    return parts


def _unquote(value: str) -> str:
    return value[1:-1].replace('""', '"') if re.fullmatch(r'"(?:[^"]|"")*"', value) else value


def write_pair(key: str, value: str) -> str:
    """Return `key=value` as `parse_pairs` reads it."""
    needs_quotes = "," in value or value != value.strip() or value.startswith('"')
    return f'{key}="{value.replace(chr(34), chr(34) * 2)}"' if needs_quotes else f"{key}={value}"


def _sides(value: Any) -> str:
    if value != NO_SIDES and "train" not in parse_pairs(value, SIDES):
        raise ValueError(value)
    return str(value)


def _columns(value: Any) -> str:
    parse_pairs(value, COLUMNS)
    return str(value)


def _labels_from(value: Any) -> str:
    if value not in ("folder", "name"):
        raise ValueError(value)
    return str(value)


def _pattern(value: Any) -> str:
    try:
        pattern = re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(value) from error
    if not pattern.groups:
        raise ValueError(value)
    return str(value)


def _text(value: Any) -> str:
    if not str(value):
        raise ValueError(value)
    str(value).encode()  # a UnicodeEncodeError is a ValueError: TOML has no letters that UTF-8 has not
    return str(value)


def _separator(value: Any) -> str:
    if value == "space":
        return "space"
    if not isinstance(value, str) or len(value) != 1 or value.isalnum():
        raise ValueError(value)
    return "space" if value == " " else value


def _fold(value: Any) -> int:
    if isinstance(value, bool) or int(value) != float(value) or int(value) < 0:
        raise ValueError(value)
    return int(value)


def _group_by(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return _text(value)


def _held_out(value: Any) -> str:
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", value)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) or int(match[2]) < 2:
        raise ValueError(value)
    return f"{int(match[1])}/{int(match[2])}"


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "sides": _sides,
    "labels_from": _labels_from,
    "pattern": _pattern,
    "columns": _columns,
    "images": _text,
    "separator": _separator,
    "fold": _fold,
    "group_by": _group_by,
    "held_out": _held_out,
}
EXPECTED = {
    "sides": "`none`, or folders of the sides as train=Training,test=Testing",
    "labels_from": "folder or name",
    "pattern": "a regular expression with a group, such as (\\w+)_",
    "columns": "columns as image=path,label=breed,split=set",
    "images": "a folder, in UTF-8",
    "separator": "one sign, or `space`",
    "fold": "a whole number from 0",
    "group_by": "a table's column, or a regular expression with a group for the files' names, such as (\\w+)_",
    "held_out": "a fold and their number, such as 2/5",
}
HELP = {
    "sides": "Which folders are the sides; none: every folder is a class.",
    "labels_from": "Where the class of an image stands: in its folder's name, or in its own.",
    "pattern": "What of a file's name is the class: the group `label`, or the first one.",
    "columns": "Which columns of a table are meant.",
    "images": "The folder that the paths of a table begin in.",
    "separator": "What parts the labels of one image in a table.",
    "fold": "The fold, of a table's column `fold`, that is for validation.",
    "group_by": "Whose pictures stay on one side: those of a person, say.",
    "held_out": "The fold of a cross-validation that is for testing.",
}
DEFAULTS = {  # in words
    "sides": "as their names tell",
    "labels_from": "folder",
    "pattern": "what stands before the number at the name's end: cat of cat.0.jpg, cat_001.jpg and cat (3).jpg",
    "columns": "as their names tell",
    "images": "the table's own",
    "separator": "|",
    "fold": "none",
    "group_by": "each picture for itself",
    "held_out": "none",
}
