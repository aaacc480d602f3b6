"""The C++ client as tests use it: built, run, and with bundles that answer what a test wants."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from strange_models import BY_HAND, HEIGHT, WIDTH, fixed_output, write_manifest
from tools import do_without

import trainkit

SOURCE = Path(trainkit.__file__).parent / "deploy" / "cpp"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror")
SANITIZERS = ("-g", "-O1", "-D_GLIBCXX_ASSERTIONS", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def build(folder: Path) -> Path:
    """Build the client with the OpenCV that this machine has for C++."""
    _build_with_cmake(SOURCE, folder)
    return folder / "classify"


def _build_with_cmake(source: Path, folder: Path) -> None:
    for tool, package in (("c++", "g++"), ("cmake", "cmake")):
        if shutil.which(tool) is None:
            do_without("cpp", f"the C++ client cannot be built: there is no {tool} (Debian: {package})")
    configure = ["cmake", "-S", source, "-B", folder, f"-DCMAKE_CXX_FLAGS={' '.join(WARNINGS)}"]
    done = subprocess.run(configure, capture_output=True, text=True)
    if done.returncode and "OpenCVConfig.cmake" in done.stderr:
        do_without("cpp", "the C++ client cannot be built: there is no OpenCV for C++ (Debian: libopencv-dev)")
    assert done.returncode == 0, done.stderr
    done = subprocess.run(["cmake", "--build", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def run_with_opencv(name: str, folder: Path) -> str:
    """Build a program of `tests/deploy` with OpenCV, and return what it prints."""
    lines = [
        "cmake_minimum_required(VERSION 3.10)",
        "project(program CXX)",
        "find_package(OpenCV REQUIRED COMPONENTS core dnn)",
        "set(CMAKE_CXX_STANDARD 11)",
        f'add_executable(program "{Path(__file__).parent / "deploy" / name}.cpp")',
        f'target_include_directories(program PRIVATE "{SOURCE}")',
        "target_include_directories(program SYSTEM PRIVATE ${OpenCV_INCLUDE_DIRS})",
        "target_link_libraries(program PRIVATE ${OpenCV_LIBS})",
    ]
    (folder / "CMakeLists.txt").write_text("\n".join(lines), encoding="utf-8")
    _build_with_cmake(folder, folder / "build")
    done = subprocess.run([folder / "build" / "program"], capture_output=True, text=True, check=True)
    return done.stdout


def build_reader(name: str, folder: Path) -> Path:
    """Build a program of `tests/deploy` that reads many files, under AddressSanitizer and UBSan; see its head."""
    if shutil.which("c++") is None:
        do_without("cpp", "the C++ client cannot be built: there is no c++ (Debian: g++)")
    source = Path(__file__).parent / "deploy" / f"{name}.cpp"
    command = ["c++", "-std=c++11", *WARNINGS, *SANITIZERS, "-I", str(SOURCE), str(source), "-o", str(folder / name)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / name


def read(reader: Path, files: list[bytes]) -> list[str | None]:
    """Return for each file what a reader says is wrong with it."""
    fed = b"".join(b"%08x\n%b" % (len(data), data) for data in files)
    done = subprocess.run([reader], input=fed, capture_output=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode(errors="replace")[-3000:]
    sentences = [json.loads(line)["sentence"] for line in done.stdout.splitlines()]
    assert len(sentences) == len(files)
    return sentences


def run(program: Path, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, errors="replace", timeout=60)


def answering(folder: Path, values: list[float], **sections: Any) -> Path:
    """Write a classifier that answers the same whatever it sees."""
    write_manifest(folder, BY_HAND, **sections)
    (folder / "net.onnx").write_bytes(fixed_output(np.array([values]), width=WIDTH, height=HEIGHT))
    return folder


def edit(bundle: Path, section: str, **values: Any) -> None:
    """Change keys of a section of a manifest; `None` takes one out."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest[section] = {
        key: value for key, value in {**manifest.get(section, {}), **values}.items() if value is not None
    }
    path.write_text(json.dumps(manifest), encoding="utf-8")
