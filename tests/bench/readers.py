"""The exported graph beside the naive one and onnxruntime, by network, OpenCV and batch size.

    python tests/bench/readers.py [--networks A,B] [--readers A,B] [--batches 1,8] [--threads 2] [--json FILE]

Each OpenCV has an environment of its own, which `tests/compat` makes; onnxruntime is put into it, in the version
that is installed here. The three take turns in one process, with as many threads each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import exporting

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "compat"))

import environments  # noqa: E402

NETWORKS = (*exporting.NETWORKS, "mobilenet-v2@96")
READERS = ("4.8", "4.14", "5.0-classic", "5.0-new")
BATCHES = (1, 8)
THREADS = 2
SECONDS = 3.0  # of each row, beyond seven runs
_TIMEOUT_S = 900
_WORKER = Path(__file__).with_name("reading_networks.py")
_NOT_READ = "ended the process"


def rows(
    networks: Sequence[str] = NETWORKS,
    readers: Sequence[str] = READERS,
    batches: Sequence[int] = BATCHES,
    *,
    threads: int = THREADS,
    seconds: float = SECONDS,
    folder: Path = ROOT / ".compat",
) -> Iterator[dict[str, Any]]:
    """Yield the figures of each network in each reader as soon as they are there.

    Args:
        networks: by name; `@96` behind one is the side of its images.
        readers: names of `tests/compat`.
        batches: how many images at a time.
        threads: of OpenCV and of onnxruntime.
        seconds: how long a row takes, at least seven runs.
        folder: where the environments lie, and the graphs in it.
    """
    pythons = {name: _prepared(folder, environments.READERS[name]) for name in readers}
    for network in networks:
        files = write_graphs(network, folder / "graphs" / network)
        for name in readers:
            for batch in batches:
                job = {**files, "batch": batch, "threads": threads, "seconds": seconds}
                job["engine"] = environments.READERS[name].engine
                found = _timed(pythons[name], job, folder / "job.json")
                yield {"network": network, "reader": name, "batch": batch, "threads": threads, **found}


def _prepared(folder: Path, reader: environments.Reader) -> Path:
    """Return the Python of a reader's environment, which is made where it is missing; with onnxruntime in it."""
    if not environments.is_ready(folder, reader.opencv):
        python = environments.find_python()
        if python is None:
            raise environments.MissingEnvironmentError("No Python 3.11 or 3.12 that runs was found on PATH.")
        folder.mkdir(parents=True, exist_ok=True)
        environments.make_environment(folder, reader.opencv, python)
    python = environments.environment_python(folder, reader.opencv)
    if subprocess.run([python, "-I", "-c", "import onnxruntime"], capture_output=True, check=False).returncode:
        wanted = f"onnxruntime=={version('onnxruntime')}"
        subprocess.run([python, "-m", "pip", "install", "--quiet", wanted], capture_output=True, check=True)
    return python


def write_graphs(network: str, folder: Path) -> dict[str, Any]:
    """Write both graphs of a network, in a process of their own, and return their files and the sides of an image."""
    code = f"import readers; readers.build_graphs({network!r}, {str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads((folder / "graphs.json").read_text(encoding="utf-8"))
    return found


def build_graphs(network: str, folder: str) -> None:
    """Build a network and write its graphs."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    model = exporting.build(network)
    exporting.calm(model)
    height, width, channels = model.input_shape[1:]
    exporting.save_ours(model, target / "ours.onnx", target / "recent.onnx")
    exporting.save_naive(model, target / "naive.onnx")
    files = {name: str(target.absolute() / f"{name}.onnx") for name in ("ours", "naive")}
    (target / "graphs.json").write_text(json.dumps({**files, "shape": [channels, height, width]}), encoding="utf-8")


def _timed(python: Path, job: dict[str, Any], path: Path) -> dict[str, Any]:
    """Time a job; where its process ends, once more without the naive graph."""
    for leave_out in ((), ("naive",)):
        asked = {key: value for key, value in job.items() if key not in leave_out}
        path.write_text(json.dumps(asked), encoding="utf-8")
        done = subprocess.run(
            [python, "-I", _WORKER, path], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        if not done.returncode:
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            found["wrong"].update(dict.fromkeys(leave_out, _NOT_READ))
            return found
    return {"error": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:120]}


def line_of(row: dict[str, Any]) -> str:
    """Return a row as a line of text."""
    start = f"{row['network']:<20}{row['reader']:<13}{row['batch']:>2}"
    if "error" in row:
        return f"{start}  {row['error']}"
    figures = "".join(f"{row['ms'][name]:>11.2f}" if name in row["ms"] else f"{'-':>11}" for name in _COLUMNS)
    ratios = "".join(
        f"{row['ratio'][name]:>8.2f}" if name in row["ratio"] else f"{'-':>8}" for name in ("naive", "onnxruntime")
    )
    wrong = "; ".join(f"{name} {what}" for name, what in row["wrong"].items())
    return f"{start}{figures}{ratios}  {wrong}".rstrip()


def sums_of(found: list[dict[str, Any]]) -> dict[str, float]:
    """Return the sum of our times over the sum of the naive ones, by reader and of all; what is wrong is left out."""
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in found:
        if "error" not in row and not row["wrong"] and {"ours", "naive"} <= row["ms"].keys():
            for key in (row["reader"], "all"):
                pairs[key].append((row["ms"]["ours"], row["ms"]["naive"]))
    return {key: sum(ours for ours, _ in own) / sum(naive for _, naive in own) for key, own in pairs.items()}


_COLUMNS = ("ours", "naive", "onnxruntime")
_HEAD = f"{'network':<20}{'reader':<13}{'n':>2}{'ours':>11}{'naive':>11}{'onnxruntime':>11}{'/naive':>8}{'/onnx':>8}"


def main() -> None:
    """Measure what the command line asks for, print a row as soon as it is there, and write all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--threads", type=int, default=THREADS, help="one is timed by the processor's own clock")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--folder", type=Path, default=ROOT / ".compat", help="environments and graphs")
    parser.add_argument("--json", type=Path, help="a file for the rows")
    options = parser.parse_args()
    print(_HEAD)
    found = []
    for row in rows(
        options.networks.split(","),
        options.readers.split(","),
        [int(batch) for batch in options.batches.split(",")],
        threads=options.threads,
        seconds=options.seconds,
        folder=options.folder,
    ):
        found.append(row)
        print(line_of(row), flush=True)
        if options.json:
            options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    print("\n".join(f"{key}: {value:.3f} of the naive time" for key, value in sums_of(found).items()))


if __name__ == "__main__":
    main()
