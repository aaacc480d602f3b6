"""The exported graph is run no slower than the one that `tf2onnx` writes, by the installed OpenCV."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timing

BENCH = Path(__file__).resolve().parents[1] / "bench" / "exporting.py"
NOISE = 0.05  # by which a ratio of medians strays on an idle machine


@pytest.mark.parametrize(
    ("network", "most"),
    [("fashion-mnist", 1), ("mobilenet-v2@96", 1), ("mobilenet-v3-small", 0.8), ("efficientnet-b0", 0.95)],
)
def test_graph_takes_no_longer_than_the_naive_one(network: str, most: float) -> None:
    done = subprocess.run([sys.executable, BENCH, network], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["difference"] < 1e-4
    assert found["paired_ratio"] <= most + NOISE
