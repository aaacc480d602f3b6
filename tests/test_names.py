"""Names of 0.1: each is found, is the thing itself, and says where it is now."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest

from trainkit import _names


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


def test_an_unknown_name_of_a_package_is_an_attribute_error() -> None:
    module = importlib.import_module("trainkit.runs")
    with pytest.raises(AttributeError, match="nonsense"):
        module.nonsense  # noqa: B018


def test_the_demo_has_code_under_its_old_name() -> None:
    sys.modules.pop("trainkit.demo", None)
    spec = importlib.util.find_spec("trainkit.demo")
    assert spec is not None
    assert spec.loader.get_code("trainkit.demo").co_filename.endswith("_demo.py")  # type: ignore[union-attr]
