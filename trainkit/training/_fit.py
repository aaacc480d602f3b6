"""Data and a model in, a run out; and a run that was ended early goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trainkit._progress import doing
from trainkit.backend import keras, tf
from trainkit.data._dataset import Dataset, fingerprint
from trainkit.data._sources import load_dataset
from trainkit.errors import DataError, OutputError, TrainingError, TrainkitError
from trainkit.files import check_writable, remove_leftovers, sha256_of
from trainkit.models._calling import calling
from trainkit.models._outputs import load_best_weights
from trainkit.reports import draw_confusion_matrix, draw_curves, write_report
from trainkit.runs._answers import keep_answers
from trainkit.runs._evaluation import Answered, evaluate_model
from trainkit.runs._figures import has_several_labels
from trainkit.runs._run import Run, create_run
from trainkit.runs._settings import MODEL_SUFFIX, Config
from trainkit.training._averaging import AveragedValidation
from trainkit.training._compilation import compile_model
from trainkit.training._environment import describe_environment, differences
from trainkit.training._feeding import EpochSetter, Feed
from trainkit.training._monitor import build_figures
from trainkit.training._phases import Phase, plan_phases, unfreeze_top
from trainkit.training._plateau import PlateauSchedule
from trainkit.training._preparation import Prepared, build_fitted, prepare
from trainkit.training._progress import ProgressBar
from trainkit.training._recorder import Interrupted, Interruption, Recorder, catching_interrupt, write_rows
from trainkit.training._state import STATE_FILE, Progress, load_progress, restore_variables

log = logging.getLogger("trainkit")

Write = Callable[[Path], None]


def fit(
    config: Config,
    dataset: Dataset | None = None,
    *,
    experiments: Path,
    copies: Mapping[str, tuple[str, Write]] | None = None,
) -> Run:
    """Train what the config says and return the run, finished or interrupted.

    Everything that can be wrong with data, model and weights is found before the run's folder is made.

    Args:
        config: every setting.
        dataset: the config's data, where it is loaded already.
        experiments: the folder of runs.
        copies: what the run keeps a copy of, by the setting that names it: the copy's name, and what writes it.

    Raises:
        TrainkitError: the data, the weights or the folder cannot be used, or the loss is not finite.
        UsageError: the settings do not go together.
    """
    check_writable(experiments)
    dataset = dataset or load_dataset(config.data, validation=config.training.validation, reading=config.reading)
    for warning in dataset.warnings:
        log.warning(warning)
    prepared = prepare(config, dataset)
    environment = describe_environment(seed=config.training.seed, data=fingerprint(dataset))
    with catching_interrupt() as interruption:
        run = create_run(
            experiments,
            config=config,
            preprocessing=prepared.preprocessing,
            class_names=dataset.class_names,
            environment=environment,
            copies=copies or {},
        )
        name, images = Path(config.model.name).stem, len(prepared.pixels["train"])
        log.info("Training %s on %d images: %s", name, images, run.path)
        with run.training():
            run_to_end(_Job(run, prepared, interruption, Progress()))
    return run


def resume(run: Run) -> Run:
    """Go on with a run that was killed or interrupted, from its last finished epoch, as if nothing had happened.

    Raises:
        RunError: it is finished, it is being trained by another process, or its state is damaged.
        TrainkitError: the data has gone or was changed.
    """
    config = run.config
    with run.training():
        run.check_resumable()
        remove_leftovers(run.path)
        dataset, before = run.load_data(), run.environment
        now = describe_environment(seed=config.training.seed, data=fingerprint(dataset))
        run.check_classes(dataset)
        if before.get("data") not in (None, now["data"]):
            raise DataError(
                f"The images of {run.name} are no longer those that it began with. Put them back, or train anew."
            )
        for difference in [*differences(before, now), *_rules_since(config)]:
            log.warning("%s. The weights will not be those of a training without a break.", difference)
        state = run.path / STATE_FILE
        progress = load_progress(state) if state.exists() else Progress()
        prepared = prepare(config, dataset, run.preprocessing)
        log.info("Going on with %s after epoch %d", run.path, progress.epochs)
        if progress.rows:
            write_rows(run, progress.rows)  # a row may have been written whose state was not
        with catching_interrupt() as interruption:
            run.set_result(status="running", message=None)
            run_to_end(_Job(run, prepared, interruption, progress))
    return run


def _rules_since(config: Config) -> list[str]:
    """Return a sentence where a run of trainkit 0.1 was trained by rules that are others now, and goes on by these."""
    training, augmentation = config.training, config.augmentation
    changed = (
        training.schedule == "one-cycle"
        or (training.schedule == "cosine" and training.warmup > 0)
        or (training.class_weights == "balanced" and augmentation.mixes)
        or (training.weight_decay > 0 and config.model.name.endswith(MODEL_SUFFIX))
    )
    if training.monitor is not None or not changed:
        return []
    return [
        "This training began with the warm-up, the one-cycle schedule, the weights of mixed images or the weight decay "
        "of an earlier trainkit, and goes on with those of this one"
    ]


@dataclass(frozen=True, slots=True)
class _Job:
    """A run, what it is made from, and how far it has come."""

    run: Run
    prepared: Prepared
    interruption: Interruption
    progress: Progress

    @property
    def config(self) -> Config:
        return self.prepared.config

    @property
    def model(self) -> Any:
        return self.prepared.model


def run_to_end(job: _Job) -> None:
    """Train and measure; however that ends, the run says so."""
    try:
        status = _fit_and_measure(job)
        job.run.set_result(status=status, keras_sha256=sha256_of(job.run.model_path))
        if status == "interrupted":
            resume = f"trainkit train --resume {job.run.argument}"
            log.info("Interrupted: kept the best weights so far. `%s` goes on.", resume)
    except KeyboardInterrupt:
        saved = job.run.model_path.exists()
        job.run.set_result(status="interrupted", keras_sha256=sha256_of(job.run.model_path) if saved else None)
        raise
    except Exception as error:
        message = str(error) if isinstance(error, TrainkitError) else f"{type(error).__name__}: {error}"
        with suppress(OutputError):  # where the disk is full, this cannot be written either
            job.run.set_result(status="failed", message=message)
            _draw(job.run)
        raise
    _draw(job.run)


def _fit_and_measure(job: _Job) -> Literal["finished", "interrupted"]:
    try:
        _train_phases(job)
    except Interrupted:
        return "interrupted"
    finally:
        progress = job.progress
        with suppress(OutputError):
            job.run.set_result(
                epochs=progress.epochs,
                best_epoch=progress.best_epoch,
                monitor=job.prepared.monitor,
                seconds=round(progress.seconds, 3),
            )
    load_best_weights(job.model, job.run.model_path)
    # The images for testing are touched here, once, and not before.
    try:
        job.run.set_result(**_measure(job))
    except Interrupted:
        return "interrupted"
    return "finished"


def _measure(job: _Job) -> dict[str, Any]:
    prepared, kept = job.prepared, {}

    def keep(answered: Answered) -> None:
        kept["test_images"] = keep_answers(job.run, answered)

    figures = evaluate_model(
        prepared.model, prepared.dataset, prepared.preprocessing, callbacks=[job.interruption], keep=keep
    )
    return {**figures, **kept}


def _train_phases(job: _Job) -> None:
    progress, phases = job.progress, plan_phases(job.config, job.model)
    for index in range(progress.phase_index, len(phases)):
        if index > progress.phase_index:
            progress.phase_index, progress.phase_epochs, progress.stopped, progress.callbacks = index, 0, False, {}
        progress.phase = phases[index].name
        if progress.stopped or progress.phase_epochs >= phases[index].epochs:
            continue  # it was over when the training was ended
        if index:
            load_best_weights(job.model, job.run.model_path)  # go on from the best head
            layers, rate = phases[index].layers, phases[index].learning_rate
            log.info("Fine-tuning the backbone's last %d layers, at a learning rate of %g", layers, rate)
            unfreeze_top(job.model, layers)
        _train_phase(job, phases[index], later=sum(phase.epochs for phase in phases[index + 1 :]))


def _train_phase(job: _Job, phase: Phase, *, later: int) -> None:
    """Train a phase, after which there are up to `later` epochs of others."""
    config, progress, began = job.config, job.progress, time.monotonic()
    with doing("Preparing the training"), job.prepared.strategy.scope():
        fitted = build_fitted(job.prepared, [job.interruption])
        model, feeds = fitted.model, fitted.feeds
        reseed(model, config.training.seed, progress.phase_index)
        compile_model(
            model,
            config,
            phase,
            steps=feeds["train"].steps,
            multi_label=job.prepared.dataset.multi_label,
            smooth=feeds["train"].targets.ndim > 1,
        )
    if progress.phase_epochs:
        restore_variables(job.run.path / STATE_FILE, model)
    remembering = _schedule_callbacks(job, phase, feeds)
    recorder = Recorder(
        job.run,
        progress,
        monitor=job.prepared.monitor,
        model_to_save=lambda: _model_to_save(job.model, model),
        images=len(feeds["train"].examples),
        remembering=remembering,
        began=began,
    )
    last = progress.epochs + phase.epochs - progress.phase_epochs
    bar = ProgressBar(last + later, images=len(feeds["train"].examples), batch_size=config.training.batch_size)
    figures = build_figures(job.prepared.monitor, job.prepared.dataset, feeds, job.interruption)
    callbacks = [EpochSetter(feeds["train"]), AveragedValidation(), *figures, *remembering, recorder, bar]
    if config.training.tensorboard:
        callbacks.append(_tensorboard(job.run))
    try:
        with calling(job.model, "trained", kind=TrainingError):
            model.fit(
                feeds["train"].dataset(),
                validation_data=feeds["val"].dataset() if "val" in feeds else None,
                initial_epoch=progress.epochs,
                epochs=last,
                shuffle=False,
                verbose=0,
                callbacks=[*callbacks, job.interruption],
            )
    except Interrupted:
        if progress.best_epoch is None:
            recorder.save_best()
        raise
    except (TrainingError, tf.errors.OpError) as error:
        for feed in feeds.values():
            if feed.error:
                raise feed.error from error  # of which TensorFlow has made a text
        raise
    finally:
        bar.close()


def _model_to_save(model: Any, fitted: Any) -> Any:
    """Return the model to save, with the weights of the one that is fitted, where they are not the same ones."""
    if fitted.layers[-1] is not model.layers[-1]:
        model.set_weights(fitted.get_weights())
    return model


def reseed(model: Any, seed: int, phase: int) -> None:
    """Set the generators behind dropout and noise by (seed, phase), whatever was drawn from them before."""
    known = {id(weight) for weight in model.weights}
    states = [variable for variable in model.variables if id(variable) not in known]
    for number, state in enumerate(states):
        drawn = np.random.default_rng((seed, phase, number)).integers(0, 2**31, state.shape)
        state.assign(drawn.astype(state.dtype))


def _schedule_callbacks(job: _Job, phase: Phase, feeds: Mapping[str, Feed]) -> list[Any]:
    config, monitor = job.config, "val_loss" if "val" in feeds else "loss"
    callbacks: list[Any] = []
    if config.training.schedule == "plateau":
        steps = round(config.training.warmup * feeds["train"].steps)
        callbacks.append(PlateauSchedule(monitor, learning_rate=phase.learning_rate, warmup_steps=steps))
    if config.training.early_stopping:
        callbacks.append(keras.callbacks.EarlyStopping(monitor, patience=config.training.early_stopping))
    return callbacks


def _tensorboard(run: Run) -> Any:
    return keras.callbacks.TensorBoard(run.path / "tensorboard", write_graph=False)


def _draw(run: Run) -> None:
    result = run.result
    with doing("Drawing the report"):
        if rows := run.metrics:
            kept, several = result["best_epoch"], has_several_labels(result)
            draw_curves(rows, run.path / "curves.png", kept=kept, several=several)
        if matrix := result["confusion_matrix"]:
            draw_confusion_matrix(matrix, run.class_names, run.path / "confusion_matrix.png")
        write_report(run.path)
