"""A sweep: many trainings of one data set, each with other settings, and the best of them."""

from __future__ import annotations

import logging
import os
import re
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainkit._progress import showing_lines
from trainkit.cluster._sweep_plan import Request, plan_sweep
from trainkit.cluster._sweep_space import MODEL
from trainkit.cluster._sweep_study import Attempts, Plan, import_optuna, list_attempts, studying
from trainkit.cluster._sweep_workers import how_far, work_here, work_in_processes, work_on_cluster
from trainkit.errors import UsageError
from trainkit.files import write_text
from trainkit.runs._config_file import read_config
from trainkit.runs._run import EXPERIMENTS, Run
from trainkit.runs._sections import Config
from trainkit.runs._settings import build_config

if TYPE_CHECKING:
    from optuna import Study

_UNITS = {"d": 86400, "h": 3600, "min": 60, "m": 60, "s": 1}
_TIME = re.compile(r"(?:\d+(?:\.\d+)?(?:d|h|min|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|min|m|s)")

log = logging.getLogger("trainkit")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTrial:
    """A trial of a sweep: a run, and what it is worth."""

    number: int
    run: Path | None  # `None` where its settings were refused before there was one
    status: str  # of the run; `waiting` where there is none yet
    value: float | None  # of its best epoch
    epochs: int
    settings: dict[str, Any]  # those that were drawn

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {
            "run": str(self.run.absolute()) if self.run else None,
            "trial": self.number,
            "status": self.status,
            "value": self.value,
            "epochs": self.epochs,
            "settings": self.settings,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep has found."""

    study: str
    monitor: str  # what the values are: of the validation images
    trials: list[SweepTrial]
    best: SweepTrial | None  # `None` where none has come to its end
    config: Path | None  # the best settings, for `train --config`
    page: Path

    def to_json(self) -> dict[str, Any]:
        """Return everything for a JSON document."""
        best: dict[str, Any] | None = None
        if self.best:
            result = _result_of(self.best)
            best = self.best.to_json() | {key: result.get(key) for key in ("test_accuracy", "test_loss", "test_split")}
        return {
            "study": self.study,
            "monitor": self.monitor,
            "best": best,
            "config": str(self.config.absolute()) if self.config else None,
            "page": str(self.page.absolute()),
            "trials": [trial.to_json() for trial in self.trials],
        }

    def __repr__(self) -> str:
        """Return `Sweep(digits: 20 trials, best accuracy 0.985 on validation images)`."""
        best = f"best {self.monitor} {self.best.value:.3f} on validation images" if self.best else "none has ended"
        return f"Sweep({self.study}: {len(self.trials)} trials, {best})"


@showing_lines()
def sweep(
    data: str | Path | Any,
    *,
    trials: int,
    space: str | Path | Mapping[str, Any] | None = None,
    study: str | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    time: str | float | None = None,
    pruning: bool = True,
    settings: Mapping[str, Any] | None = None,
    experiments: str | Path = EXPERIMENTS,
    **options: Any,
) -> Sweep:
    """Train many runs with settings that are drawn, and return the best: each draw learns from those before it.

    A trial that promises little is ended early. What is compared is what `training.monitor` says, on validation images;
    of all runs only the best is measured on the images for testing. The study is a database, which any number of
    processes may work on: the same call goes on with it, or joins it.

    Args:
        data: as for `train`.
        trials: how many runs there shall be, with those that the study has already.
        space: what is drawn, by the dotted keys of the settings: a range, `{"low": 1e-4, "high": 1e-2, "log": True}`,
            or a list of choices; or a TOML file of it. Without it, what matters most for the model.
        study: the URL of the database, `postgresql://user@host/name` where several machines join; without it an SQLite
            file beside the runs.
        workers: how many processes train at once; one, in this process, without it.
        cluster: the address of a Ray cluster that runs the workers, or `local` for one on this machine.
        time: after which no trial begins any more, in seconds or such as `2h` or `1h30m`.
        pruning: whether trials that promise little are ended early.
        settings: as for `train`: what is the same for all trials.
        experiments: the folder of runs; the study is in `sweeps/` there.
        options: whatever else `train` takes; `name` names the study too.

    Raises:
        TrainkitError: the data, the weights, the database or the folder cannot be used.
        UsageError: a setting is unknown or impossible, or the study has other ones.
    """
    _check_numbers(trials, workers)
    seconds = None if time is None else read_duration(time)
    request = Request(space=space, url=study, trials=trials, prunes=pruning, experiments=Path(experiments))
    import_optuna()
    plan, folder = plan_sweep(data, request, settings=settings, options=options)
    if seconds is not None:
        plan = Plan(**{**plan.to_json(), "until": clock.time() + seconds})
    with studying(plan) as opened:
        if cluster is not None:
            work_on_cluster(plan, opened, workers=workers, address=cluster)
        elif workers is None or workers == 1:
            work_here(plan, opened)
        else:
            work_in_processes(plan, opened, workers=workers, folder=folder)
        return _conclude(plan, opened, folder)


def _check_numbers(trials: int, workers: int | None) -> None:
    for name, number in (("trials", trials), ("workers", 1 if workers is None else workers)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise UsageError(f"`{name}` must be a whole number from 1. Received: {number!r}")


def read_duration(text: str | float) -> float:
    """Return the seconds of `2h`, `90m`, `1h30m`, or of a number of seconds.

    Raises:
        UsageError: it is none.
    """
    words = str(text).replace(" ", "").lower()
    seconds = -1.0
    if _TIME.fullmatch(words):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(words))
    elif re.fullmatch(r"\d+(\.\d+)?", words):
        seconds = float(words)
    if isinstance(text, bool) or seconds <= 0:
        raise UsageError(f"`time` must be such as 2h, 90m, 1h30m or a number of seconds above 0. Received: {text}")
    return seconds


def _conclude(plan: Plan, study: Study, folder: Path) -> Sweep:
    """Measure the winner on the images for testing, and write down what was found."""
    attempts = list_attempts(study)
    best = _best_of(attempts, plan)
    found = [_to_trial(one, plan) for one in attempts]
    winner = next((trial for trial in found if best and trial.number == best.number), None)
    config = None
    if winner:
        _measure(winner)
        config = folder / "config.toml"
        write_text(config, _config_of(winner, plan).to_toml())
    if plan.is_over and sum(one.ended is not None for one in attempts) < plan.trials:
        log.info("The time is over. %s", how_far(study, plan))
    page = folder / "sweep.html"
    sweep = Sweep(study=plan.study, monitor=plan.monitor, trials=found, best=winner, config=config, page=page)
    _write_page(sweep, plan, study)
    return sweep


def _measure(winner: SweepTrial) -> None:
    from trainkit.training._winner import measure_winner

    if winner.run and _is_here(winner):
        measure_winner(Run(winner.run))
        return
    log.warning(
        "The best run, %s, is not here, and was not measured: it was removed, or is in a folder of another machine.",
        winner.run,
    )


def _config_of(trial: SweepTrial, plan: Plan) -> Config:
    """Return all settings of a trial, with the data where this machine has it."""
    base = plan.bases[trial.settings.get(MODEL, next(iter(plan.bases)))]
    return build_config({**base, **trial.settings})


def _best_of(attempts: Sequence[Attempts], plan: Plan) -> Attempts | None:
    """Return the trial that is best of those that were trained to their end; of equal ones the first."""
    ended = [one for one in attempts if one.ended and one.ended.state.name == "COMPLETE" and one.run]
    sign = -1 if plan.monitor == "loss" else 1
    return max(ended, key=lambda one: sign * float(one.last.value or 0.0), default=None)


def _to_trial(attempts: Attempts, plan: Plan) -> SweepTrial:
    run = Run(Path(plan.experiments) / attempts.run) if attempts.run else None
    values = [value for value in attempts.last.intermediate_values.values() if value == value]
    best = (min(values) if plan.monitor == "loss" else max(values)) if values else None
    complete = attempts.last.state.name == "COMPLETE"
    return SweepTrial(
        number=attempts.number,
        run=run.path if run else None,
        status=run.status if run and _is_run(run.path) else _status_without_run(attempts),
        value=None if attempts.failure else attempts.last.value if complete else best,
        epochs=max(attempts.last.intermediate_values, default=0),
        settings={
            key: domain.read(attempts.last.params[key])
            for key, domain in plan.domains.items()
            if key in attempts.last.params
        },
    )


def _is_run(path: Path) -> bool:
    return os.path.isfile(path / "config.toml")


def _is_here(trial: SweepTrial) -> bool:
    """Whether the run of a trial is in a folder that this machine sees."""
    return trial.run is not None and _is_run(trial.run)


def _result_of(trial: SweepTrial) -> dict[str, Any]:
    return Run(trial.run).result if trial.run and _is_run(trial.run) else {}


def _status_without_run(attempts: Attempts) -> str:
    """Return what is known where there is no run, or one on another machine's disk."""
    if attempts.failure:
        return "failed"
    known = {"COMPLETE": "finished", "PRUNED": "pruned", "RUNNING": "running"}
    return known.get(attempts.last.state.name, "waiting")


def _write_page(sweep: Sweep, plan: Plan, study: Study) -> None:
    from trainkit.reports._sweep import StudyPage, StudyRow, write_study

    base = read_config(sweep.config) if sweep.config else next(iter(plan.bases.values()))
    rows = [
        StudyRow(
            number=trial.number,
            run=trial.run.name if trial.run else None,
            status=trial.status,
            value=trial.value,
            epochs=trial.epochs,
            settings=trial.settings,
        )
        for trial in sweep.trials
    ]
    page = StudyPage(
        study=sweep.study,
        data=str(base["data"]),
        monitor=sweep.monitor,
        rows=rows,
        best=sweep.best.number if sweep.best else None,
        result=_result_of(sweep.best) if sweep.best else {},
        log_scaled={key for key, domain in plan.domains.items() if getattr(domain, "log", False)},
        importance=_importance(study),
    )
    write_study(sweep.page, page)


def _importance(study: Study) -> dict[str, float]:
    """Return how much of the differences between trials each setting tells; nothing where there are too few."""
    from trainkit.cluster._sweep_study import quietly

    optuna = import_optuna()
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    try:
        with quietly():
            return {key: float(share) for key, share in optuna.importance.get_param_importances(study).items()}
    except (ValueError, RuntimeError):  # no setting was drawn in all of them
        return {}
