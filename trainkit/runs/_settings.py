"""What a run is made of: every setting, its default, and what it may be. Written to the run as `config.toml`."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import tomli_w

from trainkit.data._augmentation import Augmentation
from trainkit.data._sources import SOURCES
from trainkit.data._tables import SUFFIXES
from trainkit.deploy.python._values import MAX_SIDE
from trainkit.errors import TrainkitError, UsageError, unknown
from trainkit.models._builders import BUILDERS, Builder
from trainkit.models._own import build_own_model
from trainkit.preprocessing import PREPROCESSINGS, Color, Resize

FOLDER_SIZE = (96, 96)  # width, height of photographs for a network that has no size of its own
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "nadam", "lamb", "lion", "adafactor", "muon")
PRECISIONS = ("none", "float16", "bfloat16", "auto")
SCHEDULES = ("constant", "cosine", "one-cycle", "plateau")
KEPT_BESIDE = {"data": "data.npz", "model.name": "initial.keras"}
MODEL_SUFFIX = ".keras"  # a model of the user's own is named by its file
_OWN_MODEL = Builder(build=build_own_model, preprocessing="unit")
_NAME = re.compile(r"[\w][\w.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting of a run by its dotted key: `data`, `name`, `model.*`, `preprocessing.*`, `training.*`."""

    values: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def section(self, name: str) -> dict[str, Any]:
        """Return the settings of a section, `model` for example, by their short keys, without its `name`."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for key, value in self.values.items()
            if key.startswith(prefix) and key != f"{prefix}name"
        }

    def to_toml(self) -> str:
        """Return the settings as TOML; `read_config` is the way back."""
        nested: dict[str, Any] = {}
        for key, value in self.values.items():
            *section, short = key.split(".")
            (nested.setdefault(section[0], {}) if section else nested)[short] = value
        return tomli_w.dumps(nested)


class _Rule(NamedTuple):
    expected: str
    convert: Callable[[Any], Any]  # returns the value, or raises ValueError or TypeError


def _whole(least: int, most: int = 2**31 - 1) -> _Rule:
    def convert(value: Any) -> int:
        if isinstance(value, bool) or int(value) != float(value) or not least <= int(value) <= most:
            raise ValueError
        return int(value)

    return _Rule(f"a whole number from {least}" + (f" to {most}" if most < 2**31 - 1 else ""), convert)


def _number(expected: str, holds: Callable[[float], bool]) -> _Rule:
    def convert(value: Any) -> float:
        if isinstance(value, bool) or not math.isfinite(float(value)) or not holds(float(value)):
            raise ValueError
        return float(value)

    return _Rule(expected, convert)


def _choice(kind: str, known: Collection[str]) -> _Rule:
    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise unknown(kind, str(value), known)
        return value

    return _Rule(f"one of {', '.join(known)}", convert)


def builder_of(model: str) -> Builder:
    """Return what builds a model: one of `BUILDERS`, or what loads a `.keras` file."""
    return _OWN_MODEL if model.endswith(MODEL_SUFFIX) else BUILDERS[model]


def _model(value: Any) -> str:
    if isinstance(value, str) and value.endswith(MODEL_SUFFIX):
        return _text(value)
    return str(_choice("model", BUILDERS).convert(value))


def _size(value: Any) -> list[int]:
    if isinstance(value, str):
        value = value.lower().split("x")
    width, height = (_whole(1, MAX_SIDE).convert(side) for side in value)
    return [width, height]


def _name(value: Any) -> str:
    if not _NAME.fullmatch(value) or len(value.encode()) > 200 or value == "latest":
        raise ValueError
    return str(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any) -> str:
    str(value).encode()  # a UnicodeEncodeError is a ValueError: TOML has no letters that UTF-8 has not
    return str(value)


def _augmentation(name: str) -> _Rule:
    """Let `Augmentation` say what it takes; an error of its own says more than a rule could."""
    return _Rule("", lambda value: Augmentation.from_settings({name: value}).to_settings()[name])


_RULES = {
    "data": _Rule("the name of a data set or of a folder, in UTF-8", _text),
    "name": _Rule("letters, digits, - _ and . (at most 100, and not `latest`)", _name),
    "model.name": _Rule("a model's name or a .keras file", _model),
    "model.blocks": _whole(0, 12),
    "model.filters": _whole(1, 4096),
    "model.width": _whole(1, 1024),
    "model.dense": _whole(1, 65536),
    "model.dropout": _number("a share from 0 to below 1", lambda value: 0 <= value < 1),
    "model.alpha": _number("a width above 0, at most 4", lambda value: 0 < value <= 4),
    "model.weights": _Rule("imagenet, none or a file, in UTF-8", _text),
    "preprocessing.name": _choice("preprocessing", PREPROCESSINGS),
    "preprocessing.size": _Rule(f"WIDTHxHEIGHT, each 1 to {MAX_SIDE} pixels", _size),
    "preprocessing.color": _choice("color", get_args(Color)),
    "preprocessing.resize": _choice("resize", get_args(Resize)),
    "training.epochs": _whole(1),
    "training.batch_size": _whole(1),
    "training.optimizer": _choice("optimizer", OPTIMIZERS),
    "training.learning_rate": _number("a number above 0", lambda value: value > 0),
    "training.schedule": _choice("schedule", SCHEDULES),
    "training.warmup": _number("a number of epochs from 0", lambda value: value >= 0),
    "training.weight_decay": _number("a number from 0 to below 1", lambda value: 0 <= value < 1),
    "training.label_smoothing": _number("a share from 0 to below 1", lambda value: 0 <= value < 1),
    "training.clip_norm": _number("a number from 0; 0 for none", lambda value: value >= 0),
    "training.ema": _number("a momentum from 0 to below 1; 0 for none", lambda value: 0 <= value < 1),
    "training.early_stopping": _whole(0),
    "training.mixed_precision": _choice("precision", PRECISIONS),
    "training.class_weights": _choice("class weights", ("none", "balanced")),
    "training.steps_per_execution": _whole(0),
    "training.distribute": _choice("distribution", ("none", "mirrored")),
    "training.tensorboard": _Rule("true or false", _switch),
    "training.seed": _whole(0, 2**31 - 1),
    "training.validation": _number("a share from 0 to below 1", lambda value: 0 <= value < 1),
    "fine_tuning.epochs": _whole(0),
    "fine_tuning.layers": _whole(1),
    "fine_tuning.learning_rate": _number("a number above 0", lambda value: value > 0),
}
_AUGMENTATION = {f"augmentation.{name}": value for name, value in Augmentation().to_settings().items()}
del _AUGMENTATION["augmentation.preprocessing_function"]  # becomes `preprocessing.name`
_RULES.update({key: _augmentation(key.partition(".")[2]) for key in _AUGMENTATION})
# On the features of a frozen backbone an epoch takes no time: enough of them, and a rate that comes to rest.
_HEAD = {"training.epochs": 20, "training.learning_rate": 0.003, "training.schedule": "cosine"}
_FINE_TUNING = {"fine_tuning.epochs": 0, "fine_tuning.layers": 20, "fine_tuning.learning_rate": 1e-5}
_TEXTS = {key for key in _RULES if key.count(".") == 0 or key.endswith((".name", ".color", ".resize", ".weights"))}


def build_config(given: Mapping[str, Any]) -> Config:
    """Fill what was not given with what is right for the data and the model, and check all of it.

    Args:
        given: settings by their dotted keys; `data` is required.

    Raises:
        UsageError: a setting is unknown, or its value impossible; the nearest name is said.
    """
    if not given.get("data"):
        raise UsageError(f"Expected DATA: {', '.join(SOURCES)} or a folder of class folders.")
    given = _with_preprocessing_function(given)
    data = str(given["data"])
    source = SOURCES.get(data)
    model = _checked("model.name", given.get("model.name", source.model if source else "small-cnn"))
    builder = builder_of(model)
    weights = str(given.get("model.weights", builder.settings.get("weights", "none")))
    defaults = _defaults(data, model, builder, head=builder.pretrained and weights != "none")
    for key in given:
        if key.startswith("fine_tuning.") and key in _RULES and key not in defaults:
            raise UsageError(
                f"The model {model} has no pretrained backbone to tune. Leave out `{key}`, or take another model."
            )
        if key in _RULES and key not in defaults:
            own = ", ".join(builder_of(model).settings) or "none"
            raise UsageError(f"The model {model} has no setting `{key.split('.', 1)[1]}`. It has: {own}")
        if key not in defaults:
            if key.startswith("augmentation."):  # it may be one of ImageDataGenerator's that belongs elsewhere
                Augmentation.from_settings({key.partition(".")[2]: given[key]})
                continue
            raise unknown("setting", key, defaults)
    values = {key: _checked(key, given.get(key, default)) for key, default in defaults.items()}
    if values.get("fine_tuning.epochs") and values["model.weights"] == "none":
        raise UsageError(
            "Fine-tuning needs a pretrained backbone. Expected --weights imagenet or a file. Received: none"
        )
    if values.get("model.weights") == "imagenet" and not builder_of(model).pretrained:
        raise UsageError(f"There are no ImageNet weights for {model}. Expected --weights none or a file.")
    return Config(_with_absolute_paths(values))


def _with_preprocessing_function(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take ImageDataGenerator's `preprocessing_function` for the preprocessing that it is."""
    key = "augmentation.preprocessing_function"
    if not given.get(key):
        return given
    name = Augmentation(preprocessing_function=given[key]).preprocessing_function
    color = {"preprocessing.color": "bgr"} if name == "caffe" else {}
    return {"preprocessing.name": name, **color, **{k: value for k, value in given.items() if k != key}}


def _defaults(data: str, model: str, builder: Builder, *, head: bool) -> dict[str, Any]:
    source = SOURCES.get(data)
    size = builder.size or (source.size if source else FOLDER_SIZE)
    model_name = _plain(Path(model).stem) if model.endswith(MODEL_SUFFIX) else model
    data_name = data if source else _plain(_name_of(Path(data).resolve()))
    return {
        "data": data,
        "name": data_name if data_name == model_name else f"{data_name[:60]}-{model_name[:30]}",
        "model.name": model,
        **{f"model.{key}": value for key, value in builder.settings.items()},
        "preprocessing.name": builder.preprocessing,
        "preprocessing.size": list(size),
        "preprocessing.color": builder.color or (source.color if source else "rgb"),
        "preprocessing.resize": "stretch",
        **_AUGMENTATION,
        "training.epochs": builder.epochs,
        "training.batch_size": builder.batch_size,
        "training.optimizer": "adam",
        "training.learning_rate": builder.learning_rate,
        "training.schedule": "constant",
        "training.warmup": 0.0,
        "training.weight_decay": 0.0,
        "training.label_smoothing": 0.0,
        "training.clip_norm": 0.0,
        "training.ema": 0.0,
        "training.early_stopping": 0,
        "training.mixed_precision": "none",
        "training.class_weights": "none",
        "training.steps_per_execution": 0,
        "training.distribute": "none",
        "training.tensorboard": False,
        "training.seed": 0,
        "training.validation": 0.1,
        **(_FINE_TUNING if builder.pretrained else {}),
        **(_HEAD if head else {}),
    }


def _name_of(data: Path) -> str:
    return data.stem if data.suffix.lower() in (".npz", *SUFFIXES) else data.name


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "data"


def _checked(key: str, value: Any) -> Any:
    rule = _RULES[key]
    try:
        return rule.convert(value)
    except UsageError:
        raise
    except (ValueError, TypeError, OverflowError):
        raise UsageError(f"`{key}` must be {rule.expected}. Received: {value!r}") from None


def _with_absolute_paths(values: dict[str, Any]) -> dict[str, Any]:
    """Make files and folders absolute, so that the run can be repeated from any folder."""
    if values["data"] not in SOURCES:
        values["data"] = str(Path(values["data"]).absolute())
    if values.get("model.weights", "none") not in ("imagenet", "none"):
        values["model.weights"] = str(Path(values["model.weights"]).absolute())
    if values["model.name"].endswith(MODEL_SUFFIX):
        values["model.name"] = str(Path(values["model.name"]).absolute())
    return values


def parse_assignment(text: str) -> tuple[str, Any]:
    """Take `key=value` apart; the value is read as TOML, and as plain text where it is none.

    Raises:
        UsageError: there is no `=`, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set takes key=value, such as model.blocks=1. Received: {text}")
    key, value = key.strip(), value.strip()
    try:
        found = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # no TOML, or more digits than Python reads
        return key, value
    # A run may be called 5 or 2026-11-20, which TOML takes for a number and a date.
    return key, value if key in _TEXTS and not isinstance(found, str) else found


def read_config(path: Path) -> dict[str, Any]:
    """Read a `config.toml` into settings by their dotted keys; `build_config` checks them.

    Raises:
        TrainkitError: there is no such file, or it is no TOML.
    """
    try:
        nested = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainkitError(
            f"Cannot read {path}: {error.strerror}. Expected the config.toml of a run, or one like it."
        ) from None
    except (ValueError, RecursionError) as error:
        raise TrainkitError(f"{path} is not valid TOML: {error}") from None
    flat = flatten(nested)
    for key in KEPT_BESIDE:  # a run keeps copies of arrays and models that were brought to it
        if flat.get(key) == KEPT_BESIDE[key]:
            flat[key] = str((path.parent / flat[key]).absolute())
    return flat


def flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a TOML document by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat.update({f"{key}.{short}": v for short, v in value.items()} if isinstance(value, dict) else {key: value})
    return flat
