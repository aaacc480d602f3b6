"""From data and a model's name to a run in `experiments/`, and a run's figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainkit.config import build_config, read_config
from trainkit.data.sources import SOURCES, load_dataset
from trainkit.models.layers import check_weights_file
from trainkit.runs import EXPERIMENTS, Run, find_run

__all__ = ["evaluate", "train"]


def train(
    data: str | Path | None = None,
    *,
    model: str | None = None,
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
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    experiments: str | Path = EXPERIMENTS,
) -> Run:
    """Train a model and return its run; what is left at `None` is what suits the data and the model.

    Args:
        data: `digits`, `fashion-mnist`, or a folder of class folders.
        model: one of `trainkit.models.BUILDERS`.
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: of Adam.
        seed: of every random draw.
        validation: the share of the training images held out, 0 for none.
        size: (width, height) of the network's input in pixels, or "WxH".
        color: `rgb`, `bgr` or `gray`.
        preprocessing: one of `trainkit.preprocessing.PREPROCESSINGS`.
        resize: `stretch`, `crop` or `pad`.
        weights: `imagenet`, `none` or a file.
        alpha: the width of mobilenet, mobilenet-v2 or mobilenet-v3-small.
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
        "model.weights": None if weights is None else str(weights),
        "model.alpha": alpha,
        "preprocessing.name": preprocessing,
        "preprocessing.size": list(size) if isinstance(size, tuple) else size,
        "preprocessing.color": color,
        "preprocessing.resize": resize,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "training.learning_rate": learning_rate,
        "training.seed": seed,
        "training.validation": validation,
    }
    given = {**(_read_config_for(Path(config), model) if config else {}), **(settings or {})}
    resolved = build_config({**given, **{key: value for key, value in chosen.items() if value is not None}})
    # What can be wrong is looked at before TensorFlow is imported, which takes seconds.
    weights_file = resolved.values.get("model.weights", "none")
    if weights_file not in ("imagenet", "none"):
        check_weights_file(weights_file)
    dataset = (
        None
        if resolved["data"] in SOURCES
        else load_dataset(resolved["data"], validation=resolved["training.validation"])
    )

    from trainkit.training.fit import fit

    return fit(resolved, dataset, experiments=Path(experiments))


def _read_config_for(config: Path, model: str | None) -> dict[str, Any]:
    """Read a config; for another model than its own, without what belongs to that one."""
    given = read_config(config)
    if model is None or given.get("model.name") == model:
        return given
    return {key: value for key, value in given.items() if key != "name" and not key.startswith("model.")}


def evaluate(run: str | Path | Run, *, experiments: str | Path = EXPERIMENTS) -> dict[str, Any]:
    """Measure a run's best weights on its test images again.

    Args:
        run: its path, its name, or `latest`.
        experiments: the folder of runs.

    Returns:
        `test_accuracy`, `test_loss`, `test_split`, `classes` and `confusion_matrix`, as in `result.json`.

    Raises:
        RunError: there is no such run, or it is unfinished or damaged.
        DataError: the data is not where it was, or has no test or validation part.
    """
    found = find_run(run, Path(experiments))
    found.check_usable()

    from trainkit.training.evaluation import evaluate_run

    return evaluate_run(found)
