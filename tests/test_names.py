"""Names of 0.1: each is found, is the thing itself, and says where it is now."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

import trainkit
from trainkit import _names


@pytest.fixture(autouse=True)
def packages_as_they_are() -> Iterator[None]:
    """Take the old names off their packages again, where an import of a module leaves it."""
    yield
    for package, _, name in (old.rpartition(".") for old in _names._MOVED):
        vars(sys.modules.get(package, trainkit)).pop(name, None)


@pytest.mark.parametrize("old", sorted(_names._MOVED))
def test_an_old_module_is_the_new_one(old: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=rf"{old} is now {_names._MOVED[old]}"):
        module = importlib.import_module(old)
    assert module is importlib.import_module(_names._MOVED[old])
    assert module.__spec__ is not None
    assert module.__spec__.name == _names._MOVED[old]


@pytest.mark.parametrize(
    ("package", "name"),
    [("runs", "create_run"), ("training", "evaluate"), ("exporting", "export"), ("models", "build_backbone")],
)
def test_what_a_module_held_is_found_in_the_package_of_its_name(package: str, name: str) -> None:
    module = importlib.import_module(f"trainkit.{package}")
    with pytest.warns(DeprecationWarning, match=rf"trainkit.{package}.{name} is now"):
        assert callable(getattr(module, name))


@pytest.mark.parametrize(("old", "name"), [(old, name) for old, names in _names._RENAMED.items() for name in names])
def test_what_an_old_module_defined_is_found_under_its_old_name(old: str, name: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=old):
        module = importlib.import_module(old)
    assert getattr(module, name) is getattr(importlib.import_module(_names._MOVED[old]), _names._RENAMED[old][name])


@pytest.mark.parametrize(
    "line", ["from trainkit.runs import create_run", "import trainkit.checks", "from trainkit.training import evaluate"]
)
def test_a_script_that_uses_an_old_name_is_told_so(line: str) -> None:
    # By default Python shows a DeprecationWarning only where it is the script's own line that causes it.
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert re.search(r"^<string>:1: DeprecationWarning: trainkit\.\w+.* is now trainkit\.", done.stderr, re.M), (
        done.stderr
    )


def test_an_unknown_name_of_a_package_is_an_attribute_error() -> None:
    module = importlib.import_module("trainkit.runs")
    with pytest.raises(AttributeError, match="nonsense"):
        module.nonsense  # noqa: B018


def test_the_demo_has_code_under_its_old_name() -> None:
    sys.modules.pop("trainkit.demo", None)
    spec = importlib.util.find_spec("trainkit.demo")
    assert spec is not None
    assert spec.loader.get_code("trainkit.demo").co_filename.endswith("_demo.py")  # type: ignore[union-attr]
