"""Data and a model in, a run out; and a run that was ended early goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
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
from trainkit.training._answering import answer_feed, answer_part
from trainkit.training._averaging import AveragedValidation
from trainkit.training._callback_list import CallbackList
from trainkit.training._compilation import compile_model
from trainkit.training._device import ask_for_determinism
from trainkit.training._environment import describe_environment, differences, package_versions
from trainkit.training._feeding import EpochSetter, Feed
from trainkit.training._monitor import build_figures
from trainkit.training._phases import Phase, plan_phases, unfreeze_top
from trainkit.training._plateau import PlateauSchedule
from trainkit.training._preparation import Fitted, Prepared, build_fitted, prepare
from trainkit.training._progress import ProgressBar
from trainkit.training._recorder import Interrupted, Interruption, Recorder, catching_interrupt, write_rows
from trainkit.training._state import STATE_FILE, Progress, load_progress, restore_variables, save_state, take_state
from trainkit.training._team import Team, build_team, naming_lost_workers, working_together
from trainkit.training._trial import Judgement, Pruned, Trial, judge_last_epoch
from trainkit.training._watching import watch

log = logging.getLogger("trainkit")

Write = Callable[[Path], None]
_OF_DATA = ("data", "name", "reading")  # settings that may be others on each machine, the run's name with its folder's


def fit(
    config: Config,
    dataset: Dataset | None = None,
    *,
    experiments: Path,
    copies: Mapping[str, tuple[str, Write]] | None = None,
    trial: Trial | None = None,
) -> Run:
    """Train what the config says and return the run, finished or interrupted.

    Everything that can be wrong with data, model and weights is found before the run's folder is made.

    Args:
        config: every setting.
        dataset: the config's data, where it is loaded already.
        experiments: the folder of runs.
        copies: what the run keeps a copy of, by the setting that names it: the copy's name, and what writes it.
        trial: of a study, where it is one: its figures are those of validation images, and it may end as `pruned`.

    Raises:
        TrainkitError: the data, the weights or the folder cannot be used, or the loss is not finite.
        UsageError: the settings do not go together.
    """
    team = _assemble(config)
    with naming_lost_workers(team, begun=False), working_together(team):
        team.check_agreed(_to_agree_on(config))
        if team.leads:
            check_writable(experiments)
        with team.looking_together():
            dataset = dataset or load_dataset(
                config.data, validation=config.training.validation, reading=config.reading
            )
        for warning in dataset.warnings:
            log.warning(warning)
        data = fingerprint(dataset)
        team.check_same(data)
        if sentence := _nothing_augmented(config):
            log.warning(sentence)
        prepared = prepare(config, dataset, team=team)
        environment = describe_environment(seed=config.training.seed, data=data, workers=team.count)
        with catching_interrupt(team.agree) as interruption:
            run = _lead(
                team,
                lambda: create_run(
                    experiments,
                    config=config,
                    preprocessing=prepared.preprocessing,
                    class_names=dataset.class_names,
                    environment=environment,
                    copies=copies or {},
                    trial=(trial.study, trial.number) if trial else None,
                ),
            )
            if trial:
                trial.began(run)
            name, images = Path(config.model.name).stem, len(dataset.parts["train"])
            log.info("Training %s on %d images%s: %s", name, images, team.in_words, run.path)
            if team.leads:
                watch().began(run)
            with _holding(run, team):
                run_to_end(_Job(run, prepared, interruption, Progress(), trial))
    return run


def _nothing_augmented(config: Config) -> str | None:
    """Return a sentence where augmentation is asked for, and the plain epochs at the end are all that there are."""
    plain, planned = config.training.plain_epochs or 0, config.planned_epochs
    if plain < planned or not (config.augmentation.moves_pixels or config.augmentation.mixes):
        return None
    return (
        f"No epoch sees augmented images: the last {plain} are to be plain (training.plain_epochs), and there are "
        f"{planned}. Train for more epochs, or set training.plain_epochs to 0."
    )


def _assemble(config: Config) -> Team:
    """Return who trains; several processes meet before TensorFlow computes anything."""
    if config.training.deterministic is not False:
        ask_for_determinism()
    return build_team(config.training.distribute)


def _to_agree_on(config: Config) -> dict[str, Any]:
    """Return what has to be the same in all processes of a training; folders may lie elsewhere on each machine.

    What is read, and how, is compared by what has come of it: see `Team.check_same`.
    """
    settings = {name: value for name, value in config.values.items() if name.split(".")[0] not in _OF_DATA}
    versions = {f"the version of {name}": number for name, number in package_versions().items()}
    return {name: _without_folder(value) for name, value in settings.items()} | versions


def _without_folder(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _lead(team: Team, make: Callable[[], Run]) -> Run:
    """Return the run that is made; of several processes, that which the first one makes."""
    run = make() if team.leads else None
    told = team.tell(str(run.path.absolute()) if run else None)
    return run or Run(Path(told))


def _holding(run: Run, team: Team) -> AbstractContextManager[None]:
    """Return what holds the run's lock; of several processes, the first one holds it."""
    return run.training() if team.leads else nullcontext()


def resume(run: Run, *, trial: Trial | None = None, distribute: str | None = None) -> Run:
    """Go on with a run that was killed or interrupted, from its last finished epoch, as if nothing had happened.

    Args:
        run: that was killed or interrupted.
        trial: as for `fit`.
        distribute: over what the work is spread now, where that is not what it was.

    Raises:
        RunError: it is finished, it is being trained by another process, or its state is damaged.
        TrainkitError: the data has gone or was changed.
    """
    config = run.config if distribute is None else run.config.replace({"training.distribute": distribute})
    team = _assemble(config)
    with naming_lost_workers(team), working_together(team), _holding(run, team):
        team.check_agreed({"the run": run.name, **_to_agree_on(config)})
        run.check_resumable()
        if team.leads:
            remove_leftovers(run.path)
        with team.looking_together():
            dataset, before = run.load_data(), run.environment
        now = describe_environment(seed=config.training.seed, data=fingerprint(dataset), workers=team.count)
        run.check_classes(dataset)
        if before.get("data") not in (None, now["data"]):
            raise DataError(
                f"The images of {run.name} are no longer those that it began with. Put them back, or train anew."
            )
        for difference in [*differences(before, now), *_rules_since(config)]:
            log.warning("%s. The weights will not be those of a training without a break.", difference)
        state = run.path / STATE_FILE
        progress = load_progress(state) if state.exists() else Progress()
        prepared = prepare(config, dataset, run.preprocessing, team)
        log.info("Going on with %s after epoch %d%s", run.path, progress.epochs, team.in_words)
        with catching_interrupt(team.agree) as interruption:
            job = _Job(run, prepared, interruption, progress, trial)
            if progress.rows and team.leads:
                write_rows(run, progress.rows)  # a row may have been written whose state was not
            job.record(status="running", message=None)
            if team.leads:
                watch().began(run)
            run_to_end(job)
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
    trial: Trial | None = None

    @property
    def config(self) -> Config:
        return self.prepared.config

    @property
    def model(self) -> Any:
        return self.prepared.model

    @property
    def team(self) -> Team:
        return self.prepared.team

    def record(self, **values: Any) -> None:
        """Write some values of `result.json`; of several processes, the first one writes."""
        if self.team.leads:
            self.run.set_result(**values)

    def load_best(self) -> None:
        """Give the model the weights of the best epoch."""
        if self.team.leads:
            load_best_weights(self.model, self.run.model_path)
        self.team.share_weights(self.model)

    def checksum(self) -> str | None:
        """Return that of the model that is saved, `None` where there is none, or another process writes the run."""
        return sha256_of(self.run.model_path) if self.team.leads and self.run.model_path.exists() else None


def run_to_end(job: _Job) -> None:
    """Train and measure; however that ends, the run says so."""
    try:
        with naming_lost_workers(job.team):
            status = _fit_and_measure(job)
        job.record(status=status, keras_sha256=job.checksum())
        if status == "interrupted" and job.trial is None:
            resume = f"trainkit train --resume {job.run.argument}"
            log.info("Interrupted: kept the best weights so far. `%s` goes on.", resume)
    except KeyboardInterrupt:
        job.record(status="interrupted", keras_sha256=job.checksum())
        raise
    except Exception as error:
        message = str(error) if isinstance(error, TrainkitError) else f"{type(error).__name__}: {error}"
        with suppress(OutputError):  # where the disk is full, this cannot be written either
            job.record(status="failed", message=message)
            if job.team.leads:
                draw(job.run)
        raise
    if job.team.leads:
        draw(job.run)
    with naming_lost_workers(job.team):
        job.team.wait()  # who ends early looks lost


def _fit_and_measure(job: _Job) -> Literal["finished", "interrupted", "pruned"]:
    ended: Literal["finished", "pruned"] = "finished"
    try:
        _train_phases(job)
    except Pruned:
        ended = "pruned"
    except Interrupted:
        return "interrupted"
    finally:
        progress = job.progress
        with suppress(OutputError):
            job.record(
                epochs=progress.epochs,
                best_epoch=progress.best_epoch,
                monitor=job.prepared.monitor,
                seconds=round(progress.seconds, 3),
            )
    job.load_best()
    # The images for testing are touched here, once, and not before; of a study, by its winner alone.
    try:
        job.record(**_measure(job))
    except Interrupted:
        return "interrupted"
    return ended


def _measure(job: _Job) -> dict[str, Any]:
    prepared, kept = job.prepared, {}
    dataset = without_tests(prepared.dataset) if job.trial else prepared.dataset

    def keep(answered: Answered) -> None:
        if job.team.leads:
            kept["test_images"] = keep_answers(job.run, answered)

    predict = partial(answer_part, job.team, job.interruption)
    figures = evaluate_model(prepared.model, dataset, prepared.preprocessing, predict=predict, keep=keep)
    return {**figures, **kept}


def without_tests(dataset: Dataset) -> Dataset:
    """Return a data set without its images for testing."""
    return replace(dataset, parts={side: part for side, part in dataset.parts.items() if side != "test"})


def _train_phases(job: _Job) -> None:
    progress, phases = job.progress, plan_phases(job.config, job.model)
    if job.trial and progress.rows:
        judge_last_epoch(job.trial, progress, job.prepared.monitor)  # it may have been ended while that was done
    for index in range(progress.phase_index, len(phases)):
        if begins := index > progress.phase_index:
            progress.phase_index, progress.phase_epochs, progress.stopped, progress.callbacks = index, 0, False, {}
        progress.phase = phases[index].name
        if progress.stopped or progress.phase_epochs >= phases[index].epochs:
            continue  # it was over when the training was ended
        if index:
            if begins:
                job.load_best()  # go on from the best head
            layers, rate = phases[index].layers, phases[index].learning_rate
            log.info("Fine-tuning the backbone's last %d layers, at a learning rate of %g", layers, rate)
            unfreeze_top(job.model, layers)
        later = sum(phase.epochs for phase in phases[index + 1 :])
        _train_phase(job, phases[index], later=later, goes_on=not begins and bool(progress.rows))


def _train_phase(job: _Job, phase: Phase, *, later: int, goes_on: bool) -> None:
    """Train a phase, after which there are up to `later` epochs of others; or go on with it where its state was."""
    config, progress, began = job.config, job.progress, time.monotonic()
    fitted = _build_compiled(job, phase)
    model, feeds = fitted.model, fitted.feeds
    if goes_on:
        restore_variables(job.run.path / STATE_FILE, model)
    elif progress.rows and job.team.leads:
        # The best head is gone as soon as an epoch of this phase is better, and that may be before its own state is.
        save_state(job.run.path / STATE_FILE, take_state(progress, model))
    remembering = _schedule_callbacks(job, phase, feeds)
    recorder = Recorder(
        job.run,
        progress,
        monitor=job.prepared.monitor,
        model_to_save=lambda: _model_to_save(job.model, fitted),
        images=len(feeds["train"].targets),
        remembering=remembering,
        began=began,
        writes=job.team.leads,
    )
    last = progress.epochs + phase.epochs - progress.phase_epochs
    feeds["train"].plain_from = last + later - (config.training.plain_epochs or 0)
    bar = ProgressBar(last + later, images=len(feeds["train"].targets), batch_size=config.training.batch_size)
    answer = partial(answer_feed, job.team, job.interruption, fitted)
    figures = build_figures(job.prepared.monitor, job.prepared.dataset, feeds, answer)
    callbacks = [EpochSetter(feeds["train"]), AveragedValidation(), *figures, *remembering, recorder]
    if job.team.leads:
        callbacks.append(bar)
    if job.trial:
        callbacks.append(Judgement(job.trial, progress, job.prepared.monitor, epochs=last + later))
    if config.training.tensorboard and job.team.leads:
        callbacks.append(_tensorboard(job.run))
    try:
        with calling(job.model, "trained", kind=TrainingError):
            model.fit(
                **_inputs(feeds, job.team, progress.epochs),
                initial_epoch=progress.epochs,
                epochs=last,
                shuffle=False,
                verbose=0,
                callbacks=CallbackList(
                    [*callbacks, job.interruption], model=model, epochs=last, steps=feeds["train"].steps
                ),
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
        recorder.close()


def _build_compiled(job: _Job, phase: Phase) -> Fitted:
    """Return what a phase really trains, compiled."""
    with doing("Preparing the training"):
        fitted = build_fitted(job.prepared, job.interruption)
        with job.team.strategy.scope():
            reseed(fitted.model, job.config.training.seed, job.progress.phase_index)
            compile_model(
                fitted.model,
                job.config,
                phase,
                steps=fitted.feeds["train"].steps,
                multi_label=job.prepared.dataset.multi_label,
                smooth=fitted.feeds["train"].targets.ndim > 1,
                shared=job.team.devices > 1,
            )
    return fitted


def _inputs(feeds: Mapping[str, Feed], team: Team, epoch: int) -> dict[str, Any]:
    """Return what Keras' `fit` is fed with, from an epoch on."""
    if team.devices == 1:
        return {"x": feeds["train"].dataset(), "validation_data": feeds["val"].dataset() if "val" in feeds else None}
    feeds["train"].epoch = epoch
    inputs = {"x": feeds["train"].shared_dataset(team.strategy), "steps_per_epoch": feeds["train"].steps}
    if "val" in feeds:
        validation = feeds["val"]
        inputs |= {"validation_data": validation.shared_dataset(team.strategy), "validation_steps": validation.steps}
    return inputs


def _model_to_save(model: Any, fitted: Fitted) -> Any:
    """Return the model to save, with the weights of the one that is fitted."""
    fitted.copy_back()
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


def draw(run: Run) -> None:
    """Draw the charts of a run, and its page."""
    result = run.result
    with doing("Drawing the report"):
        if rows := run.metrics:
            kept, several = result["best_epoch"], has_several_labels(result)
            draw_curves(rows, run.path / "curves.png", kept=kept, several=several)
        if matrix := result["confusion_matrix"]:
            draw_confusion_matrix(matrix, run.class_names, run.path / "confusion_matrix.png")
        write_report(run.path)
