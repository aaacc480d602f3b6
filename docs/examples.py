"""The examples of the manual: what stands in its pages to be run, and what comes of running it.

Every `console` block is run, line by line, in one folder; a line that is to fail is followed by `$ echo $?` and its
exit code. Then the `python` blocks run in that folder, in one process. Those whose first line is a comment with a
file's name are scripts, each in a process of its own. Blocks of other kinds are only looked at.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
# The first makes the run and the bundle that the others use.
_FIRST = ["README.md", "docs/command-line.md", "docs/json.md"]


def pages() -> dict[str, str]:
    """Return the pages written by hand, by their path in the repository, in the order in which they are run."""
    names = [path.relative_to(ROOT).as_posix() for path in sorted(DOCS.glob("*.md"))]
    return {name: (ROOT / name).read_text(encoding="utf-8") for name in dict.fromkeys([*_FIRST, *names])}


def blocks(language: str, text: str) -> list[str]:
    """Return the contents of a page's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def blocks_by_page(language: str) -> dict[str, list[str]]:
    """Return the blocks of a language of each page that has any."""
    found = {name: blocks(language, text) for name, text in pages().items()}
    return {name: each for name, each in found.items() if each}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A line of a console block that was run."""

    page: str
    line: str
    code: int
    expected_code: int
    shown: str  # what the page prints under the line
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Executed:
    """The folder in which the console blocks were run, and what came of them."""

    folder: Path
    lines: list[Ended]

    def documents(self) -> dict[str, Any]:
        """Return what the commands with `--json` printed, by command."""
        return {command_of(run.line): json.loads(run.stdout) for run in self.lines if run.line.endswith("--json")}


def command_of(line: str) -> str:
    """Return the command of a line: its first word after `trainkit`, or its first two for one of a group."""
    _, first, *rest = line.split()
    return f"{first} {rest[0]}" if first == "data" else first


def console_lines() -> Iterator[tuple[str, str, str, int]]:
    """Yield the page of each line to run, the line, what is shown under it, and the exit code it should have."""
    for page, found in blocks_by_page("console").items():
        for block in found:
            parts = [part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.M)[1:]]
            for (line, _, shown), (following, _, code) in zip(parts, [*parts[1:], ("", "", "")], strict=True):
                if line != "echo $?":
                    yield page, line, shown, int(code) if following == "echo $?" else 0


def run(folder: Path, files: Mapping[str, bytes] | None = None) -> Executed:
    """Run every console block of the manual in a folder, in which `files` are written first."""
    for name, content in {**example_files(), **(files or {})}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    ended = []
    for page, line, shown, expected in console_lines():
        done = _execute(line, folder)
        ended.append(
            Ended(
                page=page,
                line=line,
                code=done.returncode,
                expected_code=expected,
                shown=shown,
                stdout=done.stdout,
                stderr=done.stderr,
            )
        )
    return Executed(folder=folder, lines=ended)


def _execute(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(line)
    starts = {"trainkit": [sys.executable, "-m", "trainkit"], "python": [sys.executable]}
    return subprocess.run([*starts[program], *arguments], cwd=folder, capture_output=True, text=True, check=False)


def example_files() -> dict[str, bytes]:
    """Return what the examples call `faces` and `astronaut.png`.

    The manifest is the manual's own; in the place of the network, which only a download gives, stands one that finds
    the same in every image.
    """
    import cv2
    import numpy as np

    sys.path.insert(0, str(ROOT / "tests"))
    from strange_models import fixed_output

    (manifest,) = [json.loads(block) for block in blocks("json", pages()["docs/other-models.md"]) if '"ssd"' in block]
    manifest["model"] = {"file": "faces.onnx", "format": "onnx"}
    row = np.array([[[[0, 1, 0.99, 0.35, 0.13, 0.52, 0.37]]]])
    picture = cv2.imencode(".png", np.full((512, 512, 3), 90, np.uint8))[1].tobytes()
    return {
        "faces/manifest.json": json.dumps(manifest).encode(),
        "faces/faces.onnx": fixed_output(row, width=300, height=300),
        "astronaut.png": picture,
    }


def python_blocks() -> tuple[list[str], list[str]]:
    """Return the Python blocks that belong together, and the scripts."""
    together: list[str] = []
    scripts: list[str] = []
    for found in blocks_by_page("python").values():
        for block in found:
            (scripts if re.match(r"# \w+\.py\n", block) else together).append(block)
    return together, scripts
