"""Which OpenCV reads what, and how exactly: `python tests/compat` measures it, and writes the table of the manual."""

from __future__ import annotations

import argparse
import itertools
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attention import KINDS
from bundles import folder_of
from cells import Cell, death, run_cells
from environments import (
    QUICK_READERS,
    READERS,
    USUAL_READERS,
    MissingEnvironmentError,
    Reader,
    find_python,
    is_ready,
    make_environment,
)
from networks import TESTED, Network, known_networks, write_photographs
from rich.console import Console
from table import count, save_results, write_kinds, write_table

from trainkit.bundles._export import FORMATS
from trainkit.files import write_json

ROOT = Path(__file__).resolve().parents[2]
BUILDER = Path(__file__).with_name("bundles.py")
BUILD_TIMEOUT_S = 900  # of one bundle
TOGETHER = 8  # bundles that one process reads, as long as they are right
QUICK_NETWORKS = ("fashion-mnist", "mobilenet")
_COLORS = {"green": "green", "declared": "yellow", "red": "red"}


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; 1 where a cell is red or an environment cannot be made."""
    options = _parse(arguments)
    console = Console(soft_wrap=True, highlight=False)
    networks, readers, formats = _choose(options)
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if options.survey:
        return _survey(folder / "survey", networks, formats, console)
    try:
        if not _make_environments(folder, readers, console):
            return 0 if options.quick else 1
    except MissingEnvironmentError as error:
        print(error, file=sys.stderr)
        return 1
    images = _prepare_work(folder / "work", keep=options.keep)
    _write_bundles(folder / "work", networks, formats, images, console)
    cells = _run_cells(folder, networks, formats, readers, images[:TESTED], console)
    save_results(folder / "results.json", cells)
    whole = not options.quick and options.readers in (None, "all")
    if whole and not options.networks and not options.formats:
        write_table(options.page, cells)
    if whole and options.networks == "attention" and options.formats in (None, "onnx"):
        write_kinds(options.page, [cell for cell in cells if cell.format == "onnx"], KINDS)
    _print_reds(cells, console)
    console.print(f"{count(cells)}, in {time.monotonic() - started:.0f} s: {folder / 'results.json'}")
    return int(any(cell.status == "red" for cell in cells))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/compat", description=__doc__, epilog="example: python tests/compat --networks mobilenet"
    )
    parser.add_argument("--networks", metavar="A,B", help="only these; `attention` for all with attention and the like")
    parser.add_argument("--readers", metavar="A,B", help=f"only these of {', '.join(READERS)}; `all` for all of them")
    parser.add_argument("--formats", metavar="A,B", help=f"only these of {', '.join(FORMATS)}")
    parser.add_argument("--quick", action="store_true", help="what the gate runs")
    parser.add_argument("--all", action="store_true", help="the other families of keras.applications too")
    parser.add_argument("--survey", action="store_true", help="export only, and say why what is refused is refused")
    parser.add_argument("--keep", action="store_true", help="take the bundles of the last run where there are any")
    parser.add_argument("--folder", type=Path, default=ROOT / ".compat", help="environments, bundles, results")
    parser.add_argument(
        "--page", type=Path, default=ROOT / "docs" / "matrix.md", help="where a full run writes its table"
    )
    return parser.parse_args(arguments)


def _choose(options: argparse.Namespace) -> tuple[list[Network], list[Reader], list[str]]:
    known = known_networks()
    names = [
        name
        for name, network in known.items()
        if network.group == "small"
        or (network.group == "family" and (not options.quick or name in QUICK_NETWORKS))
        or (network.group == "other" and options.all)
    ]
    readers = QUICK_READERS if options.quick else USUAL_READERS
    attending = ",".join(name for name, network in known.items() if network.group == "attention")
    listed = attending if options.networks == "attention" else options.networks
    return (
        [known[name] for name in _listed("network", listed, known, names)],
        [READERS[name] for name in _listed("reader", _spelled_out(options.readers), READERS, readers)],
        _listed("format", options.formats, FORMATS, FORMATS),
    )


def _spelled_out(readers: str | None) -> str | None:
    return ",".join(READERS) if readers == "all" else readers


def _listed(kind, text, known, default):  # type: ignore[no-untyped-def]
    names = text.split(",") if text else list(default)
    for name in names:
        if name not in known:
            print(f"Unknown {kind} `{name}`. Expected some of: {', '.join(known)}", file=sys.stderr)
            raise SystemExit(2)
    return names


def _make_environments(folder: Path, readers: list[Reader], console: Console) -> bool:
    missing = [v for v in dict.fromkeys(reader.opencv for reader in readers) if not is_ready(folder, v)]
    if not missing:
        return True
    python = find_python()
    if python is None:
        print(
            "No Python 3.11 or 3.12 that runs was found on PATH, so no OpenCV was tested. Install one: the older "
            "wheels of OpenCV need NumPy 1, and NumPy 1 needs it.",
            file=sys.stderr,
        )
        return False
    for version in missing:
        console.print(f"making the environment for OpenCV {version}")
        make_environment(folder, version, python)
    return True


def _prepare_work(work: Path, *, keep: bool) -> list[Path]:
    if work.exists() and not keep:
        shutil.rmtree(work)
    work.mkdir(exist_ok=True)
    return write_photographs(work / "photographs")


def _write_bundles(
    work: Path, networks: list[Network], formats: list[str], images: list[Path], console: Console
) -> None:
    """Write every bundle that is not there. A builder that dies marks the bundle it was at, and the next goes on."""
    while waiting := _missing(work, networks, formats):
        for name, of_network in waiting:
            for model_format in of_network:  # what a builder that died left of it
                shutil.rmtree(folder_of(work, name, model_format), ignore_errors=True)
        current, ended = _run_builder(work, waiting, images, console)
        if ended is None:
            return
        name, model_format = current if current is not None else (waiting[0][0], waiting[0][1][0])
        target = folder_of(work, name, model_format)
        target.mkdir(exist_ok=True)
        write_json(target / "outcome.json", {"status": "red", "reason": f"the process of the export {ended}"})


def _missing(work: Path, networks: list[Network], formats: list[str]) -> list[tuple[str, list[str]]]:
    waiting = []
    for network in networks:
        left = [f for f in formats if not (folder_of(work, network.name, f) / "outcome.json").is_file()]
        if left:
            waiting.append((network.name, left))
    return waiting


def _run_builder(
    work: Path, waiting: list[tuple[str, list[str]]], images: list[Path], console: Console
) -> tuple[tuple[str, str] | None, str | None]:
    """Run one builder to its end; return the bundle it was at when it died, and how it died."""
    formats = dict(waiting)
    current: tuple[str, str] | None = None
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch, "job.json")
        write_json(job, {"networks": waiting, "work": str(work), "images": [str(path) for path in images]})
        with subprocess.Popen(
            [sys.executable, BUILDER, job], stdout=subprocess.PIPE, text=True, cwd=scratch
        ) as builder:
            lines: queue.Queue[str | None] = queue.Queue()
            threading.Thread(target=_read_lines, args=(builder, lines), daemon=True).start()
            try:
                while (line := lines.get(timeout=BUILD_TIMEOUT_S)) is not None:
                    if line.startswith("building "):
                        name, *model_format = line.split()[1:]
                        current = (name, model_format[0] if model_format else formats[name][0])
                        console.print(line.strip())
            except queue.Empty:
                builder.kill()
                return current, f"gave no sign for {BUILD_TIMEOUT_S} s"
    if builder.returncode == 0:
        return None, None
    if current is None:  # it did not come to any bundle: our own mistake
        raise SystemExit("The process that writes the bundles could not start; its error stands above.")
    return current, death(builder.returncode)


def _read_lines(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _run_cells(
    folder: Path,
    networks: list[Network],
    formats: list[str],
    readers: list[Reader],
    images: list[Path],
    console: Console,
) -> list[Cell]:
    bundles = [(n.name, f, folder_of(folder / "work", n.name, f)) for n in networks for f in formats]
    parts = [bundles[start : start + TOGETHER] for start in range(0, len(bundles), TOGETHER)]

    def run(key: tuple[list[tuple[str, str, Path]], Reader]) -> list[Cell]:
        return run_cells(key[0], key[1], images=images, environments=folder)

    cells: dict[tuple[str, str, str], Cell] = {}
    with ThreadPoolExecutor(2) as pool:
        for cell in itertools.chain.from_iterable(pool.map(run, itertools.product(parts, readers))):
            cells[cell.network, cell.format, cell.reader] = cell
            figures = f" {cell.logits:.0e} {cell.probabilities:.0e}" if cell.logits is not None else ""
            color = _COLORS[cell.status]
            console.print(
                f"{cell.reader:<11} {cell.network} {cell.format} [{color}]{cell.status}[/{color}]{figures} ", end=""
            )
            console.print(cell.reason[:150], markup=False)
    return [cells[name, model_format, reader.name] for name, model_format, _ in bundles for reader in readers]


def _survey(work: Path, networks: list[Network], formats: list[str], console: Console) -> int:
    """Export without asking any reader and print what came of each network; 1 where one was not even refused."""
    images = _prepare_work(work, keep=False)
    _write_bundles(work, networks, formats, images, console)
    counted: Counter[str] = Counter()
    for network, model_format in itertools.product(networks, formats):
        path = folder_of(work, network.name, model_format) / "outcome.json"
        outcome = json.loads(path.read_text(encoding="utf-8"))
        status = "refused" if outcome.get("refused") else outcome["status"]
        counted[status] += 1
        if status != "written":
            console.print(f"{status} {network.name} {model_format}: ", end="")
            console.print(outcome["reason"], markup=False)
    console.print(", ".join(f"{counted[status]} {status}" for status in ("written", "declared", "refused", "red")))
    return int(counted["red"] > 0)


def _print_reds(cells: list[Cell], console: Console) -> None:
    """Print what is red, with the readers that say the same in one line."""
    readers: dict[tuple[str, str, str], list[str]] = {}
    for cell in cells:
        if cell.status == "red":
            readers.setdefault((cell.network, cell.format, cell.reason), []).append(cell.reader)
    for (network, model_format, reason), names in readers.items():
        console.print(f"[red]red[/red] {network} {model_format} in {', '.join(names)}: ", end="")
        console.print(reason, markup=False)


if __name__ == "__main__":
    sys.exit(main())
