"""Runs the notebooks from top to bottom, solutions of the tasks included: `python tests/notebooks [NAME ...] [--save]`.

An error ends a notebook, and so does a command that fails, or a warning that trainkit or the notebook itself is the
cause of. `--save` writes the outputs into the notebooks; such a run has nothing but what the packages bring.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from outputs import tidy

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
_TIMEOUT_S = 300  # of one cell
_AT_ONCE = 2  # a kernel takes some GB
_SOLUTION = re.compile(r"<details>.*?</details>", re.DOTALL)
_CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
# Errors, too: warnings of trainkit and of the cells, whose module is `__main__` (what other packages warn each other of
# is theirs), and commands that fail, after which Jupyter by itself goes on.
_STRICT = r"""
import warnings

warnings.filterwarnings("error", module=r"(trainkit|__main__)\b")


def _run_command(command, run=get_ipython().system):
    run(command)
    assert not _exit_code, f"exit code {_exit_code}: {command}"


get_ipython().system = _run_command
"""


def main() -> int:
    """Run what the command line names; 1 where a notebook fails."""
    parser = argparse.ArgumentParser(prog="python tests/notebooks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of a file's name; default: all")
    parser.add_argument("--save", action="store_true", help="write the outputs into the notebooks")
    options = parser.parse_args()
    paths = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if _is_named(path, options.names)]
    if not paths:
        print(f"No notebook in {NOTEBOOKS} is called so.", file=sys.stderr)
        return 1
    failed = 0
    with ThreadPoolExecutor(1 if options.save else _AT_ONCE) as pool:
        for path, (message, seconds) in zip(paths, pool.map(partial(_time, save=options.save), paths), strict=True):
            failed += message is not None
            print(f"{path.name:45} {seconds:5.0f} s  {message or 'ok'}", flush=True)
    return 1 if failed else 0


def _time(path: Path, *, save: bool) -> tuple[str | None, float]:
    """Run a notebook, and return what went wrong and the seconds that it took."""
    started = time.monotonic()
    return _run(path, save=save), time.monotonic() - started


def _is_named(path: Path, names: list[str]) -> bool:
    return not names or any(name in path.name for name in names)


def _run(path: Path, *, save: bool) -> str | None:
    """Run a copy of a notebook in a folder of its own, and return what went wrong."""
    notebook = nbformat.read(path, as_version=4)
    copy = _with_solutions(notebook)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "work")
        work.mkdir()
        client = NotebookClient(copy, timeout=_TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": work}})
        try:
            client.execute(env=_environment(Path(folder), bare=save), stderr=subprocess.DEVNULL)
        except (CellExecutionError, CellTimeoutError) as error:
            return f"failed\n{error}"
    if save:
        _take_outputs(notebook, copy)
        nbformat.write(notebook, path)
    return None


def _with_solutions(notebook: Any) -> Any:
    """Return a copy in which the folded solutions are cells too, each behind the text that it is folded into."""
    cells = [nbformat.v4.new_code_cell(_STRICT)]
    for cell in notebook.cells:
        cells.append(nbformat.from_dict(dict(cell)))
        if cell.cell_type == "markdown":
            folded = "\n".join(_SOLUTION.findall(cell.source))
            cells += [nbformat.v4.new_code_cell(code) for code in _CODE.findall(folded)]
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def _environment(folder: Path, *, bare: bool) -> dict[str, str]:
    """Return the kernel's environment: this checkout, this Python's commands, and without the real data if `bare`."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TRAINKIT_CACHE": str(folder / "cache"),
        "IPYTHONDIR": str(folder / "ipython"),  # nobody's own settings
        "COLUMNS": "110",
        "TRAINKIT_PROGRESS": "0",  # what took long on one machine is no output of a lesson
    }
    if bare:
        environment |= {"KERAS_HOME": str(folder / "keras")}
        environment.pop("TRAINKIT_SHARED", None)
    return environment


def _take_outputs(notebook: Any, copy: Any) -> None:
    """Put the outputs of the copy's cells into the notebook, tidied up, and number the cells anew."""
    outputs = {cell.id: cell.outputs for cell in copy.cells if cell.cell_type == "code"}
    number = 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            number += 1
            cell.execution_count = number
            cell.outputs = tidy(outputs[cell.id], number)


if __name__ == "__main__":
    sys.exit(main())
