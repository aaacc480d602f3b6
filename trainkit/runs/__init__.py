"""Runs: their settings and recipes, the folders in `experiments/`, and their figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.runs._evaluation import evaluate
    from trainkit.runs._layer_table import Shapes, shapes
    from trainkit.runs._recipes import Recipe, list_recipes
    from trainkit.runs._run import Run, find_run, list_runs
    from trainkit.runs._settings_list import Setting, list_settings

__all__ = [
    "Recipe",
    "Run",
    "Setting",
    "Shapes",
    "evaluate",
    "find_run",
    "list_recipes",
    "list_runs",
    "list_settings",
    "shapes",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Recipe": "trainkit.runs._recipes",
        "Run": "trainkit.runs._run",
        "Shapes": "trainkit.runs._layer_table",
        "Setting": "trainkit.runs._settings_list",
        "evaluate": "trainkit.runs._evaluation",
        "find_run": "trainkit.runs._run",
        "list_recipes": "trainkit.runs._recipes",
        "list_runs": "trainkit.runs._run",
        "list_settings": "trainkit.runs._settings_list",
        "shapes": "trainkit.runs._layer_table",
    },
)
