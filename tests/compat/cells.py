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
    not_written = _not_written(names, folder)
    if not_written is not None:
        return not_written
    python = environment_python(environments, reader.opencv)
    return _cell(names, folder, ask(python, folder=folder, images=images, engine=reader.engine))


def run_cells(
    bundles: list[tuple[str, str, Path]], reader: Reader, *, images: list[Path], environments: Path
) -> list[Cell]:
    """Let one OpenCV read several bundles, as `run_cell` each, in one process as long as they are right.

    A bundle that is not, or that was not come to because the process died, is read once more in a process of its own.

    Args:
        bundles: the network, the format and the folder of each.
        reader: which OpenCV, and engine.
        images: the files that are classified.
        environments: the folder of the virtual environments.
    """
    named = [({"network": network, "format": form, "reader": reader.name}, folder) for network, form, folder in bundles]
    found = [_not_written(names, folder) for names, folder in named]
    folders = [folder for (_, folder), cell in zip(named, found, strict=True) if cell is None]
    python = environment_python(environments, reader.opencv)
    together, _ = ask_in_turn(python, folders, images=images, engine=reader.engine)
    answers = dict(zip(folders, together, strict=True))
    cells = []
    for (names, folder), cell in zip(named, found, strict=True):
        answer = answers.get(folder)
        read = cell or (_cell(names, folder, answer) if answer else None)
        if read is None or (cell is None and read.status == "red"):  # company may have been what was wrong
            read = _cell(names, folder, ask(python, folder=folder, images=images, engine=reader.engine))
        cells.append(read)
    return cells


def _not_written(names: dict[str, str], folder: Path) -> Cell | None:
    outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    if outcome["status"] == "written":
        return None
    return Cell(**names, status=outcome["status"], reason=f"export: {outcome['reason']}")


def _cell(names: dict[str, str], folder: Path, answer: dict[str, Any]) -> Cell:
    if "refused" in answer:
        return Cell(**names, status="declared", reason=answer["refused"])
    reference = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    return Cell(**names, **judge(answer, reference))


def ask(
    python: Path, *, folder: Path, images: list[Path], engine: str | None, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Run the worker and return its answer, or an `error` where the process died or took too long."""
    (answer,), ended = ask_in_turn(python, [folder], images=images, engine=engine, timeout_s=timeout_s)
    return answer if answer is not None else {"error": ended}


def ask_in_turn(
    python: Path,
    folders: list[Path],
    *,
    images: list[Path],
    engine: str | None,
    timeout_s: float = TIMEOUT_S,
) -> tuple[list[dict[str, Any] | None], str | None]:
    """Run the worker once; return what it made of each bundle, `None` from that on at which it died, and how it died.

    Args:
        python: of the environment.
        folders: of the bundles, in the order in which they are read.
        images: the files that are classified.
        engine: of OpenCV 5.
        timeout_s: for all of them together.
    """
    with tempfile.TemporaryDirectory() as scratch:
        jobs = [
            {
                "bundle": str((folder / "bundle").absolute()),
                "logits": str((folder / "logits").absolute()),
                "images": [str(path.absolute()) for path in images],
                "engine": engine,
                "answer": f"{scratch}/answer-{number}.json",
            }
            for number, folder in enumerate(folders)
        ]
        Path(scratch, "job.json").write_text(json.dumps(jobs), encoding="utf-8")
        ended = _run_worker(python, scratch, timeout_s)
        return [_read_answer(Path(str(job["answer"]))) for job in jobs], ended


def _run_worker(python: Path, scratch: str, timeout_s: float) -> str | None:
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
        return f"no answer within {timeout_s:g} s"
    return None if done.returncode == 0 else f"the process {death(done.returncode)}{_last(done.stderr)}"


def _read_answer(path: Path) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it died before or while it wrote
        return None
    return answer


def death(code: int) -> str:
    """Say how a process ended that did not end well."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with the exit code {code}"


def _last(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return f": {lines[-1][:200]}" if lines else ""
