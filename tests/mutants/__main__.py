"""Mutants of the core, and whether the tests notice them: `make mutants MUTANTS="--count 60 --seed 1"`.

Cosmic Ray finds every place at which one operator, number or condition can be changed. Some are drawn; each is put into
a copy of the checkout, and the tests run there from the nearest to the farthest until one fails. What no test notices
is printed with its difference, to be looked at: a test is missing, or the change makes none.

Runs with a Python that has cosmic-ray; the tests run with the one that `--python` names.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue

from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parents[2]
# What must not be wrong: pixels, the graph, the check, which image is on which side, what is read back.
CORE = (
    *("preprocessing.py", "deploy/python", "exporting", "data/_split.py", "data/_statistics.py", "data/_augmentation"),
    *("bundles/_agreement.py", "bundles/_compare.py", "bundles/_manifest.py"),
)
# Tests that see a package from outside, after its own: those that take no more than a minute or two.
FARTHER = {
    "preprocessing": ("tests/data/test_inspection.py", "tests/bundles/test_check.py"),
    "deploy": ("tests/deploy/test_by_hand.py", "tests/deploy/test_detect.py", "tests/test_preprocessing.py"),
    "exporting": ("tests/models/test_calling.py", "tests/bundles/test_export.py", "tests/bundles/test_exportable.py"),
    "data": ("tests/training/test_feeding.py", "tests/training/test_train.py"),
    "bundles": ("tests/compat/test_compat.py",),
}
QUICK = ["-x", "-q", "-m", "not slow and not timing", "-p", "no:cacheprovider"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change of one file."""

    module: str  # its path from the root
    line: int
    operator: str
    code: str  # of the whole file, changed


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module can be changed, and by what: the names of operators, each with which of its places this is."""

    module: Path
    line: int
    changes: tuple[tuple[str, int], ...]

    def mutate(self, operator: str, occurrence: int) -> Mutant | None:
        """Return the mutant, `None` where nothing but an annotation would be another."""
        source = self.module.read_text(encoding="utf-8")
        code = mutate_code(source, get_operator(operator)(), occurrence)
        if code is None or _meaning(code) in (_meaning(source), None):
            return None
        name = str(self.module.relative_to(ROOT))
        return Mutant(module=name, line=self.line, operator=operator.split("/")[1], code=code)


def find_places(module: Path) -> list[Place]:
    """Return every place of a module at which one thing can be changed."""
    nodes = list(ast_nodes(get_ast_from_path(module)))
    changes: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for name in operator_names():
        if get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        positions = (at for node in nodes for at in operator.mutation_positions(node))
        for occurrence, (start, _) in enumerate(positions):
            changes.setdefault(start, []).append((name, occurrence))
    return [Place(module, line, tuple(found)) for (line, _), found in sorted(changes.items())]


def _meaning(source: str) -> str | None:
    """Return a module without its annotations and docstrings, `None` where it is no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(0)
    return ast.dump(tree)


def draw_mutants(count: int, seed: int) -> list[Mutant]:
    """Return mutants of the core, no two at one place."""
    paths = [ROOT / "trainkit" / name for name in CORE]
    modules = [module for path in paths for module in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
    places = [place for module in modules if module.name != "__init__.py" for place in find_places(module)]
    generator = random.Random(seed)
    generator.shuffle(places)
    drawn = (place.mutate(*generator.choice(place.changes)) for place in places)
    return list(itertools.islice((mutant for mutant in drawn if mutant is not None), count))


def tests_of(module: str) -> Iterator[list[str]]:
    """Yield what to run, the nearest tests first."""
    package, *inner = (part.lstrip("_") for part in Path(module).with_suffix("").parts[1:])
    home = ROOT / "tests" / package if inner else ROOT / "tests"
    near = {str(path.relative_to(ROOT)) for name in inner or [package] for path in home.rglob(f"test_{name}*.py")}
    if near:
        yield sorted(near)
    if inner:
        mirrored = [home / folder for folder in inner[:-1] if (home / folder).is_dir()]
        yield [str(folder.relative_to(ROOT)) for folder in mirrored or [home]]
    for farther in FARTHER[package]:
        yield [farther]


def try_mutant(mutant: Mutant, folder: Path, python: str, limit_s: int) -> str | None:
    """Return the tests that noticed, or `None`."""
    original = (ROOT / mutant.module).read_text(encoding="utf-8")
    (folder / mutant.module).write_text(mutant.code, encoding="utf-8")
    try:
        for tests in tests_of(mutant.module):
            try:
                environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
                done = subprocess.run(
                    [python, "-m", "pytest", *QUICK, *tests],
                    cwd=folder,
                    env=environment,
                    capture_output=True,
                    timeout=limit_s,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return f"{' '.join(tests)} took more than {limit_s} s"
            if done.returncode not in (0, 5):
                return " ".join(tests)
    finally:
        (folder / mutant.module).write_text(original, encoding="utf-8")
    return None


def show(mutant: Mutant) -> str:
    """Return the difference that a mutant makes."""
    before = (ROOT / mutant.module).read_text(encoding="utf-8").splitlines()
    lines = difflib.unified_diff(before, mutant.code.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


def main() -> int:
    """Draw mutants, try them all, print what lived; exit with 1 where too many did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=0.9, help="the share that must be killed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--limit", type=int, default=900, help="seconds for one run of tests")
    parser.add_argument("--python", default=sys.executable, help="the Python that runs the tests")
    parser.add_argument("--json", type=Path, help="where to write the outcome of each")
    options = parser.parse_args()
    mutants, outcomes = draw_mutants(options.count, options.seed), {}
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(options.jobs) as pool:
        folders: Queue[Path] = Queue()
        for number in range(options.jobs):
            folders.put(_copy_checkout(Path(temporary, str(number))))

        def try_one(number: int) -> None:
            folder, started = folders.get(), time.monotonic()
            try:
                outcomes[number] = try_mutant(mutants[number], folder, options.python, options.limit)
            finally:
                folders.put(folder)
            mutant, killed = mutants[number], outcomes[number]
            said = f"killed by {killed}" if killed else "LIVES"
            print(
                f"{len(outcomes):3}/{len(mutants)} {mutant.module}:{mutant.line} {mutant.operator}: {said} "
                f"({time.monotonic() - started:.0f} s)",
                flush=True,
            )

        list(pool.map(try_one, range(len(mutants))))
    lived = [mutants[number] for number in sorted(outcomes) if outcomes[number] is None]
    for mutant in lived:
        print(f"\n{mutant.module}:{mutant.line} {mutant.operator}\n{show(mutant)}")
    if options.json:
        rows = [{**asdict(mutants[n]), "code": show(mutants[n]), "killed_by": outcomes[n]} for n in sorted(outcomes)]
        options.json.write_text(json.dumps(rows, indent=1))
    print(f"\n{len(mutants) - len(lived)} of {len(mutants)} killed")
    return int(len(mutants) - len(lived) < options.least * len(mutants))


def _copy_checkout(folder: Path) -> Path:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


if __name__ == "__main__":
    sys.exit(main())
