"""The keys of what the commands print as JSON, as tables: path and type from a document, the meaning from the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

HEADER = "| key | type | meaning |\n|---|---|---|\n"
# Tables whose keys are names, sizes and the like.
_MAPS = (
    "settings",
    "best.settings",
    "trials[].settings",
    "figures",
    "curves",
    "images",
    "runtimes",
    "classes",
    "sides",
    "sides.<name>",
    "sizes",
    "modes",
    "formats",
    "orientations",
    "problems",
)
_TYPES = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
    "object": dict,
    "any": object,
}


def key_paths(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a JSON document: `classes[].label` and its value."""
    if isinstance(value, list):
        for entry in value:
            yield from key_paths(entry, f"{path}[]")
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from key_paths(entry, f"{path}.{'<name>' if path in _MAPS else key}".removeprefix("."))
    else:
        yield path, value


def empty_paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield what begins the paths that a JSON document could have, and has not."""
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from empty_paths(entry, f"{path}.{key}".removeprefix("."))
    elif value in ([], {}):
        yield f"{path}." if value == {} else f"{path}[]"


def fits(value: Any, kinds: str) -> bool:
    """Tell whether a JSON value is of one of the types that the manual names, `number or null` for example."""
    if isinstance(value, bool):
        return "boolean" in kinds or kinds == "any"
    return any(isinstance(value, _TYPES[kind]) for kind in kinds.split(" or "))  # type: ignore[arg-type]


def kind_of(value: Any) -> str:
    """Return the narrowest type that a JSON value has."""
    order = ["boolean", "integer", *_TYPES]
    return next(kind for kind in order if isinstance(value, _TYPES[kind]))  # type: ignore[arg-type]


def rows_of(section: str) -> dict[str, tuple[str, str]]:
    """Return type and meaning of each key in a section's table."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]*)\|$", section.partition(HEADER)[2], flags=re.M)
    return {key: (kinds.strip(), meaning.strip()) for key, kinds, meaning in rows}


def sections(text: str) -> dict[str, str]:
    """Return the sections of the page by their command."""
    parts = re.split(r"^## `trainkit ([^`]+)`$", text, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def with_tables(text: str, documents: Mapping[str, Any]) -> str:
    """Return the page with the keys of the documents; a key that is new has no meaning yet, and a test asks for it."""
    for command, section in sections(text).items():
        if command in documents:
            found = _merged(rows_of(section), documents[command])
            lines = [
                f"| `{key}` | {kinds} | {meaning} |".replace("|  |", "| |") for key, (kinds, meaning) in found.items()
            ]
            table = re.compile(re.escape(HEADER) + r"(?:\|.*\n)*")
            text = text.replace(section, table.sub(lambda _, new=lines: HEADER + "\n".join(new) + "\n", section))
    return text


def _merged(known: Mapping[str, tuple[str, str]], document: Any) -> dict[str, tuple[str, str]]:
    """Return the rows for a document: in its own order, then what it could have besides."""
    found: dict[str, tuple[str, str]] = {}
    for path, value in key_paths(document):
        kinds, meaning = found.get(path) or known.get(path, (kind_of(value), ""))
        found[path] = (kinds if fits(value, kinds) else f"{kinds} or {kind_of(value)}", meaning)
    possible = tuple(empty_paths(document))
    others = {path: row for path, row in known.items() if path not in found and path.startswith(possible)}
    order = [*known, *found]
    return dict(sorted({**found, **others}.items(), key=lambda item: order.index(item[0])))
