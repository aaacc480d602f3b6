"""The study of a sweep: a database in which any number of processes find what to train next.

A trial whose process was killed is tried again by another one, as a new trial of the database with the settings and the
run of the old one. Here these are one `Attempts`, and count as one trial.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trainkit.cluster._sweep_space import PLACES, Choices, Range, build_space
from trainkit.cluster._sweep_url import no_database, with_driver, without_password
from trainkit.errors import MissingPackageError, TrainkitError, UsageError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

HEARTBEAT_SECONDS = 5
STALE_SECONDS = 30  # without a heartbeat, after which a process is taken for killed
_UNHEARD_SECONDS = 120  # after which a trial that never had a heartbeat is; clocks of machines may differ
_LOCK_SECONDS = 120  # that SQLite waits for other processes
_TRIES = 5  # to open a database that another process is making
_PARTS = 6  # of the epochs; from the end of the first on a trial is judged
_MOST_KILLS = 4  # of one trial's processes, after which it is not tried again

# Of a trial in the database.
RUN, BEGAN, ENDED_IN_ORDER, FAILED, SURPLUS = "run", "began", "ended_in_order", "failed", "surplus"

Result = TypeVar("Result")
log = logging.getLogger("trainkit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a process must know to work on a study; JSON as it stands."""

    study: str  # its name
    url: str  # of its database
    experiments: str  # the folder of runs
    bases: dict[str, dict[str, Any]]  # every setting that is not drawn, by the model
    space: dict[str, Any]  # as it is written
    monitor: str  # what is compared
    images: str  # see `fingerprint`
    trials: int  # how many there shall be
    prunes: bool = True  # whether trials that promise little are ended early
    until: float | None = None  # by the clock of `time.time`, when no trial begins any more

    @property
    def domains(self) -> dict[str, Range | Choices]:
        """What is drawn, by the setting."""
        return build_space(self.space)

    @property
    def seed(self) -> int:
        """The seed of every draw."""
        return int(next(iter(self.bases.values()))["training.seed"])

    @property
    def is_over(self) -> bool:
        """Whether the time is."""
        return self.until is not None and time.time() >= self.until

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)


def import_optuna() -> Any:
    """Return Optuna, which says nothing of its own.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            'A sweep needs the package optuna, which is not installed: pip install "trainkit[sweep]".'
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@contextmanager
def quietly() -> Iterator[None]:
    """Keep to oneself that heartbeats are experimental, and that a step is reported again after a kill."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_storage(url: str) -> RDBStorage:
    """Open the database of a study, and make its tables where there are none.

    Raises:
        MissingPackageError: Optuna or the driver of the database is not installed.
        TrainkitError: it cannot be reached.
        UsageError: it is no URL of a database.
    """
    optuna = import_optuna()
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    def make() -> RDBStorage:
        retry = optuna.storages.RetryHeartbeatStaleTrialCallback()
        storage: RDBStorage = optuna.storages.RDBStorage(
            with_driver(url),
            engine_kwargs=_engine_options(url),
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=STALE_SECONDS,
            heartbeat_stale_trial_callback=retry,
        )
        return storage

    try:
        with quietly():
            storage = _trying(make, SQLAlchemyError, RuntimeError)
    except (ArgumentError, NoSuchModuleError) as error:
        raise no_database(url) from error
    except ImportError as error:
        raise MissingPackageError(
            f"The driver of the database {without_password(url)} is not installed. Expected sqlite:///study.db, or "
            'postgresql://user@host/name, whose driver comes with: pip install "trainkit[sweep]".'
        ) from error
    except (SQLAlchemyError, RuntimeError) as error:
        raise _unusable(url, error) from error
    if url.startswith("sqlite"):
        _lock_for_reading_too(storage)
    return storage


def _unusable(url: str, error: BaseException) -> TrainkitError:
    cause = error if hasattr(error, "orig") else error.__cause__ or error  # Optuna says only that there is one
    reason = " ".join(str(getattr(cause, "orig", None) or cause).split())
    return TrainkitError(f"The database {without_password(url)} cannot be used: {reason:.300}")


def _engine_options(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": _LOCK_SECONDS}}
    return {"pool_pre_ping": True}  # a database that was started again meanwhile is no reason to end


def _lock_for_reading_too(storage: RDBStorage) -> None:
    """Let each transaction on SQLite lock the database from its beginning.

    Optuna looks at a trial's state and then changes it. Other databases lock the row that is looked at; SQLite would
    let two processes see the same trial waiting, and both take it.
    """
    from sqlalchemy import event

    def begin_by_hand(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(storage.engine, "connect", begin_by_hand)
    event.listen(storage.engine, "begin", begin)
    storage.engine.dispose()  # of connections from before


def _trying(work: Callable[[], Result], *errors: type[Exception]) -> Result:
    """Do what fails where another process does the same at that moment."""
    for tried in range(1, _TRIES + 1):
        try:
            return work()
        except errors as error:
            if tried == _TRIES or type(error).__name__ in ("ArgumentError", "NoSuchModuleError"):
                raise
            time.sleep(0.2 * tried)
    raise AssertionError("unreachable")


@contextmanager
def studying(plan: Plan) -> Iterator[Study]:
    """Open the study of a plan while the block runs.

    Raises:
        MissingPackageError: Optuna or the driver of the database is not installed.
        TrainkitError: the database cannot be used.
        UsageError: it is no URL of a database, or there is a study of that name with other settings.
    """
    storage = open_storage(plan.url)
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield open_study(plan, storage)
    except (SQLAlchemyError, import_optuna().exceptions.StorageInternalError) as error:
        raise _unusable(plan.url, error) from error
    finally:
        storage.remove_session()
        storage.engine.dispose()


def open_study(plan: Plan, storage: RDBStorage) -> Study:
    """Open the study of a plan, which begins where there is none of that name.

    Raises:
        UsageError: there is a study of that name with other settings.
    """
    optuna = import_optuna()

    def open_or_create() -> Study:
        study: Study = optuna.create_study(
            study_name=plan.study,
            storage=storage,
            direction="minimize" if plan.monitor == "loss" else "maximize",
            load_if_exists=True,
            pruner=_pruner(plan),
        )
        return study

    with quietly():
        study = _trying(open_or_create, optuna.exceptions.StorageInternalError)
    _check_same(study, plan)
    return study


def _pruner(plan: Plan) -> Any:
    """Return what ends a trial that is below the median of the others at its epoch, from a sixth of the epochs on.

    On the digits, 12 epochs of 20 trials with three seeds: from the second epoch on it found what no pruning found, in
    0.58 of the epochs; from the first on in 0.48, but a validation image in 144 less.
    """
    optuna = import_optuna()
    if not plan.prunes:
        return optuna.pruners.NopPruner()
    epochs = min(int(base.get("training.epochs", 1)) for base in plan.bases.values())
    return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(1, epochs // _PARTS))


def _check_same(study: Study, plan: Plan) -> None:
    """Raise unless the study is of these settings; one that is new is from now on."""
    own = {
        "bases": {model: _without_places(base) for model, base in _by_name(plan.bases).items()},
        "space": {key: domain.to_json() for key, domain in plan.domains.items()},
        "monitor": plan.monitor,
        "images": plan.images,
    }
    known = study.user_attrs.get("plan")
    if known is None:
        study.set_user_attr("plan", own)
        return
    before = {**known, "images": own["images"]}  # which may be others by a setting: the share that is held out
    if difference := _difference(before, own):
        raise UsageError(
            f"The study {plan.study} is one of other settings: {difference}. Repeat the command that it began with, or "
            "begin another one with --name."
        )
    if known["images"] != own["images"]:
        raise UsageError(f"The study {plan.study} is one of other images. Put them back, or begin another with --name.")


def _without_places(base: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without the folders of files, which on another machine may be others."""
    return {key: Path(value).name if key in PLACES else value for key, value in base.items()}


def _by_name(bases: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {Path(model).name: base for model, base in bases.items()}


def _difference(known: Mapping[str, Any], own: Mapping[str, Any], prefix: str = "") -> str:
    for key in (*known, *(key for key in own if key not in known)):
        before, now = known.get(key), own.get(key)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            return _difference(before, now, f"`{key}` ")
        return f"{prefix}`{key}` is {before!r} there and {now!r} here".replace("None", "nothing")
    return ""


@dataclass(frozen=True, slots=True)
class Attempts:
    """A trial, and its retries after its process was killed or ended: they have one run, one after the other."""

    trials: list[FrozenTrial]  # the oldest first

    @property
    def number(self) -> int:
        """The number of the first one, by which all are known."""
        return self.trials[0].number

    @property
    def ended(self) -> FrozenTrial | None:
        """The one that came to its end, pruned or not."""
        return next((trial for trial in self.trials if trial.state.name in ("COMPLETE", "PRUNED")), None)

    @property
    def is_open(self) -> bool:
        """Whether one is being trained, or waits for a process."""
        return any(trial.state.name in ("RUNNING", "WAITING") for trial in self.trials)

    @property
    def is_waiting(self) -> bool:
        """Whether one waits for a process, and has not come to its end in another."""
        return self.ended is None and any(trial.state.name == "WAITING" for trial in self.trials)

    @property
    def last(self) -> FrozenTrial:
        """The one that knows most."""
        return self.ended or self.trials[-1]

    @property
    def failure(self) -> str | None:
        """Why it has no value, where it failed."""
        return self.last.user_attrs.get(FAILED)

    @property
    def run(self) -> str | None:
        """The name of the run, where one has begun."""
        return next((trial.user_attrs[RUN] for trial in reversed(self.trials) if RUN in trial.user_attrs), None)

    @property
    def kills(self) -> int:
        """How many of its processes were killed."""
        failed = sum(trial.state.name == "FAIL" for trial in self.trials)
        return failed - max(int(trial.user_attrs.get(ENDED_IN_ORDER, 0)) for trial in self.trials)

    @property
    def is_hopeless(self) -> bool:
        """Whether it kills whatever process tries it."""
        return self.kills >= _MOST_KILLS


def list_attempts(study: Study) -> list[Attempts]:
    """Return the trials of a study, in the order in which they began, but for those that were one too many."""
    found: dict[int, list[FrozenTrial]] = {}
    for trial in study.get_trials(deepcopy=False):
        if SURPLUS not in trial.user_attrs:
            found.setdefault(first_number(trial), []).append(trial)
    return [Attempts(trials) for trials in found.values()]


def first_number(trial: FrozenTrial) -> int:
    """Return the number by which a trial and its retries are known."""
    optuna = import_optuna()
    with quietly():
        first = optuna.storages.RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if first is None else int(first)


def retry(study: Study, trial: FrozenTrial) -> None:
    """Let a trial that has ended without a result wait for a process once more."""
    optuna = import_optuna()
    with quietly():
        optuna.storages.RetryHeartbeatStaleTrialCallback()(study, trial)


def take_back_lost(study: Study) -> None:
    """Let each trial whose process has gone wait for another one."""
    optuna = import_optuna()
    with quietly():
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        began = trial.user_attrs.get(BEGAN) == trial.number  # a retry has those of the trial before
        if not began and trial.datetime_start and _seconds_since(trial.datetime_start) > _UNHEARD_SECONDS:
            _fail(study, trial.number)
    for attempts in list_attempts(study):
        if attempts.ended is None and not attempts.is_open:
            ended = attempts.last.datetime_complete
            if ended and _seconds_since(ended) > STALE_SECONDS:  # until then whoever ended it may say so
                retry(study, attempts.last)


def _fail(study: Study, number: int) -> None:
    optuna = import_optuna()
    try:
        with quietly():
            study.tell(number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return  # it has come to its end meanwhile


def _seconds_since(moment: datetime) -> float:
    return (datetime.now() - moment).total_seconds()
