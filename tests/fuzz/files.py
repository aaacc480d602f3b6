"""Strange graphs, models, images, tables and runs, each read by a process of its own that may die of it."""

from __future__ import annotations

import io
import json
import math
import random
import select
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from mutated_pictures import mutated_picture
from mutated_runs import mutated_run
from mutations import mutate_bytes, mutate_value, write_json

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "data"
SECONDS = 180  # after which a file hangs; a trial of a network ends after 120
MEGABYTES = 6000  # that no file of a few kilobytes may take


class Target:
    """The process that reads; a new one where the last one died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, part: str, path: Path) -> tuple[str, str]:
        """Return the verdict on a file, and what was said."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps({"part": part, "path": str(path)}) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], SECONDS)
            line = process.stdout.readline() if ready else None
        except BrokenPipeError:
            line = ""
        if line:
            answer = json.loads(line)
            if answer["megabytes"] > MEGABYTES:
                self.close()  # the most that it ever held never falls
                return "memory", f"{answer['megabytes']:.0f} MB; {answer['said']}"
            return answer["verdict"], answer["said"]
        self.close()
        return ("hung", f"no answer in {SECONDS} s") if line is None else ("died", f"exit code {process.returncode}")

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "target.py")]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
        )
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None


Draw = Callable[[Path, random.Random], Path]  # writes a strange file below a folder, and returns what is to be read


def draw_model(folder: Path, generator: random.Random) -> Path:
    """Write a Keras file: bytes changed, or a value in its description, or a member of its archive."""
    source = generator.choice([*sorted(DATA.glob("keras2/*.keras")), *sorted(DATA.glob("keras2/*.h5")), _RUN_MODEL])
    path = folder / f"model{source.suffix}"
    if source.suffix == ".h5" or generator.random() < 0.2:
        path.write_bytes(mutate_bytes(source.read_bytes(), generator))
        return path
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = generator.choice(sorted(members))
    if chosen.endswith(".json") and generator.random() < 0.9:
        value = json.loads(members[chosen])
        for _ in range(generator.choice((1, 1, 3))):
            value = mutate_value(value, generator)
        members[chosen] = write_json(value, generator).encode("utf-8", "surrogatepass")
    elif generator.random() < 0.1:
        members[f"../{chosen}"] = members.pop(chosen)
    else:
        members[chosen] = mutate_bytes(members[chosen], generator)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


_RUN_MODEL = DATA / "run-v1" / "model.keras"


def draw_image(folder: Path, generator: random.Random) -> Path:
    """Write a damaged picture into a folder of two classes, as training reads it."""
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        cv2.imwrite(str(folder / name / "good.png"), np.zeros((8, 8, 3), np.uint8))
    return mutated_picture(folder / "cat", generator.randrange(10**9))[0]


_CELLS = (
    "",
    " ",
    '"',
    "a,b",
    "0",
    "-1",
    "1e400",
    "9" * 5000,
    "nan",
    "cat",
    "../x.png",
    "/etc/passwd",
    "\x1b[2J",
    "\ufeff",
)


def draw_table(folder: Path, generator: random.Random) -> Path:
    """Write a table of images, or arrays in an `.npz` file, with something changed."""
    if generator.random() < 0.4:
        return _draw_arrays(folder, generator)
    (folder / "img").mkdir()
    rows = [["image", "label"]]
    for number in range(8):
        name = f"img/{number}.png"
        cv2.imwrite(str(folder / name), np.full((8, 8, 3), 30 * number, np.uint8))
        rows.append([name, "cat" if number % 2 else "dog"])
    for _ in range(generator.choice((0, 0, 1, 1, 3))):
        row = generator.choice(rows)
        draw = generator.random()
        if draw < 0.6:
            row[generator.randrange(len(row))] = generator.choice(_CELLS)
        elif draw < 0.8:
            row.append(generator.choice(_CELLS))
        elif len(row) > 1:
            row.pop()
    separator = generator.choice((",", ",", ";", "\t"))
    text = "\n".join(separator.join(row) for row in rows)
    data = text.encode(generator.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")), "surrogatepass")
    path = folder / "table.csv"
    path.write_bytes(mutate_bytes(data, generator) if generator.random() < 0.2 else data)
    return path


def _draw_arrays(folder: Path, generator: random.Random) -> Path:
    dtype = generator.choice((np.uint8, np.float32, np.int64, np.uint16, np.bool_, object))
    sides = generator.choice(((8, 8), (8, 8, 1), (8, 8, 3), (8, 8, 4), (3, 8, 8), (64,), ()))
    pictures = np.arange(12).repeat(math.prod(sides)).reshape(12, *sides).astype(dtype)
    labels = np.array([number % generator.choice((1, 2, 3)) for number in range(generator.choice((12, 12, 11)))])
    labels = generator.choice((labels, labels, labels.astype(str), labels.astype(float), labels * 10**9, np.eye(12)))
    file = io.BytesIO()
    np.savez(
        file, **{generator.choice(("x_train", "x", "images")): pictures, generator.choice(("y_train", "y")): labels}
    )
    data = file.getvalue()
    path = folder / "arrays.npz"
    path.write_bytes(mutate_bytes(data, generator) if generator.random() < 0.6 else data)
    return path


def draw_run(folder: Path, generator: random.Random) -> Path:
    """Write a run of which one file is damaged."""
    return mutated_run(folder, generator.randrange(10**6))[0]


def try_files(part: str, draw: Draw, scratch: Path, seeds: Iterator[int]) -> Iterator[tuple[Path, str, str]]:
    """Yield for each seed the folder of the strange file, the verdict on it and what was said; the folder then goes."""
    target = Target()
    try:
        for seed in seeds:
            folder = scratch / f"{part}-{seed}"
            folder.mkdir()
            yield folder, *target.read(part, draw(folder, random.Random(f"{part} {seed}")))
            with suppress(OSError):
                shutil.rmtree(folder)
    finally:
        target.close()
