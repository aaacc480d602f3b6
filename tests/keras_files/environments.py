"""The versions of TensorFlow that write the files, each in a virtual environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


class MissingEnvironmentError(Exception):
    """An environment cannot be made; says why and what to do."""


# By the version of TensorFlow, the Python it needs and what pip installs: Keras 2.3 to 2.15.
ENVIRONMENTS = {
    "2.2": ("3.8", ["tensorflow-cpu==2.2.3", "protobuf<3.21"]),
    "2.4": ("3.8", ["tensorflow-cpu==2.4.4", "protobuf<3.21"]),
    "2.8": ("3.8", ["tensorflow-cpu==2.8.4", "protobuf<3.21"]),
    "2.12": ("3.11", ["tensorflow-cpu==2.12.1", "numpy<1.24"]),
    "2.13": ("3.11", ["tensorflow-cpu==2.13.1", "numpy<2"]),
    "2.14": ("3.11", ["tensorflow-cpu==2.14.1", "numpy<2"]),
    "2.15": ("3.11", ["tensorflow-cpu==2.15.1", "numpy<2"]),
}


def environment_python(folder: Path, version: str) -> Path:
    """Return the Python of the environment for a version, whether it is there yet or not."""
    return folder / f"tf{version}" / "bin" / "python"


def make_environment(folder: Path, version: str) -> None:
    """Make the environment for one version, where it was not made to its end.

    Raises:
        MissingEnvironmentError: there is no such Python, or pip failed.
    """
    target = folder / f"tf{version}"
    if (target / "installed").is_file():
        return
    wanted, packages = ENVIRONMENTS[version]
    python = _find_python(wanted)
    for command in (
        [python, "-m", "venv", "--clear", target],
        [environment_python(folder, version), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         *packages],
        [environment_python(folder, version), "-I", "-c", "import tensorflow"],
    ):  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise MissingEnvironmentError(
                f"The environment for TensorFlow {version} in {target} could not be made ({reason[0][:200]}). "
                "It needs PyPI once: go online and run it again."
            )
    (target / "installed").touch()


def _find_python(version: str) -> Path:
    """Return a Python of this version that runs: on PATH, or among those of pyenv."""
    on_path = shutil.which(f"python{version}")
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [*([Path(on_path)] if on_path else []), *sorted(installed.glob(f"{version}.*/bin/python"))]
    for candidate in candidates:
        if (
            subprocess.run([candidate, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode
            == 0
        ):
            return candidate
    raise MissingEnvironmentError(
        f"No Python {version} that runs was found, on PATH or among pyenv's. Install one (`pyenv install {version}`): "
        "the old TensorFlow has no wheels for a newer one."
    )
