"""Several processes train like the devices of one, and like one device; what is lost goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from several_workers import (
    end,
    finish,
    furthest,
    losses,
    start,
    tf_configs,
    train,
    variables,
    wait_for_epoch,
)

import trainkit
from trainkit.backend import keras

pytestmark = pytest.mark.cluster

# All that is particular about a training by several, in as few networks as can be; `backbone` is a file of weights.
CASES: dict[str, dict[str, Any]] = {
    "fashion": {"model": "fashion-mnist", "settings": {"training.ema": 0.9}},
    "small-cnn": {"model": "small-cnn", "settings": {"model.filters": 8, "model.dropout": 0.4}},
    "small-resnet": {
        "model": "small-resnet",
        "size": (16, 16),
        "preprocessing": "standardize",
        "class_weights": "balanced",
        "settings": {
            "model.width": 8,
            "training.schedule": "plateau",
            "training.early_stopping": 3,
            "augmentation.rotation_range": 15,
            "augmentation.mixup": 0.2,
        },
    },
    "fine-tuned": {
        "model": "mobilenet",
        "alpha": 0.75,
        "size": (32, 32),
        "weights": "backbone",
        "settings": {"fine_tuning.epochs": 1, "fine_tuning.layers": 4, "fine_tuning.learning_rate": 0.001},
    },
}
TRAIN = """
import json, sys
from pathlib import Path
experiments, devices, cases = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
from trainkit.backend import tf
if devices > 1:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
distribute = {0: "workers", 1: "none"}.get(devices, "mirrored")
import trainkit
for name, case in cases.items():
    trainkit.train("digits", **case, epochs=2, name=name, experiments=experiments, distribute=distribute)
"""


def train_cases(experiments: Path, devices: int, cases: dict[str, Any], count: int = 1) -> None:
    """Train the cases in a process of its own, on so many logical devices, or, for 0 devices, in several processes."""
    command = ["-c", TRAIN, str(experiments), str(devices), json.dumps(cases)]
    for code, output in finish(start(command, tf_configs(count) if devices == 0 else [""])):
        assert code == 0, output


QUICK = ("fashion", "small-cnn")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the larger cases, with a file of random weights in the place of a pretrained backbone."""
    keras.utils.set_random_seed(0)
    body = keras.applications.MobileNet(include_top=False, weights=None, alpha=0.75, input_shape=(32, 32, 3))
    for weight in body.weights:
        if "kernel" in weight.path:  # else nothing of an image would be left at the end, and no gradient
            weight.assign(weight * 3)
    path = tmp_path_factory.mktemp("backbone") / "mobilenet.weights.h5"
    body.save_weights(path)
    cases = {name: case for name, case in CASES.items() if name not in QUICK}
    return {name: {**case, "weights": str(path)} if "weights" in case else case for name, case in cases.items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the runs of two workers, of two devices, and of one."""
    folder, cases = tmp_path_factory.mktemp("trained"), {name: CASES[name] for name in QUICK}
    train_cases(folder / "workers", 0, cases, count=2)
    train_cases(folder / "devices", 2, cases)
    train_cases(folder / "one", 1, cases)
    return folder


def check_same(folder: Path, name: str) -> None:
    workers, devices = (trainkit.find_run(name, folder / kind) for kind in ("workers", "devices"))
    np.testing.assert_allclose(losses(workers), losses(devices), rtol=0, atol=1e-6)
    assert furthest(workers, devices) < 1e-6
    assert workers.status == "finished" and workers.result["test_accuracy"] == devices.result["test_accuracy"]
    assert workers.environment["machine"]["workers"] == 2


@pytest.mark.parametrize("name", QUICK)
def test_two_workers_train_like_two_devices_of_one_process(trained: Path, name: str) -> None:
    check_same(trained, name)
    assert len(trainkit.list_runs(trained / "workers")) == len(QUICK), "one run each"


@pytest.mark.slow
def test_two_workers_train_larger_networks_like_two_devices(tmp_path: Path, large: dict[str, Any]) -> None:
    train_cases(tmp_path / "workers", 0, large, count=2)
    train_cases(tmp_path / "devices", 2, large)
    for name in large:
        check_same(tmp_path, name)


@pytest.mark.parametrize("name", QUICK)
def test_two_workers_train_like_one_process(trained: Path, name: str) -> None:
    workers, one = (trainkit.find_run(name, trained / kind) for kind in ("workers", "one"))
    np.testing.assert_allclose(losses(workers), losses(one), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_three_workers_share_a_batch_that_they_do_not_divide(tmp_path: Path) -> None:
    case = {"fashion": {**CASES["fashion"], "batch_size": 50, "class_weights": "balanced", "validation": 0.3}}
    train_cases(tmp_path / "workers", 0, case, count=3)
    train_cases(tmp_path / "one", 1, case)
    workers, one = (trainkit.find_run("fashion", tmp_path / kind) for kind in ("workers", "one"))
    np.testing.assert_allclose(losses(workers), losses(one), rtol=0, atol=1e-5)


LONG = ["digits", "--model", "small-cnn", "--epochs", "4", "--set", "model.filters=8", "--set", "model.dropout=0.3"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> trainkit.Run:
    experiments = tmp_path_factory.mktemp("uninterrupted")
    for code, output in train([*LONG, "--experiments", str(experiments)], 2):
        assert code == 0, output
    return trainkit.find_run("latest", experiments)


def go_on(experiments: Path) -> trainkit.Run:
    """Let two workers resume the only run, by the same command."""
    for code, output in train(["--resume", "latest", "--experiments", str(experiments)], 2):
        assert code == 0, output
    (run,) = trainkit.list_runs(experiments)
    return run


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_ends_one_worker_ends_all_and_the_run_goes_on(
    tmp_path: Path, uninterrupted: trainkit.Run, number: signal.Signals
) -> None:
    command = ["-m", "trainkit", "train", *LONG, "--experiments", str(tmp_path)]
    processes = start(command, tf_configs(2))
    run = wait_for_epoch(tmp_path, 1)
    end(processes[1], number)
    (code, output), _ = finish(processes)
    if number == signal.SIGKILL:
        assert code == 1 and "cannot go on, because another one has gone" in " ".join(output.split())
        assert run.status == "failed"
    else:
        assert code == 0 and run.status == "interrupted", output
    assert len(run.metrics) < 4
    resumed = go_on(tmp_path)
    assert resumed.status == "finished"
    assert losses(resumed) == losses(uninterrupted)
    mine, others = variables(resumed), variables(uninterrupted)
    assert all(np.array_equal(mine[name], others[name]) for name in others), "bit for bit"


def test_each_worker_decodes_its_own_images_only(tmp_path: Path, tiny_dataset: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nimport trainkit.data._dataset as dataset\n"
        "import trainkit.data._inspection as inspection\nlook = inspection.inspect_block\n"
        "looked = Path(sys.argv[2], f'looked-{os.getpid()}').open('w', buffering=1)\n"
        "def note_look(paths):\n    looked.writelines(f'{path}\\n' for path in paths)\n    return look(paths)\n"
        "inspection.inspect_block = note_look\n"
        "read = dataset.read_image\nnoted = Path(sys.argv[2], str(os.getpid())).open('w', buffering=1)\n"
        "def note(path):\n    noted.write(f'{path}\\n')\n    return read(path)\n"
        "dataset.read_image = note\nimport trainkit\n"
        "trainkit.train(sys.argv[1], model='small-cnn', size=(16, 16), epochs=1, distribute='workers',\n"
        "    settings={'model.filters': 4}, experiments=sys.argv[3])"
    )
    (tmp_path / "noted").mkdir()
    command = ["-c", code, str(tiny_dataset), str(tmp_path / "noted"), str(tmp_path / "experiments")]
    for number, output in finish(start(command, tf_configs(2))):
        assert number == 0, output
    files = set(tiny_dataset.rglob("*.png"))
    for pattern, most in (("[0-9]*", 3), ("looked-*", 1)):  # sides whose images are an odd number
        first, second = (
            set(path.read_text().split("\n")) - {""} for path in sorted((tmp_path / "noted").glob(pattern))
        )
        assert first and second and not first & second
        assert abs(len(first) - len(second)) <= most
        assert len(first | second) == len(files)


def test_workers_with_other_images_are_named(tmp_path: Path, tiny_dataset: Path) -> None:
    shutil.copytree(tiny_dataset, tmp_path / "photos")
    next((tmp_path / "photos").rglob("*.png")).unlink()
    options = ["--model", "small-cnn", "--size", "16x16", "--experiments", str(tmp_path / "experiments")]
    processes = [
        start(["-m", "trainkit", "train", str(folder), *options], [config])[0]
        for folder, config in zip((tiny_dataset, tmp_path / "photos"), tf_configs(2), strict=True)
    ]
    (code, output), (other, written) = finish(processes)
    assert (code, other) == (1, 1)
    assert "The images of worker 1 are not those of worker 0" in " ".join(written.split())
    assert "because another one has gone" in " ".join(output.split()) and "Traceback" not in output
    assert not list((tmp_path / "experiments").glob("*")), "nothing half-written"


@pytest.mark.slow
def test_workers_of_a_slurm_step_find_each_other(tmp_path: Path) -> None:
    where = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": "2"}
    command = [sys.executable, "-m", "trainkit", "train", *LONG, "--epochs", "1", "--experiments", str(tmp_path)]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **where, "SLURM_PROCID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    (code, output), (other, written) = finish(processes)
    assert code == other == 0, output + written
    assert "finished" in output and "Worker 1 of 2" in written
    assert len(trainkit.list_runs(tmp_path)) == 1


BARE = "import sys; sys.modules['ray'] = None; from trainkit.cli import main; main()"  # as where Ray is not installed


def test_the_command_starts_workers_and_says_what_one_of_them_found_wrong(tmp_path: Path) -> None:
    where = ["--experiments", str(tmp_path)]
    command = [sys.executable, "-c", BARE, "train", "digits", "--workers", "2", *where]
    done = subprocess.run([*command, "--model", "no-such"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Unknown model `no-such`" in done.stderr
    done = subprocess.run(
        [*command, "--model", "fashion-mnist", "--epochs", "1", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    run = trainkit.find_run(json.loads(done.stdout)["run"])
    assert run.status == "finished" and run.environment["machine"]["workers"] == 2
    assert done.stderr.count("epoch 1/1") == 1, "one bar"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "0"], "--workers must be a whole number from 1 on. Received: 0"),
        (["--workers", "100000"], "Received: 100000"),
        (["--cluster", ""], "--cluster needs the address of a cluster's head"),
        (["--workers", "2", "--distribute", "mirrored"], "leave --distribute out"),
    ],
)
def test_workers_that_cannot_be_are_refused_before_one_is_started(
    tmp_path: Path, options: list[str], said: str
) -> None:
    command = [sys.executable, "-m", "trainkit", "train", "digits", *options, "--experiments", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and said in " ".join(done.stderr.split())
    assert not (tmp_path / "runs").exists()


def test_one_of_several_processes_starts_no_others(tmp_path: Path) -> None:
    ((code, output),) = finish(start(["-m", "trainkit", "train", "digits", "--workers", "2"], tf_configs(2)[:1]))
    assert code == 2 and "This is already one of 2 processes that train together" in " ".join(output.split())


def test_a_process_that_trains_alone_shows_its_run_whatever_tf_config_says(tmp_path: Path) -> None:
    where = ["--distribute", "none", "--experiments", str(tmp_path), "--json"]
    options = ["digits", "--model", "fashion-mnist", "--epochs", "1", *where]
    ((code, output),) = finish(start(["-m", "trainkit", "train", *options], tf_configs(2)[1:]))
    assert code == 0 and '"status": "finished"' in output


@pytest.mark.slow
def test_workers_with_other_settings_do_not_train_together(tmp_path: Path) -> None:
    options = ["digits", "--model", "fashion-mnist", "--epochs", "1", "--experiments", str(tmp_path), "--seed"]
    first, second = (
        start(["-m", "trainkit", "train", *options, seed], [config])[0]
        for seed, config in zip(("1", "2"), tf_configs(2), strict=True)
    )
    (code, output), (other, said) = finish([first, second])
    assert other == 2 and "Worker 1 has training.seed 2, and worker 0 has 1." in " ".join(said.split())
    words = " ".join(output.split())
    assert code == 1 and "cannot go on, because another one has gone" in words and "--resume" not in words
    assert not list(tmp_path.iterdir()), "no run"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT can be sent there")
def test_ctrl_c_ends_a_worker_that_waits_for_the_others() -> None:
    (process,) = start(["-m", "trainkit", "train", "digits"], tf_configs(2)[:1])
    assert process.stdout is not None
    while "Waiting for all 2 workers, of which this is worker 0" not in (line := process.stdout.readline()):
        assert line, "it has ended"
    time.sleep(1)  # the wait itself begins a moment later
    end(process, signal.SIGINT)
    try:
        assert process.wait(30) == -signal.SIGINT
    finally:
        process.kill()
        process.communicate()


def children(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_the_command_says_which_worker_was_killed_and_how_to_go_on(tmp_path: Path, uninterrupted: trainkit.Run) -> None:
    where = ["--experiments", str(tmp_path)]
    (process,) = start(["-c", BARE, "train", *LONG, "--workers", "2", *where], [""])
    run = wait_for_epoch(tmp_path, 1)
    os.kill(children(process)[1], signal.SIGKILL)
    ((code, output),) = finish([process])
    assert code == 1
    said = " ".join(output.split())
    assert "Worker 1 of 2 was killed by the signal 9." in said
    assert f"`trainkit train --resume {run.name} --workers 2` goes on" in said
    (process,) = start(["-c", BARE, "train", "--resume", run.name, "--workers", "2", *where], [""])
    assert finish([process])[0][0] == 0
    assert run.status == "finished" and losses(run) == losses(uninterrupted)


@pytest.fixture
def cluster() -> Iterator[str]:
    """Give the address of a Ray cluster of two nodes of one CPU each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes.add_node(num_cpus=1)
        yield nodes.address
    finally:
        nodes.shutdown()


def training_processes(run: trainkit.Run) -> tuple[list[int], list[int]]:
    """Return the processes of Ray that train: the one that holds the run's lock, and the others."""
    holding, others = [], []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"RayTrainWorker" in (folder / "cmdline").read_bytes():
                files = {os.path.realpath(file) for file in (folder / "fd").iterdir()}
                (holding if str(run.path.resolve() / ".lock") in files else others).append(int(folder.name))
        except OSError:  # it has gone, or is another user's
            continue
    return holding, others


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_ray_starts_a_killed_worker_again(tmp_path: Path, cluster: str, uninterrupted: trainkit.Run) -> None:
    where = ["--workers", "2", "--cluster", cluster, "--experiments", str(tmp_path)]
    (process,) = start(["-m", "trainkit", "train", *LONG, *where], [""])
    run = wait_for_epoch(tmp_path, 1)
    (_,), (other,) = training_processes(run)
    os.kill(other, signal.SIGKILL)
    ((code, output),) = finish([process])
    assert code == 0, output
    assert trainkit.list_runs(tmp_path) == [run] and run.status == "finished"
    assert losses(run) == losses(uninterrupted)
    mine, others = variables(run), variables(uninterrupted)
    assert all(np.array_equal(mine[name], others[name]) for name in others), "bit for bit"


@pytest.mark.slow
def test_ctrl_c_ends_what_runs_on_ray(tmp_path: Path, cluster: str, uninterrupted: trainkit.Run) -> None:
    where = ["--workers", "2", "--cluster", cluster, "--experiments", str(tmp_path)]
    (process,) = start(["-m", "trainkit", "train", *LONG, *where], [""])
    run = wait_for_epoch(tmp_path, 1)
    end(process, signal.SIGINT)
    ((code, output),) = finish([process])
    assert code == 0 and run.status == "interrupted", output
    (process,) = start(["-m", "trainkit", "train", "--resume", run.name, *where], [""])
    ((code, output),) = finish([process])
    assert code == 0 and losses(run) == losses(uninterrupted), output


def test_sigterm_is_what_it_was_where_ray_has_started(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    code = (
        "import signal\nfrom trainkit.cluster._engine import connected\n"
        "def handle(number, frame): print('handled', flush=True)\n"
        "signal.signal(signal.SIGTERM, handle)\n"
        "with connected('local', cpus=1):\n    signal.raise_signal(signal.SIGTERM)\nprint('ended')"
    )
    ((number, output),) = finish(start(["-c", code], [""]))
    assert number == 0 and output.split() == ["handled", "ended"], output


def test_what_cannot_be_given_to_other_processes_is_refused(tmp_path: Path) -> None:
    from trainkit.cluster._bare_workers import run_bare
    from trainkit.cluster._work import Work
    from trainkit.errors import UsageError

    with pytest.raises(UsageError, match=r"cannot be given to other processes \(.*\)\. Expected a folder, a file"):
        run_bare(Work(None, (number for number in range(2)), {}, str(tmp_path)), 2)
