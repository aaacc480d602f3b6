"""Which of several processes this is: TF_CONFIG and Slurm, as they are and as they are mistyped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trainkit.errors import UsageError
from trainkit.training._tasks import find_task

TWO = ["10.0.0.1:2222", "10.0.0.2:2222"]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TF_CONFIG", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)


def with_config(monkeypatch: pytest.MonkeyPatch, cluster: Any, task: Any = None) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))


def test_a_process_alone_has_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_task() is None
    monkeypatch.setenv("TF_CONFIG", "")
    assert find_task() is None
    with_config(monkeypatch, {"worker": TWO[:1]}, {"type": "worker", "index": 0})
    assert find_task() is None
    with_config(monkeypatch, {}, {})
    assert find_task() is None


def test_the_chief_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"chief": ["10.0.0.9:2222"], "worker": TWO, "ps": []}
    with_config(monkeypatch, cluster, {"type": "worker", "index": 1})
    task = find_task()
    assert task is not None and (task.rank, task.count) == (2, 3)
    with_config(monkeypatch, cluster, {"type": "chief", "index": 0})
    task = find_task()
    assert task is not None and task.rank == 0


def test_a_step_of_slurm_is_known_by_its_number_of_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert find_task() is None, "a script that sbatch runs"
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    task = find_task()
    assert task is not None and (task.rank, task.count, task.addresses) == (3, 4, None)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    with pytest.raises(UsageError, match=r"SLURM_PROCID says that this is the task 3, and SLURM_STEP_NUM_TASKS that"):
        find_task()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert find_task() is None


@pytest.mark.parametrize("text", ["no json", "[]", '{"cluster": {"worker": "10.0.0.1:2222"}}', '{"cluster": []}', "1"])
def test_what_is_no_tf_config_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match=r"The environment variable TF_CONFIG cannot be read\. Expected JSON such as"):
        find_task()


def test_who_takes_no_part_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with_config(monkeypatch, {"worker": TWO, "ps": ["10.0.0.3:2222"]}, {"type": "worker", "index": 0})
    with pytest.raises(UsageError, match=r"TF_CONFIG names the tasks ps\. Expected workers"):
        find_task()
    for task in ({"type": "worker", "index": 2}, {"type": "evaluator", "index": 0}):
        with_config(monkeypatch, {"worker": TWO}, task)
        with pytest.raises(UsageError, match=rf"says that this is the {task['type']} {task['index']}, which its"):
            find_task()


@pytest.mark.parametrize("index", ["1.7", "true", "Infinity", "null", '"one"', '"-1"'])
def test_an_index_that_is_no_whole_number_is_not_rounded(monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    monkeypatch.setenv("TF_CONFIG", f'{{"cluster": {{"worker": {json.dumps(TWO)}}}, "task": {{"index": {index}}}}}')
    with pytest.raises(UsageError, match=r"TF_CONFIG cannot be read\. Expected JSON such as"):
        find_task()


def test_an_index_may_be_a_text_and_is_left_out_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with_config(monkeypatch, {"worker": TWO}, {"type": "worker", "index": "1"})
    task = find_task()
    assert task is not None and task.rank == 1
    with_config(monkeypatch, {"chief": TWO[:1], "worker": TWO[1:]}, {"type": "worker"})
    task = find_task()
    assert task is not None and task.rank == 1
    for said in ({"type": "worker"}, {}, None):  # each of them would think that it is the first one
        with_config(monkeypatch, {"worker": TWO}, said)
        with pytest.raises(UsageError, match=r"TF_CONFIG cannot be read"):
            find_task()


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        (["10.0.0.1:2222", "10.0.0.1:2222"], r"names 10\.0\.0\.1:2222 twice"),
        (["10.0.0.1", "10.0.0.2:2222"], r"names the address `10\.0\.0\.1`"),
        (["10.0.0.1:2222", ""], "names the address ``"),
        (["10.0.0.1:2222", "10.0.0.2:99999"], r"names the address `10\.0\.0\.2:99999`"),
    ],
)
def test_each_worker_has_an_address_of_its_own(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], said: str
) -> None:
    with_config(monkeypatch, {"worker": addresses}, {"type": "worker", "index": 0})
    with pytest.raises(UsageError, match=rf"TF_CONFIG {said}\. Expected a host and a port"):
        find_task()
