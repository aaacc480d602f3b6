"""Times graphs in the Python of one OpenCV, beside onnxruntime; needs cv2, numpy and onnxruntime only.

    python -I reading_networks.py JOB.json

A naive graph may end the process, so each job has a process of its own. What came of it is printed as JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import cv2
import numpy as np
import onnxruntime

_LEAST_RUNS = 7
_WRONG = 1e-3  # of a probability: more than rounding makes of it


def open_opencv(path: str, engine: str | None) -> Callable[[np.ndarray], np.ndarray]:
    """Open a graph in cv2.dnn."""
    engines = {"engine": getattr(cv2.dnn, f"ENGINE_{engine.upper()}")} if engine else {}
    net = cv2.dnn.readNetFromONNX(path, **engines)

    def forward(blob: np.ndarray) -> np.ndarray:
        net.setInput(blob)
        return np.asarray(net.forward())

    return forward


def open_onnxruntime(path: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Open a graph in onnxruntime, whose threads do not wait in a loop: OpenCV would be timed beside them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda blob: np.asarray(session.run(None, {name: blob})[0])


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Return the milliseconds of each graph, of onnxruntime, and the ratios of pairs that took turns.

    Args:
        job: `ours` and, unless it was found to end the process, `naive` (files), `shape` (C, H, W), `batch`,
            `engine` (or null), `threads`, `seconds`. One thread is timed by the processor's clock, which does not see
            what else the machine does.
    """
    threads = job["threads"]
    cv2.setNumThreads(threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    blob = np.random.default_rng(0).uniform(-1, 1, (job["batch"], *job["shape"])).astype(np.float32)
    work = {"onnxruntime": open_onnxruntime(job["ours"], threads)}
    expected = work["onnxruntime"](blob).reshape(-1)
    found: dict[str, Any] = {"opencv": cv2.__version__, "wrong": {}}
    for name in ("ours", "naive"):
        if name not in job:
            continue
        try:
            forward = open_opencv(job[name], job["engine"])
            answer = forward(blob).reshape(-1)
            forward(blob)
        except cv2.error as error:
            found["wrong"][name] = " ".join(str(error).split())[:120]
            continue
        apart = float(np.abs(answer - expected).max()) if answer.size == expected.size else np.inf
        if not apart <= _WRONG:
            found["wrong"][name] = f"apart by {apart:.2g}"
        work[name] = forward
    times: dict[str, list[float]] = {name: [] for name in work}
    started = time.perf_counter()
    while len(times["onnxruntime"]) < _LEAST_RUNS or time.perf_counter() - started < job["seconds"]:
        for name, forward in work.items():
            before = clock()
            forward(blob)
            times[name].append(clock() - before)
    found["ms"] = {name: 1000 * statistics.median(seconds) for name, seconds in times.items()}
    found["runs"] = len(times["onnxruntime"])
    found["ratio"] = {
        other: statistics.median(one / two for one, two in zip(times["ours"], times[other], strict=True))
        for other in ("naive", "onnxruntime")
        if other in times and "ours" in times
    }
    return found


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
