"""The Makefile and the gate say what they do, and do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
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
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[0] for line in done.stdout.splitlines()} == targets()


def test_every_stage_of_the_gate_is_a_target() -> None:
    stages = re.findall(r"^stages=\((.*)\)$", GATE, flags=re.M)[0].split()
    assert set(stages) <= targets()


def test_gate_says_at_its_end_what_failed_and_how_long_it_took(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text(GATE.replace("install_tools\nrequire_tools", "require_tools"))
    (tmp_path / "Makefile").write_text(
        'first:\n\t@echo "SKIPPED [2] tests/test_one.py:3: there is no such thing"\nsecond:\n\t@exit 3\nthird:\n'
    )
    command = ["bash", tmp_path / ".ci" / "run", "first", "second", "third"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    end = done.stdout[done.stdout.index("== The gate") :]
    assert re.search(r"^first +0 min 0\d s$", end, flags=re.M)
    assert re.search(r"^second +0 min 0\d s  FAILED$", end, flags=re.M)
    assert "third" not in end
    assert "== Not tried\n" in end
    assert "SKIPPED [2] tests/test_one.py:3: there is no such thing\n" in end


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
