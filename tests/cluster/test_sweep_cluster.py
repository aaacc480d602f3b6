"""A sweep whose workers are tasks of a Ray cluster: two nodes of one CPU on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from slopes import RATES, arrays

import trainkit
from trainkit.cluster import _engine
from trainkit.cluster._engine import connected, count_machines, run_tasks
from trainkit.errors import MissingPackageError, TrainkitError, UsageError
from trainkit.runs._run import list_runs

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]  # Ray's own


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster."""
    from ray.cluster_utils import Cluster

    places = [Path(trainkit.__file__).parents[1], Path(__file__).parents[1]]  # the package, and what tests share
    path = os.pathsep.join([*map(str, places), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("RAY_worker_niceness", "0")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    try:
        yield nodes.address
    finally:
        nodes.shutdown()


def test_tasks_of_a_cluster_work_on_one_study(tmp_path: Path, cluster: str) -> None:
    found = trainkit.sweep(
        arrays(),
        trials=3,
        workers=2,
        cluster=cluster,
        model="fashion-mnist",
        epochs=1,
        validation=0.3,
        space=RATES,
        name="tiny",
        experiments=tmp_path / "runs",
    )
    assert [trial.status for trial in found.trials] == ["finished"] * 3
    assert len(list_runs(tmp_path / "runs")) == 3
    assert found.best is not None


def fail(argument: str) -> None:
    raise UsageError(f"what is wrong with {argument}")


def test_what_a_task_raises_is_raised_here(cluster: str) -> None:
    with connected(cluster):
        assert count_machines() == 1, "both nodes are on this machine"
        with pytest.raises(UsageError, match="what is wrong with it"):
            run_tasks(fail, "it", count=2, after_each_second=lambda: None)


def test_address_without_a_cluster_is_named() -> None:
    with (
        pytest.raises(
            TrainkitError, match=r"There is no Ray cluster at 127\.0\.0\.1:1: .* Expected the address of its"
        ),
        connected("127.0.0.1:1"),
    ):
        raise AssertionError("connected")


def test_missing_ray_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r'needs the package ray, .*: pip install "trainkit\[cluster\]"'):
        _engine.import_ray()
