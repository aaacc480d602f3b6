"""The whole way on one page: `make demo`, or `python -m trainkit.cli._demo`.

Runs trainkit's own commands, as a user would type them, on the digits that scikit-learn carries.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from trainkit.bundles._find import EXPORTED
from trainkit.cli._output import print_table
from trainkit.runs._run import find_run


def main() -> None:
    """Train, export, check, classify; exit with 1 as soon as something disagrees."""
    steps = [_run("Train a small CNN on handwritten digits", "train", "digits", "--name", "demo")]
    run = find_run("latest")
    bundle = EXPORTED / f"{run.name}-onnx"
    steps.append(_run("Export it for OpenCV", "export", run.name, "--format", "onnx"))
    steps.append(_run("Check it against Keras on all test images", "check", bundle.name, "--data", "digits"))
    images = sorted(map(str, (bundle / "selftest").glob("*.png")))[:5]
    steps.append(_run("Classify images with cv2.dnn", "predict", bundle.name, *images, "--top", "2"))
    _print_summary(steps, run.path, bundle, run.result["test_accuracy"])


def _run(what: str, *arguments: str) -> tuple[str, float]:
    """Print a trainkit command, run it, and stop the demo where it fails."""
    command = shlex.join(["trainkit", *arguments])
    print(f"\n# {what}\n$ {command}", flush=True)
    started = time.monotonic()
    code = subprocess.run([sys.executable, "-m", "trainkit", *arguments], check=False).returncode
    if code != 0:
        sys.exit(f"The demo stops: `{command}` ended with exit code {code}.")
    return what, time.monotonic() - started


def _print_summary(steps: list[tuple[str, float]], run: Path, bundle: Path, test_accuracy: float) -> None:
    verified = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["opencv"]["verified"]
    version, agreement = next(iter(verified.items()))
    rows = [
        *([what, f"{seconds:.1f} s"] for what, seconds in steps),
        ["Test accuracy", f"{test_accuracy:.4f}"],
        [f"Same labels as Keras in OpenCV {version}", f"{agreement['top1_agreement']:.2%}"],
        ["The run (open report.html in it)", str(run)],
        ["The bundle (copy it anywhere that has OpenCV)", str(bundle)],
    ]
    print()
    print_table(["What the demo did", ""], rows)


if __name__ == "__main__":
    main()
