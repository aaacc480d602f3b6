"""How long one photograph takes in each client, beside `keras.predict`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from runners import Client

_MANY = 101
_KERAS = """
import statistics, sys, time
import cv2, numpy as np
from trainkit.backend import keras
from trainkit import Preprocessing
model = keras.applications.MobileNet(alpha=0.75)
preprocessing = Preprocessing(height=224, width=224, mean=(127.5,) * 3, std=(127.5,) * 3)
def answer():
    pixels = preprocessing.to_pixels(cv2.imread(sys.argv[1]))
    return model.predict(preprocessing.to_input([pixels]), verbose=0)
times = []
for _ in range(60):
    started = time.perf_counter()
    answer()
    times.append(time.perf_counter() - started)
print(1e3 * statistics.median(times[10:]))
"""


def print_latencies(clients: list[Client], bundle: Path, folder: Path) -> None:
    """Print the milliseconds from a JPEG file to its labels: what each further photograph costs."""
    photo = folder / "work" / "photographs" / "people and cups" / "coffee.jpg"
    done = subprocess.run([sys.executable, "-c", _KERAS, photo], capture_output=True, text=True, check=True)
    print(f"{'keras.predict':<32}{float(done.stdout.split()[-1]):7.1f} ms", flush=True)
    for client in clients:
        if client.milliseconds is not None:
            print(f"{client.name:<32}{client.milliseconds(bundle, photo):7.1f} ms", flush=True)
            continue
        rounds = [_seconds(client, bundle, [photo] * _MANY) - _seconds(client, bundle, [photo]) for _ in range(3)]
        print(f"{client.name:<32}{1e3 * statistics.median(rounds) / (_MANY - 1):7.1f} ms", flush=True)


def _seconds(client: Client, bundle: Path, photos: list[Path]) -> float:
    assert client.classify is not None
    started = time.perf_counter()
    client.classify(bundle, photos)
    return time.perf_counter() - started
