"""`trainkit predict` and every client over a folder, beside a bare loop in the same language: whole processes.

A bare loop is what one would write: OpenCV, a thread that reads ahead, and nothing that is checked.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PHOTOGRAPHS, FRAMES = 800, 400
PAIRS = 5
HEIGHT, WIDTH = 375, 500
_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]


def write_photographs(folder: Path, count: int) -> None:
    """Write two classes of photographs, pieces of those that scikit-learn carries; no two are equal."""
    from sklearn import datasets

    source = Path(datasets.__file__).parent / "images"
    generator = np.random.default_rng(0)
    for name in ("china", "flower"):
        scene = cv2.resize(cv2.imread(str(source / f"{name}.jpg")), None, fx=1.5, fy=1.5)
        (folder / name).mkdir(parents=True)
        for number in range(count // 2):
            row, column = generator.integers(0, np.array(scene.shape[:2]) - (HEIGHT, WIDTH))
            piece = scene[row : row + HEIGHT, column : column + WIDTH]
            cv2.imwrite(str(folder / name / f"{number:04}.jpg"), piece, [cv2.IMWRITE_JPEG_QUALITY, 85])


def write_film(path: Path, folder: Path, count: int) -> None:
    """Write a film of photographs."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    for photograph in sorted(folder.rglob("*.jpg"))[:count]:
        writer.write(cv2.imread(str(photograph)))
    writer.release()


def make_bundle(folder: Path, photographs: Path) -> Path:
    """Export a MobileNet 0.25 that is hardly trained, with every client."""
    import trainkit

    few = folder / "few"
    for path in photographs.rglob("*000?.jpg"):
        (few / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, few / path.parent.name)
    settings = {"model.alpha": 0.25, "model.weights": "none"}
    run = trainkit.train(few, model="mobilenet", epochs=1, settings=settings, experiments=folder / "experiments")
    bundle = trainkit.export(run, exported=folder / "exported")
    trainkit.add_clients(bundle, ["cpp", "node"])
    return Path(bundle.path)


def seconds(command: list[str]) -> float:
    """Return how long a process takes; it must end well, and answer every picture."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=_ROOT, check=True)
    return time.perf_counter() - started


def compare(ours: list[str], bare: list[str], pairs: int = PAIRS) -> dict[str, float]:
    """Return the medians of whole processes, in turn, and the median of their ratios: above 1 ours is faster."""
    times = [(seconds(ours), seconds(bare)) for _ in range(pairs)]
    return {
        "ours_s": statistics.median(one for one, _ in times),
        "bare_s": statistics.median(other for _, other in times),
        "ratio": statistics.median(other / one for one, other in times),
    }


def python_commands(bundle: Path, source: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    bare = [sys.executable, str(_HERE / "bare_loop.py"), str(bundle), str(source)]
    predict = [sys.executable, "-m", "trainkit", "predict", str(bundle), str(source), "--top", "1"]
    yield "trainkit predict", predict, bare
    yield "classify.py", [sys.executable, str(bundle / "classify.py"), str(source), "--top", "1"], bare


def cpp_commands(bundle: Path, source: Path, folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Build the client and the loop, where this machine has an OpenCV for C++."""
    build = ["cmake", "-S", str(bundle / "cpp"), "-B", str(folder / "cpp")]
    if not shutil.which("cmake") or subprocess.run(build, capture_output=True).returncode:
        return
    subprocess.run(["cmake", "--build", str(folder / "cpp")], check=True, capture_output=True)
    (folder / "bare").mkdir()
    lists = (bundle / "cpp" / "CMakeLists.txt").read_text().replace("classify", "bare_loop")
    (folder / "bare" / "CMakeLists.txt").write_text(lists)
    shutil.copy(_HERE / "bare_loop.cpp", folder / "bare")
    subprocess.run(["cmake", "-S", str(folder / "bare"), "-B", str(folder / "bare" / "build")], check=True)
    subprocess.run(["cmake", "--build", str(folder / "bare" / "build")], check=True)
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    blob: dict[str, Any] = manifest["blob"]
    numbers = [*blob["size"], blob["mean"][0], repr(blob["scalefactor"]), int(blob["crop"])]
    bare = [str(folder / "bare" / "build" / "bare_loop"), str(bundle / manifest["model"]["file"])]
    ours = [str(folder / "cpp" / "classify"), str(bundle), str(source), "--top", "1"]
    yield "the client for C++", ours, [*bare, *map(str, numbers), str(source)]


def node_commands(bundle: Path, source: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Take the packages that `make clients` has installed, where it has."""
    for modules in sorted((_ROOT / ".clients").glob("node-*/node_modules")):
        if not shutil.which("node") or not (modules / "sharp").is_dir():
            continue
        own = bundle / "node" / "node_modules"
        own.unlink(missing_ok=True)
        own.symlink_to(modules)
        ours = ["node", str(bundle / "node" / "classify.mjs"), str(source), "--top", "1"]
        bare = ["node", str(_HERE / "bare_loop.mjs"), str(modules), str(bundle), str(source)]
        yield f"the client for Node.js, OpenCV {modules.parent.name.split('-')[1]}", ours, bare


def rows() -> Iterator[dict[str, Any]]:
    """Yield the figures of each client as soon as they are there."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photographs, film = folder / "photographs", folder / "film.avi"
        write_photographs(photographs, PHOTOGRAPHS)
        write_film(film, photographs, FRAMES)
        bundle = make_bundle(folder, photographs)
        for name, ours, bare in python_commands(bundle, photographs):
            yield {"name": f"{name}, {PHOTOGRAPHS} photographs", "count": PHOTOGRAPHS, **compare(ours, bare)}
        for name, ours, bare in python_commands(bundle, film):
            yield {"name": f"{name}, a film", "count": FRAMES, **compare(ours, bare)}
        for name, ours, bare in (*cpp_commands(bundle, photographs, folder), *node_commands(bundle, photographs)):
            yield {"name": f"{name}, {PHOTOGRAPHS} photographs", "count": PHOTOGRAPHS, **compare(ours, bare)}


if __name__ == "__main__":
    for row in rows():
        print(
            f"{row['name']:60} {row['ours_s']:6.2f} s, bare {row['bare_s']:6.2f} s, ratio {row['ratio']:.3f}",
            flush=True,
        )
