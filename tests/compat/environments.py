"""The OpenCV versions that are tested, each in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

OPENCV = ("4.5.5.64", "4.6.0.66", "4.8.1.78", "4.10.0.84", "4.12.0.88", "4.14.0.94", "5.0.0.93")
BETWEEN = ("4.7.0.72", "4.9.0.80", "4.11.0.86", "4.13.0.92")  # read by what asks for them, `--readers all` for one
_PYTHONS = ((3, 11), (3, 12))  # the oldest wheel has no Python above 3.10 in its name, and runs up to 3.12
_ASK = "import json, sys, venv, ensurepip; print(json.dumps(sys.version_info[:2]))"


class MissingEnvironmentError(Exception):
    """An environment cannot be made; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One OpenCV, and in 5.0 one of its engines: a column of the table."""

    name: str  # 4.5.5, or 5.0-new
    opencv: str  # the version of the wheel
    engine: str | None = None

    @property
    def title(self) -> str:
        """The head of the column."""
        return self.name.replace("-", " ")


def _readers() -> dict[str, Reader]:
    found = []
    for version in sorted((*OPENCV, *BETWEEN), key=lambda version: [int(part) for part in version.split(".")]):
        major, minor, patch, _ = version.split(".")
        short = f"{major}.{minor}" + (f".{patch}" if version == OPENCV[0] else "")  # 4.5.5 is what the clients name
        if major == "5":
            found += [
                Reader(name=f"{short}-{engine}", opencv=version, engine=engine) for engine in ("classic", "new", "auto")
            ]
        else:
            found.append(Reader(name=short, opencv=version))
    return {reader.name: reader for reader in found}


READERS = _readers()
USUAL_READERS = tuple(name for name, reader in READERS.items() if reader.opencv in OPENCV)
QUICK_READERS = ("4.5.5", "4.10", "5.0-classic", "5.0-new", "5.0-auto")


def find_python(path: str | None = None) -> Path | None:
    """Return a Python 3.11 or 3.12 that runs and can make environments, `None` where there is none.

    A name on PATH may be a shim for a Python that is not there, so each is run and asked for its version.

    Args:
        path: the folders to look in, as in PATH; by default the running interpreter comes first, then PATH.
    """
    folders = [Path(folder) for folder in (path or os.environ.get("PATH", "")).split(os.pathsep) if folder]
    names = ("python3.11", "python3.12", "python3", "python")
    candidates = [folder / name for name in names for folder in folders]
    if path is None:
        candidates.insert(0, Path(sys.executable))
    return next((candidate for candidate in candidates if _runs(candidate)), None)


def _runs(python: Path) -> bool:
    if not python.is_file():
        return False
    try:
        asked = subprocess.run([python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=60, check=False)
        return asked.returncode == 0 and tuple(json.loads(asked.stdout)) in _PYTHONS
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False


def environment_python(folder: Path, version: str) -> Path:
    """Return the Python of the environment for a version, whether it is there yet or not."""
    return folder / f"opencv-{version}" / "bin" / "python"


def is_ready(folder: Path, version: str) -> bool:
    """Whether the environment for a version was made to its end."""
    return (folder / f"opencv-{version}" / "installed").is_file()


def make_environment(folder: Path, version: str, python: Path) -> None:
    """Make the environment for one version, and leave a file `installed` in it when all went well.

    Raises:
        MissingEnvironmentError: venv or pip failed.
    """
    target = folder / f"opencv-{version}"
    # Wheels up to 4.9 were built against NumPy 1 and end in an ImportError under NumPy 2.
    major, minor = (int(part) for part in version.split(".")[:2])
    numpy = "numpy<2" if (major, minor) <= (4, 9) else "numpy"
    for command in (
        [python, "-m", "venv", "--clear", target],
        [environment_python(folder, version), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         f"opencv-python-headless=={version}", numpy],
        [environment_python(folder, version), "-I", "-c", "import cv2"],
    ):  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise MissingEnvironmentError(
                f"The environment for OpenCV {version} in {target} could not be made ({reason[0][:200]}). "
                "It needs PyPI once: go online and run it again."
            )
    (target / "installed").touch()
