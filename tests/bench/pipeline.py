"""How fast images are read: the first pass against a bare loop of OpenCV, and later passes from the cache."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIDE = 224
REPEATS = 5
BATCH_SIZES = (32, 128)


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Let trainkit keep its pixels in another folder while the block runs."""
    before = os.environ.get("TRAINKIT_CACHE")
    os.environ["TRAINKIT_CACHE"] = str(folder)
    try:
        yield
    finally:
        del os.environ["TRAINKIT_CACHE"]
        if before is not None:
            os.environ["TRAINKIT_CACHE"] = before


def write_photographs(folder: Path, count: int) -> list[Path]:
    """Write JPEGs of 500x375, no two alike: pieces of the photographs that scikit-learn carries, enlarged."""
    from sklearn import datasets

    source = Path(datasets.__file__).parent / "images"
    scenes = [cv2.imread(str(source / name)) for name in ("china.jpg", "flower.jpg")]
    generator = np.random.default_rng(0)
    paths = []
    for index in range(count):
        height = int(generator.integers(200, 420))
        width = height * 4 // 3
        scene = scenes[index % 2]
        row, column = generator.integers(0, scene.shape[0] - height), generator.integers(0, scene.shape[1] - width)
        paths.append(folder / f"{index:05}.jpg")
        piece = scene[row : row + height, column : column + width]
        cv2.imwrite(str(paths[-1]), cv2.resize(piece, (500, 375)), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return paths


def read_bare(paths: list[Path]) -> np.ndarray:
    """Decode and resize on all cores, as a script would that knows nothing of trainkit."""
    pixels = np.empty((len(paths), SIDE, SIDE, 3), np.uint8)

    def read(index: int) -> None:
        pixels[index] = cv2.resize(cv2.imread(str(paths[index])), (SIDE, SIDE))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(read, range(len(paths))))
    return pixels


def seconds_of(work: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure_first_pass(paths: list[Path], cache: Path) -> tuple[float, float, float]:
    """Return images a second of a bare loop, of the first pass, and of opening what it wrote; the three in turn."""
    from trainkit.data import Part
    from trainkit.data._dataset import FileImages
    from trainkit.data._pipeline import read_pixels
    from trainkit.preprocessing import build_preprocessing

    part = Part(FileImages(paths), np.zeros(len(paths), np.int64))
    preprocessing = build_preprocessing("unit", height=SIDE, width=SIDE)
    bare, first, again = [], [], []
    with cache_in(cache):
        read_bare(paths)
        for _ in range(REPEATS):
            shutil.rmtree(cache, ignore_errors=True)
            bare.append(seconds_of(lambda: read_bare(paths)))
            first.append(seconds_of(lambda: read_pixels(part, preprocessing)))
            again.append(seconds_of(lambda: read_pixels(part, preprocessing)))
    count = len(paths)
    return count / statistics.median(bare), count / statistics.median(first), count / statistics.median(again)


def write_mapped(cache: Path, count: int) -> np.ndarray:
    """Write a cache of noise and return it, mapped."""
    from trainkit.data._cache import map_pixels

    noise = np.random.default_rng(0).integers(0, 256, (64, SIDE, SIDE, 3), np.uint8)

    def read(first: int, out: np.ndarray) -> None:
        out[...] = noise[: len(out)]

    with cache_in(cache):
        return map_pixels(f"noise-{count}", (count, SIDE, SIDE, 3), read)


def measure_later_passes(pixels: np.ndarray, batch_size: int) -> float:
    """Return images a second of one pass in shuffled batches."""
    from trainkit.data._pipeline import gather

    order = np.random.default_rng(0).permutation(len(pixels))
    out = np.empty((batch_size, *pixels.shape[1:]), np.uint8)
    count = len(pixels) // batch_size * batch_size

    def read() -> None:
        for start in range(0, count, batch_size):
            gather(pixels, order[start : start + batch_size], out)

    return count / seconds_of(read)


def forget(path: Path) -> None:
    """Let the system drop what it holds of a file in memory, where it can be told to."""
    os.sync()  # pages that are not on the disk yet cannot be dropped
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(photographs: int = 600, mapped: int = 8000) -> list[dict[str, Any]]:
    """Return a row a measurement: `name`, `value` and, where something is compared, `ratio`."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        bare, first, again = measure_first_pass(write_photographs(Path(folder), photographs), cache)
        pixels = write_mapped(cache, mapped)
        rows = [
            {"name": "a bare loop of imread and resize, images/s", "value": bare},
            {"name": "first pass, images/s", "value": first, "ratio": first / bare},
            {"name": "opening the cache with its checksums, images/s", "value": again},
        ]
        for size in BATCH_SIZES:
            value = statistics.median(measure_later_passes(pixels, size) for _ in range(3))
            rows.append({"name": f"later passes, shuffled batches of {size}, images/s", "value": value})
        del pixels
        forget(cache / f"noise-{mapped}.pixels")
        pixels = np.memmap(cache / f"noise-{mapped}.pixels", np.uint8, "r", shape=(mapped, SIDE, SIDE, 3))
        value = measure_later_passes(pixels, BATCH_SIZES[0])
        rows.append(
            {"name": f"the same from a disk that is not in memory, batches of {BATCH_SIZES[0]}", "value": value}
        )
    return rows


if __name__ == "__main__":
    for row in measure():
        print(f"{row['name']:70} {row['value']:9.0f}" + (f"  ratio {row['ratio']:.2f}" if "ratio" in row else ""))
