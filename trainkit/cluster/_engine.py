"""Ray: started on this machine, or joined where a cluster runs. It is imported only where it is asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trainkit.errors import MissingPackageError, TrainkitError

LOCAL = "local"  # the address of a cluster that is started on this machine, and ends with the command


def import_ray() -> Any:
    """Return Ray.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "A cluster needs the package ray, which is not installed: pip install 'trainkit[cluster]'. Or leave "
            "--cluster out."
        ) from error
    return ray


@contextmanager
def connected(address: str, *, cpus: int | None = None) -> Iterator[Any]:
    """Give Ray, connected to a cluster. One that this process is connected to already is used, and stays.

    Args:
        address: `local`, or where a cluster is: `HOST:PORT`, `auto`.
        cpus: of a local one; by default all.

    Raises:
        MissingPackageError: Ray is not installed.
        TrainkitError: there is no cluster.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"num_cpus": cpus} if address == LOCAL and cpus else {}
    if address == LOCAL:
        options["include_dashboard"] = False
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise TrainkitError(
            f"No Ray cluster at {address} ({str(error).splitlines()[0][:200]}). Expected `local`, or the address that "
            "`ray start --head` prints, such as 10.0.0.1:6379."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
