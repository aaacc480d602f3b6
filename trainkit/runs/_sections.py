"""The settings of a run, a frozen object a section; one that exists is legal.

What has a default here has it for every model and data set. What has none is decided by them: see `_settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import tomli_w

from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._reading import AS_NAMED, Reading
from trainkit.preprocessing import Color, Resize
from trainkit.runs._rules import check_section, checked


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What is trained; `None` where the model has no such setting."""

    name: str
    blocks: int | None = None
    first_blocks: int | None = None
    filters: int | None = None
    width: int | None = None
    dense: int | None = None
    dropout: float | None = None
    alpha: float | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        check_section("model", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingSettings:
    """What `build_preprocessing` makes a `Preprocessing` from, once the training images are known."""

    name: str
    size: tuple[int, int]  # width, height in pixels
    color: Color
    resize: Resize = "stretch"

    def __post_init__(self) -> None:
        check_section("preprocessing", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How it is trained."""

    epochs: int
    batch_size: int
    optimizer: str = "adam"
    learning_rate: float
    schedule: str = "constant"
    warmup: float = 0.0  # epochs
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float = 0.0
    ema: float = 0.0
    early_stopping: int = 0  # epochs
    monitor: str | None = None  # none in a run of before there was a choice: accuracy
    mixed_precision: str = "none"
    class_weights: str = "none"
    steps_per_execution: int = 0
    deterministic: bool | None = None  # none in a run of before there was a choice: true
    plain_epochs: int | None = None  # none in a run of before there was a choice: 0
    distribute: str = "none"
    tensorboard: bool = False
    seed: int = 0
    validation: float = 0.1

    def __post_init__(self) -> None:
        check_section("training", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuningSettings:
    """What comes after the training of the head, where there is a pretrained backbone."""

    epochs: int = 0
    layers: int = 20
    learning_rate: float = 1e-5

    def __post_init__(self) -> None:
        check_section("fine_tuning", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every setting of a run, by section; `config["training.epochs"]` finds the same by its dotted key."""

    data: str
    name: str
    reading: Reading = AS_NAMED
    model: ModelSettings
    preprocessing: PreprocessingSettings
    augmentation: Augmentation
    training: TrainingSettings
    fine_tuning: FineTuningSettings | None = None  # only for a model with a pretrained backbone

    def __post_init__(self) -> None:
        for key in ("data", "name"):
            object.__setattr__(self, key, checked(key, getattr(self, key)))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Config:
        """Build from settings by their dotted keys; `values` is the way back.

        Raises:
            UsageError: a value is impossible.
        """

        def of(name: str) -> dict[str, Any]:
            return {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{name}.")}

        return cls(
            data=values["data"],
            name=values["name"],
            reading=Reading(**of("reading")),
            model=ModelSettings(**of("model")),
            preprocessing=PreprocessingSettings(**of("preprocessing")),
            augmentation=Augmentation.from_settings(of("augmentation")),
            training=TrainingSettings(**of("training")),
            fine_tuning=FineTuningSettings(**tuning) if (tuning := of("fine_tuning")) else None,
        )

    @property
    def values(self) -> dict[str, Any]:
        """The settings by their dotted keys, as TOML has them: lists for tuples, and only what this model has."""
        values: dict[str, Any] = {}
        for field in fields(self):
            section = getattr(self, field.name)
            if isinstance(section, str):
                values[field.name] = section
            elif section is not None:
                values.update({f"{field.name}.{key}": value for key, value in _as_toml(section).items()})
        return values

    @property
    def planned_epochs(self) -> int:
        """How many epochs there are over all phases, where none is ended early."""
        return self.training.epochs + (self.fine_tuning.epochs if self.fine_tuning else 0)

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def section(self, name: str) -> dict[str, Any]:
        """Return the settings of a section, `model` for example, by their short keys, without its `name`."""
        section = getattr(self, name, None)
        values = {} if section is None or isinstance(section, str) else _as_toml(section)
        return {key: value for key, value in values.items() if key != "name"}

    def replace(self, values: Mapping[str, Any]) -> Config:
        """Return a config with some settings changed, by their dotted keys."""
        return Config.from_values({**self.values, **values})

    def to_toml(self) -> str:
        """Return the settings as TOML; `read_config` is the way back."""
        nested: dict[str, Any] = {}
        for key, value in self.values.items():
            *section, short = key.split(".")
            (nested.setdefault(section[0], {}) if section else nested)[short] = value
        return tomli_w.dumps(nested)


def _as_toml(section: Any) -> dict[str, Any]:
    """Return the fields of a section as TOML has them, which knows neither tuples nor `None`."""
    if isinstance(section, Augmentation):
        values = section.to_settings()
        del values["preprocessing_function"]  # becomes `preprocessing.name`
        return values
    values = {field.name: getattr(section, field.name) for field in fields(section)}
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if value is not None
    }
