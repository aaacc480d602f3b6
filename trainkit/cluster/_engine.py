"""What speaks to Ray, which starts processes on other machines and starts them again when one is lost."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trainkit.errors import MissingPackageError, TrainkitError

LOCAL = "local"  # a cluster of this machine alone, for as long as the command runs
_PATIENCE = 10  # seconds, for a connection


def import_ray() -> Any:
    """Return Ray.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            'A cluster needs the package ray, which is not installed: pip install "trainkit[cluster]".'
        ) from error
    return ray


@contextmanager
def connected(address: str, *, cpus: int | None = None) -> Iterator[None]:
    """Be a driver of a cluster while the block runs; one that was connected before stays so.

    Args:
        address: of its head, or `local`.
        cpus: how many tasks of one CPU each may run on this machine, where it is `local`; `None` for one a core.

    Raises:
        MissingPackageError: Ray is not installed.
        TrainkitError: there is no cluster at the address.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield
        return
    logging.getLogger("ray").setLevel(logging.ERROR)  # it would say how a cluster on this machine is guarded
    try:
        _check_somebody_listens(address)
        with _keeping_sigterm():
            ray.init(
                address=address,  # "local" is Ray's word, too: without one it would join what runs on this machine
                num_cpus=cpus if address == LOCAL else None,
                include_dashboard=False if address == LOCAL else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
    except Exception as error:  # Ray raises bare ones, too
        said = f"{' '.join(str(error).split()):.300}".rstrip(".")
        if address == LOCAL:
            raise TrainkitError(f"Ray could not be started on this machine: {said}.") from error
        raise TrainkitError(
            f"There is no Ray cluster at {address}: {said}. Expected the address of its head, such as 10.0.0.1:6379, "
            "or local."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """Keep what SIGTERM does: with Ray it would leave Python with the code 15, and end no run properly."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _check_somebody_listens(address: str) -> None:
    """Raise where nobody does: Ray itself would try for minutes.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def count_machines() -> int:
    """Return how many machines the cluster has; nodes on one machine are one."""
    return len({node["NodeManagerAddress"] for node in import_ray().nodes() if node["Alive"]})


def run_tasks(task: Callable[[Any], None], argument: Any, *, count: int, after_each_second: Callable[[], None]) -> None:
    """Run a function so many times at once, each on a CPU of its own, until all have ended.

    Raises:
        KeyboardInterrupt: this process was asked to end; the tasks were too, and have.
        TrainkitError: one of them failed.
    """
    ray = import_ray()
    remote = ray.remote(num_cpus=1)(_with_own_keras).options(name=task.__name__)
    left = [remote.remote(task, argument) for _ in range(count)]
    try:
        while left:
            done, left = ray.wait(left, timeout=1.0)
            after_each_second()
            ray.get(done)
    except KeyboardInterrupt:
        _cancel(ray, left)
        raise
    except ray.exceptions.RayTaskError as error:
        _cancel(ray, left)
        if isinstance(error.cause, TrainkitError):
            raise error.cause from error
        raise


def _cancel(ray: Any, tasks: list[Any]) -> None:
    """Let tasks end as Ctrl-C ends them, and wait for it."""
    for task in tasks:
        ray.cancel(task)
    ray.wait(tasks, num_returns=len(tasks)) if tasks else None


def _with_own_keras(task: Callable[[Any], None], argument: Any) -> None:
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # which Ray sets in its workers
    task(argument)
