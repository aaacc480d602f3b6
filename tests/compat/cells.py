"""One cell of the table: what a reader makes of a bundle, judged against what Keras says."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from environments import Reader, environment_python
from worker import BATCHES, batch_indices

PROBABILITY_BOUND = 1e-5
LOGIT_BOUND = 1e-4  # of their standard deviation over all images and classes
OWN_FACTOR = 4
# A network that onnxruntime itself answers worse than this proves nothing; more likely its file is wrong.
OWN_LIMIT = 1e-3
TIMEOUT_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A network in a format, read by one OpenCV."""

    network: str
    format: str
    reader: str
    status: Literal["green", "declared", "red"]
    reason: str = ""
    probabilities: float | None = None  # largest difference
    logits: float | None = None  # largest difference, of the standard deviation
    loosened: bool = False  # whether onnxruntime's own difference made the bound


def largest_difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest absolute difference, infinity where one of the values is no number."""
    difference = float(np.abs(actual - expected).max())
    return difference if math.isfinite(difference) else math.inf


def judge(answer: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Return what a cell says (`status`, `reason`, figures) about a worker's answer.

    Args:
        answer: what `worker.answer` returns.
        reference: `probabilities` and `logits` (N, classes) of Keras, `pixels`, and `own`: onnxruntime's differences.
    """
    if "error" in answer:
        return {"status": "red", "reason": answer["error"]}
    if answer["pixels"] != reference["pixels"]:
        wrong = sum(a != b for a, b in zip(answer["pixels"], reference["pixels"], strict=True))
        return {"status": "red", "reason": f"the pixels of {wrong} of {len(reference['pixels'])} images differ"}
    figures: dict[str, float] = {}
    for kind in ("probabilities", "logits"):
        expected = np.array(reference[kind], np.float64)
        differences = []
        for (size, first), output in zip(BATCHES, answer[kind], strict=True):
            wanted = [size, expected.shape[1]]
            if output["shape"] != wanted:
                reason = f"{kind} of a batch of {size} have the shape {output['shape']}, expected {wanted}"
                return {"status": "red", "reason": reason}
            actual = np.array(output["values"]).reshape(wanted)
            differences.append(largest_difference(actual, expected[batch_indices(size, first, len(expected))]))
        figures[kind] = max(differences) / (float(expected.std()) if kind == "logits" else 1)
    return {**figures, **_verdict(figures, reference.get("own") or {})}


def _verdict(figures: dict[str, float], own: dict[str, float]) -> dict[str, Any]:
    if any(value > OWN_LIMIT for value in own.values()):
        worst = ", ".join(f"{kind} {value:.0e}" for kind, value in own.items())
        return {"status": "red", "reason": f"onnxruntime itself differs from Keras by too much: {worst}"}
    loosened, over = False, []
    for kind, bound in (("probabilities", PROBABILITY_BOUND), ("logits", LOGIT_BOUND)):
        if own.get(kind, 0) > bound:
            bound, loosened = OWN_FACTOR * own[kind], True
        if not figures[kind] <= bound:
            over.append(f"{kind} differ by {figures[kind]:.1e}, expected at most {bound:.1e}")
    return {"status": "red" if over else "green", "reason": "; ".join(over), "loosened": loosened}


def run_cell(
    network: str, model_format: str, reader: Reader, *, folder: Path, images: list[Path], environments: Path
) -> Cell:
    """Let one OpenCV read one bundle in a process of its own, and judge what comes back.

    Args:
        network: its name.
        model_format: `onnx` or `frozen-graph`.
        reader: which OpenCV, and engine.
        folder: has `bundle/`, `logits/`, `reference.json` and `outcome.json`.
        images: the files that are classified.
        environments: the folder of the virtual environments.
    """
    names = {"network": network, "format": model_format, "reader": reader.name}
    outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    if outcome["status"] != "written":
        return Cell(**names, status=outcome["status"], reason=f"export: {outcome['reason']}")
    python = environment_python(environments, reader.opencv)
    answer = ask(python, folder=folder, images=images, engine=reader.engine)
    if "refused" in answer:
        return Cell(**names, status="declared", reason=answer["refused"])
    reference = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    return Cell(**names, **judge(answer, reference))


def ask(
    python: Path, *, folder: Path, images: list[Path], engine: str | None, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Run the worker and return its answer, or an `error` where the process died or took too long."""
    with tempfile.TemporaryDirectory() as scratch:
        job = {
            "bundle": str((folder / "bundle").absolute()),
            "logits": str((folder / "logits").absolute()),
            "images": [str(path.absolute()) for path in images],
            "engine": engine,
            "answer": f"{scratch}/answer.json",
        }
        Path(scratch, "job.json").write_text(json.dumps(job), encoding="utf-8")
        worker = Path(__file__).with_name("worker.py")
        try:
            done = subprocess.run(
                [python.absolute(), "-I", worker, "job.json"],
                cwd=scratch,  # where a core file would go
                env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"no answer within {timeout_s:g} s"}
        if done.returncode != 0:
            return {"error": f"the process {death(done.returncode)}{_last(done.stderr)}"}
        answer: dict[str, Any] = json.loads(Path(job["answer"]).read_text(encoding="utf-8"))
        return answer


def death(code: int) -> str:
    """Say how a process ended that did not end well."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with the exit code {code}"


def _last(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return f": {lines[-1][:200]}" if lines else ""
