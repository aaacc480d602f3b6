"""How long a bundle takes for an answer: cv2.dnn beside onnxruntime and Keras, on this machine."""

from __future__ import annotations

import logging
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainkit._progress import doing
from trainkit.bundles._find import EXPORTED, find_folder
from trainkit.bundles._keras_model import find_keras_model, load_model, preprocessing_of
from trainkit.bundles._runtimes import Forward, open_keras, open_runtimes
from trainkit.deploy.python._classifier import Classifier
from trainkit.errors import BundleError, UsageError
from trainkit.runs._run import EXPERIMENTS

BATCHES = (1, 8, 32)
_MOST_BATCH = 4096
_MOST_RUNS, _LEAST_RUNS, _MOST_SECONDS = 100, 5, 10.0  # of each runtime; the seconds are of all of them together
_WARM_RUNS = 2

log = logging.getLogger("trainkit")

Work = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What `bench` measured."""

    threads: int
    milliseconds: dict[str, dict[int, float]]  # by runtime and batch size: the median for the whole batch

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON has them."""
        runtimes = {
            name: {str(batch): round(value, 4) for batch, value in figures.items()}
            for name, figures in self.milliseconds.items()
        }
        return {"threads": self.threads, "runtimes": runtimes}


def bench(
    bundle: str | os.PathLike[str],
    *,
    batches: Sequence[int] | str = BATCHES,
    threads: int | None = None,
    keras: str | Path | None = None,
    seconds: float = _MOST_SECONDS,
    experiments: str | Path = EXPERIMENTS,
    exported: str | Path = EXPORTED,
) -> Benchmark:
    """Measure the time from a blob to its probabilities: the median of many warm runs, the runtimes in turn.

    Keras is measured where the model that the bundle came from is found, and onnxruntime where the bundle is ONNX.

    Args:
        bundle: a `Bundle`, its folder, or its name in `exported`.
        batches: how many images at a time; numbers, or a text such as "1,8,32".
        threads: for each runtime; as many as the machine has cores by default.
        keras: the Keras model, where the run that the manifest names is not in `experiments` any more.
        seconds: how long to measure each batch size, at most; a few runs are made however long they take.
        experiments: where runs lie.
        exported: where bundles lie.

    Raises:
        UsageError: a batch size or the number of threads is impossible.
        BundleError: the bundle is damaged, or `keras` is not its model.
        TrainkitError: TensorFlow runs already, with another number of threads.
    """
    sizes = _check_batches(batches)
    count = (os.cpu_count() or 1) if threads is None else threads
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 1024:
        raise UsageError(f"`threads` must be a whole number from 1 to 1024. Received: {threads!r}")
    client = Classifier(find_folder(bundle, Path(exported)))
    open_model = _keras_model(client, Path(keras) if keras else None, Path(experiments))
    with _opencv_threads(count):
        with doing("Opening the runtimes"):
            runtimes = _open_runtimes(client, open_model, count)
        milliseconds: dict[str, dict[int, float]] = {name: {} for name in runtimes}
        for size in sizes:
            blob = _noise_blob(client, size)
            with doing(f"Measuring {', '.join(runtimes)}, {size} at a time"):
                times = time_in_turn({name: open_(blob) for name, open_ in runtimes.items()}, most_seconds=seconds)
            for name, measured in times.items():
                milliseconds[name][size] = 1000 * statistics.median(measured)
    return Benchmark(threads=count, milliseconds=milliseconds)


def time_in_turn(
    work: dict[str, Work],
    *,
    most_runs: int = _MOST_RUNS,
    least_runs: int = _LEAST_RUNS,
    most_seconds: float = _MOST_SECONDS,
) -> dict[str, list[float]]:
    """Do several kinds of work in turn, warm, and return the seconds of each run.

    In turn, because a machine that is busy for a moment must not slow down one kind only.

    Args:
        work: what to do, by name.
        most_runs: of each.
        least_runs: of each, however long they take.
        most_seconds: when to stop before `most_runs`.
    """
    for do in work.values():
        for _ in range(_WARM_RUNS):
            do()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    started = time.perf_counter()
    for run in range(most_runs):
        if run >= least_runs and time.perf_counter() - started > most_seconds:
            break
        for name, do in work.items():
            before = time.perf_counter()
            do()
            seconds[name].append(time.perf_counter() - before)
    return seconds


def _check_batches(batches: Sequence[int] | str) -> list[int]:
    if isinstance(batches, str):
        texts = [text.strip() for text in batches.split(",")]
        sizes = [int(text) if re.fullmatch(r"[0-9]{1,9}", text) else -1 for text in texts]
    else:
        sizes = [size if type(size) is int else -1 for size in batches]
    if not sizes or not all(1 <= size <= _MOST_BATCH for size in sizes):
        raise UsageError(
            f"`batches` must be whole numbers from 1 to {_MOST_BATCH}, such as 1,8,32. Received: {batches!r}"
        )
    return list(dict.fromkeys(sizes))


def _keras_model(client: Classifier, keras: Path | None, experiments: Path) -> Callable[[], Any] | None:
    """Return what loads the Keras model; where nobody named one and none is found, say so and go on without."""
    try:
        path, run = find_keras_model(client, keras, experiments)
    except BundleError as error:
        if keras is not None:
            raise
        log.warning("Keras is left out. %s", error)
        return None
    preprocessing = run.preprocessing if run else preprocessing_of(client)
    return lambda: load_model(path, client.manifest.get("source", {}), preprocessing)


@contextmanager
def _opencv_threads(count: int) -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _noise_blob(client: Classifier, size: int) -> np.ndarray:
    width, height = client.manifest["blob"]["size"]
    images = np.random.default_rng(0).integers(0, 256, (size, height, width, 3), np.uint8)
    return client.to_blob(list(images))


def _open_runtimes(
    client: Classifier, open_model: Callable[[], Any] | None, threads: int
) -> dict[str, Callable[[np.ndarray], Work]]:
    """Return, by runtime, what makes of a blob the work to be timed."""
    runtimes = {name: _prepared(forward) for name, forward in open_runtimes(client, threads=threads).items()}
    return runtimes if open_model is None else {**runtimes, "keras": open_keras(open_model, threads)}


def _prepared(forward: Forward) -> Callable[[np.ndarray], Work]:
    return lambda blob: lambda: forward(blob)
