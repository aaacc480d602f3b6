"""Several processes that train together, started by Ray Train, which starts them again where one is lost."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

from trainkit import errors
from trainkit.cluster._engine import LOCAL, connected, count_machines, import_ray
from trainkit.cluster._work import Work
from trainkit.errors import MissingPackageError, TrainingError, TrainkitError
from trainkit.files import make_folder
from trainkit.runs._run import Run
from trainkit.training._watching import Watch

_MOST_FAILURES = 3  # times that all are started again
_TICK_SECONDS = 0.5

log = logging.getLogger("trainkit")


class Board:
    """Where the processes of a training and the one that started it leave word for each other: an actor of Ray."""

    def __init__(self) -> None:
        self._run: str | None = None
        self._error: tuple[str, str] | None = None
        self._lines: list[str] = []
        self._over = False

    def begin(self, run: str) -> None:
        """Say which run it is."""
        self._run = run

    def fail(self, name: str, message: str) -> None:
        """Say what is wrong; what was said first counts."""
        self._error = self._error or (name, message)

    def end(self) -> None:
        """Ask all to end after the running batch."""
        self._over = True

    def is_over(self) -> bool:
        """Whether all were asked to end."""
        return self._over

    def write(self, text: str) -> None:
        """Leave a line for the screen."""
        self._lines.append(text)

    def read(self) -> list[str]:
        """Return the lines that came since the last time."""
        lines, self._lines = self._lines, []
        return lines

    def state(self) -> tuple[str | None, tuple[str, str] | None]:
        """Return the run, where there is one, and what is wrong, where something is."""
        return self._run, self._error


def run_on_ray(work: Work, workers: int | None, cluster: str | None) -> Run:
    """Let processes of a cluster, or of this machine, do the work; one that is lost is started again.

    Raises:
        TrainkitError: what one of them raised, or there is no such cluster.
    """
    count = workers or (2 if cluster is None else None)
    with connected(cluster or LOCAL, cpus=count if cluster is None else None):
        count = count or count_machines()
        ray = import_ray()
        if count > (cores := int(ray.cluster_resources().get("CPU", 0))):
            log.warning(
                "%d workers need a CPU each, and the cluster has %d: they begin once there are more", count, cores
            )
        board = ray.remote(num_cpus=0)(Board).remote()
        make_folder(Path(work.experiments))
        # Ray Train wants a place that all machines see, though nothing of ours is kept there.
        with tempfile.TemporaryDirectory(prefix=".ray-", dir=work.experiments, ignore_cleanup_errors=True) as storage:
            trainer = _build_trainer(work, board, count, Path(storage))
            failure = _follow(trainer, board, ray)
        run, error = ray.get(board.state.remote())
    if error is not None:
        raise getattr(errors, error[0], TrainkitError)(error[1])
    if failure is not None or run is None:
        raise TrainingError(f"Ray could not train on {count} workers: {_last_line(failure)}") from failure
    return Run(Path(run))


def _build_trainer(work: Work, board: Any, workers: int, storage: Path) -> Any:
    try:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.tensorflow import TensorflowTrainer
    except ImportError as error:
        raise MissingPackageError(
            'Training on a cluster needs packages that are not installed: pip install "trainkit[cluster]".'
        ) from error
    gpus = import_ray().cluster_resources().get("GPU", 0) >= workers
    return TensorflowTrainer(
        train_loop,
        train_loop_config={
            "work": work,
            "board": board,
            "folder": str(Path.cwd()),
            "level": logging.getLogger("trainkit").getEffectiveLevel(),
        },
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(storage_path=str(storage), failure_config=FailureConfig(max_failures=_MOST_FAILURES)),
    )


def _follow(trainer: Any, board: Any, ray: Any) -> Exception | None:
    """Let the trainer run in a thread, show its lines, and pass Ctrl-C on; returns why it failed."""
    failures: list[Exception] = []
    ended = threading.Event()  # not the thread's own `join`: Ctrl-C in it marks the thread as ended (bpo-45274)

    def fit() -> None:
        try:
            trainer.fit()
        except Exception as error:
            failures.append(error)
        finally:
            ended.set()

    threading.Thread(target=fit, daemon=True).start()
    asked = False
    while not ended.is_set():
        try:
            ended.wait(_TICK_SECONDS)
            sys.stderr.write("".join(ray.get(board.read.remote())))
        except KeyboardInterrupt:
            if asked or ray.get(board.state.remote())[0] is None:  # the second time, or while there is no run to keep
                raise
            board.end.remote()
            asked = True
    sys.stderr.write("".join(ray.get(board.read.remote())))
    return failures[0] if failures else None


def _last_line(failure: Exception | None) -> str:
    lines = str(failure or "no run was made").strip().splitlines()
    return f"{lines[-1]:.300}"


def train_loop(asked: dict[str, Any]) -> None:
    """Do the work in a process that Ray has started; where a run has begun, go on with it.

    Whatever one of them raises must end its process, for which the others wait; Ray then starts all of them again.
    """
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # Ray sets it, and Keras 2 would be looked for
    import ray
    import ray.train

    board, leads = asked["board"], ray.train.get_context().get_world_rank() == 0
    run, wrong = ray.get(board.state.remote())
    if wrong is not None:  # another beginning would end in the same way
        return
    over = threading.Event()
    threading.Thread(target=_listen, args=(ray, board, over), daemon=True).start()
    with suppress(OSError):  # a machine that does not have it; names that are relative to it are not found there
        os.chdir(asked["folder"])
    if leads:
        _show_on(board, asked["level"])
    watch = Watch(began=lambda run: ray.get(board.begin.remote(str(run.path.absolute()))), is_over=over.is_set)
    try:
        asked["work"].going_on_with(run).do(watch)
    except TrainkitError as error:
        if not _is_loss(error):
            ray.get(board.fail.remote(type(error).__name__, str(error)))
        raise


def _show_on(board: Any, level: int) -> None:
    """Leave what would be seen on a screen on the board."""
    sys.stderr = cast(TextIO, _Screen(board))
    library = logging.getLogger("trainkit")
    library.setLevel(level)
    library.addHandler(logging.StreamHandler(sys.stderr))
    library.propagate = False


def _is_loss(error: TrainkitError) -> bool:
    from trainkit.training._tasks import LOST

    return LOST in str(error)


def _listen(ray: Any, board: Any, over: threading.Event) -> None:
    with suppress(Exception):  # the one that started this has gone, and so has the board
        while not ray.get(board.is_over.remote()):
            time.sleep(_TICK_SECONDS)
        over.set()


class _Screen:
    """Standard error of a process that has none: what is written is left on the board."""

    encoding = "utf-8"

    def __init__(self, board: Any) -> None:
        self._board = board

    def write(self, text: str) -> int:
        """Leave it."""
        self._board.write.remote(text)
        return len(text)

    def flush(self) -> None:
        """There is nothing to wait for."""

    def isatty(self) -> bool:
        """No bar can move there."""
        return False
