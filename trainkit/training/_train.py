"""From data and a model's name to a run in `experiments/`, and a run's figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainkit._progress import showing_lines
from trainkit.data._reading import Reading
from trainkit.files import check_new
from trainkit.runs._rules import MOST_LETTERS
from trainkit.runs._run import EXPERIMENTS, Run, find_run
from trainkit.runs._sections import Config
from trainkit.training._options import Options, resolve_settings

if TYPE_CHECKING:
    from trainkit.training._suggestion import LearningRates


@showing_lines()
def train(
    data: str | Path | Any | None = None,
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
    reading: Reading | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    experiments: str | Path = EXPERIMENTS,
) -> Run:
    """Train a model and return its run; what is left at `None` is what suits the data and the model.

    Args:
        data: `digits`, `fashion-mnist`, a folder of class folders, a `.csv` or `.npz` file; arrays, `(x, y)`,
            `((x, y), (x_test, y_test))` or with `(x_val, y_val)` between; a pandas table; a
            `tf.data.Dataset`, `keras.utils.PyDataset` or Hugging Face `datasets.Dataset` of images with labels, or
            these by their sides, `{"train": ..., "val": ..., "test": ...}`. Such data is read once, and the run keeps a
            copy of it.
        class_names: of arrays, in the order of their numbers.
        model: one of `trainkit.models.BUILDERS`, a `.keras` file, or a Keras model, which itself stays as it is.
        recipe: one of `trainkit recipes`; a data set's own name stands for the recipe of that name.
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: the learning rate; under a schedule, the highest one.
        seed: of every random draw.
        validation: the share of the training images held out, 0 for none.
        size: (width, height) of the network's input in pixels, or "WxH".
        color: `rgb`, `bgr` or `gray`.
        preprocessing: one of `trainkit.preprocessing.PREPROCESSINGS`.
        resize: `stretch`, `crop` or `pad`.
        weights: `imagenet`, `none` or a file.
        alpha: the width of mobilenet, mobilenet-v2 or mobilenet-v3.
        class_weights: `none`, or `balanced` for classes that weigh the same.
        augment_engine: `opencv`, or `keras` for Keras' own warp.
        distribute: `none`; `mirrored` for all GPUs of this machine; `workers` for all processes that TF_CONFIG or
            Slurm names, of which this is one. `trainkit.train_on_workers` starts some.
        tensorboard: whether to write TensorBoard's logs into the run.
        name: the end of the run's name.
        reading: how a folder or a table is read, where its names do not tell.
        settings: further settings by their dotted keys, such as `{"model.blocks": 1}`.
        config: the `config.toml` of a run, to repeat it; the arguments above override it.
        experiments: the folder of runs.

    Raises:
        TrainkitError: the data, the weights or the folder cannot be used, or the loss is not finite.
        UsageError: a setting is unknown or impossible.
    """
    arguments = {
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
        **(reading.to_settings() if reading else {}),
    }
    options = Options(arguments=arguments, class_names=class_names, recipe=recipe, config=config, settings=settings)
    with ExitStack() as stack:
        with _looking_at_data(distribute):
            resolved = stack.enter_context(resolve_settings(options))
        from trainkit.training._device import choose_precision
        from trainkit.training._fit import fit

        all_settings = resolved.config
        if all_settings.training.mixed_precision == "auto":  # the run remembers what it came to
            all_settings = all_settings.replace({"training.mixed_precision": choose_precision()})
        all_settings = all_settings.replace({"name": _name_with_fold(all_settings)})
        return fit(all_settings, resolved.dataset, experiments=Path(experiments), copies=resolved.copies)


@contextmanager
def _looking_at_data(distribute: str | None) -> Iterator[None]:
    """Let several processes share the looking at files already where the data says which model is taken."""
    if distribute != "workers":
        yield
        return
    from trainkit.training._team import build_team, naming_lost_workers

    team = build_team(distribute)
    with naming_lost_workers(team, begun=False), team.looking_together():
        yield


def _name_with_fold(config: Config) -> str:
    """Return a run's name, which says the fold that is held out, where one is."""
    if config.reading.fold_held_out is None:
        return config.name
    end = "-fold-{}-of-{}".format(*config.reading.fold_held_out)
    return config.name if config.name.endswith(end) else f"{config.name[: MOST_LETTERS - len(end)]}{end}"


@showing_lines()
def resume(run: str | Path | Run, *, experiments: str | Path = EXPERIMENTS, distribute: str | None = None) -> Run:
    """Go on with a run that was killed or interrupted, from its last finished epoch, as if nothing had happened.

    Args:
        run: a `Run`, its path, its name, or `latest`.
        experiments: the folder of runs.
        distribute: as for `train`, where the work is spread otherwise than it was.

    Raises:
        RunError: there is no such run, it is finished, damaged, or being trained by another process.
        DataError: the images are no longer those that it began with.
    """
    found = find_run(run, Path(experiments))
    found.check_resumable()

    from trainkit.training._fit import resume as go_on

    return go_on(found, distribute=distribute)


@showing_lines()
def find_learning_rate(
    data: str | Path | Any,
    *,
    model: str | Path | Any | None = None,
    recipe: str | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    size: tuple[int, int] | str | None = None,
    weights: str | Path | None = None,
    alpha: float | None = None,
    reading: Reading | None = None,
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
        alpha: the width of mobilenet, mobilenet-v2 or mobilenet-v3.
        reading: as for `train`.
        settings: further settings by their dotted keys.
        out: where to draw the loss over the rate; its suffix is the format.

    Raises:
        TrainkitError: the data or the weights cannot be used, or `out` exists already.
        UsageError: a setting is unknown or impossible.
    """
    if out is not None:
        check_new(Path(out))
    arguments = {
        "data": data,
        "model.name": model,
        "model.weights": weights,
        "model.alpha": alpha,
        "preprocessing.size": size,
        "training.batch_size": batch_size,
        "training.seed": seed,
        **(reading.to_settings() if reading else {}),
    }
    with resolve_settings(Options(arguments=arguments, recipe=recipe, settings=settings)) as resolved:
        from trainkit.training._learning_rate import draw_learning_rates, measure_learning_rates

        in_float32 = resolved.config.replace({"training.mixed_precision": "none"})
        found = measure_learning_rates(in_float32, resolved.dataset)
    if out is not None:
        draw_learning_rates(found, Path(out))
    return found
