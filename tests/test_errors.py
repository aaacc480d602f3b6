"""One root of errors, exported, chained; and what TRAINKIT_DEBUG shows of a chain."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trainkit
from trainkit import errors

PACKAGE = Path(trainkit.__file__).parent
CHILDREN = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", CHILDREN)
def test_every_error_has_the_one_root_and_is_exported(kind: type[Exception]) -> None:
    assert issubclass(kind, trainkit.TrainkitError)
    assert getattr(trainkit, kind.__name__) is kind
    assert kind.__name__ in trainkit.__all__


def test_a_wrong_argument_is_a_value_error_too() -> None:
    assert issubclass(trainkit.UsageError, ValueError)
    assert not issubclass(trainkit.DataError, ValueError)


def test_the_drawing_of_the_errors_is_true() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"── (\w+)", errors.__doc__)
    assert sorted(drawn) == sorted(kind.__name__ for kind in CHILDREN)


def test_the_cause_is_kept_wherever_an_error_is_raised_from_another() -> None:
    hidden = {
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.rstrip().endswith("from None")
    }
    assert not hidden


def run_with_damaged_result(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Ask for the figures of a run whose `result.json` was cut off."""
    run = folder / "experiments" / "20260101-000000-broken"
    run.mkdir(parents=True, exist_ok=True)
    (run / "result.json").write_text('{"status": ')
    command = [sys.executable, "-m", "trainkit", "evaluate", "broken"]
    clean = {key: value for key, value in os.environ.items() if key != "TRAINKIT_DEBUG"}
    (run / "config.toml").write_text('data = "digits"\nname = "broken"\n')
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**clean, **environment}
    )


def test_debug_shows_what_an_error_was_raised_from(tmp_path: Path) -> None:
    plain = run_with_damaged_result(tmp_path)
    assert plain.returncode == 1
    assert plain.stderr.count("\n") == 1
    assert plain.stderr.startswith("The run 20260101-000000-broken is damaged: result.json: Expecting value")
    shown = run_with_damaged_result(tmp_path, TRAINKIT_DEBUG="1")
    assert shown.returncode == 1
    cause, _, error = shown.stderr.partition("direct cause of the following exception")
    assert "json.decoder.JSONDecodeError: Expecting value" in cause
    assert "trainkit.errors.RunError: The run 20260101-000000-broken is damaged" in error
    assert shown.stderr.endswith(plain.stderr)
