from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

import trainkit
from trainkit.bundles._bench import Benchmark, time_in_turn
from trainkit.errors import BundleError, UsageError


@pytest.fixture(scope="module")
def measured(tiny_bundle: Path, trained_run) -> Benchmark:  # type: ignore[no-untyped-def]
    return trainkit.bench(tiny_bundle, batches=[1, 3], experiments=trained_run.path.parent)


@pytest.mark.slow
def test_bench_has_a_row_for_each_runtime_and_a_figure_for_each_batch(measured: Benchmark) -> None:
    assert list(measured.milliseconds) == ["opencv", "onnxruntime", "keras"]
    for figures in measured.milliseconds.values():
        assert list(figures) == [1, 3]
        assert all(0 < milliseconds < 10_000 for milliseconds in figures.values())


@pytest.mark.slow
def test_document_of_bench_has_batches_as_keys(measured: Benchmark) -> None:
    document = measured.to_json()
    assert document["threads"] == measured.threads >= 1
    assert list(document["runtimes"]) == ["opencv", "onnxruntime", "keras"]
    assert all(list(figures) == ["1", "3"] for figures in document["runtimes"].values())


def test_bench_without_the_run_leaves_keras_out(
    tiny_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = cv2.getNumThreads()
    measured = trainkit.bench(tiny_bundle, batches="2", threads=1, experiments=tmp_path)
    assert list(measured.milliseconds) == ["opencv", "onnxruntime"]
    assert measured.threads == 1
    assert cv2.getNumThreads() == before
    assert "Keras is left out. No run" in caplog.text


def test_bench_without_keras_needs_no_tensorflow(tiny_bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys, trainkit\n"
        f"trainkit.bench({str(tiny_bundle)!r}, batches=[1], experiments={str(tmp_path)!r})\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_bench_with_another_keras_model_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "other.keras").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"other\.keras is not the model that the bundle came from"):
        trainkit.bench(tiny_bundle, keras=tmp_path / "other.keras", experiments=tmp_path)


def test_bench_of_a_frozen_graph_has_no_onnxruntime(trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    bundle = trainkit.export(trained_run, format="frozen-graph", name="frozen", exported=tmp_path)
    shutil.rmtree(bundle.path / "selftest")  # may have been taken out
    measured = trainkit.bench(bundle.path, batches=[1], experiments=tmp_path)
    assert list(measured.milliseconds) == ["opencv"]


@pytest.mark.parametrize("batches", ["", "1,", "0", "-1", "1.5", "a", "4097", "9999999999", [], [0], [True], [1.0]])
def test_bench_refuses_an_impossible_batch(tiny_bundle: Path, batches: object) -> None:
    with pytest.raises(
        UsageError, match=r"`batches` must be whole numbers from 1 to 4096, such as 1,8,32\. Received: "
    ):
        trainkit.bench(tiny_bundle, batches=batches)  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [0, -1, 1.0, True, 2000])
def test_bench_refuses_an_impossible_number_of_threads(tiny_bundle: Path, threads: object) -> None:
    with pytest.raises(UsageError, match=r"`threads` must be a whole number from 1 to 1024\. Received: "):
        trainkit.bench(tiny_bundle, threads=threads)  # type: ignore[arg-type]


def test_work_is_done_in_turn_and_the_warm_runs_are_not_counted() -> None:
    done: list[str] = []
    seconds = time_in_turn({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, most_runs=3)
    assert done == ["a", "a", "b", "b", *"ababab"]
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_work_that_takes_long_is_done_less_often() -> None:
    seconds = time_in_turn({"slow": lambda: time.sleep(0.01)}, most_runs=100, least_runs=4, most_seconds=0.001)
    assert len(seconds["slow"]) == 4
    assert min(seconds["slow"]) >= 0.01
