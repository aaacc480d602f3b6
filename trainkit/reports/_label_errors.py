"""One page with the pictures whose labels are probably wrong: nothing in it is loaded from elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trainkit._progress import doing
from trainkit.data._dataset import Part
from trainkit.data._label_errors import LabelError, LabelErrors
from trainkit.errors import DataError
from trainkit.files import write_text
from trainkit.reports._pictures import is_small, thumbnail, to_data_uri
from trainkit.reports._templates import render

_SHOWN = 300  # with pictures: a thumbnail takes some 8 kB
_THUMBNAIL = 224  # pixels, the longer side


def write_label_errors(found: LabelErrors, part: Part, path: str | Path) -> None:
    """Write the page of labels that are probably wrong, the likeliest first.

    Args:
        found: the labels.
        part: the images that were looked at.
        path: of the page.

    Raises:
        OutputError: the page cannot be written.
    """
    with doing(f"Drawing {path}"):
        write_text(Path(path), render("label_errors.html", **_content(found, part)))


def _content(found: LabelErrors, part: Part) -> dict[str, Any]:
    document = found.to_json()
    beginning = _common(found)
    return {
        "found": found,
        "classes": document["classes"],
        "most": max((row["errors"] for row in document["classes"]), default=0),
        "agreement": f"{found.agreement:.1%}",
        "shown": [_picture(error, part, beginning) for error in found.errors[:_SHOWN]],
        "more": len(found.errors[_SHOWN:]),
    }


def _common(found: LabelErrors) -> str:
    """Return the folder that all the images are in, which need not be said of each."""
    folders = {str(Path(name).parent) for name in found.ranked}
    return os.path.commonpath(folders) + os.sep if folders and all(map(os.path.isabs, folders)) else ""


def _picture(error: LabelError, part: Part, beginning: str) -> dict[str, Any]:
    try:
        picture = thumbnail(part.images[error.index], _THUMBNAIL)
    except DataError:  # it has gone since it was looked at
        return _words(error, beginning) | {"uri": None, "small": False}
    return _words(error, beginning) | {"uri": to_data_uri(picture), "small": is_small(picture)}


def _words(error: LabelError, beginning: str) -> dict[str, Any]:
    return {
        "path": os.fsencode(error.image.removeprefix(beginning)).decode("utf-8", "backslashreplace"),
        "label": error.label,
        "suggested": error.suggested,
        "of_label": f"{error.label_probability:.2f}",
        "of_suggested": f"{error.suggested_probability:.2f}",
    }
