"""The one file `classify.py` that a bundle carries, built from the parts in `python/`.

A bundle is copied to machines without trainkit, and one file is easier to copy, to read and to trust than a package.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

# From the ground up: a part imports only from those before it.
PARTS = (
    *(
        "_values",
        "_showing",
        "_streams",
        "_json",
        "_schema",
        "_brightness",
        "_manifest",
        "_protobuf",
        "_mean",
        "_pixels",
        "_resizing",
        "_opencv",
        "_onnx",
        "_graph",
        "_folded",
        "_vouching",
        "_model",
        "_trial",
        "_network",
        "_classifier",
    ),
    *("_detector", "_headers", "_media", "_ahead", "_prediction", "_selftest", "_drawing", "_command"),
)
_FOLDER = Path(__file__).parent / "python"
_PACKAGE = "trainkit.deploy.python."
_LINE_LENGTH = 120
_THIRD_PARTY = ("cv2", "numpy")
_HEADER = '''\
#!/usr/bin/env python3
"""Classify images with OpenCV, as the manifest beside the model says.

This one file is all the code a bundle needs: Python 3.8 or later, cv2 4.5.5 or later, and numpy.

    python classify.py photo.jpg ...      labels and probabilities, or what a detector finds
    python classify.py folder/            every image and video in it
    python classify.py film.mp4           each frame; --every 30 for one in thirty
    python classify.py --camera 0         until Ctrl-C
    python classify.py --selftest         does this machine give the answers that Keras gave?

    from classify import Classifier
    Classifier("folder of the bundle").predict(cv2.imread("photo.jpg"))
"""

from __future__ import annotations

'''


@dataclass(frozen=True, slots=True)
class Part:
    """A part, taken apart.

    Attributes:
        name: of its module.
        subject: the first line of its docstring.
        imports: what it needs from elsewhere: a module, and the names in it; no names where the module is imported.
        earlier: the parts and names that it imports.
        code: all that stands after its imports.
        names: what it defines.
    """

    name: str
    subject: str
    imports: tuple[tuple[str, tuple[str, ...]], ...]
    earlier: tuple[tuple[str, tuple[str, ...]], ...]
    code: str
    names: tuple[str, ...]


def build_classify() -> str:
    """Return the text of `classify.py`, the same on every machine.

    Raises:
        ValueError: the parts cannot stand in one file.
    """
    return join([read_part(name, (_FOLDER / f"{name}.py").read_text(encoding="utf-8")) for name in PARTS])


def read_part(name: str, source: str) -> Part:
    """Take a part apart.

    Raises:
        ValueError: it renames what it imports from another part, or imports below its first definition.
    """
    tree = ast.parse(source)
    head = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    if any(node in head for node in tree.body[len(head) + 1 :]):
        raise ValueError(f"{name}: its imports must stand together, below the docstring.")
    imports = [one for node in head for one in _imported(node)]
    return Part(
        name=name,
        subject=str(ast.get_docstring(tree)).splitlines()[0],
        imports=tuple(one for one in imports if not one[0].startswith(("__future__", "trainkit."))),
        earlier=tuple((home.removeprefix(_PACKAGE), names) for home, names in imports if home.startswith(_PACKAGE)),
        code="\n".join(source.splitlines()[head[-1].end_lineno or 0 :]).strip() + "\n",
        names=tuple(_defined(tree.body)),
    )


def _imported(node: ast.Import | ast.ImportFrom) -> list[tuple[str, tuple[str, ...]]]:
    names = tuple(f"{one.name} as {one.asname}" if one.asname else one.name for one in node.names)
    return [(str(node.module), names)] if isinstance(node, ast.ImportFrom) else [(name, ()) for name in names]


def _defined(statements: list[ast.stmt]) -> list[str]:
    """Return the names that statements of a module define, each once."""
    found = []
    for node in statements:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
        elif isinstance(node, ast.Try):
            found += [name for one in node.body if isinstance(one, ast.ImportFrom) for name in _bound(one)]
    return list(dict.fromkeys(found))


def _bound(node: ast.ImportFrom) -> list[str]:
    return [one.asname or one.name for one in node.names]


def join(parts: list[Part]) -> str:
    """Return the file that holds all parts, in their order, below one block of imports.

    Raises:
        ValueError: two of them define the same name, or one imports what no part before it defines.
    """
    _check_names(parts)
    headed = (f"# {part.subject}\n\n\n{part.code}" for part in parts)
    return f"{_HEADER}{_import_block(parts)}\n" + "\n\n".join(headed)


def _check_names(parts: list[Part]) -> None:
    counts = Counter(name for part in parts for name in part.names)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"Two parts define the same name, and would meet in one file: {', '.join(twice)}")
    before: dict[str, tuple[str, ...]] = {}
    for part in parts:
        for home, names in part.earlier:
            if missing := set(names) - set(before.get(home, ())):
                raise ValueError(f"{part.name} imports from {home} what does not stand before it: {sorted(missing)}")
        before[part.name] = part.names


def _import_block(parts: list[Part]) -> str:
    """Return the imports of all parts, sorted as ruff sorts them: modules before names, the standard library first."""
    modules = {home for part in parts for home, names in part.imports if not names}
    names: dict[str, set[str]] = {}
    for home, found in (one for part in parts for one in part.imports if one[1]):
        names.setdefault(home, set()).update(found)
    lines = [(home, f"import {home}") for home in sorted(modules)]
    lines += [(home, _from_import(home, sorted(names[home]))) for home in sorted(names)]
    third = [line for home, line in lines if home.split()[0] in _THIRD_PARTY]
    return "\n".join([*(line for _, line in lines if line not in third), "", *third, ""])


def _from_import(home: str, names: list[str]) -> str:
    """Return an import as ruff lays it out: a name a line where one line would be too long."""
    line = f"from {home} import {', '.join(names)}"
    if len(line) <= _LINE_LENGTH:
        return line
    listed = "".join(f"    {name},\n" for name in names)
    return f"from {home} import (\n{listed})"
