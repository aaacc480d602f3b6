"""Copies of a small run, each damaged in some way by a seed: what a stranger may send."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.training._state import STATE_FILE

RUN = Path(__file__).parent / "data" / "run-v1"
DOCUMENTS = ("result.json", "environment.json", "preprocessing.json")
FILES = (*DOCUMENTS, "metrics.csv", "config.toml", "labels.txt", "model.keras", str(STATE_FILE))
ODD: tuple[Any, ...] = (
    *(None, True, 0, 1, -1, 2**31, 2**63, 10**400, -0.0, 1e308, 1e-320, "", "text", "1", "nan", "\x1b[31m", "\u202e"),
    *("x" * 5000, [], [1], [[]], [["a"]], {}, {"a": 1}, {"label": 5}, [None], [[1], [2]]),
)
CELLS = ("nan", "inf", "x", "", "-1", "1e999", "1" + "0" * 5000, '"', "0.5", "\0", "y" * 200_000)
ARRAYS = (np.zeros(3), np.array("text"), np.array(1 + 2j), np.zeros((0, 2)), np.array(np.nan))
RAW = ('"a"', "1" + "0" * 5000, "NaN", "Infinity", "-Infinity", "1e999", "[" * 3000, '{"a":' * 3000, "'", "")


def mutated_run(folder: Path, seed: int, *, run: Path = RUN) -> tuple[Path, str]:
    """Write a copy of a run below a folder, and damage it.

    Returns:
        The run's folder, and what was done to it.
    """
    random_ = random.Random(seed)
    target = folder / f"20260101-{seed:06}-mutated"
    shutil.copytree(run, target, ignore=shutil.ignore_patterns("*.png"))
    name = random_.choice(FILES)
    return target, f"{name}: {_change(target / name, random_)}"


def _change(path: Path, random_: random.Random) -> str:
    kinds: list[Callable[[Path, random.Random], str]] = [_flip, _cut, _replace_text]
    if path.suffix == ".json":
        kinds += [_change_value] * 6
    if path.suffix == ".csv":
        kinds += [_change_cell] * 4
    if path.suffix == ".toml":
        kinds += [_change_setting] * 4
    if path.suffix == ".npz":
        kinds += [_change_progress] * 6
    return random_.choice(kinds)(path, random_)


def _flip(path: Path, random_: random.Random) -> str:
    data = bytearray(path.read_bytes())
    places = [random_.randrange(len(data)) for _ in range(random_.choice((1, 3, 20)))]
    for place in places:
        data[place] = random_.randrange(256)
    path.write_bytes(data)
    return f"bytes at {places}"


def _cut(path: Path, random_: random.Random) -> str:
    data = path.read_bytes()
    length = random_.randrange(len(data))
    path.write_bytes(data[:length])
    return f"cut at {length}"


def _replace_text(path: Path, random_: random.Random) -> str:
    text = random_.choice((*RAW, "[]", "null", "\0", "\ufeff{}", "a,b\n1,2\n", "epoch\nx\n"))
    path.write_text(text, encoding="utf-8")
    return f"is {text[:20]!r}"


def _change_value(path: Path, random_: random.Random) -> str:
    text, said = _mutated(json.loads(path.read_text(encoding="utf-8")), random_)
    path.write_text(text, encoding="utf-8")
    return said


def _mutated(document: Any, random_: random.Random) -> tuple[str, str]:
    """Return a document as JSON with one place that is otherwise, and say which."""
    holders = list(_holders(document, "$"))
    holder, key, place = random_.choice(holders)
    if random_.random() < 0.1:
        del holder[key]
        return json.dumps(document), f"{place} is gone"
    if random_.random() < 0.3:
        raw = random_.choice(RAW)
        holder[key] = "@@"
        return json.dumps(document).replace('"@@"', raw), f"{place} is {raw[:20]!r}"
    holder[key] = random_.choice(ODD)
    return json.dumps(document), f"{place} is {str(holder[key])[:40]!r}"


def _holders(value: Any, place: str) -> Any:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key, f"{place}.{key}"
        yield from _holders(value[key], f"{place}.{key}")


def _change_cell(path: Path, random_: random.Random) -> str:
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    row, column = random_.randrange(len(rows)), random_.randrange(len(rows[0]))
    rows[row][column] = random_.choice(CELLS)
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8")
    return f"row {row}, column {column} is {rows[row][column][:20]!r}"


def _change_setting(path: Path, random_: random.Random) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    settings = [number for number, line in enumerate(lines) if " = " in line]
    number = random_.choice(settings)
    value = random_.choice((*RAW, "-1", "true", "[1]", "[[]]", "{}", '""', "1979-05-27", "1e308", f"{2**63}", "0.5"))
    lines[number] = f"{lines[number].partition(' = ')[0]} = {value}"
    path.write_text("\n".join(lines), encoding="utf-8")
    return lines[number][:60]


def _change_progress(path: Path, random_: random.Random) -> str:
    with np.load(path) as archive:
        arrays = dict(archive)
    text, said = _mutated(json.loads(arrays["progress"].tobytes()), random_)
    arrays["progress"] = np.frombuffer(text.encode(), np.uint8)
    if random_.random() < 0.2:
        name = random_.choice(sorted(arrays))
        arrays[name] = random_.choice(ARRAYS)
        said = f"{name} is of {arrays[name].dtype}"
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())
    return said
