"""Every client of a bundle tests itself, Python, C++, Node.js, a page in a browser: three networks in two formats.

    python tests/clients [--quick] [--latency]

What this machine lacks (a compiler, Node.js, a browser) is named and left out. `--latency` measures instead how long
one photograph takes in each, with MobileNet 0.75.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from latency import print_latencies
from rich.console import Console
from runners import find_clients, read_line

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))

from tools import is_required  # noqa: E402

TOLERANCE = 1e-5  # of probabilities
KINDS = {"c++": "cpp", "node": "node", "web": "web"}


def main() -> int:
    """Run what the command line asks for; 1 where a client does not answer as Keras does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one client of each kind, what the gate runs")
    parser.add_argument("--latency", action="store_true", help="how long one photograph takes in each client")
    parser.add_argument("--folder", type=Path, default=ROOT / ".clients", help="what is installed, and the bundles")
    options = parser.parse_args()
    console, folder, started = Console(soft_wrap=True, highlight=False), options.folder.resolve(), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    clients, missing = find_clients(folder, quick=options.quick)
    for name, reason in missing.items():
        console.print(f"Left out {name}: {reason}", style="yellow")
    if required := [name for name in missing if is_required(KINDS[name.split(",")[0]])]:
        sys.exit(f"TRAINKIT_REQUIRE does not let these be left out: {'; '.join(required)}")
    shutil.rmtree(folder / "work", ignore_errors=True)
    subprocess.run([sys.executable, Path(__file__).with_name("bundles.py"), folder / "work"], check=True)
    bundles = sorted((folder / "work" / "exported").iterdir())
    if options.latency:
        print_latencies(clients, next(bundle for bundle in bundles if bundle.name == "mobilenet-onnx"), folder)
        return 0
    wrong = 0
    for client in clients:
        for bundle in bundles:
            if bundle.name.endswith(client.formats):
                wrong += not _report(console, client.name, bundle.name, client.selftest(bundle))
    console.print(f"{wrong} wrong, in {time.monotonic() - started:.0f} s")
    return int(wrong > 0)


def _report(console: Console, client: str, bundle: str, line: str) -> bool:
    """Print what a self-test said, and whether it is what is wanted."""
    found = read_line(line)
    if found is None:
        console.print(f"{client:<32}{bundle:<28}{line}", style="red")
        return False
    images, labels = int(found["images"]), int(found["labels"])
    right = found["verdict"] == "the same" and labels == images and float(found["difference"]) <= TOLERANCE
    # A browser has a decoder of its own: what it makes of a JPEG is told, and not judged.
    right = right and (client.startswith("web") or found["equal"] == found["originals"]) and "CONSOLE" not in line
    originals = f"{found['equal']} of {found['originals']} originals" if found["originals"] else ""
    console.print(
        f"{client:<32}{bundle:<28}{found['opencv']:<22}{labels} of {images} labels  {found['difference']:<9}"
        f"{originals:<20}{found['file']}{line[line.find(' CONSOLE') :] if 'CONSOLE' in line else ''}",
        style="green" if right else "red",
    )
    return right


if __name__ == "__main__":
    sys.exit(main())
