"""Every setting in words, from the table of rules: what `trainkit settings` prints and `train --help` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trainkit.data import _reading
from trainkit.models._builders import BUILDERS
from trainkit.models._listing import list_models
from trainkit.runs._rules import MODEL_SUFFIX, RULES, builder_of, checked
from trainkit.runs._settings import defaults_of

_MOST = 5  # other defaults that are told one by one; a size is nearly every network's own
_FOLDER = "photos"  # any: what a name that is no data set's has for defaults
# What neither a model nor a folder alone decides on.
_IN_WORDS = {
    **{f"reading.{name}": text for name, text in _reading.DEFAULTS.items()},
    "data": "none, it is required",
}
# What is said where no model is asked about.
_OF_ALL_MODELS = {
    "name": f"the data's name and the model's, such as {_FOLDER}-small-cnn",
    "model.name": (
        "for colour photographs of 96 pixels and more mobilenet with alpha 0.75, where its ImageNet weights are here "
        "or can be downloaded; fashion-mnist for that data set; else small-cnn"
    ),
}
_OF_THE_DATA = {
    "preprocessing.size": "the data's own (digits 32x32, fashion-mnist 28x28, files 96x96)",
    "preprocessing.color": "the data's own (files rgb)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of a run, in words."""

    key: str  # for `--set`, `settings` and config.toml
    expected: str
    default: str
    help: str  # one sentence
    option: str | None  # of `trainkit train`, where it has one of its own

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)


def list_settings(model: str | None = None) -> list[Setting]:
    """Return every setting of a run, or those that a model has with the defaults that hold for it.

    Args:
        model: one of `trainkit.models.BUILDERS`, or a `.keras` file.

    Raises:
        UsageError: there is no such model.
    """
    models = list(BUILDERS) if model is None else [checked("model.name", model)]
    defaults = {name: _defaults(name) for name in models}
    return [
        Setting(key=key, expected=rule.expected, default=_default(key, defaults), help=rule.help, option=rule.option)
        for key, rule in RULES.items()
        if any(key in of_model for of_model in defaults.values())
    ]


def _defaults(model: str) -> dict[str, str]:
    builder = builder_of(model)
    found = defaults_of(_FOLDER, model, weights=str(builder.settings.get("weights", "none")))
    values = {key: to_text(value) for key, value in found.items()}
    if model.endswith(MODEL_SUFFIX):
        return {**values, "preprocessing.size": "the file's", "preprocessing.color": "the file's"}
    if builder.size is None:
        values["preprocessing.size"] = _OF_THE_DATA["preprocessing.size"]
    if builder.color is None:
        values["preprocessing.color"] = _OF_THE_DATA["preprocessing.color"]
    return values


def _default(key: str, defaults: Mapping[str, Mapping[str, str]]) -> str:
    """Return the default in words: the one of most models, then the others with the models that have them."""
    words = _IN_WORDS if len(defaults) == 1 else {**_IN_WORDS, **_OF_ALL_MODELS}
    if key in words:
        return words[key]
    models: dict[str, list[str]] = {}
    for model, values in defaults.items():
        if key in values:
            models.setdefault(values[key], []).append(model)
    first, *others = sorted(models, key=lambda value: -len(models[value]))
    if key == "model.alpha" and len(defaults) > 1:
        first = f"{first}, where no model is named {to_text(0.75)}"
    told = others if len(others) <= _MOST else [value for value in others if value in _OF_THE_DATA.values()]
    rest = [] if told == others else ["other networks have their own (`trainkit settings --model M`)"]
    return "; ".join([first, *(f"{list_models(models[value])}: {value}" for value in told), *rest])


def to_text(value: Any) -> str:
    """Write a value as `--set` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and len(value) == 2:
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
