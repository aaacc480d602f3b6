"""Which of a run's settings somebody chose, and which are as they come."""

from __future__ import annotations

from collections.abc import Mapping

from trainkit.models._builders import BUILDERS
from trainkit.reports._templates import to_words
from trainkit.runs._settings import MODEL_SUFFIX, defaults_of

_ALWAYS_CHOSEN = ("data", "model.name")


def by_choice(settings: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the settings that are other than without any option, and the others.

    A run keeps all its settings, and not who wrote them: one that was asked for and is the default is among the others.

    Args:
        settings: in words, by their dotted keys.
    """
    model = settings.get("model.name", "")
    if model not in BUILDERS and not model.endswith(MODEL_SUFFIX):
        return {}, dict(settings)  # of another version, or written by hand: nobody knows its defaults
    usual = defaults_of(settings.get("data", ""), model, weights=settings.get("model.weights", "none"))
    chosen = {
        key
        for key, value in settings.items()
        if key in _ALWAYS_CHOSEN or (key in usual and to_words(usual[key]) != value)
    }
    return (
        {key: value for key, value in settings.items() if key in chosen},
        {key: value for key, value in settings.items() if key not in chosen},
    )
