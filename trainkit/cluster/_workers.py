"""One training by several processes: on this machine, or on those of a Ray cluster."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from trainkit._progress import showing_lines
from trainkit.cluster._engine import LOCAL
from trainkit.cluster._work import Work
from trainkit.data._sources import SOURCES
from trainkit.errors import UsageError
from trainkit.runs._run import EXPERIMENTS, Run, find_run

_RAY_TRAIN = ("ray", "fsspec", "pandas", "pyarrow", "pydantic", "requests")  # what `import ray.train` needs

_MOST_PER_CORE = 4


def train_on_workers(
    data: str | Path | Any | None = None,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    experiments: str | Path = EXPERIMENTS,
    **options: Any,
) -> Run:
    """Train a model by several processes, each with a share of the images, and return its run.

    They train as one process would. Through Ray, where that is installed, a process that is lost is started again, and
    the training goes on after its last epoch; without, all end, and `resume_on_workers` goes on.

    Args:
        data: as for `train`.
        workers: how many; 2 where nothing is said, or one for each machine of a cluster.
        cluster: the address of a Ray cluster, whose machines all see the data and the folder of runs under the same
            paths; `None` for this machine.
        experiments: the folder of runs.
        options: any others of `train`.

    Raises:
        TrainkitError: as for `train`; or a process was lost; or there is no such cluster.
        UsageError: a setting is unknown or impossible.
    """
    if options.get("distribute") not in (None, "workers"):
        raise UsageError(
            "Several workers share a batch, each with the GPUs that it sees: leave --distribute out. Received: "
            f"{options['distribute']}"
        )
    options = {**options, "distribute": "workers"}
    return _run(Work(None, _absolute(data), options, str(Path(experiments).absolute())), workers, cluster)


def resume_on_workers(
    run: str | Path | Run,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    experiments: str | Path = EXPERIMENTS,
) -> Run:
    """Go on with a run that was killed or interrupted by several processes, whoever began it.

    Args:
        run: a `Run`, its path, its name, or `latest`.
        workers: as for `train_on_workers`.
        cluster: as for `train_on_workers`.
        experiments: the folder of runs.

    Raises:
        RunError: there is no such run, or it is finished, damaged, or being trained by another process.
        TrainkitError: as for `train_on_workers`.
    """
    found = find_run(run, Path(experiments))
    found.check_resumable()
    return _run(Work(str(found.path.absolute()), None, {}, str(Path(experiments).absolute())), workers, cluster)


@showing_lines()
def _run(work: Work, workers: int | None, cluster: str | None) -> Run:
    if workers is not None and workers < 1:
        raise UsageError(f"--workers must be a whole number from 1 on. Received: {workers}")
    if cluster is not None and not cluster.strip():
        raise UsageError(
            "--cluster needs the address of a cluster's head, such as 10.0.0.1:6379, or local. Received: ''"
        )
    most = _MOST_PER_CORE * (os.cpu_count() or 1)
    if cluster in (None, LOCAL) and workers is not None and workers > most:
        raise UsageError(
            f"--workers starts as many processes on this machine, each with a network of its own. Expected at most "
            f"{most}, {_MOST_PER_CORE} for each core. Received: {workers}"
        )
    if cluster is None and not all(map(importlib.util.find_spec, _RAY_TRAIN)):
        from trainkit.cluster._bare_workers import run_bare

        return run_bare(work, workers or 2)
    from trainkit.cluster._ray_workers import run_on_ray

    return run_on_ray(work, workers, cluster)


def _absolute(data: Any) -> Any:
    """Return data that is a path as one that is the same from every folder; what is known by name as it is."""
    if isinstance(data, Path) or (isinstance(data, str) and data not in SOURCES):
        return str(Path(data).absolute())
    return data
