"""Settings that are known to be good together, one TOML file each: `config.toml`, and what to expect of them."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from trainkit.errors import unknown
from trainkit.runs._settings import flatten

_FOLDER = files("trainkit.runs") / "recipes"
_ABOUT = ("description", "accuracy", "time")  # the keys of a recipe that are no settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings by their dotted keys, and what to expect."""

    name: str
    description: str  # one sentence
    accuracy: str  # what to expect, and of what
    time: str  # what to expect, and where
    settings: dict[str, Any]

    @property
    def data(self) -> str | None:
        """The data it is for; `None` where it is for a folder of one's own."""
        return self.settings.get("data")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them; each setting is what `--set` takes."""
        return {**asdict(self), "settings": [f"{key}={json.dumps(value)}" for key, value in self.settings.items()]}


def list_recipes() -> list[Recipe]:
    """Return all recipes, by name."""
    names = sorted(entry.name for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))
    return [_read(name.removesuffix(".toml")) for name in names]


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        UsageError: there is no such recipe; the message has the nearest name.
    """
    known = [recipe.name for recipe in list_recipes()]
    if name not in known:
        raise unknown("recipe", name, known)
    return _read(name)


def recipe_for(data: str | None, model: str | None) -> Recipe | None:
    """Return the recipe of a data set's own name, where no other model is asked for."""
    recipe = next((recipe for recipe in list_recipes() if recipe.name == data), None)
    return recipe if recipe and model in (None, recipe.settings.get("model.name")) else None


def _read(name: str) -> Recipe:
    nested = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    about = {key: nested.pop(key) for key in _ABOUT}
    return Recipe(name=name, **about, settings=flatten(nested))
