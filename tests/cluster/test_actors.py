"""Blocks on a Ray cluster: the same rows as on one machine, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import psutil
import pyarrow.parquet
import pytest
from photographs import draw_photo

import trainkit
from trainkit.cluster._inspecting import inspecting_on
from trainkit.data._check import check_data
from trainkit.errors import DataError, MissingPackageError

BUNDLE = Path(__file__).parents[1] / "data" / "bundle-v1"
COUNT = 600


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pyarrow.parquet.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 lines, of which 3 are no images."""
    folder = tmp_path_factory.mktemp("actors")
    for number in range(20):
        cv2.imwrite(str(folder / f"{number:02}.jpg"), draw_photo(number, (9 * number, 5 * number, 250), 240, 320))
    (folder / "broken.jpg").write_bytes(b"broken")
    lines = [folder / f"{number % 20:02}.jpg" for number in range(COUNT)]
    for number in (0, 250, 599):
        lines[number] = folder / "broken.jpg"
    (folder / "list.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder / "list.txt"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each, to which this process is connected."""
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def actors() -> list[psutil.Process]:
    """Return the processes of actors that classify just now."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "BlockActor" in " ".join(process.info["cmdline"] or []):
            found.append(process)
    return found


def kill_one(folder: Path, killed: list[int]) -> None:
    """Kill an actor as soon as there is a file and somebody works."""
    deadline = time.monotonic() + 120
    while not killed and time.monotonic() < deadline:
        running = [process for process in actors() if any(folder.glob("rows-*"))]
        if running:
            os.kill(running[0].pid, signal.SIGKILL)
            killed.append(running[0].pid)
        time.sleep(0.01)


@pytest.mark.cluster
def test_a_killed_actor_changes_nothing(cluster: Any, listed: Path, tmp_path: Path) -> None:
    killed: list[int] = []
    (tmp_path / "rows").mkdir()
    killer = threading.Thread(target=kill_one, args=(tmp_path / "rows", killed))
    killer.start()
    found = trainkit.predict_blocks(BUNDLE, listed, tmp_path / "rows", cluster=cluster.address, rows_a_file=20)
    killer.join()
    assert killed
    assert (found.rows, found.classified, found.errors, found.files) == (COUNT, COUNT, 3, 30)
    rows = rows_of(tmp_path / "rows")
    assert [row["row"] for row in rows] == list(range(COUNT))
    trainkit.predict_blocks(BUNDLE, listed, tmp_path / "here")
    assert rows == rows_of(tmp_path / "here")
    again = trainkit.predict_blocks(BUNDLE, listed, tmp_path / "rows", cluster=cluster.address)
    assert (again.classified, again.errors) == (0, 3)


@pytest.mark.cluster
def test_an_error_of_an_actor_is_ours(cluster: Any, tmp_path: Path) -> None:
    here = "/proc/self/fd/900"  # a file that this process alone sees
    (tmp_path / "list.txt").write_text(f"none/1.jpg\n{here}\n", encoding="utf-8")
    with (tmp_path / "list.txt").open("rb") as file:
        os.dup2(file.fileno(), 900)
    try:
        with pytest.raises(DataError, match=r"None of the files in the rows 0 to 1 is there on .*that all machines"):
            trainkit.predict_blocks(BUNDLE, tmp_path / "list.txt", tmp_path / "rows", cluster=cluster.address)
    finally:
        os.close(900)


@pytest.mark.cluster
def test_a_block_of_files_that_are_nowhere_is_rows_with_errors(cluster: Any, listed: Path, tmp_path: Path) -> None:
    lines = listed.read_text(encoding="utf-8").splitlines()[:4]
    (tmp_path / "list.txt").write_text("\n".join([*lines, "gone/1.jpg"]), encoding="utf-8")
    found = trainkit.predict_blocks(
        BUNDLE, tmp_path / "list.txt", tmp_path / "rows", cluster=cluster.address, rows_a_file=4
    )
    assert (found.rows, found.files) == (5, 2)
    assert rows_of(tmp_path / "rows")[4]["error"].startswith("No such image: ")


@pytest.mark.cluster
def test_data_is_looked_at_on_a_cluster(cluster: Any, tiny_dataset: Path) -> None:
    here = check_data(tiny_dataset)
    with inspecting_on(cluster.address):
        there = check_data(tiny_dataset)
    assert there.to_json() == here.to_json()


@pytest.mark.cluster
def test_pixels_are_decoded_on_a_cluster(
    cluster: Any, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for address in (None, cluster.address):
        monkeypatch.setenv("TRAINKIT_CACHE", str(tmp_path / str(address)))
        trainkit.cache_pixels(tiny_dataset, model="small-cnn", size=(16, 16), cluster=address)
        files.append({file.name: file.read_bytes() for file in (tmp_path / str(address)).iterdir()})
    assert files[0] == files[1] and files[0]


@pytest.mark.cluster
def test_the_command_starts_a_cluster_and_ends_it(listed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainkit", "predict", str(BUNDLE), str(listed), "--cluster", "local"]
    done = subprocess.run(
        [*command, "--predictions", str(tmp_path / "rows"), "--workers", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Classified 600 images.\n3 of 600 rows have an error")
    assert "Traceback" not in done.stderr
    assert len(rows_of(tmp_path / "rows")) == COUNT


def test_missing_ray_is_said_by_its_extra(listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match='ray, which is not installed: pip install "trainkit\\[cl'):
        trainkit.predict_blocks(BUNDLE, listed, tmp_path / "rows", cluster="local")
