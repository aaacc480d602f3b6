"""The pages' templates, which lie beside this module, and how values are written in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trainkit.deploy.python._showing import harmless
from trainkit.reports._pictures import is_small, to_data_uri

MISSING = "–"


# An absolute path of two parts or more, of Linux or Windows, and what is its end.
_PATH = re.compile(r"(?<![\w/.:…\\])(?:/|[A-Za-z]:[\\/])(?:[^\s/\\:'\"`,;()<>]+[/\\])+([^\s/\\:'\"`,;()<>]*)")


def without_folders(text: str, *known: str | Path) -> str:
    """Return text in which of each absolute path only the end is left: a page is passed on, a disk is private.

    Args:
        text: of whoever wrote it.
        known: folders and files that may be in it, and whose names may have spaces.
    """
    whole = re.fullmatch(r"(?:/|[A-Za-z]:[\\/])[^\n]*?([^/\\\n]+)[/\\]?", text)
    if whole:
        return f"…/{whole[1]}"
    for path in sorted(map(Path, known), key=lambda path: -len(str(path))):
        if path.is_absolute() and len(path.parts) > 2:
            text = text.replace(str(path), f"…/{path.name}")
    return _PATH.sub(r"…/\1", text)


def _shown(value: Any) -> Any:
    """Return what stands in a page for a value: its text harmless, but for the lines it has."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(map(harmless, value.split("\n")))


def render(template: str, **content: Any) -> str:
    """Fill one of the templates beside this module; letters that would turn or hide text are written out."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, duration=_duration, count=_count, sides=_sides, words=to_words)
    environment.filters.update(picture=_picture, milliseconds=_milliseconds, without_folders=without_folders)
    environment.filters["breakable"] = _breakable
    return environment.get_template(template).render(content)


def to_words(value: object) -> str:
    """Write a value of a setting for a person."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(to_words, value)) or MISSING
    if isinstance(value, bool):
        return str(value).lower()  # as settings take it
    if isinstance(value, float):
        return f"{value:g}"
    return MISSING if value is None else str(value)


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{share:.1%}"


def _milliseconds(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


def _count(number: float | None) -> str:
    return MISSING if number is None else f"{number:,}".replace(",", "\u202f")


def _sides(shape: tuple[int | None, ...]) -> str:
    """Write a shape as `112 × 112 × 24`; a side that is open is a question mark."""
    return " × ".join("?" if side is None else str(side) for side in shape)


def _picture(picture_bgr: np.ndarray, description: str, kind: str = "") -> Markup:
    classes = f"{kind} pixels" if is_small(picture_bgr) else kind
    return Markup('<img class="{}" src="{}" alt="{}">').format(classes, to_data_uri(picture_bgr), harmless(description))


def _breakable(path: str) -> Markup:
    """Write a path so that its folders, rather than its letters, stand on lines of their own where there is no room."""
    return Markup("/<wbr>").join(harmless(path).split("/"))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return MISSING
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "under 1 s"
