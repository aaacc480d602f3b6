"""What a sweep tries: settings by their dotted keys, each with a range or with choices."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainkit.errors import TrainkitError, UsageError, unknown
from trainkit.runs._rules import MODEL_SUFFIX, RULES, checked
from trainkit.runs._settings import build_config, defaults_of

if TYPE_CHECKING:
    from optuna.trial import Trial

MODEL = "model.name"
_RANGE_KEYS = ("low", "high", "log", "step")
_EXPECTED = (
    "a range such as {low = 1e-4, high = 1e-2, log = true}, or choices such as [16, 32]; a fixed value is set by --set"
)
# What would make the values of two trials mean different things, or is no setting that anything comes of.
_FIXED = ("data", "name", "training.monitor", "training.validation", "training.tensorboard", "training.distribute")
_SMOOTHED = "training.label_smoothing"
_MOST_BYTES = 2**20
_ON_THE_GRID = 1e-8  # of a step, as Optuna has it: 0.3 is three times 0.1
PLACES = ("data", "reading.images", "model.weights", "model.name")  # which may name files

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False  # whether the logarithms are spread evenly
    step: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the numbers are whole ones."""
        return isinstance(self.low, int)

    def suggest(self, trial: Trial, key: str) -> Any:
        """Let a trial draw a value."""
        if self.is_whole:
            return trial.suggest_int(key, int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return trial.suggest_float(key, self.low, self.high, log=self.log, step=self.step)

    def stored(self, value: Any) -> Any:
        """Return how a study stores a value; `None` where it is out of the range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return None
        steps = (value - self.low) / self.step if self.step else 0
        return value if abs(steps - round(steps)) < _ON_THE_GRID else None

    def read(self, stored: Any) -> Any:
        """Return the value that a study has stored."""
        return stored

    def ends(self) -> tuple[Any, ...]:
        """Return the values between which all others are."""
        return self.low, self.high

    def to_json(self) -> dict[str, Any]:
        """Return the range as it is written."""
        more = {"log": self.log or None, "step": self.step}
        return {"low": self.low, "high": self.high, **{key: value for key, value in more.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values, without an order."""

    values: tuple[Any, ...]

    def suggest(self, trial: Trial, key: str) -> Any:
        """Let a trial draw a value."""
        return self.read(trial.suggest_categorical(key, [_stored(value) for value in self.values]))

    def stored(self, value: Any) -> Any:
        """Return how a study stores a value; `None` where it is not one of the choices."""
        return next((_stored(one) for one in self.values if one == value), None)

    def read(self, stored: Any) -> Any:
        """Return the value that a study has stored."""
        return next(value for value in self.values if _stored(value) == stored)

    def ends(self) -> tuple[Any, ...]:
        """Return all values."""
        return self.values

    def to_json(self) -> list[Any]:
        """Return the choices as they are written."""
        return list(self.values)


def _stored(value: Any) -> Any:
    """Return a choice as a study can store it, which knows no lists."""
    return json.dumps(value) if isinstance(value, list) else value


Space = Mapping[str, Range | Choices]


def read_space(path: Path) -> dict[str, Any]:
    """Read a space from TOML, by the dotted keys of the settings; `build_space` checks it.

    Raises:
        TrainkitError: there is no such file, or it is not TOML.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes")
        return flatten_space(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise TrainkitError(f"Cannot read {path}: {error.strerror}. Expected a space of settings in TOML.") from error
    except (ValueError, RecursionError) as error:
        raise TrainkitError(f"{path} is not valid TOML: {error}") from error


def flatten_space(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the domains of a document by the dotted keys of their settings."""
    pairs: list[tuple[str, Any]] = []
    for key, value in nested.items():
        if isinstance(value, Mapping) and "." not in key and key not in RULES:
            pairs += [(f"{key}.{short}", domain) for short, domain in value.items()]
        else:
            pairs.append((key, value))
    flat = dict(pairs)
    for key in flat:
        if sum(key == other for other, _ in pairs) > 1:
            raise UsageError(f"`{key}` is in the space twice, by its dotted key and in a table. Leave one out.")
    return flat


def build_space(written: Mapping[str, Any]) -> dict[str, Range | Choices]:
    """Check a space against the table of settings, each setting by itself.

    Raises:
        UsageError: names the setting, and says what was expected.
    """
    if not written:
        raise UsageError(f"The space of a sweep names no setting. Expected {_EXPECTED}.")
    for key in written:
        if key not in RULES:
            raise unknown("setting", key, RULES)
        if key in _FIXED or key.startswith("reading."):
            raise UsageError(f"`{key}` is the same for all trials of a sweep: set it with --set or its own option.")
    return {key: _domain(key, value) for key, value in written.items()}


def _domain(key: str, value: Any) -> Range | Choices:
    if isinstance(value, list) and value:
        return _choices(key, value)
    if isinstance(value, Mapping) and {"low", "high"} <= value.keys() <= set(_RANGE_KEYS):
        return _range(key, value)
    raise UsageError(f"`{key}` in the space must be {_EXPECTED}. Received: {value!r}")


def _choices(key: str, values: list[Any]) -> Choices:
    for value in values:
        if not isinstance(value, (str, bool, int, float, list)):
            raise UsageError(f"`{key}` in the space must be {_EXPECTED}. Received: {value!r}")
    own = [_as_run_has(key, value) for value in values]
    if len({json.dumps(value) for value in own}) != len(own):
        raise UsageError(f"`{key}` in the space has a choice twice. Received: {values!r}")
    return Choices(tuple(own))


def _as_run_has(key: str, value: Any) -> Any:
    """Return a value as the settings of a run have it: `28x28` is `[28, 28]` there, and a file has its whole path."""
    own = checked(key, value)
    if (
        isinstance(own, str)
        and key in PLACES
        and (key != MODEL or own.endswith(MODEL_SUFFIX))
        and own not in ("none", "imagenet")
    ):
        return str(Path(own).absolute())
    return list(own) if isinstance(own, tuple) else own


def _range(key: str, value: Mapping[str, Any]) -> Range:
    ends = [checked(key, value[end]) for end in ("low", "high")]
    numbers = [value["low"], value["high"], value.get("step", 1)]
    log, whole = value.get("log", False), all(isinstance(end, int) for end in ends)
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
        raise UsageError(f"`{key}` in the space must be {_EXPECTED}. Received: {dict(value)!r}")
    if not all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends):
        raise UsageError(f"`{key}` is no number, and has no range: list its choices. Received: {dict(value)!r}")
    low, high = (int(number) if whole else float(number) for number in numbers[:2])
    if not isinstance(log, bool) or low >= high or (log and low <= 0) or (log and "step" in value) or numbers[2] <= 0:
        raise UsageError(
            f"The range of `{key}` must go from `low` to a higher `high`, with `log = true` from above 0 and without "
            f"a `step`, which is above 0. Received: {dict(value)!r}"
        )
    if not math.isfinite(numbers[2]) or ("step" in value and numbers[2] > high - low):
        raise UsageError(f"The `step` of `{key}` must be at most `high` less `low`. Received: {dict(value)!r}")
    if whole and numbers[2] != int(numbers[2]):
        raise UsageError(f"`{key}` takes whole numbers, and so must its `step`. Received: {dict(value)!r}")
    step = value.get("step")
    return Range(low, high, log, None if step is None else (int(step) if whole else float(step)))


def check_space(space: Space, bases: Mapping[str, Values], *, monitor: str) -> None:
    """Raise unless each setting goes together with the others, for a model that is tried.

    Args:
        space: the domains.
        bases: every other setting, by the model.
        monitor: what is compared.

    Raises:
        UsageError: names the setting.
    """
    if monitor == "loss" and _SMOOTHED in space:
        raise UsageError(
            f"`{_SMOOTHED}` is a part of the loss, so losses under different ones cannot be compared. Take it out of "
            "the space, or compare accuracies: --set training.monitor=accuracy."
        )
    for key, domain in space.items():
        if key == MODEL:
            continue
        having = [base for base in bases.values() if has_setting(base, key)]
        for value in domain.ends():
            for base in having or bases.values():
                build_config({**base, key: value})


def has_setting(base: Values, key: str) -> bool:
    """Whether the model of these settings has another one."""
    return key in defaults_of(str(base["data"]), str(base[MODEL]), weights=str(base.get("model.weights", "none")))


def suggest(trial: Trial, space: Space, bases: Mapping[str, Values]) -> dict[str, Any]:
    """Let a trial draw its settings, and return all that it is trained with.

    Args:
        trial: of the study.
        space: the domains.
        bases: every other setting, by the model.
    """
    model = space[MODEL].suggest(trial, MODEL) if MODEL in space else next(iter(bases))
    base = bases[model]
    drawn = {
        key: domain.suggest(trial, key) for key, domain in space.items() if key != MODEL and has_setting(base, key)
    }
    return {**base, **drawn}


def stored_defaults(space: Space, bases: Mapping[str, Values]) -> dict[str, Any]:
    """Return what the first trial takes: the settings as they are without a sweep, where the space has them."""
    base = next(iter(bases.values()))
    found = {key: domain.stored(base[key]) for key, domain in space.items() if key in base}
    return {key: value for key, value in found.items() if value is not None}


def default_space(base: Values) -> dict[str, Any]:
    """Return the space of a sweep that names none, as it is written: what matters most for this kind of model.

    Args:
        base: the settings without a sweep.
    """
    rate = float(base["training.learning_rate"])
    space: dict[str, Any] = {
        "training.learning_rate": _around(rate),
        "training.batch_size": sorted({16, 32, 64, int(base["training.batch_size"])}),
    }
    if base.get("model.weights", "none") != "none":
        return space | _of_pretrained(base)
    space["training.optimizer"] = list(dict.fromkeys([str(base["training.optimizer"]), "adam", "adamw", "rmsprop"]))
    space["training.schedule"] = list(dict.fromkeys([str(base["training.schedule"]), "constant", "cosine"]))
    if "model.dropout" in base:
        space["model.dropout"] = {"low": 0.0, "high": 0.6}
    return space


def _of_pretrained(base: Values) -> dict[str, Any]:
    """Return what matters of a head on a pretrained backbone, and of its fine-tuning where there is any."""
    space: dict[str, Any] = {"training.weight_decay": {"low": 0.0, "high": 0.1}}
    if "model.dropout" in base:
        space["model.dropout"] = {"low": 0.0, "high": 0.6}
    if base.get("fine_tuning.epochs"):
        rate = float(base["fine_tuning.learning_rate"])
        space["fine_tuning.learning_rate"] = _around(rate)
        space["fine_tuning.layers"] = {"low": 5, "high": 60, "log": True}
    return space


def _around(rate: float) -> dict[str, Any]:
    """Return a range of learning rates with a good one in its middle."""
    return {"low": float(f"{rate / 10:.6g}"), "high": float(f"{rate * 10:.6g}"), "log": True}
