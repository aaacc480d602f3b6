"""A bundle's self-test on arm64, under qemu, with the Python of Debian and the wheels of OpenCV: all in one folder.

    python tests/clients/arm64.py

apt-get fetches qemu and Python, with lists and a status of its own, so that this machine's packages stay as they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from runners import MissingError, read_line

ROOT = Path(__file__).resolve().parents[2]
# With the NumPy that each was built for.
WHEELS = {"4.5.5.64": "numpy<2", "4.10.0.84": "numpy<2.4", "5.0.0.93": "numpy<2.5"}
_PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64", "manylinux_2_27_aarch64")
_PYTHON = "python3.11"  # Debian 12's
_PACKAGES = "usr/lib/python3/dist-packages"
_START = '#!/bin/sh\nexec "{qemu}" -0 "$0" -L "{root}" "{root}/usr/bin/{python}" "$@"\n'


def main() -> int:
    """Run every self-test; 1 where one does not say what Keras said, or what it needs cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / ".arm64", help="what is installed, and the bundles")
    folder = parser.parse_args().folder.resolve()
    try:
        python = make_python(folder)
        packages = {version: unpack_wheels(folder, version) for version in WHEELS}
    except MissingError as error:
        print(f"Not tested on arm64: {error}", file=sys.stderr)
        return 1
    shutil.rmtree(folder / "work", ignore_errors=True)
    subprocess.run([sys.executable, Path(__file__).with_name("bundles.py"), folder / "work"], check=True)
    wrong = 0
    for version, found in packages.items():
        use_packages(folder, found)
        for bundle in sorted((folder / "work" / "exported").iterdir()):
            wrong += not answers(python, bundle, version)
    print(f"{wrong} wrong")
    return int(wrong > 0)


def answers(python: Path, bundle: Path, version: str) -> bool:
    """Print what a self-test says on arm64, and return whether it is what is wanted."""
    started = time.monotonic()
    command = [python, bundle / "classify.py", "--selftest"]
    alone = {**os.environ, "OPENCV_FOR_THREADS_NUM": "1"}  # threads that wait for each other are slow under qemu
    done = subprocess.run(command, env=alone, capture_output=True, text=True, timeout=1800)
    line = (done.stdout + done.stderr).strip()
    print(f"{version:<12}{bundle.name:<28}{line}  {time.monotonic() - started:.0f} s", flush=True)
    found = read_line(line)
    return done.returncode == 0 and found is not None and found["labels"] == found["images"]


def make_python(folder: Path) -> Path:
    """Return a program that runs an arm64 Python under qemu, made once.

    Raises:
        MissingError: this is no Debian, or its mirror cannot be reached.
    """
    root, program = folder / "root", folder / "bin" / _PYTHON
    if program.exists():
        return program
    if missing := [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]:
        raise MissingError(f"there is no {missing[0]}. It needs a Debian or Ubuntu")
    shutil.rmtree(folder, ignore_errors=True)
    unpack(fetch(folder / "apt-host", [], ["qemu-user-static"], only=True), folder / "qemu")
    arm64 = ["APT::Architecture=arm64", "APT::Architectures=arm64"]
    unpack(fetch(folder / "apt-arm64", arm64, [_PYTHON, "libstdc++6"]), root)
    shutil.rmtree(root / _PACKAGES, ignore_errors=True)
    (qemu,) = (folder / "qemu").glob("usr/bin/qemu-aarch64-static")
    program.parent.mkdir()
    program.write_text(_START.format(qemu=qemu, root=root, python=_PYTHON), encoding="utf-8")
    program.chmod(0o755)
    return program


def fetch(folder: Path, options: list[str], names: list[str], *, only: bool = False) -> list[Path]:
    """Fetch packages, and what they depend on unless `only`, with lists and a status of their own."""
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    own = [f"Dir::State={folder}", f"Dir::State::status={folder / 'status'}", f"Dir::Cache={folder / 'cache'}"]
    quiet = ["Debug::NoLocking=1", "APT::Sandbox::User=root"]
    settings = [word for option in [*own, *options, *quiet] for word in ("-o", option)]
    install = ["install", "--yes", "--download-only", "--no-install-recommends"]
    run(["apt-get", *settings, "update"], folder)
    run(["apt-get", *settings, *(["download"] if only else install), *names], folder)
    found = [*folder.glob("*.deb"), *folder.glob("cache/archives/*.deb")]
    if not found:
        raise MissingError(f"apt-get has fetched nothing of {', '.join(names)}")
    return found


def unpack(packages: list[Path], target: Path) -> None:
    """Unpack Debian packages into a folder."""
    target.mkdir(parents=True)
    for package in packages:
        run(["dpkg-deb", "-x", package, target], target)


def unpack_wheels(folder: Path, version: str) -> Path:
    """Return a folder with one OpenCV and its NumPy for aarch64.

    Raises:
        MissingError: they cannot be had.
    """
    target = folder / f"opencv-{version}"
    if target.exists():
        return target
    wheels = folder / "wheels" / version
    wheels.mkdir(parents=True, exist_ok=True)
    places = [word for one in _PLATFORMS for word in ("--platform", one)]
    tags = ["--implementation", "cp", "--python-version", "311", *places, "--only-binary=:all:"]
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *tags, "--dest", wheels]
    run([*download, f"opencv-python-headless=={version}", WHEELS[version]], wheels)
    unpacked = folder / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
    unpacked.rename(target)
    return target


def use_packages(folder: Path, packages: Path) -> None:
    """Let the arm64 Python see these packages, in processes that it starts too."""
    seen = folder / "root" / _PACKAGES
    seen.parent.mkdir(parents=True, exist_ok=True)
    seen.unlink(missing_ok=True)
    seen.symlink_to(packages)


def run(command: list[Any], folder: Path) -> None:
    """Run a command in a folder.

    Raises:
        MissingError: it fails.
    """
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise MissingError(f"{command[0]} failed ({''.join(said)[:200]})")


if __name__ == "__main__":
    sys.exit(main())
