"""The processes that train one network together, and what they tell each other."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import showing_nothing
from trainkit.backend import tf
from trainkit.data._inspection import ImageFile, inspect_here, inspecting_by
from trainkit.data._share import Share
from trainkit.errors import DataError, TrainingError, TrainkitError, UsageError
from trainkit.training._tasks import LOST, Task, find_task

log = logging.getLogger("trainkit")

_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


class _AsKerasNeedsIt:
    """What Keras' `fit` asks of a strategy (3.15)."""

    def reduce(self, reduce_op: Any, value: Any, axis: Any) -> Any:
        """Reduce as ever; but a batch, of which only the shapes are looked at, to what one device has of it.

        Keras adds a batch up over the devices, which may have parts of several sizes; and of several machines it wants
        the mean of a number over an axis that a number does not have.
        """
        if isinstance(value, tuple):
            return tf.nest.map_structure(lambda one: self.experimental_local_results(one)[0], value)  # type: ignore[attr-defined]
        return super().reduce(reduce_op, value, axis=None if _is_number(value) else axis)  # type: ignore[misc]


def _is_number(value: Any) -> bool:
    return getattr(value, "shape", None) is not None and value.shape.rank == 0


class SeveralDevices(_AsKerasNeedsIt, tf.distribute.MirroredStrategy):  # type: ignore[misc]
    """All devices of this machine."""


class SeveralMachines(_AsKerasNeedsIt, tf.distribute.MultiWorkerMirroredStrategy):  # type: ignore[misc]
    """All devices of all processes."""


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of a training; most often it is this one alone."""

    rank: int  # of this one; that of rank 0 writes the run
    count: int
    strategy: Any  # of tf.distribute: how a batch is spread

    @property
    def leads(self) -> bool:
        """Whether this process writes the run and shows the progress."""
        return self.rank == 0

    @property
    def devices(self) -> int:
        """How many devices share a batch."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def share(self) -> Share:
        """The examples of this process."""
        own = self.devices // self.count
        return Share(self.rank * own, own, self.devices)

    def scope_of_saved(self) -> AbstractContextManager[Any]:
        """Return where the model is built that is saved: several processes have one each, which they ask."""
        return nullcontext() if self.count > 1 else self.strategy.scope()

    def total(self, array: np.ndarray) -> np.ndarray:
        """Return the sum of an array, of the same shape everywhere, over the processes."""
        if self.count == 1:
            return array
        # Each device adds something; all but the first one of a process add nothing.
        own = self.share.first

        def value_of(context: Any) -> Any:
            return tf.constant(array if context.replica_id_in_sync_group == own else np.zeros_like(array))

        values = self.strategy.experimental_distribute_values_from_function(value_of)
        return np.asarray(self.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None))

    @property
    def in_words(self) -> str:
        """How many processes train, where they are several: `, with 2 workers`."""
        return f", with {self.count} workers" if self.count > 1 else ""

    @property
    def agree(self) -> Callable[[bool], bool] | None:
        """What tells whether one of several processes says so, `None` where there is one."""
        return self.any if self.count > 1 else None

    def check_same(self, data: str) -> None:
        """Raise unless all processes have the same data, by its fingerprint.

        Raises:
            DataError: they have not.
        """
        if self.tell(data) != data:
            raise DataError(
                f"The images of worker {self.rank} are not those of worker 0, or not on the same sides. Every worker "
                "needs the same folder or file, under the same names."
            )

    def check_agreed(self, settings: Mapping[str, Any]) -> None:
        """Raise unless all processes have the same settings and versions: each would train something else.

        Raises:
            UsageError: they have not.
        """
        theirs = self.tell(dict(settings))
        mine = json.loads(json.dumps(dict(settings)))
        if different := [name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)]:
            name = min(different)
            raise UsageError(
                f"Worker {self.rank} has {name} {mine.get(name)}, and worker 0 has {theirs.get(name)}. Every worker "
                "needs the same versions, and is started by the same command."
            )

    def looking_together(self) -> AbstractContextManager[None]:
        """Return what lets each process look at its share of the files of the block, for all of them."""
        return inspecting_by(self._inspect) if self.count > 1 else nullcontext()

    def _inspect(self, paths: Sequence[Path]) -> list[ImageFile]:
        self.check_same(_names_and_sizes(paths))
        own = inspect_here(paths[self.rank :: self.count])
        shares = [iter(pickle.loads(piece)) for piece in self._pieces(pickle.dumps(own))]  # from our own processes
        return [replace(next(shares[number % self.count]), path=path) for number, path in enumerate(paths)]

    def _pieces(self, piece: bytes) -> list[bytes]:
        """Return what each process calls this with, in the order of their ranks."""
        words = np.frombuffer(piece + bytes(-len(piece) % 4), np.int32)
        lengths = np.zeros((self.count, 2), np.int32)
        lengths[self.rank] = len(words), len(piece)
        lengths = self.total(lengths)
        ends = np.cumsum(lengths[:, 0])
        every = np.zeros(int(ends[-1]), np.int32)
        every[ends[self.rank] - len(words) : ends[self.rank]] = words
        told = self.total(every)
        parts = zip(np.split(told, ends[:-1]), lengths[:, 1], strict=True)
        return [part.tobytes()[:length] for part, length in parts]

    def any(self, flag: bool) -> bool:
        """Whether a process says so; all ask at the same time."""
        return bool(self.total(np.array(flag, np.int32)) > 0) if self.count > 1 else flag

    def wait(self) -> None:
        """Wait for all others."""
        self.any(False)

    def tell(self, value: Any) -> Any:
        """Return what the process of rank 0 calls this with, as JSON has it."""
        if self.count == 1:
            return value
        data = np.frombuffer(json.dumps(value).encode(), np.uint8).astype(np.int32)
        length = int(self.total(np.array(len(data) if self.leads else 0, np.int32)))
        told = self.total(data if self.leads else np.zeros(length, np.int32))
        return json.loads(told.astype(np.uint8).tobytes())

    def share_weights(self, model: Any) -> None:
        """Give a model the weights that it has in the process of rank 0."""
        if self.count == 1:
            return
        weights = model.get_weights()
        model.set_weights([self.total(one if self.leads else np.zeros_like(one)) for one in weights])

    def gather(self, rows: np.ndarray, examples: np.ndarray) -> np.ndarray:
        """Return the rows of examples, by their numbers, from what each process has of its own."""
        if self.count == 1:
            return rows
        every = np.zeros((len(examples), *rows.shape[1:]), rows.dtype)
        every[self.share.has(examples)] = rows
        return self.total(every)

    def fewest(self, examples: np.ndarray) -> int:
        """Return how many of some examples the process has that has the fewest of them."""
        whose = examples % self.devices // (self.devices // self.count)
        return int(np.bincount(whose, minlength=self.count).min())


def _names_and_sizes(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of what the files are called, below wherever a machine has them, and of how large they are."""
    sizes = (path.stat().st_size if path.is_file() else 0 for path in paths)
    names = [[path.parent.name, path.name, size] for path, size in zip(paths, sizes, strict=True)]
    return hashlib.sha256(json.dumps(names).encode("utf-8", "surrogateescape")).hexdigest()


def build_team(distribute: str) -> Team:
    """Return the processes of a training; before TensorFlow computes anything, where they are several.

    Args:
        distribute: the setting `training.distribute`.

    Raises:
        TrainkitError: TensorFlow has computed before in this process, or the others cannot be reached.
    """
    if distribute == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        several = len(devices) > 1
        return Team(0, 1, _mirrored(tuple(one.name for one in devices)) if several else tf.distribute.get_strategy())
    task = find_task() if distribute == "workers" else None
    if task is None:
        if distribute == "workers":
            log.info("Neither TF_CONFIG nor Slurm names other workers: this one trains alone")
        return Team(0, 1, tf.distribute.get_strategy())
    team = Team(task.rank, task.count, _several_machines(task))
    if team.devices % team.count:
        raise TrainkitError(
            f"{team.count} workers have {team.devices} devices together. Expected as many GPUs in each of them: set "
            "CUDA_VISIBLE_DEVICES where some have more."
        )
    return team


@cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    """Return the strategy of these devices: one a process, because those of a second one take the first one's keys.

    The devices then wait for sums of other shapes: "Shape mismatch in the collective instance" (TensorFlow 2.21).
    """
    return SeveralDevices(list(devices))


@cache
def _several_machines(task: Task) -> Any:
    """Return the strategy of all processes: one a process, which TensorFlow lets begin but once."""
    # No step, which would be a line of a thread after some seconds: TensorFlow holds Python's lock while it waits.
    log.info("Waiting for all %d workers, of which this is worker %d", task.count, task.rank)
    try:
        with _keeping_signals():
            return SeveralMachines(cluster_resolver=_resolver(task))
    except tf.errors.OpError as error:
        raise TrainingError(
            f"Worker {task.rank} of {task.count} could not meet the others: {' '.join(error.message.split()):.200}. "
            "Start all of them at about the same time, each with a free port of its own that the others reach."
        ) from error
    except RuntimeError as error:
        raise TrainkitError(
            f"This process cannot be one of several workers ({str(error).strip():.150}). A training by several is the "
            "first thing that a process does with TensorFlow: start it by the command, or in a Python of its own."
        ) from error


@contextmanager
def _keeping_signals() -> Iterator[None]:
    """Keep what SIGTERM does: TensorFlow listens to it itself, for a preemption, and tells nobody.

    While the block waits for other processes, Ctrl-C ends this one at once: nothing is written yet, and no handler of
    Python's would be called before the others have come. SIGTERM is not heard: TensorFlow catches it before it waits,
    and holds Python's lock, so that no thread can mend it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if callable(before[signal.SIGINT]):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def _resolver(task: Task) -> Any:
    resolvers = tf.distribute.cluster_resolver
    if task.addresses is None:
        # Which GPUs a task sees is Slurm's to say; TensorFlow would ask nvidia-smi, and fail where there is none.
        slurm = resolvers.SlurmClusterResolver(gpus_per_node=task.count, gpus_per_task=1, auto_set_gpu=False)
        cluster = slurm.cluster_spec()
    else:
        cluster = tf.train.ClusterSpec({kind: list(addresses) for kind, addresses in task.addresses})
    return resolvers.SimpleClusterResolver(cluster, task_type=task.kind, task_id=task.index, rpc_layer="grpc")


@contextmanager
def working_together(team: Team) -> Iterator[None]:
    """Let the process of rank 0 show what is done; the others show nothing while the block runs."""
    if team.leads:
        yield
        return
    log.info("Worker %d of %d: worker 0 writes the run, and shows how far it is", team.rank, team.count)
    with showing_nothing():
        yield


@contextmanager
def naming_lost_workers(team: Team, *, begun: bool = True) -> Iterator[None]:
    """Say so where the training cannot go on because another process of it has gone.

    Args:
        team: its processes.
        begun: whether there is a run to go on with.

    Raises:
        TrainingError: it has.
    """
    try:
        yield
    except Exception as error:
        causes = (error, error.__cause__)
        if team.count == 1 or LOST in str(error) or not any(isinstance(one, _LOST) for one in causes):
            raise
        again = "again with --resume" if begun else "again"
        raise TrainingError(
            f"Worker {team.rank} of {team.count} cannot go on, {LOST}. Look at what that one says, and start all of "
            f"them {again}."
        ) from error
