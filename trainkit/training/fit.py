"""Train a model by its name on data by its name, and write a run."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trainkit.backend import keras
from trainkit.config import Config
from trainkit.data.pipeline import Batches, read_pixels
from trainkit.data.sources import Dataset, load_dataset
from trainkit.data.statistics import channel_statistics, mean_image
from trainkit.errors import DataError, TrainkitError
from trainkit.files import check_writable, sha256_of
from trainkit.models import BUILDERS
from trainkit.models.backbones import FEATURES
from trainkit.preprocessing import Preprocessing, build_preprocessing, needs_mean_image, needs_statistics
from trainkit.reports import draw_confusion_matrix, draw_curves, write_report
from trainkit.runs import Run, create_run
from trainkit.training.environment import describe_environment
from trainkit.training.evaluation import evaluate_model
from trainkit.training.progress import ProgressBar
from trainkit.training.recorder import Interrupted, Interruption, Recorder, catching_interrupt

_LEAST_DEVIATION = 1e-3  # grey levels

log = logging.getLogger("trainkit")


def fit(config: Config, dataset: Dataset | None = None, *, experiments: Path) -> Run:
    """Train what the config says and return the run, finished or interrupted.

    Everything that can be wrong with data, model and weights is found before the run's folder is made.

    Args:
        config: every setting.
        dataset: the config's data, where it is loaded already.
        experiments: the folder of runs.

    Raises:
        TrainkitError: the data, the weights or the folder cannot be used, or the loss is not finite.
        UsageError: the settings do not go together.
    """
    check_writable(experiments)
    keras.utils.set_random_seed(config["training.seed"])
    dataset = dataset or load_dataset(config["data"], validation=config["training.validation"])
    for warning in dataset.warnings:
        log.warning(warning)
    preprocessing, train_pixels = _prepare(config, dataset)
    model = _build_model(config, preprocessing, len(dataset.class_names))
    pixels = {"train": train_pixels}
    if "val" in dataset.parts:
        pixels["val"] = read_pixels(dataset.parts["val"], preprocessing)
    environment = describe_environment(seed=config["training.seed"])
    with catching_interrupt() as interruption:
        run = create_run(
            experiments,
            config=config,
            preprocessing=preprocessing,
            class_names=dataset.class_names,
            environment=environment,
        )
        log.info("Training %s on %d images: %s", config["model.name"], len(train_pixels), run.path)
        _carry_out(_Job(run, config, dataset, preprocessing, pixels, model, interruption))
    return run


@dataclass(frozen=True, slots=True)
class _Job:
    """All that a run is made from, once it is known to be right."""

    run: Run
    config: Config
    dataset: Dataset
    preprocessing: Preprocessing
    pixels: dict[str, np.ndarray]  # uint8, of the training and the validation part
    model: Any
    interruption: Interruption


def _carry_out(job: _Job) -> None:
    """Train and measure; however that ends, the run says so."""
    try:
        status = _fit_and_measure(job)
        job.run.set_result(status=status, keras_sha256=sha256_of(job.run.model_path))
        if status == "interrupted":
            log.info("Interrupted: kept the best weights so far. `trainkit evaluate %s` measures them.", job.run.name)
    except KeyboardInterrupt:
        saved = job.run.model_path.exists()
        job.run.set_result(status="interrupted", keras_sha256=sha256_of(job.run.model_path) if saved else None)
        raise
    except Exception as error:
        message = str(error) if isinstance(error, TrainkitError) else f"{type(error).__name__}: {error}"
        job.run.set_result(status="failed", message=message)
        raise
    finally:
        _draw(job.run)


def _prepare(config: Config, dataset: Dataset) -> tuple[Preprocessing, np.ndarray]:
    """Return the preprocessing and the training pixels, from which its statistics may have to be taken."""
    chosen = config.section("preprocessing")
    width, height = chosen["size"]
    name = config["preprocessing.name"]
    geometry = {"height": height, "width": width, "resize": chosen["resize"], "color": chosen["color"]}
    plain = build_preprocessing("none", **geometry)
    pixels = read_pixels(dataset.parts["train"], plain)
    statistics = channel_statistics(pixels, chosen["color"]) if needs_statistics(name) else None
    if statistics and name == "standardize" and min(statistics[1]) < _LEAST_DEVIATION:
        raise DataError(
            "All training images have one and the same colour in a channel, so there is no deviation to divide by. "
            "Expected images with something on them, or --preprocessing unit."
        )
    mean = mean_image(pixels, chosen["color"]) if needs_mean_image(name) else None
    return build_preprocessing(name, **geometry, statistics=statistics, mean_image=mean), pixels


def _build_model(config: Config, preprocessing: Preprocessing, class_count: int) -> Any:
    builder = BUILDERS[config["model.name"]]
    model = builder.build(preprocessing.shape, class_count, **config.section("model"))
    _compile(model, config)
    return model


def _compile(model: Any, config: Config) -> None:
    binary = model.output_shape[-1] == 1
    model.compile(
        optimizer=keras.optimizers.Adam(config["training.learning_rate"]),
        loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )


def _fit_and_measure(job: _Job) -> Literal["finished", "interrupted"]:
    recorder = Recorder(job.run, job.model)
    started = time.monotonic()
    try:
        _fit_model(job, recorder)
    except Interrupted:
        if recorder.best_epoch is None:
            recorder.save_best()
        return "interrupted"
    finally:
        seconds = round(time.monotonic() - started, 3)
        job.run.set_result(epochs=recorder.epochs, best_epoch=recorder.best_epoch, seconds=seconds)
    job.model.load_weights(job.run.model_path)
    # The images for testing are touched here, once, and not before.
    try:
        job.run.set_result(**evaluate_model(job.model, job.dataset, job.preprocessing, callbacks=[job.interruption]))
    except Interrupted:
        return "interrupted"
    return "finished"


def _fit_model(job: _Job, recorder: Recorder) -> None:
    fitted = _Fitted(job.model, job.pixels, job.preprocessing.to_input)
    if _is_frozen(job.model):
        fitted = _on_features(job)
        _compile(fitted.model, job.config)
    parts = {
        side: Batches(
            examples,
            job.dataset.parts[side].labels,
            to_input=fitted.to_input,
            batch_size=job.config["training.batch_size"],
            shuffle_seed=job.config["training.seed"] if side == "train" else None,
        )
        for side, examples in fitted.examples.items()
    }
    progress = ProgressBar(job.config["training.epochs"])
    try:
        fitted.model.fit(
            parts["train"],
            validation_data=parts.get("val"),
            epochs=job.config["training.epochs"],
            shuffle=False,
            verbose=0,
            callbacks=[recorder, progress, job.interruption],
        )
    finally:
        progress.close()


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What `fit` really trains: the model on pixels, or its head on the features of a frozen backbone."""

    model: Any
    examples: dict[str, np.ndarray]
    to_input: Any


def _is_frozen(model: Any) -> bool:
    names = [layer.name for layer in model.layers]
    if FEATURES not in names:
        return False
    return not any(layer.trainable_weights for layer in model.layers[: names.index(FEATURES)])


def _on_features(job: _Job) -> _Fitted:
    """Compute a frozen backbone's features once: it would give the same ones in every epoch."""
    features = job.model.get_layer(FEATURES).output
    backbone, head = keras.Model(job.model.input, features), keras.Model(features, job.model.output)
    log.info("Computing the features of the frozen backbone once, for %d images", sum(map(len, job.pixels.values())))
    computed = {}
    for side, examples in job.pixels.items():
        batches = Batches(examples, to_input=job.preprocessing.to_input, batch_size=32)
        computed[side] = np.asarray(backbone.predict(batches, verbose=0, callbacks=[job.interruption]))
    return _Fitted(head, computed, np.asarray)


def _draw(run: Run) -> None:
    path = run.path / "metrics.csv"
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows: list[Mapping[str, str]] = list(csv.DictReader(file))
        draw_curves([{key: float(value) for key, value in row.items()} for row in rows], run.path / "curves.png")
    if matrix := run.result["confusion_matrix"]:
        draw_confusion_matrix(matrix, run.class_names, run.path / "confusion_matrix.png")
    write_report(run.path)
