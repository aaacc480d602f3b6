"""One trial of a sweep: settings drawn, a run trained or gone on with, a value told."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainkit.backend import keras, tf
from trainkit.cluster._sweep_space import stored_defaults, suggest
from trainkit.cluster._sweep_study import (
    BEGAN,
    ENDED_IN_ORDER,
    FAILED,
    RUN,
    SURPLUS,
    Plan,
    first_number,
    import_optuna,
    list_attempts,
    quietly,
    retry,
)
from trainkit.data._dataset import Dataset
from trainkit.errors import DataError, MissingPackageError, OutputError, RunError, TrainkitError, WeightsError
from trainkit.files import sha256_of
from trainkit.runs._config_file import KEPT_BESIDE
from trainkit.runs._rules import MODEL_SUFFIX, MOST_LETTERS
from trainkit.runs._run import Run, list_runs
from trainkit.runs._sections import Config
from trainkit.runs._settings import build_config
from trainkit.training._fit import fit, resume
from trainkit.training._monitor import score_epoch
from trainkit.training._trial import Trial, monitored_value

if TYPE_CHECKING:
    import optuna

_PAUSE_SECONDS = 1.0
# What no other trial would come round: the sweep ends, and can go on once it is put right.
_OF_THE_WORLD = (DataError, WeightsError, OutputError, RunError, MissingPackageError)

log = logging.getLogger("trainkit")


class Ended(Exception):  # noqa: N818 - no error: somebody wants it
    """The training was ended in order, and can go on."""


class Surplus(Exception):  # noqa: N818 - no error: another process was quicker
    """There are enough trials without this one."""


def train_next(study: optuna.Study, plan: Plan, dataset: Dataset) -> None:
    """Train the next trial of a study to its end.

    Raises:
        KeyboardInterrupt: it was asked to end; the trial waits for another process.
        TrainkitError: something in the world is wrong; the trial waits for another process too.
    """
    numbers: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        numbers.append(trial.number)
        return _train(study, plan, dataset, trial)

    try:
        with quietly():
            study.optimize(objective, n_trials=1, catch=(Surplus,))
    except (KeyboardInterrupt, Ended, TrainkitError) as error:
        for number in numbers:
            retry(study, study.get_trials(deepcopy=False)[number])
        if isinstance(error, Ended):
            raise KeyboardInterrupt from error
        raise


def _train(study: optuna.Study, plan: Plan, dataset: Dataset, trial: optuna.Trial) -> float:
    study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]  # without one it is never missed
    trial.set_user_attr(BEGAN, trial.number)
    _check_wanted(study, plan, trial)
    _choose_sampler(study, plan, trial)
    try:
        settings = suggest(trial, plan.domains, plan.bases)
        run = _train_or_go_on(study, plan, dataset, trial, settings)
    except KeyboardInterrupt:
        _count_end_in_order(trial)
        raise
    except _OF_THE_WORLD:
        _count_end_in_order(trial)
        raise
    except (TrainkitError, tf.errors.OpError) as error:
        raise _failed(trial, error) from error
    except Exception as error:
        _failed(trial, error)
        raise
    return _value_of(trial, run, plan.monitor)


def _value_of(trial: optuna.Trial, run: Run, monitor: str) -> float:
    """Return the value of a run that has come to an end, which need not be that of the training."""
    result = run.result
    if result["status"] == "interrupted":
        _count_end_in_order(trial)
        raise Ended
    if result["status"] == "pruned":
        raise import_optuna().TrialPruned
    if result["status"] != "finished":
        raise _failed(trial, RunError(str(result["message"])))
    return max_value(run, monitor)


def max_value(run: Run, monitor: str) -> float:
    """Return what is monitored, of the best epoch of a run."""
    scores = [score_epoch(monitor, row, int(row["epoch"])) for row in run.metrics]
    return monitored_value(monitor, max(scores)[0])


def _failed(trial: optuna.Trial, error: Exception) -> Exception:
    """Note down why a trial has no value, and return what says that its settings are bad ones."""
    message = str(error) if isinstance(error, TrainkitError) else f"{type(error).__name__}: {error}"
    trial.set_user_attr(FAILED, message[:1000])
    log.warning("Trial %d failed: %s", first_number(_frozen(trial)), message)
    pruned: Exception = import_optuna().TrialPruned()
    return pruned


def _frozen(trial: optuna.Trial) -> Any:
    return trial.study.get_trials(deepcopy=False)[trial.number]


def _count_end_in_order(trial: optuna.Trial) -> None:
    trial.set_user_attr(ENDED_IN_ORDER, int(trial.user_attrs.get(ENDED_IN_ORDER, 0)) + 1)


def _check_wanted(study: optuna.Study, plan: Plan, trial: optuna.Trial) -> None:
    """Raise where other processes do, or have done, all that is to do.

    Processes look at the study and then begin, so that two may begin the last trial: the one with the lower number has
    it. So it is with two retries of one trial.
    """
    before = [attempts for attempts in list_attempts(study) if attempts.number < trial.number]
    number = first_number(_frozen(trial))
    if number == trial.number:
        surplus = len(before) >= plan.trials
    else:
        (own,) = (attempts for attempts in before if attempts.number == number)
        surplus = own.ended is not None or any(
            other.state.name == "RUNNING" for other in own.trials if other.number < trial.number
        )
    if surplus:
        trial.set_user_attr(SURPLUS, True)
        raise Surplus


def _choose_sampler(study: optuna.Study, plan: Plan, trial: optuna.Trial) -> None:
    """Let a trial draw by its number, whichever process has it; the first one is what a training without a sweep is."""
    samplers = import_optuna().samplers
    seed = (plan.seed * 1_000_003 + trial.number) % 2**32
    study.sampler = samplers.TPESampler(seed=seed, multivariate=False)
    if trial.number == 0:
        study.sampler = samplers.PartialFixedSampler(stored_defaults(plan.domains, plan.bases), study.sampler)


def _train_or_go_on(
    study: optuna.Study, plan: Plan, dataset: Dataset, trial: optuna.Trial, settings: dict[str, Any]
) -> Run:
    number = first_number(_frozen(trial))
    watching = Trial(
        study=plan.study,
        number=number,
        began=lambda run: trial.set_user_attr(RUN, run.name),
        judge=_judging(plan, trial),
    )
    keras.backend.clear_session()  # of the trial before
    run = _find_run(study, plan, number) if number != trial.number else None
    if run is None:
        config = build_config(settings)
        config = config.replace({"name": name_of_trial(config.name, number)})
        return fit(config, dataset, experiments=Path(plan.experiments), copies=_copies(config), trial=watching)
    trial.set_user_attr(RUN, run.name)
    return _go_on(study, run, watching, trial, plan.monitor)


def name_of_trial(name: str, number: int) -> str:
    """Return a run's name that says which trial it is."""
    end = f"-trial-{number}"
    return f"{name[: MOST_LETTERS - len(end)]}{end}"


def _copies(config: Config) -> dict[str, tuple[str, Callable[[Path], None]]]:
    """Return what a run keeps a copy of: a model of the user's own, which may have gone when the run is looked at."""
    if not config.model.name.endswith(MODEL_SUFFIX):
        return {}
    (kept,) = KEPT_BESIDE["model.name"]
    return {"model.name": (kept, partial(_copy, config.model.name))}


def _copy(source: str, target: Path) -> None:
    shutil.copyfile(source, target)


def _judging(plan: Plan, trial: optuna.Trial) -> Callable[[int, float], bool]:
    """Return what tells the study of an epoch, and whether to end the training after it."""
    gone = import_optuna().exceptions.UpdateFinishedTrialError

    def judge(epoch: int, value: float) -> bool:
        try:
            with quietly():
                trial.report(value, epoch)
                return plan.prunes and bool(trial.should_prune())
        except gone:  # this process was taken for killed; who has the trial now waits for the run
            return False

    return judge


def _find_run(study: optuna.Study, plan: Plan, number: int) -> Run | None:
    """Return the run in which a trial has begun; `None` where it had not come to one, or its folder is elsewhere."""
    (own,) = (attempts for attempts in list_attempts(study) if attempts.number == number)
    experiments = Path(plan.experiments)
    if own.run is not None and (experiments / own.run / "config.toml").is_file():
        return Run(experiments / own.run)
    # Its process may have been killed before it could tell the study.
    for run in list_runs(experiments):
        result = _result_of(run)
        if (result.get("study"), result.get("trial")) == (plan.study, number):
            return run
    return None


def _result_of(run: Run) -> dict[str, Any]:
    try:
        return run.result
    except RunError:
        return {}


def _go_on(study: optuna.Study, run: Run, watching: Trial, trial: optuna.Trial, monitor: str) -> Run:
    while run.is_training():  # its process was taken for killed, and lives
        time.sleep(_PAUSE_SECONDS)
    (own,) = (attempts for attempts in list_attempts(study) if attempts.number == watching.number)
    if own.is_hopeless:
        return _give_up(run, own.kills)
    if run.result["status"] in ("finished", "pruned"):  # which its process could not tell the study any more
        return run
    with quietly():
        for row in run.metrics[:-1]:  # of the last one, the training tells itself
            score = score_epoch(monitor, row, int(row["epoch"]))[0]
            trial.report(monitored_value(monitor, score), int(row["epoch"]))
    return resume(run, trial=watching)


def _give_up(run: Run, kills: int) -> Run:
    saved = run.model_path.is_file()
    message = f"Its process was killed {kills} times. Is there too little memory for these settings?"
    run.set_result(status="failed", message=message, keras_sha256=sha256_of(run.model_path) if saved else None)
    return run
