"""The Makefile and the gate say what they do, and do what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
GATE = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def targets() -> set[str]:
    return {name for names in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.M) for name in names.split()}


def test_every_target_is_phony_and_says_what_it_does() -> None:
    rules = re.findall(r"^([a-z][a-z0-9-]*):(.*)$", MAKEFILE, flags=re.M)
    assert {name for name, _ in rules} == targets()
    assert [name for name, rest in rules if not re.search(r" ## \S", rest)] == []


def test_help_lists_every_target() -> None:
    command = ["make", "--no-print-directory", "help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[0] for line in done.stdout.splitlines()} == targets()


def test_every_stage_of_the_gate_is_a_target() -> None:
    stages = re.findall(r"^stages=\((.*)\)$", GATE, flags=re.M)[0].split()
    assert set(stages) <= targets()


BASICS = ("bash", "cat", "dirname", "echo", "grep", "id", "make", "mktemp", "rm", "sh", "sort", "tee")
TOOLS = ("c++", "chromedriver", "chromium", "cmake", "ffmpeg", "node", "npm", "pkg-config")


def run_gate(folder: Path, makefile: str, *stages: str, tools: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the gate over another Makefile, on a machine that has these tools and cannot install others."""
    (folder / "bin").mkdir(parents=True)
    for name in BASICS:
        (folder / "bin" / name).symlink_to(str(shutil.which(name)))
    for name in tools:
        (folder / "bin" / name).symlink_to(str(shutil.which("true")))
    (folder / "gate" / ".ci").mkdir(parents=True)
    (folder / "gate" / ".ci" / "run").write_text(GATE, encoding="utf-8")
    (folder / "gate" / "Makefile").write_text(makefile)
    command = [folder / "bin" / "bash", folder / "gate" / ".ci" / "run", *stages]
    return subprocess.run(command, env={"PATH": str(folder / "bin")}, capture_output=True, text=True, check=False)


def test_gate_says_at_its_end_what_failed_and_how_long_it_took(tmp_path: Path) -> None:
    skipped = "SKIPPED [2] tests/test_one.py:3: there is no such thing"
    makefile = f'first:\n\t@echo "{skipped}"\nsecond:\n\t@exit 3\nthird:\n'
    done = run_gate(tmp_path, makefile, "first", "second", "third", tools=TOOLS)
    assert done.returncode != 0
    end = done.stdout[done.stdout.index("== The gate") :]
    assert re.search(r"^first +0 min 0\d s$", end, flags=re.M)
    assert re.search(r"^second +0 min 0\d s  FAILED$", end, flags=re.M)
    assert "third" not in end
    assert end.endswith(f"== Not tried\n{skipped}\n")


def test_gate_requires_the_tools_that_are_there_and_names_the_others(tmp_path: Path) -> None:
    makefile = "first:\n\t@echo required: $$TRAINKIT_REQUIRE\n"
    done = run_gate(tmp_path / "all", makefile, "first", tools=TOOLS)
    assert (done.returncode, done.stderr) == (0, "")
    assert "required: cpp,node,web\n" in done.stdout
    assert done.stdout.endswith("== Nothing was left out\n")
    done = run_gate(tmp_path / "some", makefile, "first", tools=("node", "npm", "ffmpeg", "chromium"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "required: node\n" in done.stdout
    end = done.stdout[done.stdout.index("== Not tried") :].splitlines()
    assert [line.split(":")[0] for line in end[1:]] == ["The C++ client", "The page in a browser"]


@pytest.mark.parametrize(("required", "outcome"), [("", "1 skipped"), ("node,web", "1 skipped"), ("cpp", "1 failed")])
def test_what_the_gate_requires_is_not_skipped(required: str, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from tools import do_without\n\ndef test_it():\n    do_without('cpp', 'there is no compiler')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml"]
    environment = {"TRAINKIT_REQUIRE": required, "PYTHONPATH": str(ROOT / "tests"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*command, "--rootdir", tmp_path, tmp_path], env=environment, capture_output=True, text=True, check=False
    )
    assert outcome in done.stdout, done.stdout + done.stderr
