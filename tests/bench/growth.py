"""What grows as a data set does: time and memory of each stage, from a thousand images to a million.

    python tests/bench/growth.py [--kinds jpeg png npz] [--sizes 1000 10000] [--stages check stats ...] [--folder F]

`jpeg` and `png` are class folders, of photographs of 160x120 and of digits of 28x28; `npz` is a file of such digits. No
two of them are alike, but for one photograph in two hundred that is there twice, encoded again. Each stage runs in a
process of its own. A stage is linear where its exponent is 1: that of the seconds of all cores which it takes beyond
those on a hundred images. Memory is that of the process which no file stands behind, RssAnon at its peak, so that
neither the cache of pixels counts nor an array that is mapped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

KINDS = ("jpeg", "png", "npz")
SIZES = (1_000, 10_000)
LONG_SIZES = {"jpeg": (1_000, 10_000, 100_000), "png": (1_000, 10_000, 100_000), "npz": (10_000, 100_000, 1_000_000)}
SMALLEST = 100  # images: what they take is the start of a process, and no image's
CLASSES = 10
STAGES = {
    "look": "first pass: looking, splitting",
    "decode": "first pass: decoding",
    "feed": "an epoch's images, no network",
    "epoch": "an epoch of one layer",
    "overhead": "of it, beside that layer's steps",
    "check": "data check",
    "stats": "data stats",
    "report": "report",
}
_TOGETHER = {"decode": "look", "overhead": "epoch"}  # stages that another one's process measures
_HEIGHT, _WIDTH, _SIDE = 120, 160, 28
_AGAIN = 200  # every 200th photograph is its predecessor, encoded again
_WRITTEN = 1_000  # images that one process writes before it takes others
_BATCH = 128
_TICK_SECONDS = 0.02
_LEAST_SECONDS = 1.0  # of the smaller size, for an exponent to say anything
_LEAST_IMAGES = 50_000  # by which sizes differ, for bytes an image to say anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A stage on some images."""

    kind: str
    stage: str
    images: int
    seconds: float
    cpu_seconds: float  # of all cores
    peak: int  # bytes of private memory


def draw_photograph(number: int) -> np.ndarray:
    """Return a picture with as much at every scale as a photograph has: uint8 `(120, 160, 3)`."""
    generator = np.random.default_rng(number)
    image = generator.uniform(80, 170, (1, 1, 3)).astype(np.float32)
    for rows, amplitude in ((2, 45), (5, 35), (12, 25), (30, 16), (60, 9)):
        columns = rows * _WIDTH // _HEIGHT
        noise = generator.standard_normal((rows, columns, 3), np.float32)
        image = cv2.resize(image, (columns, rows)) + amplitude * noise
    return np.clip(cv2.resize(image, (_WIDTH, _HEIGHT)), 0, 255).astype(np.uint8)


def draw_digits(numbers: range) -> tuple[np.ndarray, np.ndarray]:
    """Return digits, each turned, moved, slanted and scaled in its own way: uint8 `(N, 28, 28)`, and int64 `(N,)`."""
    from sklearn.datasets import load_digits

    digits, generator, count = load_digits(), np.random.default_rng(numbers.start), len(numbers)
    large = [cv2.resize(image.astype(np.float32) * 15.9, (20, 20)) for image in digits.images]
    chosen = np.arange(numbers.start, numbers.stop) % len(large)
    matrices = np.eye(2) + generator.uniform(-0.25, 0.25, (count, 2, 2))
    shifts = _SIDE / 2 + generator.uniform(-3, 3, (count, 2)) - matrices @ (10.0, 10.0)
    affine = np.concatenate([matrices, shifts[..., None]], axis=2)
    images = 6 * generator.standard_normal((count, _SIDE, _SIDE), np.float32)
    for image, number, matrix in zip(images, chosen, affine, strict=True):
        image += cv2.warpAffine(large[number], matrix, (_SIDE, _SIDE))
    images *= generator.uniform(0.7, 1.1, (count, 1, 1)).astype(np.float32)
    return np.clip(images, 0, 255).astype(np.uint8), digits.target[chosen].astype(np.int64)


def write_photographs(folder: Path, numbers: range) -> None:
    """Write photographs as JPEG, 6 kB each."""
    for number in numbers:
        again = number % _AGAIN == _AGAIN - 1
        quality = [cv2.IMWRITE_JPEG_QUALITY, 70 if again else 85]
        cv2.imwrite(str(_path(folder, number, "jpg")), draw_photograph(number - again), quality)


def write_digits(folder: Path, numbers: range) -> None:
    """Write digits as PNG."""
    for number, image in zip(numbers, draw_digits(numbers)[0], strict=True):
        cv2.imwrite(str(_path(folder, number, "png")), image)


def _path(folder: Path, number: int, suffix: str) -> Path:
    return folder / f"class-{number // 2 % CLASSES}" / f"{number:07}.{suffix}"


def write_data(kind: str, folder: Path, count: int) -> Path:
    """Write images of a kind, on all cores, and return what the stages are given."""
    pieces = [range(first, min(first + _WRITTEN, count)) for first in range(0, count, _WRITTEN)]
    folder.mkdir(parents=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        if kind == "npz":
            drawn = list(pool.map(draw_digits, pieces))
            images, labels = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
            np.savez(folder / "digits.npz", x=images, y=labels)
            return folder / "digits.npz"
        for number in range(CLASSES):
            (folder / f"class-{number}").mkdir()
        list(pool.map(partial(write_photographs if kind == "jpeg" else write_digits, folder), pieces))
    return folder


def own_bytes(process: int | str = "self") -> int:
    """Return the private memory of a process that no file stands behind; 0 where it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))


class Watch:
    """Measures what a block takes: seconds, seconds of all cores, and the peak of a process's memory."""

    def __init__(self, process: int | str = "self") -> None:
        self._process, self._ended, self.peak = process, threading.Event(), 0
        self._watcher = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            self.peak = max(self.peak, own_bytes(self._process))

    def __enter__(self) -> Watch:
        self.peak = own_bytes(self._process)
        self._watcher.start()
        self._began, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu_seconds = time.perf_counter() - self._began, time.process_time() - self._cpu
        self._ended.set()
        self._watcher.join()

    def to_json(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak": self.peak}


def _preprocessing(kind: str) -> Any:
    from trainkit.preprocessing import build_preprocessing

    side, color = (64, "rgb") if kind == "jpeg" else (_SIDE, "gray")
    return build_preprocessing("unit", height=side, width=side, color=color)


def look_and_decode(kind: str, data: str, folder: Path) -> dict[str, Any]:
    """Do what a training does before its first epoch."""
    from trainkit.data._pipeline import read_pixels
    from trainkit.data._sources import load_dataset

    with Watch() as looking:
        dataset = load_dataset(data)
    with Watch() as decoding:
        for part in dataset.parts.values():
            read_pixels(part, _preprocessing(kind))
    return {"look": looking.to_json(), "decode": decoding.to_json()}


def iterate(kind: str, data: str, folder: Path) -> dict[str, Any]:
    """Go through the training images as `fit` does, shuffled, without a network; the median of three epochs."""
    from trainkit.data._pipeline import read_pixels
    from trainkit.data._sources import load_dataset
    from trainkit.training._feeding import Feed

    preprocessing = _preprocessing(kind)
    part = load_dataset(data).parts["train"]
    feed = Feed(
        examples=read_pixels(part, preprocessing),
        targets=part.labels,
        to_input=preprocessing.to_input,
        input_shape=preprocessing.shape,
        batch_size=_BATCH,
        shuffle_seed=0,
    )
    dataset, watches = feed.dataset(), []
    for feed.epoch in range(4):
        with Watch() as watch:
            for _ in dataset:
                pass
        watches.append(watch)
    return {"feed": sorted(watches[1:], key=lambda one: one.seconds)[1].to_json()}


def fit_epochs(kind: str, data: str, folder: Path) -> dict[str, Any]:
    """Train a network of one layer: an epoch of a real training, and of it all that is not the network's own steps."""
    from trainkit.training._fit import fit
    from trainkit.training._options import Options, resolve_settings

    model = save_network(kind, folder)
    with resolve_settings(Options(arguments={"data": data, **_settings(kind, model)})) as resolved:
        watches, runs = [], []
        for epochs in (1, 4):
            with Watch() as watch:
                config = resolved.config.replace({"training.epochs": epochs})
                runs.append(fit(config, resolved.dataset, experiments=folder))
            watches.append(watch)
        epoch = _difference(*watches, times=3)
        steps = _measure_steps(resolved)
    beside = {key: epoch[key] - steps[key] for key in ("seconds", "cpu_seconds")}
    return {"epoch": epoch, "overhead": {**epoch, **beside}}


def _difference(one: Watch, more: Watch, *, times: int) -> dict[str, Any]:
    """Return what each of several repetitions took, where two blocks differ in nothing but these."""
    seconds, cpu_seconds = (more.seconds - one.seconds) / times, (more.cpu_seconds - one.cpu_seconds) / times
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak": more.peak}


def _settings(kind: str, model: Path) -> dict[str, Any]:
    preprocessing = _preprocessing(kind)
    return {
        "model.name": model,
        "preprocessing.name": "unit",
        "preprocessing.size": f"{preprocessing.width}x{preprocessing.height}",
        "preprocessing.color": preprocessing.color,
        "training.batch_size": _BATCH,
    }


def save_network(kind: str, folder: Path) -> Path:
    """Write a network that has next to nothing to do."""
    from trainkit.backend import keras

    inputs = keras.Input(_preprocessing(kind).shape)
    small = keras.layers.Flatten()(keras.layers.AveragePooling2D(7)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(small))
    model.save(folder / "network.keras")
    return folder / "network.keras"


def _measure_steps(resolved: Any) -> dict[str, Any]:
    """Return what the steps of an epoch take where one and the same batch comes again and again."""
    from trainkit.backend import tf
    from trainkit.training._compilation import compile_model
    from trainkit.training._phases import plan_phases
    from trainkit.training._preparation import build_fitted, prepare

    prepared = prepare(resolved.config, resolved.dataset)
    fitted = build_fitted(prepared)
    phase, feeds = plan_phases(resolved.config, prepared.model)[0], fitted.feeds
    compile_model(
        fitted.model, resolved.config, phase, steps=feeds["train"].steps, multi_label=False, smooth=False, shared=False
    )
    inputs, targets = next(feeds["train"].batches())
    batch = tf.data.Dataset.from_tensors((tf.constant(inputs), tf.constant(targets)))
    train, val = (batch.repeat(feeds[side].steps) for side in ("train", "val"))
    watches = []
    for epochs in (1, 4):
        with Watch() as watch:
            fitted.model.fit(train, validation_data=val, epochs=epochs, verbose=0, shuffle=False)
        watches.append(watch)
    return _difference(*watches, times=3)


_IN_PROCESS: dict[str, Callable[[str, str, Path], dict[str, Any]]] = {
    "look": look_and_decode,
    "feed": iterate,
    "epoch": fit_epochs,
}


def _run(arguments: Sequence[str], cache: Path) -> tuple[dict[str, Any], str]:
    """Run Python and return what it took and what it wrote."""
    environment = {**os.environ, "TRAINKIT_CACHE": str(cache), "TRAINKIT_PROGRESS": "0"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=out, stderr=errors)
        with Watch(process.pid) as watch:
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {errors.read()[-2000:]}")
        return {**watch.to_json(), "cpu_seconds": usage.ru_utime + usage.ru_stime}, out.read()


def measure_stage(stage: str, kind: str, data: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Measure a stage, and those that come with it, in a process of its own."""
    cache, experiments = folder / "cache", folder / "experiments"
    if stage in _IN_PROCESS:
        cold = folder / "cold" if stage == "look" else cache
        _, text = _run([__file__, "--within", stage, kind, str(data), str(folder)], cold)
        return dict(json.loads(text.splitlines()[-1]))
    if stage == "report":
        if not experiments.exists():
            _train(kind, data, folder)
        return {stage: _run(["-m", "trainkit", "report", "latest", "--experiments", str(experiments)], cache)[0]}
    return {stage: _run(["-m", "trainkit", "data", stage, str(data), "--json"], cache)[0]}


def _train(kind: str, data: Path, folder: Path) -> None:
    """Train a network of one layer for an epoch, for the report to have something to tell."""
    _run([__file__, "--within", "train", kind, str(data), str(folder)], folder / "cache")


def _train_run(kind: str, data: str, folder: Path) -> dict[str, Any]:
    from trainkit import train

    settings = _settings(kind, save_network(kind, folder))
    model = settings.pop("model.name")
    train(data, model=model, epochs=1, settings=settings, experiments=folder / "experiments")
    return {}


def measure(
    kind: str, sizes: Sequence[int], stages: Sequence[str] = tuple(STAGES), folder: Path | None = None
) -> Iterator[Measured]:
    """Yield the stages of a kind of data, size after size; the first size is `SMALLEST`.

    Args:
        kind: one of `KINDS`.
        sizes: numbers of images.
        stages: keys of `STAGES`.
        folder: where data is kept for another time; without it, it is deleted.
    """
    for count in (SMALLEST, *sizes):
        with tempfile.TemporaryDirectory() as scratch:
            print(f"Measuring {count:,} images of {kind} ...", file=sys.stderr)
            data = _data_in(folder or Path(scratch), kind, count)
            for stage in dict.fromkeys(_TOGETHER.get(stage, stage) for stage in stages):
                for name, found in measure_stage(stage, kind, data, Path(scratch)).items():
                    if name in stages:
                        yield Measured(kind=kind, stage=name, images=count, **found)


def _data_in(folder: Path, kind: str, count: int) -> Path:
    place = folder / f"{kind}-{count}"
    if not place.exists():
        return write_data(kind, place, count)
    return place / "digits.npz" if kind == "npz" else place


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How a stage grew since the size before."""

    measured: Measured
    exponent: float | None  # of the time beyond that of the smallest; `None` where there is no size before
    bytes_an_image: float | None  # of memory, since the size before
    seconds_a_thousand: float  # images, of all cores, beyond the smallest


def measure_growth(
    kind: str, sizes: Sequence[int], stages: Sequence[str] = tuple(STAGES), folder: Path | None = None
) -> Iterator[Growth]:
    """Yield how the stages of a kind of data grow, each as soon as it is measured; arguments as for `measure`."""
    so_far: list[Measured] = []
    for one in measure(kind, sizes, stages, folder):
        smaller = [other for other in so_far if other.stage == one.stage and other.images < one.images]
        so_far.append(one)
        if smaller:
            yield _grown(one, before=smaller[-1], least=smaller[0])


def _grown(one: Measured, *, before: Measured, least: Measured) -> Growth:
    seconds, images = one.cpu_seconds - least.cpu_seconds, one.images - least.images
    seconds_before, images_before = before.cpu_seconds - least.cpu_seconds, before.images - least.images
    exponent = memory = None
    if seconds > 0 and seconds_before > _LEAST_SECONDS:
        exponent = math.log(seconds / seconds_before) / math.log(images / images_before)
    if one.images - before.images >= _LEAST_IMAGES:
        memory = (one.peak - before.peak) / (one.images - before.images)
    return Growth(measured=one, exponent=exponent, bytes_an_image=memory, seconds_a_thousand=1000 * seconds / images)


def _line(growth: Growth) -> str:
    one = growth.measured
    exponent = "" if growth.exponent is None else f"{growth.exponent:.2f}"
    memory = "" if growth.bytes_an_image is None else f"{growth.bytes_an_image:,.0f}"
    return (
        f"{one.kind:5}{STAGES[one.stage]:33}{one.images:>10,}{one.seconds:>9.2f}{one.cpu_seconds:>9.2f}"
        f"{growth.seconds_a_thousand:>9.3f}{exponent:>7}{one.peak / 1e6:>8.0f}{memory:>9}"
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="numbers of images, rising")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=tuple(STAGES))
    parser.add_argument("--folder", type=Path, help="where the images are kept for another time")
    parser.add_argument("--within", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.within:
        stage, kind, data, folder = arguments.within
        work = {**_IN_PROCESS, "train": _train_run}[stage]
        print(json.dumps(work(kind, data, Path(folder))))
        return
    if arguments.sizes != sorted(set(arguments.sizes)) or arguments.sizes[0] <= SMALLEST:
        parser.error(f"--sizes are to rise, from more than {SMALLEST} on, whose time is taken as that of no image")
    print(f"{'':38}{'images':>10}{'s':>9}{'CPU s':>9}{'s/1,000':>9}{'exp.':>7}{'MB':>8}{'B/image':>9}")
    for kind in arguments.kinds:
        for growth in measure_growth(kind, arguments.sizes, arguments.stages, arguments.folder):
            print(_line(growth), flush=True)


if __name__ == "__main__":
    main()
