"""Which settings of a run somebody chose."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainkit.reports._choices import by_choice
from trainkit.reports._page import flatten, write_report
from trainkit.runs._run import Run
from trainkit.runs._settings import build_config

OLD_RUN = Path(__file__).parents[1] / "data" / "run-v1"


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, []),
        ({"training.epochs": 3}, ["training.epochs"]),
        ({"training.epochs": 20, "training.class_weights": "balanced"}, ["training.class_weights"]),  # 20 as it is
        ({"augmentation.brightness_range": [0.5, 1.5]}, ["augmentation.brightness_range"]),
        ({"model.name": "mobilenet", "model.weights": "none", "model.alpha": 0.25}, ["model.weights", "model.alpha"]),
        ({"name": "mine"}, ["name"]),
    ],
)
def test_what_is_other_than_the_default_was_chosen(options: dict, chosen: list[str]) -> None:
    config = build_config({"data": "digits", "name": "digits-small-cnn", **options})
    settings = dict(flatten(config.values))
    if "name" not in chosen and settings["name"] == "digits-small-cnn" and "model.name" in options:
        chosen = ["name", *chosen]  # it is called otherwise by itself
    first, rest = by_choice(settings)
    assert set(first) == {"data", "model.name", *chosen}
    assert first | rest == settings and not first.keys() & rest.keys()


def test_nobody_knows_the_defaults_of_an_unknown_model() -> None:
    assert by_choice({"data": "digits", "model.name": "of-the-future"}) == (
        {},
        {"data": "digits", "model.name": "of-the-future"},
    )


def test_settings_of_an_old_run_are_told_apart() -> None:
    first, rest = by_choice(dict(flatten(Run(OLD_RUN).config.values)))
    assert {"model.blocks", "model.filters", "augmentation.width_shift_range", "training.learning_rate"} <= set(first)
    assert {"training.monitor", "training.schedule", "augmentation.cval"}.isdisjoint(first)
    assert "training.schedule" in rest


def test_page_has_the_chosen_ones_first(trained_run: Run) -> None:
    page = write_report(trained_run.path).read_text(encoding="utf-8")
    settings = page[page.index("<h2>Settings</h2>") :]
    fold = settings.index("<details>")
    assert settings.index("<dt>training.epochs</dt>") < fold < settings.index("<dt>training.schedule</dt>")
    assert settings.index("<dt>preprocessing.name</dt>") < fold
