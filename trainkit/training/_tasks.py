"""Which of several processes of one training this is, as TF_CONFIG or Slurm say it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from trainkit.errors import UsageError

VARIABLE = "TF_CONFIG"
LOST = "because another one has gone"  # what a process says that cannot go on without another one
_KINDS = ("chief", "worker")  # in the order of their ranks
_EXPECTED = (
    'Expected JSON such as {"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", '
    '"index": 0}}'
)


@dataclass(frozen=True, slots=True)
class Task:
    """One process of a training."""

    rank: int  # that of rank 0 writes the run
    count: int  # of the processes
    kind: str  # as TensorFlow calls it: chief or worker
    index: int  # among those of its kind
    addresses: tuple[tuple[str, tuple[str, ...]], ...] | None  # of all, by kind; `None` where Slurm knows them


def find_task() -> Task | None:
    """Return what this process is, `None` where it trains alone.

    Raises:
        UsageError: TF_CONFIG cannot be understood, or names what does not take part in a training here.
    """
    text = os.environ.get(VARIABLE, "").strip()
    task = _from_json(text) if text else _from_slurm()
    return task if task is not None and task.count > 1 else None


def _from_json(text: str) -> Task | None:
    try:
        values = json.loads(text)
        cluster = values.get("cluster")
        addresses = {kind: _addresses(kind, found) for kind, found in ({} if cluster is None else cluster).items()}
        task = values.get("task") or {}
        kind, index = str(task.get("type", "worker")), int(task.get("index", 0))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"The environment variable {VARIABLE} cannot be read. {_EXPECTED}. Received: {text:.200}"
        ) from error
    if others := [name for name, found in addresses.items() if found and name not in _KINDS]:
        raise UsageError(
            f"{VARIABLE} names the tasks {', '.join(others)}. Expected workers, and a chief where there is one: no "
            "other takes part in a training here."
        )
    if not addresses:
        return None
    if kind not in _KINDS or not 0 <= index < len(addresses.get(kind, ())):
        raise UsageError(
            f"{VARIABLE} says that this is the {kind} {index}, which its cluster does not have: "
            f"{ {name: len(found) for name, found in addresses.items()} }."
        )
    rank = index + (len(addresses.get("chief", ())) if kind == "worker" else 0)
    return Task(rank, sum(map(len, addresses.values())), kind, index, tuple(addresses.items()))


def _addresses(kind: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{kind} has no list of addresses")
    return tuple(found)


def _from_slurm() -> Task | None:
    """Return what `srun` says of this process; a script that `sbatch` runs is no step with several tasks."""
    try:
        rank, count = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"])
    except (KeyError, ValueError):
        return None
    return Task(rank, count, "worker", rank, None)
