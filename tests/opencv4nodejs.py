"""opencv4nodejs as tests use it: built once a checkout, with the native OpenCV of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).parents[1]
VERSION = "7.1.2"
MODULES = ("core", "dnn", "highgui", "imgcodecs", "imgproc", "videoio")  # `imread` needs the last ones too


class NotBuiltError(Exception):
    """It cannot be built here; says what is missing."""


def example() -> str:
    """Return the program of the manual."""
    page = (ROOT / "docs" / "deploy-node.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```js\n(// opencv4nodejs\.js\n.*?)```", page, re.DOTALL)
    return str(script)


def built(folder: Path) -> Path:
    """Return a folder with the program of the manual, and beside it the binding.

    Raises:
        NotBuiltError: a tool or OpenCV's headers are missing, or npm reaches no registry.
    """
    for tool, package in (("node", "nodejs"), ("npm", "npm"), ("c++", "g++"), ("make", "make")):
        if shutil.which(tool) is None:
            raise NotBuiltError(f"there is no {tool} (Debian: {package})")
    headers = Path("/usr/include/opencv4/opencv2")
    libraries = sorted(Path("/usr/lib").glob("*/libopencv_dnn.so"))
    if not (headers / "dnn.hpp").is_file() or not libraries:
        raise NotBuiltError("there is no OpenCV 4 for C++ (Debian: libopencv-dev)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # other processes of tests want it too
        if not (folder / "installed").exists():
            _build(folder, headers, libraries[0].parent)
    (folder / "opencv4nodejs.js").write_text(example(), encoding="utf-8")
    return folder


def _build(folder: Path, headers: Path, libraries: Path) -> None:
    """Build what the program needs: with all modules of OpenCV it takes three times as long."""
    shutil.rmtree(folder, ignore_errors=True)
    fewer = folder / "include" / "opencv2"
    fewer.mkdir(parents=True)
    for header in headers.iterdir():
        (fewer / header.name).symlink_to(header)
    (fewer / "opencv_modules.hpp").unlink()
    lines = [f"#define HAVE_OPENCV_{module.upper()}\n" for module in MODULES]
    (fewer / "opencv_modules.hpp").write_text("".join(lines), encoding="utf-8")
    (folder / "lib").mkdir()
    for module in MODULES:
        (folder / "lib" / f"libopencv_{module}.so").symlink_to(libraries / f"libopencv_{module}.so")
    (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
    own = {"OPENCV_INCLUDE_DIR": folder / "include", "OPENCV_LIB_DIR": folder / "lib", "OPENCV_BIN_DIR": "/usr/bin"}
    environment = {**os.environ, **{key: str(value) for key, value in own.items()}}
    environment |= {"OPENCV4NODEJS_DISABLE_AUTOBUILD": "1", "JOBS": "max"}
    node = Path(shutil.which("node") or "").resolve().parents[1]
    if (node / "include" / "node" / "node.h").is_file():  # else node-gyp fetches them
        environment["npm_config_nodedir"] = str(node)
    command = ["npm", "install", "--no-audit", "--no-fund", "--save-exact", f"@u4/opencv4nodejs@{VERSION}"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if re.search("error", line, re.I)][:3]
        raise NotBuiltError(f"npm cannot install @u4/opencv4nodejs {VERSION} ({' '.join(said)[:300]})")
    (folder / "installed").touch()
