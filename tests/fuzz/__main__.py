"""Strange files by the thousand: `make fuzz FUZZ="manifests graphs --seconds 600 --seed 7"`.

    python tests/fuzz [PART ...] [--seconds 60] [--seed 1] [--count N]

Parts are `manifests` (through the readers in Python, C++, Node.js and a browser, which must agree), `graphs`, `models`,
`images`, `tables` and `runs`; all of them without a name. The time is shared among the parts; with `--count` each part
has so many files, however long they take. What a file must come to is an answer or a sentence: never a traceback, a
process that dies, one that hangs or takes gigabytes, or two readers of two minds. What failed is kept in `.fuzz/`, and
the exit code is then 1. The same seed draws the same files.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what other tests make, too

import files
import graphs
import manifests

KEPT, MOST_KEPT = Path(".fuzz"), 100  # of each part
GOOD = ("accepted", "refused")
DRAWS: dict[str, files.Draw] = {
    "graphs": graphs.draw_graph,
    "models": files.draw_model,
    "images": files.draw_image,
    "tables": files.draw_table,
    "runs": files.draw_run,
}
PARTS = ("manifests", *DRAWS)


class Report:
    """Counts by verdict, and what failed."""

    def __init__(self, part: str, seed: int) -> None:
        self.part, self.seed = part, seed
        self.verdicts: Counter[str] = Counter()
        self.started = self._said = time.monotonic()

    def add(self, verdict: str) -> None:
        """Count a verdict, and show every few seconds that it goes on."""
        self.verdicts[verdict] += 1
        if time.monotonic() - self._said > 2 and sys.stderr.isatty():
            self._said = time.monotonic()
            print(f"\r{self}", end="\r", file=sys.stderr)

    def keep(self, name: str) -> Path:
        """Return the place for a case that failed."""
        place = KEPT / f"{self.part}-{name}"
        if place.is_dir():
            shutil.rmtree(place)
        place.mkdir(parents=True)
        return place

    @property
    def failed(self) -> int:
        """How many came to what they must not."""
        return sum(count for verdict, count in self.verdicts.items() if verdict not in GOOD)

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        return (
            f"{self.part:9} {self.verdicts.total():7,} in {time.monotonic() - self.started:.0f} s: {counts or 'none'}"
        )


def _numbers(seconds: float, count: int | None, first: int) -> Iterator[int]:
    """Yield numbers of cases until the time is over, or so many of them."""
    end = time.monotonic() + seconds
    for number in itertools.count(first):
        if (number - first >= count) if count is not None else time.monotonic() > end:
            return
        yield number


def try_manifests(report: Report, numbers: Iterator[int]) -> None:
    """Put manifests through every reader; the page's sees a tenth of them, for it is slow to reach."""
    with ExitStack() as stack:
        readers = manifests.open_readers(stack, KEPT, print)
        for batch in itertools.count():
            drawn = [
                manifests.draw_manifest(random.Random(f"manifests {number}"))
                for number in itertools.islice(numbers, manifests.BATCH)
            ]
            if not drawn:
                return
            asked = {name: read for name, read in readers.items() if name != "page" or batch % 10 == 0}
            for place, (data, verdict, difference) in enumerate(manifests.compare(drawn, asked)):
                report.add("of two minds" if difference else verdict)
                if difference and report.failed <= MOST_KEPT:
                    kept = report.keep(f"{report.seed}-{batch * manifests.BATCH + place}")
                    (kept / "manifest.json").write_bytes(data)
                    (kept / "said.txt").write_text(difference, encoding="utf-8", errors="backslashreplace")


def try_files(report: Report, numbers: Iterator[int]) -> None:
    """Put files through the process that reads them."""
    with tempfile.TemporaryDirectory() as scratch:
        for folder, verdict, said in files.try_files(report.part, DRAWS[report.part], Path(scratch), numbers):
            report.add(verdict)
            if verdict not in GOOD and report.failed <= MOST_KEPT:
                kept = report.keep(folder.name.removeprefix(f"{report.part}-"))
                shutil.copytree(folder, kept, symlinks=True, dirs_exist_ok=True)
                (kept / "said.txt").write_text(said, encoding="utf-8", errors="backslashreplace")


def main() -> int:
    """Try each part, print its counts, and return the exit code."""
    parser = argparse.ArgumentParser(description="Put strange files through every reader of trainkit.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=60, help="for all parts together (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="draws other files (default: 1)")
    parser.add_argument("--count", type=int, help="files of each part, instead of a time")
    options = parser.parse_args()
    parts = options.parts or PARTS
    failed = 0
    for part in parts:
        report = Report(part, options.seed)
        numbers = _numbers(options.seconds / len(parts), options.count, first=options.seed * 10**9)
        (try_manifests if part == "manifests" else try_files)(report, numbers)
        print(report, flush=True)
        failed += report.failed
    if failed:
        print(f"{failed} failed; they are kept in {KEPT}/", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
