"""From data and a model's name to a run in `experiments/`, and a run's figures."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainkit.data._arrays import load_arrays, save_arrays
from trainkit.data._dataset import ArrayImages, Dataset
from trainkit.data._sources import SOURCES, load_dataset
from trainkit.errors import ModelError, UsageError
from trainkit.files import check_new
from trainkit.models._layers import check_weights_file
from trainkit.models._own import describe_own_model
from trainkit.runs._recipes import find_recipe, recipe_for
from trainkit.runs._run import EXPERIMENTS, Run, find_run
from trainkit.runs._settings import KEPT_BESIDE, MODEL_SUFFIX, Config, build_config, builder_of, read_config

if TYPE_CHECKING:
    from trainkit.training._learning_rate import LearningRates

_Brought = dict[str, tuple[str, Callable[[Path], None]]]  # see `fit`
_KEPT_DATA, _KEPT_MODEL = KEPT_BESIDE["data"], KEPT_BESIDE["model.name"]


def train(
    data: str | Path | tuple[Any, Any] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    model: str | Path | Any | None = None,
    recipe: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    validation: float | None = None,
    size: tuple[int, int] | str | None = None,
    color: str | None = None,
    preprocessing: str | None = None,
    resize: str | None = None,
    weights: str | Path | None = None,
    alpha: float | None = None,
    class_weights: str | None = None,
    augment_engine: str | None = None,
    distribute: str | None = None,
    tensorboard: bool | None = None,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    experiments: str | Path = EXPERIMENTS,
) -> Run:
    """Train a model and return its run; what is left at `None` is what suits the data and the model.

    Args:
        data: `digits`, `fashion-mnist`, a folder of class folders, a `.csv` or `.npz` file, or arrays: `(x, y)`, or
            `((x, y), (x_test, y_test))`, see `trainkit.data._arrays`.
        class_names: of arrays, in the order of their numbers.
        model: one of `trainkit.models.BUILDERS`, a `.keras` file, or a Keras model, which itself stays as it is.
        recipe: one of `trainkit recipes`; a data set's own name stands for the recipe of that name.
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: the highest one.
        seed: of every random draw.
        validation: the share of the training images held out, 0 for none.
        size: (width, height) of the network's input in pixels, or "WxH".
        color: `rgb`, `bgr` or `gray`.
        preprocessing: one of `trainkit.preprocessing.PREPROCESSINGS`.
        resize: `stretch`, `crop` or `pad`.
        weights: `imagenet`, `none` or a file.
        alpha: the width of mobilenet, mobilenet-v2 or mobilenet-v3-small.
        class_weights: `none`, or `balanced` for classes that weigh the same.
        augment_engine: `opencv`, or `keras` for Keras' own warp.
        distribute: `none`, or `mirrored` for all GPUs of this machine.
        tensorboard: whether to write TensorBoard's logs into the run.
        name: the end of the run's name.
        settings: further settings by their dotted keys, such as `{"model.blocks": 1}`.
        config: the `config.toml` of a run, to repeat it; the arguments above override it.
        experiments: the folder of runs.

    Raises:
        TrainkitError: the data, the weights or the folder cannot be used, or the loss is not finite.
        UsageError: a setting is unknown or impossible.
    """
    chosen = {
        "data": data,
        "name": name,
        "model.name": model,
        "model.weights": weights,
        "model.alpha": alpha,
        "preprocessing.name": preprocessing,
        "preprocessing.size": size,
        "preprocessing.color": color,
        "preprocessing.resize": resize,
        "augmentation.engine": augment_engine,
        "training.class_weights": class_weights,
        "training.distribute": distribute,
        "training.tensorboard": tensorboard,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "training.learning_rate": learning_rate,
        "training.seed": seed,
        "training.validation": validation,
    }
    with _understand(chosen, class_names, recipe, config, settings) as (resolved, dataset, brought):
        from trainkit.training._environment import has_bfloat16
        from trainkit.training._fit import fit

        if resolved["training.mixed_precision"] == "auto":  # the run remembers what it came to
            precision = "bfloat16" if has_bfloat16() else "none"
            resolved = resolved.replace({"training.mixed_precision": precision})
        return fit(resolved, dataset, experiments=Path(experiments), brought=brought)


@contextmanager
def _understand(
    chosen: Mapping[str, Any],
    class_names: Sequence[str] | None,
    recipe: str | None,
    config: str | Path | None,
    settings: Mapping[str, Any] | None,
) -> Iterator[tuple[Config, Dataset | None, _Brought]]:
    """Give every setting, the data where it must be looked at first, and what a run keeps a copy of.

    What can be wrong is looked at before TensorFlow is imported, which takes seconds.

    Args:
        chosen: arguments by their dotted keys; data may be arrays, and the model a Keras model.
        class_names: of arrays.
        recipe: its name.
        config: the file of a run.
        settings: by their dotted keys.
    """
    chosen, arrays = dict(chosen), None
    brought: _Brought = {}
    if isinstance(chosen["data"], tuple):
        arrays, chosen["data"] = chosen["data"], _KEPT_DATA
        brought["data"] = (_KEPT_DATA, partial(save_arrays, arrays, class_names=class_names))
    elif chosen["data"] is not None and not isinstance(chosen["data"], (str, Path)):
        raise UsageError(
            f"`data` must be a name, a path, or arrays as the tuple (x, y). Received: {type(chosen['data']).__name__}"
        )
    elif class_names is not None:
        raise UsageError("`class_names` go with arrays: other data has its own.")
    with tempfile.TemporaryDirectory() as folder:
        if chosen["model.name"] is not None and not isinstance(chosen["model.name"], (str, Path)):
            chosen["model.name"] = _save_own_model(chosen["model.name"], Path(folder))
        given = _with_own_model(_merge({key: _plain(value) for key, value in chosen.items()}, recipe, config, settings))
        if str(given.get("model.name", "")).endswith(MODEL_SUFFIX):
            brought["model.name"] = (_KEPT_MODEL, partial(_copy, Path(given["model.name"]).absolute()))
        resolved = build_config(given)
        weights_file = resolved.values.get("model.weights", "none")
        if weights_file not in ("imagenet", "none"):
            check_weights_file(weights_file)
        share = resolved["training.validation"]
        dataset = None
        if arrays is not None:
            dataset = load_arrays(arrays, validation=share, class_names=class_names)
        elif resolved["data"] not in SOURCES:
            dataset = load_dataset(resolved["data"], validation=share)
        if dataset is not None:
            resolved = build_config({**_size_of_arrays(dataset, resolved), **given})
        yield resolved, dataset, brought


def _plain(value: Any) -> Any:
    """Return a setting as a config has it: a path as text, a size as a list."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _merge(
    chosen: Mapping[str, Any], recipe: str | None, config: str | Path | None, settings: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the settings that were given: arguments win over `settings`, these over a config, that over a recipe."""
    said = {**(settings or {}), **{key: value for key, value in chosen.items() if value is not None}}
    given = {**(_without_other_model(read_config(Path(config)), said) if config else {}), **said}
    if recipe is None and config is None:
        found = recipe_for(given.get("data"), given.get("model.name"))
    else:
        found = find_recipe(recipe) if recipe else None
    return {**(_without_other_model(found.settings, given) if found else {}), **given}


def _without_other_model(settings: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what belongs to a model, where another one is asked for."""
    if said.get("model.name") in (None, settings.get("model.name")):
        return dict(settings)
    return {key: value for key, value in settings.items() if key != "name" and not key.startswith(("model.", "fine_"))}


def _size_of_arrays(dataset: Dataset, config: Config) -> dict[str, Any]:
    """Return size and colour of images that all have the same, for a network that has none of its own."""
    images, builder = dataset.parts["train"].images, builder_of(config["model.name"])
    if not isinstance(images, ArrayImages) or builder.size is not None:
        return {}
    height, width, *channels = images.pixels.shape[1:]
    return {"preprocessing.size": [width, height], "preprocessing.color": "rgb" if channels else "gray"}


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
        raise ModelError(str(error).replace(str(path), "The model")) from None
    return path


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def resume(run: str | Path | Run, *, experiments: str | Path = EXPERIMENTS) -> Run:
    """Go on with a run that was killed or interrupted, from its last finished epoch, as if nothing had happened.

    Args:
        run: its path, its name, or `latest`.
        experiments: the folder of runs.

    Raises:
        RunError: there is no such run, it is finished, damaged, or being trained by another process.
        DataError: the images are no longer those that it began with.
    """
    found = find_run(run, Path(experiments))
    found.check_resumable()

    from trainkit.training._fit import resume as go_on

    return go_on(found)


def find_learning_rate(
    data: str | Path | tuple[Any, Any],
    *,
    model: str | Path | Any | None = None,
    recipe: str | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    size: tuple[int, int] | str | None = None,
    weights: str | Path | None = None,
    alpha: float | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> LearningRates:
    """Train for some steps at a rising learning rate and suggest one; nothing of that training is kept.

    Args:
        data: as for `train`.
        model: as for `train`.
        recipe: as for `train`.
        batch_size: images a step.
        seed: of every random draw.
        size: (width, height) of the network's input in pixels, or "WxH".
        weights: `imagenet`, `none` or a file.
        alpha: the width of mobilenet, mobilenet-v2 or mobilenet-v3-small.
        settings: further settings by their dotted keys.
        out: where to draw the loss over the rate; its suffix is the format.

    Raises:
        TrainkitError: the data or the weights cannot be used, or `out` exists already.
        UsageError: a setting is unknown or impossible.
    """
    if out is not None:
        check_new(Path(out))
    chosen = {
        "data": data,
        "model.name": model,
        "model.weights": weights,
        "model.alpha": alpha,
        "preprocessing.size": size,
        "training.batch_size": batch_size,
        "training.seed": seed,
    }
    with _understand(chosen, None, recipe, None, settings) as (resolved, dataset, _):
        from trainkit.training._learning_rate import draw_learning_rates, measure_learning_rates

        resolved = resolved.replace({"training.mixed_precision": "none"})
        found = measure_learning_rates(resolved, dataset)
    if out is not None:
        draw_learning_rates(found, Path(out))
    return found


def _with_own_model(given: dict[str, Any]) -> dict[str, Any]:
    """Fill in what a `.keras` file says of itself: its size and colour."""
    if not str(given.get("model.name", "")).endswith(MODEL_SUFFIX):
        return given
    return {**describe_own_model(Path(given["model.name"])), **given}
