"""Which of several processes of one training this is, as TF_CONFIG or Slurm say it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
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
        kind, index = _place(task, addresses)
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
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
    if _count(addresses) > 1:
        _check_addresses(addresses)
    rank = index + (len(addresses.get("chief", ())) if kind == "worker" else 0)
    return Task(rank, _count(addresses), kind, index, tuple(addresses.items()))


def _addresses(kind: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{kind} has no list of addresses")
    return tuple(found)


def _place(task: Mapping[str, Any], addresses: Mapping[str, Sequence[str]]) -> tuple[str, int]:
    """Return the kind and the index of a process; what is left out is known only where there is but one."""
    kind = str(task["type"] if "type" in task or len(addresses) > 1 else "worker")
    return kind, _index(task["index"] if "index" in task or len(addresses.get(kind, ())) > 1 else 0)


def _index(value: Any) -> int:
    if isinstance(value, str) and value.isdecimal():  # as some write it
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value} is no index")
    return value


def _count(addresses: Mapping[str, Sequence[str]]) -> int:
    return sum(map(len, addresses.values()))


def _check_addresses(addresses: Mapping[str, Sequence[str]]) -> None:
    """Raise unless each process has an address of its own: TensorFlow would wait for ever, or abort.

    Raises:
        UsageError: two have the same, or one has no port.
    """
    every = [one for found in addresses.values() for one in found]
    twice = sorted({one for one in every if every.count(one) > 1})
    wrong = [one for one in every if not _is_address(one)]
    if wrong or twice:
        what = f"names {twice[0]} twice" if not wrong else f"names the address `{wrong[0]}`"
        raise UsageError(f"{VARIABLE} {what}. Expected a host and a port of its own for each worker: 10.0.0.1:2222.")


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def _from_slurm() -> Task | None:
    """Return what `srun` says of this process; a script that `sbatch` runs is no step with several tasks."""
    try:
        rank, count = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"])
    except (KeyError, ValueError):
        return None
    if count > 1 and not 0 <= rank < count:
        raise UsageError(
            f"SLURM_PROCID says that this is the task {rank}, and SLURM_STEP_NUM_TASKS that there are {count}."
        )
    return Task(rank, count, "worker", rank, None)
