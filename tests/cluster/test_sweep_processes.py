"""Several processes at one study: one is killed, all are ended, another goes on; with SQLite and with PostgreSQL."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import trainkit
from trainkit.cluster._sweep_study import list_attempts
from trainkit.runs._run import Run, list_runs

pytestmark = pytest.mark.cluster

TRIALS = 8
SWEEP = [
    *("sweep", "digits", "--trials", str(TRIALS), "--model", "fashion-mnist", "--name", "digits", "--json"),
    *("--set", "training.steps_per_execution=4", "--epochs", "6"),
]
_PATIENCE_SECONDS = 3000  # on a machine that does other things too


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(trainkit.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "trainkit", *SWEEP, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def to_end(process: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
    printed, said = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == code, said
    assert "Traceback" not in said, said
    return dict(json.loads(printed)) if code == 0 else {}


def wait_for(found: Callable[[], Any], *processes: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (result := found()):
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    return result


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    path = Path("/proc", str(process.pid), "task", str(process.pid), "children")
    return [
        pid for pid in map(int, path.read_text().split()) if "_sweep_worker" in Path(f"/proc/{pid}/cmdline").read_text()
    ]


def trains(pid: int, run: Run) -> bool:
    """Whether a process holds the lock of a run."""
    with suppress(OSError):
        return any(link.readlink() == run.path / ".lock" for link in Path("/proc", str(pid), "fd").iterdir())
    return False


def in_the_middle(experiments: Path, pids: list[int]) -> tuple[int, Run] | None:
    """Return a process and the run that it trains, which has an epoch and is not at its end."""
    for run in list_runs(experiments):
        owner = next((pid for pid in pids if trains(pid, run)), None)
        if owner and 1 <= len(run.metrics) < 5:
            return owner, run
    return None


def check_whole(document: dict[str, Any], experiments: Path, attempts: list[Any]) -> None:
    """Check that there are eight trials, each with a run of its own that has come to its end."""
    assert len(document["trials"]) == TRIALS
    assert {trial["status"] for trial in document["trials"]} <= {"finished", "pruned"}
    runs = list_runs(experiments)
    assert sorted(str(run.path) for run in runs) == sorted(trial["run"] for trial in document["trials"])
    for run in runs:
        run.check_usable()
        epochs = [row["epoch"] for row in run.metrics]
        assert epochs == list(range(1, len(epochs) + 1))
        assert (run.path / "report.html").is_file()
    assert sum(run.result["test_split"] == "test" for run in runs) == 1
    assert len(attempts) == TRIALS and all(one.ended for one in attempts)


def attempts_in(url: str) -> list[Any]:
    import optuna

    storage = optuna.storages.RDBStorage(url)
    try:
        return list_attempts(optuna.load_study(study_name="digits", storage=storage))
    finally:
        storage.remove_session()
        storage.engine.dispose()


def test_trial_of_a_killed_worker_goes_on_in_another(tmp_path: Path) -> None:
    experiments = tmp_path / "experiments"
    process = start(tmp_path, "--workers", "2")
    pids = wait_for(lambda: len(found := workers_of(process)) == 2 and found, process)
    pid, run = wait_for(lambda: in_the_middle(experiments, pids), process)
    os.kill(pid, signal.SIGKILL)
    before = len(run.metrics)
    document = to_end(process)
    attempts = attempts_in(f"sqlite:///{experiments}/sweeps/digits/study.db")
    check_whole(document, experiments, attempts)
    (killed,) = (one for one in attempts if one.run == run.name)
    assert len(killed.trials) == 2 and killed.trials[0].state.name == "FAIL"
    assert len(run.metrics) >= before


@pytest.mark.slow
def test_third_process_finishes_what_two_had_to_leave(tmp_path: Path) -> None:
    experiments = tmp_path / "experiments"
    process = start(tmp_path, "--workers", "2")
    pids = wait_for(lambda: len(found := workers_of(process)) == 2 and found, process)
    wait_for(lambda: in_the_middle(experiments, pids), process)
    process.send_signal(signal.SIGTERM)
    to_end(process, code=143)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    left = list_runs(experiments)
    assert {run.status for run in left} & {"interrupted"} and not {run.status for run in left} & {"killed", "running"}
    document = to_end(start(tmp_path))
    check_whole(document, experiments, attempts_in(f"sqlite:///{experiments}/sweeps/digits/study.db"))
    assert {run.path for run in left} <= {run.path for run in list_runs(experiments)}


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """The URL of a database of PostgreSQL, whose server runs as long as the test."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    home = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    as_user = []
    if os.geteuid() == 0:  # as which the server refuses to run
        user = pwd.getpwnam("postgres")
        os.chown(home, user.pw_uid, user.pw_gid)
        as_user = ["runuser", "-u", "postgres", "--"]

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(programs[-1] / program), *arguments]
        subprocess.run(command, check=True, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    data = home / "data"
    run("initdb", "-D", str(data), "-U", "sweeper", "-A", "trust", "-N")
    options = f"-c listen_addresses='' -k {home} -c fsync=off"
    run("pg_ctl", "-D", str(data), "-w", "-t", "600", "-l", str(home / "log"), "-o", options, "start")
    try:
        run("createdb", "-h", str(home), "-U", "sweeper", "sweeps")
        yield f"postgresql://sweeper@/sweeps?host={home}"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.slow
def test_three_processes_share_a_study_in_postgresql(tmp_path: Path, postgresql: str) -> None:
    experiments = tmp_path / "experiments"
    processes = [start(tmp_path, "--study", postgresql) for _ in range(3)]
    pid, run = wait_for(lambda: in_the_middle(experiments, [process.pid for process in processes]))
    (victim,) = (process for process in processes if process.pid == pid)
    victim.kill()
    victim.communicate()
    others = [process for process in processes if process is not victim]
    wait_for(lambda: in_the_middle(experiments, [process.pid for process in others]))
    others[0].send_signal(signal.SIGTERM)
    to_end(others[0], code=143)
    document = to_end(others[1])
    attempts = attempts_in(postgresql.replace("postgresql:", "postgresql+psycopg:"))
    check_whole(document, experiments, attempts)
    (killed,) = (one for one in attempts if one.run == run.name)
    assert killed.trials[0].state.name == "FAIL" and killed.kills == 1
    assert not list(experiments.rglob("*.db"))
