"""The wheel, away from the checkout: what it holds, what it does with little beside it, and the demo with everything.

    python tests/wheel [--part small|full] [--keep]

Each environment is new, and pip takes what it finds today: no version is pinned. `small` has numpy and OpenCV alone
(`Classifier` and `Detector` answer), then what the command line needs too (`predict`, `runs`, `data check`, `clients`;
`train` says what to install). `full` installs all that the wheel asks for, about 3 GB, and runs the demo's commands.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "tests" / "data" / "bundle-v1"
READERS = ("numpy", "opencv-python-headless")
COMMANDS = ("typer", "rich", "pillow", "filelock", "tomli-w")
ANSWER = """
import json, sys
import cv2
import trainkit

print(trainkit.__file__)
classifier, detector = trainkit.Classifier(sys.argv[1]), trainkit.Detector(sys.argv[2])
images = [cv2.imread(path) for path in sys.argv[4:]]
answers = [[one.label, one.probability] for image in images for one in classifier.predict(image, top=1)]
boxes = [[one.label, list(one.box)] for one in detector.predict(cv2.imread(sys.argv[3]))]
print(json.dumps({"answers": answers, "boxes": boxes}))
"""


def main() -> None:
    """Build the wheel and try it; end with the first thing that is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("small", "full"), help="one of the two only")
    parser.add_argument("--keep", action="store_true", help="leave the folder, and say where it is")
    options = parser.parse_args()
    folder, started = Path(tempfile.mkdtemp(prefix="trainkit-wheel-")), time.monotonic()
    try:
        wheel = build_wheel(folder)
        check_contents(wheel)
        if options.part != "full":
            try_small(wheel, folder)
        if options.part != "small":
            try_full(wheel, folder)
    finally:
        if options.keep:
            print(f"Left {folder}")
        else:
            shutil.rmtree(folder)
    print(f"The wheel is right, in {time.monotonic() - started:.0f} s")


def build_wheel(folder: Path) -> Path:
    """Build from a copy, so that nothing that an earlier build left in the checkout gets into the wheel."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source)
    shutil.copytree(ROOT / "trainkit", source / "trainkit", ignore=shutil.ignore_patterns("__pycache__"))
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source], cwd=folder)
    (wheel,) = folder.glob("*.whl")
    print(f"Built {wheel.name}, {wheel.stat().st_size / 1e3:.0f} kB", flush=True)
    return wheel


def check_contents(wheel: Path) -> None:
    """Hold that the wheel has every file of the package, and nothing beside it."""
    present = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = [path for path in (ROOT / "trainkit").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {path.relative_to(ROOT).as_posix() for path in package}
    hold(present == expected, f"The wheel's files differ from the package's: {sorted(present ^ expected)}")


def try_small(wheel: Path, folder: Path) -> None:
    """Try the wheel without its dependencies: what is said to work does, and `train` says what to install."""
    from strange_models import colored_cells, write_color_detector

    python, work = make_environment(folder / "small", *READERS), folder / "elsewhere"
    work.mkdir()
    run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], cwd=work)
    shutil.copytree(BUNDLE, work / "exported" / "digits")
    cv2.imwrite(str(work / "cells.png"), colored_cells({(0, 1): "red", (2, 3): "blue"}))
    detector = write_color_detector(work / "detector")
    images = sorted((BUNDLE / "selftest").glob("*.png"))
    location, answers = run(
        [python, "-c", ANSWER, BUNDLE, detector, work / "cells.png", *images], cwd=work
    ).splitlines()
    hold(location.startswith(str(folder)), f"Not the wheel's trainkit was tried: {location}")
    found, wanted = json.loads(answers), json.loads((BUNDLE / "selftest" / "selftest.json").read_text(encoding="utf-8"))
    check_answers(found, wanted)
    print("numpy and OpenCV alone: Classifier and Detector answer", flush=True)
    run([python, "-m", "pip", "install", "--quiet", *COMMANDS], cwd=work)
    try_commands(python.with_name("trainkit"), work, images[0])


def check_answers(found: dict[str, list[list[object]]], wanted: object) -> None:
    """Hold the labels against those that the bundle's self-test has, and the boxes against the painted cells."""
    labels = re.findall(r'"label": "([^"]+)"', json.dumps(wanted))
    hold(bool(labels), "The bundle's self-test has no labels")
    hold([label for label, _ in found["answers"]] == labels, f"Other labels than Keras': {found['answers']} {labels}")
    hold(sorted(label for label, _ in found["boxes"]) == ["blue", "red"], f"Other boxes: {found['boxes']}")


def try_commands(trainkit: Path, work: Path, image: Path) -> None:
    """Run the commands that need neither TensorFlow nor the rest, and one that does."""
    photos = work / "photos"
    for name in ("first", "second"):
        shutil.copytree(BUNDLE / "selftest", photos / name, ignore=shutil.ignore_patterns("*.json"))
    run([trainkit, "--version"], cwd=work)
    document = json.loads(run([trainkit, "predict", "digits", image, "--json"], cwd=work))
    hold(bool(document), "`predict` printed no answers")
    hold(json.loads(run([trainkit, "runs", "--json"], cwd=work)) == [], "`runs` found runs in an empty folder")
    checked = json.loads(run([trainkit, "data", "check", photos, "--json"], cwd=work))
    hold(checked["images"] == 16, f"`data check` counted {checked['images']} images, not 16")
    run([trainkit, "clients", "digits", "--add", "cpp,node,web"], cwd=work)
    done = subprocess.run([trainkit, "train", "digits"], cwd=work, env=environment(), capture_output=True, text=True)
    sentence = r"This needs the package (\S+), which is not installed\. Install it.*: pip install \1\n"
    hold(
        done.returncode == 1 and not done.stdout and re.fullmatch(sentence, done.stderr) is not None,
        f"`train` without TensorFlow ended with {done.returncode}: {done.stdout}{done.stderr}",
    )
    print(
        "and typer, rich, pillow, filelock, tomli-w: the commands work; `train` says:", done.stderr.strip(), flush=True
    )


def try_full(wheel: Path, folder: Path) -> None:
    """Install everything, unpinned, and run the demo's commands in an empty folder."""
    started = time.monotonic()
    python, work = make_environment(folder / "full", wheel), folder / "empty"
    print(f"Installed all that the wheel asks for, in {time.monotonic() - started:.0f} s", flush=True)
    work.mkdir()
    run([python, "-m", "pip", "check"], cwd=work)
    location = run([python, "-c", "import trainkit; print(trainkit.__file__)"], cwd=work).strip()
    hold(location.startswith(str(folder)), f"Not the wheel's trainkit was tried: {location}")
    subprocess.run([python, "-m", "trainkit.cli._demo"], cwd=work, env=environment(), check=True)


def make_environment(folder: Path, *packages: str | Path) -> Path:
    """Make a virtual environment with the newest of these packages, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", *packages], cwd=folder)
    return python


def environment() -> dict[str, str]:
    """Return the environment without what leads Python back to the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}


def run(command: list[str | Path], *, cwd: Path) -> str:
    """Run a command to its end and return what it prints; end everything where it fails."""
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
    hold(
        done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout}{done.stderr}"
    )
    return done.stdout


def hold(right: bool, otherwise: str) -> None:
    """End with a sentence where something is wrong."""
    if not right:
        sys.exit(otherwise)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    main()
