"""How much memory of its own a training takes on 50,000 images, beside one on 500: RssAnon of the process, at its peak.

The images are photographs of 224x224 with one more byte at the end of each file, so that no two have one content.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

COUNTS = (500, 50_000)
SIDE = 224
_DIFFERENT = 100


def write_folder(folder: Path, count: int) -> None:
    """Write two classes of photographs: pieces of those that scikit-learn carries, each again and again."""
    from sklearn import datasets

    source = Path(datasets.__file__).parent / "images"
    generator = np.random.default_rng(0)
    for name in ("china", "flower"):
        scene = cv2.imread(str(source / f"{name}.jpg"))
        (folder / name).mkdir(parents=True)
        for index in range(count // 2):
            if index < _DIFFERENT:
                row, column = generator.integers(0, np.array(scene.shape[:2]) - SIDE)
                piece = scene[row : row + SIDE, column : column + SIDE]
            number = index % _DIFFERENT
            if index < _DIFFERENT:
                data = cv2.imencode(".jpg", piece)[1].tobytes()
                (folder / name / f"{index:06}.jpg").write_bytes(data)
            else:
                first = (folder / name / f"{number:06}.jpg").read_bytes()
                (folder / name / f"{index:06}.jpg").write_bytes(first + index.to_bytes(4, "little"))


def own_bytes() -> int:
    """Return the private memory of this process that no file stands behind."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("This system does not say how much memory of its own a process has: Linux is needed.")


def train_and_watch(folder: str) -> None:
    """Train for an epoch and print the peaks: before any image was read, and of all."""
    from trainkit import train
    from trainkit.backend import tf

    peak, ended = own_bytes(), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, own_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    tf.constant(0)
    started = time.monotonic()
    settings = {"model.filters": 2, "model.blocks": 5, "preprocessing.name": "standardize"}
    run = train(
        folder,
        model="small-cnn",
        size=(SIDE, SIDE),
        epochs=1,
        batch_size=64,
        settings=settings,
        experiments=Path(folder).parent / "experiments",
    )
    ended.set()
    watcher.join()
    seconds = time.monotonic() - started
    print(json.dumps({"peak": peak, "seconds": seconds, "of_fitting": run.result["seconds"]}))


def measure(counts: tuple[int, ...] = COUNTS) -> list[dict[str, Any]]:
    """Return a row for each number of images: `name`, `value` in MB and `seconds`; the last has the `difference`."""
    rows: list[dict[str, Any]] = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            write_folder(Path(folder) / "photos", count)
            command = [sys.executable, __file__, str(Path(folder) / "photos")]
            environment = {**os.environ, "TRAINKIT_CACHE": f"{folder}/cache"}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        rows.append({"name": f"training on {count} images, private memory, MB", "value": found["peak"] / 1e6, **found})
    rows[-1]["difference"] = rows[-1]["value"] - rows[0]["value"]
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train_and_watch(sys.argv[1])
    else:
        for row in measure():
            beyond = f"  beyond the first: {row['difference']:.0f} MB" if "difference" in row else ""
            print(f"{row['name']:50} {row['value']:8.0f}  {row['seconds']:6.1f} s{beyond}")
