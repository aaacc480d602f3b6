"""The rooms of docs/architecture.md, and which may use which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainkit

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "trainkit"
PUBLIC_FILES = {"__init__.py", "__main__.py", "backend.py", "errors.py", "files.py", "preprocessing.py"}


def rooms() -> list[str]:
    """Return the rooms of the table, from the ground up, without their `/` and `.py`."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return [re.sub(r"/$|\.py$", "", name) for name in re.findall(r"^\| `([a-z_]+(?:/|\.py))` \|", text, flags=re.M)]


def modules() -> list[Path]:
    """Return every module of the package but its face, from which every public name is to be had."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.name.startswith("__"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[str]:
    """Yield the rooms that a file names in an import, wherever it stands, or as the home of a name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [node.module or ""] if node.module != "trainkit" else [f"trainkit.{one.name}" for one in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and path.name == "__init__.py":
            names = [node.value] if isinstance(node.value, str) else []
        else:
            continue
        yield from (name.split(".")[1] for name in names if re.fullmatch(r"trainkit\.\w+(\.\w+)*", name))


def test_the_table_names_every_room() -> None:
    assert sorted(rooms()) == sorted({room_of(path) for path in modules()})


@pytest.mark.parametrize("room", rooms())
def test_a_room_uses_only_those_above_it(room: str) -> None:
    order = rooms()
    below = set(order[order.index(room) + 1 :])
    back = {
        f"{path.relative_to(PACKAGE)} -> {other}"
        for path in modules()
        if room_of(path) == room
        for other in imported_rooms(path)
        if other in below
    }
    assert not back


def test_the_ground_floor_stays_small() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_an_init_holds_no_logic() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        defined = [node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        assert set(defined) <= {"__getattr__", "__dir__"}, path


def test_what_is_not_public_begins_with_an_underscore() -> None:
    for path in PACKAGE.rglob("*.py"):
        public = path.name in PUBLIC_FILES if path.parent == PACKAGE else path.name == "__init__.py"
        assert public or path.name.startswith("_"), path


@pytest.mark.parametrize("package", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
def test_every_name_that_a_package_promises_is_there(package: str) -> None:
    module = getattr(__import__(f"trainkit.{package}"), package)
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


def test_completion_lists_the_public_names() -> None:
    assert set(trainkit.__all__) <= set(dir(trainkit))
