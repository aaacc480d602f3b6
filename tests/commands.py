"""The `trainkit` command, as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def without_coverage() -> dict[str, str]:
    """Return the environment for a process that is not measured: where the disk is full, coverage could not write."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def trainkit(*arguments: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command, and hold its exit code."""
    command = [sys.executable, "-m", "trainkit", *map(str, arguments)]
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended
