"""One page that shows what is wrong in a data set, with its pictures: nothing in it is loaded from elsewhere."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import cv2

from trainkit._progress import doing
from trainkit.data._check import DataCheck, to_text
from trainkit.data._repeats._duplicates import Group, LabelledFile
from trainkit.errors import DataError
from trainkit.files import write_text
from trainkit.reports._templates import render

_GROUPS = 60  # of a kind, with pictures: a thumbnail takes some 8 kB
_PICTURES = 12  # of a group
_CLASSES = 100  # with pictures
_EXAMPLES = 6  # pictures of a class
_ROWS = 200  # of a list
_FACTS = 12  # sizes, modes and the like, the most frequent ones
_THUMBNAIL = 224  # pixels, the longer side


def write_data_check(check: DataCheck, path: str | Path) -> None:
    """Write the page of a check.

    Raises:
        OutputError: the page cannot be written.
    """
    with doing(f"Drawing {path}"):
        write_text(Path(path), render("data_check.html", **_content(check)))


def _content(check: DataCheck) -> dict[str, Any]:
    document = check.to_json()
    sides = document["sides"]
    kinds = _draw_kinds(check)
    return {
        "name": Path(document["data"]).name or document["data"],
        "document": document,
        "spoiled": bool(check.spoiled_by),
        "imbalance": None if document["imbalance"] is None else f"{document['imbalance']:.3g}",
        "sides": list(sides),
        "classes": [
            {"name": name, "count": count, "by_side": [of_side.get(name, 0) for of_side in sides.values()]}
            for name, count in document["classes"].items()
        ],
        "kinds": kinds,
        "examples": [] if kinds else _examples(check),
        "unreadable": [(_relative(check, file), file.file.problem) for file in check.unreadable[:_ROWS]],
        "facts_of": {
            title: _most_frequent(document[name])
            for title, name in (
                ("Sizes", "sizes"),
                ("Modes", "modes"),
                ("Formats", "formats"),
                ("EXIF orientations", "orientations"),
            )
        },
        "lists": {
            title: document[name][:_ROWS]
            for title, name in (
                ("Symbolic links that leave the folder", "links"),
                ("How the folder is read", "warnings"),
                ("Folders left out", "left_out"),
                ("Files and folders that are hidden, or a system's own", "hidden"),
                ("Files beside the class folders", "strays"),
            )
            if document[name]
        },
    }


def _most_frequent(counts: dict[str, int]) -> dict[str, int]:
    left = list(counts.items())[_FACTS:]
    return dict(list(counts.items())[:_FACTS]) | ({f"{len(left)} others": sum(dict(left).values())} if left else {})


def _kinds(check: DataCheck) -> list[tuple[str, str, str, list[Group]]]:
    """Return for each kind of group its title, what it means, its colour and its groups."""
    repeats = check.repeats
    return [
        (
            "Leaks",
            "The same picture is on more than one side. A model that has learned it by heart is praised for it.",
            "red",
            repeats.leaks,
        ),
        (
            "Contradictions",
            "The same picture is in more than one class. No model can be right about both.",
            "red",
            repeats.contradictions,
        ),
        (
            "Near duplicates",
            "They look alike: encoded again, resized, cut or brightened.",
            "amber",
            repeats.near_duplicates,
        ),
        ("Duplicates", "The same file, byte for byte.", "amber", repeats.duplicates),
    ]


def _draw_kinds(check: DataCheck) -> list[dict[str, Any]]:
    """Return the kinds of groups that there are; a group that is of several kinds is drawn with the first of them."""
    drawn: dict[int, dict[str, Any]] = {}  # by the identity of a file, the group that it is drawn in
    kinds = []
    for title, meaning, tone, groups in _kinds(check):
        left = [group for group in groups if not _is_above(group, title, drawn)]
        new = [_draw(check, group) for group in left[:_GROUPS]]
        for content, group in zip(new, left, strict=False):
            drawn |= dict.fromkeys(map(id, group), content)
        if groups:
            counts = {"count": len(groups), "above": len(groups) - len(left), "more": len(left) - len(new)}
            kinds.append({"title": title, "meaning": meaning, "tone": tone, "groups": new, **counts})
    return kinds


def _is_above(group: Group, title: str, drawn: dict[int, dict[str, Any]]) -> bool:
    """Whether all files of a group are in one that is drawn; if so, say there among what else they are."""
    before = drawn.get(id(group[0]))
    if before is None or any(drawn.get(id(labelled)) is not before for labelled in group):
        return False
    some = "" if len(group) == before["count"] else f" ({len(group)} of them)"
    before["also"].append(f"the {title.lower()}{some}")
    return True


def _draw(check: DataCheck, group: Group) -> dict[str, Any]:
    sizes = {(labelled.file.width, labelled.file.height) for labelled in group}
    return {
        "count": len(group),
        "pictures": [_picture(check, labelled, sized=len(sizes) > 1) for labelled in group[:_PICTURES]],
        "more": len(group[_PICTURES:]),
        "also": [],
    }


def _picture(check: DataCheck, labelled: LabelledFile, *, sized: bool) -> dict[str, Any]:
    return {
        "path": _relative(check, labelled),
        "side": labelled.side,
        "labels": labelled.labels,
        "size": f"{labelled.file.width}x{labelled.file.height}" if sized else "",
        "uri": _thumbnail(check, labelled.file.path),
    }


def _examples(check: DataCheck) -> list[dict[str, Any]]:
    """Return some pictures of each class, from its first to its last."""
    of_class: dict[str, Group] = {}
    for labelled in check.usable:
        for name in labelled.labels or ("",):
            of_class.setdefault(name, []).append(labelled)
    examples = []
    for name in sorted(of_class)[:_CLASSES]:
        files = sorted(of_class[name], key=lambda labelled: labelled.file.path)
        count = min(_EXAMPLES, len(files))
        chosen = [files[index * (len(files) - 1) // max(1, count - 1)] for index in range(count)]
        pictures = [_picture(check, one, sized=False) for one in chosen]
        examples.append({"name": name, "count": len(files), "pictures": pictures})
    return examples


def _relative(check: DataCheck, labelled: LabelledFile) -> str:
    return to_text(labelled.file.path).removeprefix(to_text(check.data)).lstrip(os.sep)


def _thumbnail(check: DataCheck, path: Path) -> str | None:
    """Return a small picture as a data URI, `None` where the file has gone since it was looked at."""
    try:
        image = check.show(path)
    except DataError:
        return None
    scale = min(1.0, _THUMBNAIL / max(image.shape[:2]))
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
