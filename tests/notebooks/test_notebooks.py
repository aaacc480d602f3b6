"""The notebooks as they are committed: whole, run, and small. `make notebooks` runs them."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=PATHS, ids=[path.stem for path in PATHS])
def notebook(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    found = nbformat.read(request.param, as_version=4)
    nbformat.validate(found)
    return found


def test_there_are_twelve_and_each_is_in_the_list() -> None:
    assert [path.name[:3] for path in PATHS] == [f"{number:02}_" for number in range(1, 13)]
    listed = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((\w+\.ipynb)\)", listed) == [path.name for path in PATHS]


def test_each_leads_to_the_next() -> None:
    for path, following in pairwise(PATHS):
        text = path.read_text(encoding="utf-8")
        assert f"({following.name})" in text[text.index("What comes next") :], path.name


def test_every_cell_was_run_in_order_and_none_failed(notebook) -> None:  # type: ignore[no-untyped-def]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) or "image/jpeg" in output.get("data", {}) for output in outputs)


def test_a_cell_that_prints_or_shows_has_an_output(notebook) -> None:  # type: ignore[no-untyped-def]
    for cell in notebook.cells:
        if cell.cell_type == "code" and writes(cell.source):
            assert cell.outputs, cell.source


def writes(source: str) -> bool:
    """Tell whether a cell calls a command, or prints or shows something whatever happens."""
    if source.startswith("%%capture"):
        return False
    if re.search(r"^!", source, flags=re.MULTILINE):
        return True
    statements = ast.parse(re.sub(r"^%.*", "", source, flags=re.MULTILINE)).body
    certain = [one for one in statements if not isinstance(one, (ast.FunctionDef, ast.If, ast.Try))]
    calls = [node for one in certain for node in ast.walk(one) if isinstance(node, ast.Call)]
    return any(re.match(r"print$|show|plt\.show$|describe", ast.unparse(call.func)) for call in calls)


def test_what_a_cell_must_write_is_seen() -> None:
    assert all(map(writes, ["for x in 1, 2:\n    print(x)", "show(a)", "x = 1\nplt.show()", "%cd -q x\n!trainkit x"]))
    quiet = ["def f():\n    print(1)", "try:\n    x\nexcept Exception:\n    print(1)", "%%capture\nprint(1)", "x = 1"]
    assert not any(map(writes, quiet))


def test_it_says_what_one_learns_and_has_a_task_and_its_solution(notebook) -> None:  # type: ignore[no-untyped-def]
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert text.startswith("# ")
    assert "## Task" in text
    assert "what you will learn" in text.lower()
    assert "## What comes next" in text
    assert text.count("<details>") == text.count("</details>") >= 1
    assert "```python" in text[text.index("<details>") : text.index("</details>")]


def test_no_output_names_this_checkout(notebook) -> None:  # type: ignore[no-untyped-def]
    assert str(ROOT) not in nbformat.writes(notebook)


def test_the_titles_are_numbered() -> None:
    for number, path in enumerate(PATHS, 1):
        assert nbformat.read(path, as_version=4).cells[0].source.startswith(f"# {number}. "), path.name


def test_the_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "notebooks").iterdir() if path.is_file()) < 6e6


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("!echo fine", "ok"),
        ("!exit 3\n!echo fine", "exit code 3: exit 3"),
        ("import warnings\nwarnings.warn('look out')", "UserWarning: look out"),
        ("<details>\n\n```python\nraise OSError('in a solution')\n```\n\n</details>", "OSError: in a solution"),
    ],
)
def test_what_ends_a_run(tmp_path: Path, cell: str, reason: str) -> None:
    v4 = nbformat.v4
    make = v4.new_markdown_cell if "<details>" in cell else v4.new_code_cell
    (tmp_path / "notebooks").mkdir()
    nbformat.write(v4.new_notebook(cells=[make(cell)]), tmp_path / "notebooks" / "lesson.ipynb")
    shutil.copytree(ROOT / "tests" / "notebooks", tmp_path / "tests" / "notebooks")
    command = [sys.executable, str(tmp_path / "tests" / "notebooks")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (reason != "ok")
    assert reason in re.sub(r"\x1b\[[\d;]*m", "", done.stdout)
