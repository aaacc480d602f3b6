"""What a run is made of: options in, every setting out, each with the default that suits the data and the model.

The sections are in `_sections`, what each setting may be in `_rules`, the files in `_config_file`. A run keeps all of
them as `config.toml`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._reading import Reading
from trainkit.data._sources import DATA_EXPECTED, SOURCES
from trainkit.data._tables._table import SUFFIXES
from trainkit.errors import UsageError, unknown
from trainkit.models._builders import Builder
from trainkit.runs._config_file import CHOSEN_LATER, KEPT_BESIDE, flatten, parse_assignment, read_config
from trainkit.runs._rules import (
    MODEL_SUFFIX,
    MONITORS,
    OPTIMIZERS,
    PRECISIONS,
    RULES,
    SCHEDULES,
    builder_of,
    checked,
)
from trainkit.runs._sections import Config, FineTuningSettings, PreprocessingSettings, TrainingSettings

__all__ = [
    "FOLDER_SIZE",
    "KEPT_BESIDE",
    "MODEL_SUFFIX",
    "MONITORS",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "Config",
    "build_config",
    "builder_of",
    "defaults_of",
    "flatten",
    "parse_assignment",
    "read_config",
]

FOLDER_SIZE = (96, 96)  # width, height of photographs for a network that has no size of its own
# On the features of a frozen backbone an epoch takes no time: enough of them, and a rate that comes to rest.
_HEAD = {"training.epochs": 20, "training.learning_rate": 0.003, "training.schedule": "cosine"}


def build_config(options: Mapping[str, Any]) -> Config:
    """Fill what the options leave open with what is right for the data and the model, and check all of it.

    Args:
        options: settings by their dotted keys; `data` is required.

    Raises:
        UsageError: a setting is unknown, or its value impossible; the message has the nearest name.
    """
    if not options.get("data"):
        raise UsageError(f"Expected DATA: {DATA_EXPECTED}.")
    options = _with_preprocessing_function(options)
    data = str(options["data"])
    source = SOURCES.get(data)
    model = checked("model.name", options.get("model.name", source.model if source else "small-cnn"))
    weights = options.get("model.weights", builder_of(model).settings.get("weights", "none"))
    defaults = defaults_of(data, model, weights=str(weights))
    for key, value in options.items():
        if key not in defaults:
            _refuse(key, value, model, defaults)
    values = {key: checked(key, options[key]) if key in options else default for key, default in defaults.items()}
    config = Config.from_values(_with_absolute_paths(Config.from_values(values)))
    _check_weights(config)
    return config


def _refuse(key: str, value: Any, model: str, defaults: Mapping[str, Any]) -> None:
    """Raise for a setting that this model has not, or that nothing has."""
    if key.startswith("fine_tuning.") and key in RULES:
        raise UsageError(
            f"The model {model} has no pretrained backbone to tune. Leave out `{key}`, or take another model."
        )
    if key in RULES:
        own = ", ".join(builder_of(model).settings) or "none"
        raise UsageError(f"The model {model} has no setting `{key.split('.', 1)[1]}`. It has: {own}")
    if not key.startswith("augmentation."):
        raise unknown("setting", key, defaults)
    Augmentation.from_settings({key.partition(".")[2]: value})  # may be one of ImageDataGenerator's, of no effect here


def _check_weights(config: Config) -> None:
    weights = config.model.weights
    if config.fine_tuning and config.fine_tuning.epochs and weights == "none":
        raise UsageError(
            "Fine-tuning needs a pretrained backbone. Expected --weights imagenet or a file. Received: none"
        )
    if weights == "imagenet" and not builder_of(config.model.name).pretrained:
        raise UsageError(f"There are no ImageNet weights for {config.model.name}. Expected --weights none or a file.")


def _with_preprocessing_function(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take ImageDataGenerator's `preprocessing_function` for the preprocessing that it is."""
    key = "augmentation.preprocessing_function"
    if not options.get(key):
        return options
    name = Augmentation(preprocessing_function=options[key]).preprocessing_function
    color = {"preprocessing.color": "bgr"} if name == "caffe" else {}
    return {"preprocessing.name": name, **color, **{k: value for k, value in options.items() if k != key}}


def defaults_of(data: str, model: str, *, weights: str) -> dict[str, Any]:
    """Return every setting that a model has, by its dotted key, as it is where no option says otherwise.

    Args:
        data: a data set's name, or a path.
        model: a model's name or a `.keras` file.
        weights: what it begins with: the head on a pretrained backbone is trained in another way.
    """
    source, builder = SOURCES.get(data), builder_of(model)
    training = {**_fixed("training", TrainingSettings), **CHOSEN_LATER, **_of_builder(builder)}
    return {
        "data": data,
        "name": _name_of_run(data, model),
        **_fixed("reading", Reading),
        "model.name": model,
        **{f"model.{key}": value for key, value in builder.settings.items()},
        "preprocessing.name": builder.preprocessing,
        "preprocessing.size": list(builder.size or (source.size if source else FOLDER_SIZE)),
        "preprocessing.color": builder.color or (source.color if source else "rgb"),
        **_fixed("preprocessing", PreprocessingSettings),
        **_AUGMENTATION,
        **training,
        **(_fixed("fine_tuning", FineTuningSettings) if builder.pretrained else {}),
        **(_HEAD if builder.pretrained and weights != "none" else {}),
    }


def _fixed(name: str, section: Any) -> dict[str, Any]:
    """Return the defaults of a section that neither data nor model decide on."""
    return {f"{name}.{field.name}": field.default for field in fields(section) if field.default is not MISSING}


def _of_builder(builder: Builder) -> dict[str, Any]:
    return {f"training.{key}": getattr(builder, key) for key in ("epochs", "batch_size", "learning_rate")}


_AUGMENTATION = {f"augmentation.{name}": value for name, value in Augmentation().to_settings().items()}
del _AUGMENTATION["augmentation.preprocessing_function"]  # becomes `preprocessing.name`


def _name_of_run(data: str, model: str) -> str:
    model_name = _plain(Path(model).stem) if model.endswith(MODEL_SUFFIX) else model
    data_name = data if data in SOURCES else _plain(_name_of(Path(os.path.realpath(data))))
    return data_name if data_name == model_name else f"{data_name[:60]}-{model_name[:30]}"


def _name_of(data: Path) -> str:
    return data.stem if data.suffix.lower() in (".npz", *SUFFIXES) else data.name


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "data"


def _with_absolute_paths(config: Config) -> dict[str, Any]:
    """Make files and folders absolute, so that the run can be repeated from any folder."""
    values = config.values
    if values["data"] not in SOURCES:
        values["data"] = str(Path(values["data"]).absolute())
    if "reading.images" in values:
        values["reading.images"] = str(Path(values["reading.images"]).absolute())
    if values.get("model.weights", "none") not in ("imagenet", "none"):
        values["model.weights"] = str(Path(values["model.weights"]).absolute())
    if values["model.name"].endswith(MODEL_SUFFIX):
        values["model.name"] = str(Path(values["model.name"]).absolute())
    return values
