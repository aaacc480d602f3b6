"""From what the caller of a sweep asks for to the plan of its workers: checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainkit.cluster._sweep_space import (
    MODEL,
    Choices,
    build_space,
    check_space,
    default_space,
    flatten_space,
    read_space,
)
from trainkit.cluster._sweep_study import Plan
from trainkit.cluster._sweep_url import checked_url, url_of_file
from trainkit.data._dataset import Dataset, fingerprint
from trainkit.data._sources import load_dataset
from trainkit.errors import UsageError
from trainkit.files import check_writable, make_folder
from trainkit.runs._rules import MODEL_SUFFIX, RULES
from trainkit.runs._sections import Config
from trainkit.training._options import Copies, Options, resolve_settings

SWEEPS = "sweeps"  # the folder of all studies, among the runs
# What the arguments of `train` set, by their names.
SETTINGS = {
    rule.option[2:].replace("-", "_"): key
    for key, rule in RULES.items()
    if rule.option and rule.option.startswith("--") and not key.startswith("reading.")
}
OTHERS = ("reading", "class_names", "recipe", "config")  # which `train` takes too


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the caller of a sweep asks for, besides the settings of a training."""

    space: str | Path | Mapping[str, Any] | None
    url: str | None
    trials: int
    prunes: bool
    experiments: Path


def plan_sweep(
    data: Any, request: Request, *, settings: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> tuple[Plan, Path]:
    """Return the plan of a sweep, and the study's folder, which is made.

    Raises:
        TrainkitError: the data, the weights or the folder cannot be used.
        UsageError: a setting is unknown or impossible.
    """
    _check_options(options)
    url = None if request.url is None else checked_url(request.url)
    written = _read(request.space)
    models = _models(written, options)
    check_writable(request.experiments)
    asked = _options(data, settings, options)
    with resolve_settings(asked(models[0])) as resolved:
        config = resolved.config
        name = config.name
        dataset = resolved.dataset or _load(config)
        monitor = _monitor(config, dataset)
        written = written or default_space(config.values)
        build_space(written)
        bases = {config.model.name: config}
        for model in models[1:]:
            with resolve_settings(asked(model)) as other:
                bases[other.config.model.name] = other.config
        pinned = {"name": name, "training.monitor": monitor, "training.tensorboard": False}
        values = {model: base.replace(pinned).values for model, base in bases.items()}
        check_space(build_space(written), values, monitor=monitor)
        folder = request.experiments / SWEEPS / name
        make_folder(folder)
        values = _with_copies(values, resolved.copies, folder)
    plan = Plan(
        study=name,
        url=url or url_of_file(folder / "study.db"),
        experiments=str(request.experiments.absolute()),
        bases=values,
        space=written,
        monitor=monitor,
        images=fingerprint(dataset),
        trials=request.trials,
        prunes=request.prunes,
    )
    return plan, folder


def _check_options(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in SETTINGS and name not in OTHERS:
            raise UsageError(f"A sweep takes the settings that `train` takes, and `{name}` is none of them.")


def _read(space: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    if space is None:
        return {}
    written = flatten_space(space) if isinstance(space, Mapping) else read_space(Path(space))
    return {key: domain.to_json() for key, domain in build_space(written).items()}


def _models(written: Mapping[str, Any], options: Mapping[str, Any]) -> list[Any]:
    """Return the models that are tried: the caller's own choice first, where it is among them."""
    if MODEL not in written:
        return [options.get("model")]
    domain = build_space(written)[MODEL]
    assert isinstance(domain, Choices)
    models = list(domain.values)
    own = options.get("model")
    own = str(Path(own).absolute()) if isinstance(own, str) and own.endswith(MODEL_SUFFIX) else own
    if own is not None and own not in models:
        raise UsageError(f"`{MODEL}` in the space has other models than --model. Received: {own}. Leave it out.")
    return sorted(models, key=lambda model: model != own)


def _options(data: Any, settings: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Callable[[Any], Options]:
    reading = options.get("reading")
    arguments = {
        "data": data,
        **{key: options.get(name) for name, key in SETTINGS.items()},
        **(reading.to_settings() if reading else {}),
    }
    others = {name: options.get(name) for name in OTHERS if name != "reading"}

    def asked(model: Any) -> Options:
        return Options(arguments={**arguments, MODEL: model}, settings=settings, **others)

    return asked


def _load(config: Config) -> Dataset:
    return load_dataset(config.data, validation=config.training.validation, reading=config.reading)


def _monitor(config: Config, dataset: Dataset) -> str:
    """Return what is compared, of validation images.

    Raises:
        UsageError: there are none.
    """
    from trainkit.training._monitor import check_monitor, choose_monitor

    check_monitor(config.training, dataset)
    monitor = choose_monitor(config.training, dataset)
    if monitor is None or "val" not in dataset.parts:
        raise UsageError(
            "A sweep compares its trials on validation images, and there are none. Hold some out: --validation 0.1."
        )
    return monitor


def _with_copies(values: dict[str, dict[str, Any]], copies: Copies, folder: Path) -> dict[str, dict[str, Any]]:
    """Write what only the caller has into the study's folder, and let the settings name it there."""
    found = dict(values)
    for key, (name, write) in copies.items():
        path = (folder / name).absolute()
        if not path.exists():
            write(path)
        found = {model: {**base, key: str(path)} for model, base in found.items()}
    if "model.name" in copies:
        found = {base["model.name"]: base for base in found.values()}
    return found
