"""The Python reference as Markdown: every public name with its signature and its docstring."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes|Example|Examples):$", flags=re.M)
_TITLES = {"Args": "Arguments"}
_LISTED = ("Args", "Raises", "Attributes")
_WIDTH = 100


def page() -> str:
    """Return the text of every name in `trainkit.__all__`: functions, classes, errors."""
    import trainkit

    objects = {name: getattr(trainkit, name) for name in sorted(trainkit.__all__, key=str.lower)}
    errors = {name for name, value in objects.items() if inspect.isclass(value) and issubclass(value, Exception)}
    classes = {name for name, value in objects.items() if inspect.isclass(value)} - errors
    groups = {"Functions": objects.keys() - classes - errors, "Classes": classes, "Errors": errors}
    parts = [_paragraph(trainkit.__doc__)]
    for title, names in groups.items():
        chosen = [name for name in objects if name in names]
        parts += [f"## {title}", *(_text_of(name, objects[name]) for name in chosen)] if chosen else []
    return "\n\n".join(parts)


def _text_of(name: str, value: Any) -> str:
    if inspect.isclass(value) and issubclass(value, Exception):
        parents = ", ".join(f"`{parent.__name__}`" for parent in value.__bases__)
        return f"### `{name}`\n\nA kind of {parents}. {_docstring(value)}"
    parts = [f"### `{name}`", _signature(name, value), _docstring(value)]
    if inspect.isclass(value):
        parts += [*_fields(value), *(_member(name, key, member) for key, member in _members(value))]
    return "\n\n".join(part for part in parts if part)


def _fields(value: type) -> list[str]:
    """Return the fields of a dataclass that is a result: what is made by calling it has a signature."""
    if not dataclasses.is_dataclass(value) or _is_called(value):
        return []
    names = [f"`{field.name}: {field.type}`" for field in dataclasses.fields(value) if not field.name.startswith("_")]
    return ["Has " + ", ".join(names) + "."]


def _is_called(value: type) -> bool:
    """Tell whether users make it themselves: it says what it takes by keyword."""
    return value.__name__ in ("Augmentation", "Classifier", "Detector", "Preprocessing")


def _members(value: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class and of its own bases, in the order of their definition."""
    seen: set[str] = set()
    for owner in value.__mro__:
        for key, member in vars(owner).items():
            if owner.__module__.startswith("trainkit") and not key.startswith("_") and key not in seen:
                seen.add(key)
                function = getattr(member, "__func__", member)
                if inspect.isfunction(function) or isinstance(member, property):
                    yield key, member


def _member(owner: str, key: str, member: Any) -> str:
    if isinstance(member, property):
        return f"**`{owner}.{key}`**: {_docstring(member)}"
    return f"{_signature(f'{owner}.{key}', getattr(member, '__func__', member))}\n\n{_docstring(member)}"


def _signature(name: str, value: Any) -> str:
    if inspect.isclass(value) and not _is_called(value):
        return ""
    signature = inspect.signature(value)
    parameters = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    result = (
        "" if signature.return_annotation in (None, "None", inspect.Signature.empty) else signature.return_annotation
    )
    arrow = f" -> {result}" if result else ""
    listed = list(_listed(parameters))
    line = f"{name}({', '.join(listed)}){arrow}"
    if len(line) > _WIDTH:
        line = f"{name}(\n" + "".join(f"    {each},\n" for each in listed) + f"){arrow}"
    return f"```text\n{line}\n```"


def _listed(parameters: list[inspect.Parameter]) -> Iterator[str]:
    starred = False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        kind = "" if parameter.annotation is parameter.empty else f": {parameter.annotation}"
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        yield f"{parameter.name}{kind}{default}"


def _default(value: Any) -> str:
    if inspect.ismodule(value):  # whose text is the path of a file
        return value.__name__
    return repr(str(value)) if hasattr(value, "parts") else repr(value)


def _docstring(value: Any) -> str:
    """Return a docstring as Markdown: the sections in Google's manner become lists."""
    text = inspect.cleandoc(value.__doc__ or "")
    first, *sections = _SECTION.split(text)
    parts = [_paragraph(first)]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        parts.append(f"**{_TITLES.get(title, title)}**\n\n{_entries(inspect.cleandoc(body), listed=title in _LISTED)}")
    return "\n\n".join(part for part in parts if part)


def _entries(body: str, *, listed: bool) -> str:
    if not listed:
        return _paragraph(body)
    entries = re.split(r"\n(?=\S)", body)
    return "\n".join(re.sub(r"^([\w.*, ]+):", r"- `\1`:", " ".join(each.split())) for each in entries)


def _paragraph(text: str | None) -> str:
    """Return paragraphs of one line each, and lists of one line an entry; what is indented is code."""
    return "\n\n".join(map(_flowed, re.split(r"\n\s*\n", inspect.cleandoc(text or ""))))


def _flowed(part: str) -> str:
    if part.startswith("    "):
        return f"```text\n{inspect.cleandoc(part)}\n```"
    entries = re.split(r"\n(?=- )", part) if part.startswith("- ") else [part]
    return "\n".join(" ".join(entry.split()) for entry in entries)
