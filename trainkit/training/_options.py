"""From what the caller asks for to every setting of a run: arguments, a config, a recipe, and the data itself."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from trainkit.data._arrays._labelled import load_arrays, load_given, save_arrays, save_given
from trainkit.data._dataset import ArrayImages, Dataset
from trainkit.data._python_data._reading import TAKEN, Gathered, gather, is_stream, is_table, without_place, write_table
from trainkit.data._reading import Reading, check_applies
from trainkit.data._sources import SOURCES, load_dataset
from trainkit.data._split import PINS_FILE
from trainkit.errors import DataError, ModelError, UsageError
from trainkit.files import scratch_folder
from trainkit.models._layers import check_weights_file
from trainkit.models._own import describe_own_model
from trainkit.runs._config_file import KEPT_BESIDE, keep_monitor, read_config
from trainkit.runs._recipes import find_recipe, recipe_for
from trainkit.runs._rules import MODEL_SUFFIX, builder_of
from trainkit.runs._sections import Config
from trainkit.runs._settings import build_config
from trainkit.training._default_model import PRETRAINED, leaves_model_open, suits_pretrained, weights_can_be_had

Write = Callable[[Path], None]
Copies = dict[str, tuple[str, Write]]  # by the setting that names it: the copy's name in the run, and what writes it
Load = Callable[[Config], Dataset | None]
(_KEPT_DATA, _KEPT_TABLE), (_KEPT_MODEL,) = KEPT_BESIDE["data"], KEPT_BESIDE["model.name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the caller of `train` or `find_learning_rate` asks for; what is left at `None` is open."""

    arguments: Mapping[str, Any]  # by their dotted keys; data may be arrays, and the model a Keras model
    class_names: Sequence[str] | None = None  # of arrays
    recipe: str | None = None
    config: str | Path | None = None
    settings: Mapping[str, Any] | None = None  # by their dotted keys


@dataclass(frozen=True, slots=True)
class Resolved:
    """Every setting, and what was read on the way to them."""

    config: Config
    dataset: Dataset | None  # where it had to be looked at
    copies: Copies = field(default_factory=dict)  # of arrays and models that only the caller has


@contextmanager
def resolve_settings(options: Options) -> Iterator[Resolved]:
    """Give every setting, the data where it must be looked at first, and what a run keeps a copy of.

    What can be wrong is looked at before TensorFlow is imported, which takes seconds.

    Raises:
        TrainkitError: the data, the config or the model cannot be used.
        UsageError: a setting is unknown or impossible.
    """
    copies: Copies = {}
    with scratch_folder() as folder:
        arguments, load = _without_objects(options, copies, folder)
        if arguments["model.name"] is not None and not isinstance(arguments["model.name"], (str, Path)):
            arguments["model.name"] = _save_own_model(arguments["model.name"], folder)
        options = replace(options, arguments={key: _as_toml(value) for key, value in arguments.items()})
        values = _with_own_model(_merge(options))
        if str(values.get("model.name", "")).endswith(MODEL_SUFFIX):
            copies["model.name"] = (_KEPT_MODEL, partial(_copy, Path(values["model.name"]).absolute()))
        is_open = options.config is None and options.recipe is None and leaves_model_open(values)
        config = build_config({**PRETRAINED, **values} if is_open else values)
        if config.model.weights not in ("imagenet", "none", None):
            check_weights_file(config.model.weights)
        dataset = load(config)
        if is_open and dataset and suits_pretrained(dataset) and weights_can_be_had(config):
            yield Resolved(config, dataset, copies)
            return
        config = build_config(values) if is_open else config
        if dataset is not None:
            config = build_config({**_size_of_arrays(dataset, config), **values})
        yield Resolved(config, dataset, copies)


def _without_objects(options: Options, copies: Copies, folder: Path) -> tuple[dict[str, Any], Load]:
    """Take data that is in memory out of the arguments, and remember to keep a copy of it.

    Returns:
        The arguments, and what loads the data.
    """
    arguments, data = dict(options.arguments), options.arguments["data"]
    reading = Reading(**{key[8:]: arguments[key] for key in arguments if key.startswith("reading.")})
    if is_table(data):
        _check_no_class_names(options)
        path = folder / _KEPT_TABLE
        write_table(data, path)
        arguments |= {"data": path, "reading.images": reading.images or Path.cwd()}
        copies["data"] = (_KEPT_TABLE, partial(_copy_table, path))
        return arguments, partial(_load_table, path)
    if is_stream(data):
        gathered = gather(data, folder, class_names=options.class_names, reading=reading)
        copies["data"] = (_KEPT_DATA, partial(save_given, gathered.arrays, class_names=gathered.class_names))
        kept = {
            key: value for key, value in arguments.items() if not key.startswith("reading.") or key.endswith("held_out")
        }
        return {**kept, "data": _KEPT_DATA}, partial(_load_gathered, gathered)
    if isinstance(data, tuple):
        check_applies(reading, "arrays", "`data`")
        arguments["data"] = _KEPT_DATA
        copies["data"] = (_KEPT_DATA, partial(save_arrays, data, class_names=options.class_names))
        return arguments, partial(_load_arrays, data, options.class_names)
    if data is not None and not isinstance(data, (str, Path)):
        raise UsageError(
            f"`data` must be a name, a path, {TAKEN}, or arrays as the tuple (x, y). Received: {type(data).__name__}"
        )
    _check_no_class_names(options)
    return arguments, _load


def _check_no_class_names(options: Options) -> None:
    if options.class_names is not None:
        raise UsageError("`class_names` go with arrays: other data has its own.")


def _load(config: Config) -> Dataset | None:
    """Load the data, but for a data set that is known by name: nothing of that has to be looked at."""
    if config.data in SOURCES:
        return None
    return load_dataset(config.data, validation=config.training.validation, reading=config.reading)


def _load_arrays(arrays: Any, class_names: Sequence[str] | None, config: Config) -> Dataset:
    return load_arrays(arrays, validation=config.training.validation, class_names=class_names, reading=config.reading)


def _load_gathered(gathered: Gathered, config: Config) -> Dataset:
    dataset = load_given(
        gathered.arrays, gathered.class_names, validation=config.training.validation, reading=config.reading
    )
    return replace(dataset, warnings=gathered.warnings + dataset.warnings)


def _load_table(path: Path, config: Config) -> Dataset | None:
    try:
        dataset = _load(config)
    except DataError as error:
        raise DataError(without_place(str(error), path)) from error
    said = [without_place(warning, path) for warning in dataset.warnings] if dataset else []
    return replace(dataset, warnings=said) if dataset else None


def _as_toml(value: Any) -> Any:
    """Return a setting as a config has it: a path as text, a size as a list."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _merge(options: Options) -> dict[str, Any]:
    """Return the settings that are not open: arguments win over `settings`, these over a config, that over a recipe."""
    arguments = {key: value for key, value in options.arguments.items() if value is not None}
    own = {**(options.settings or {}), **arguments}
    values = {**(_without_other_model(_read_config(Path(options.config), own), own) if options.config else {}), **own}
    if options.recipe is None and options.config is None:
        recipe = recipe_for(values.get("data"), values.get("model.name"))
    else:
        recipe = find_recipe(options.recipe) if options.recipe else None
    return {**(_without_other_model(recipe.settings, values) if recipe else {}), **values}


def _read_config(path: Path, own: Mapping[str, Any]) -> dict[str, Any]:
    """Read a config; that of an earlier run chooses the best epoch as it did, unless classes weigh otherwise now."""
    settings = read_config(path)
    return settings if "training.class_weights" in own else keep_monitor(settings)


def _without_other_model(settings: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what belongs to a model, where another one is asked for."""
    if options.get("model.name") in (None, settings.get("model.name")):
        return dict(settings)
    return {key: value for key, value in settings.items() if key != "name" and not key.startswith(("model.", "fine_"))}


def _size_of_arrays(dataset: Dataset, config: Config) -> dict[str, Any]:
    """Return size and colour of images that all have the same, for a network that has none of its own."""
    images = dataset.parts["train"].images
    if not isinstance(images, ArrayImages) or builder_of(config.model.name).size is not None:
        return {}
    height, width, *channels = images.pixels.shape[1:]
    return {"preprocessing.size": [width, height], "preprocessing.color": "rgb" if channels else "gray"}


def _with_own_model(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in what a `.keras` file says of itself: its size and colour."""
    if not str(values.get("model.name", "")).endswith(MODEL_SUFFIX):
        return values
    return {**describe_own_model(Path(values["model.name"])), **values}


def _save_own_model(model: Any, folder: Path) -> Path:
    """Save a Keras model, to train a copy of it."""
    if not (hasattr(model, "save") and hasattr(model, "layers")):
        raise UsageError(
            f"`model` must be a model's name, a .keras file or a Keras model. Received: {type(model).__name__}"
        )
    if not model.built:
        raise UsageError("The model is not built, so its input's shape is not known. Begin it with keras.Input(shape).")
    path = folder / f"{re.sub(r'[^a-zA-Z0-9_-]+', '-', model.name)}{MODEL_SUFFIX}"  # the run is called by it
    model.save(path)
    try:
        describe_own_model(path)
    except ModelError as error:
        raise ModelError(str(error).replace(str(path), "The model")) from error
    return path


def _copy_table(source: Path, target: Path) -> None:
    """Copy a table, and which of its images were put on a side by chance."""
    _copy(source, target)
    if (pins := source.parent / PINS_FILE).is_file():
        _copy(pins, target.parent / PINS_FILE)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
