"""trainkit without the packages that it names: what needs one of them says so."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from trainkit.errors import MissingPackageError, TrainkitError, naming_missing_packages

ROOT = Path(__file__).parents[1]
# Looked for, and done without; or named with the extra that brings them.
OPTIONAL = {"IPython", "ipywidgets", "optuna", "pyarrow", "ray", "sqlalchemy", "tensorboard"}
SENTENCE = r"^This needs the package ([\w-]+), which is not installed\. .*: pip install \1\n?$"


def imported_packages() -> list[str]:
    """Return the top-level names that the package imports, but for its own and Python's."""
    names = set()
    for path in (ROOT / "trainkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(str(node.module).partition(".")[0])
    return sorted(names - set(sys.stdlib_module_names) - {"trainkit"} - OPTIONAL)


def requirements() -> set[str]:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {re.split(r"[<>=\[]", line)[0] for line in document["project"]["dependencies"]}


@pytest.mark.parametrize("name", imported_packages())
def test_every_imported_package_is_named_as_pip_knows_it(name: str) -> None:
    with pytest.raises(MissingPackageError, match=SENTENCE) as caught, naming_missing_packages():
        raise ModuleNotFoundError(f"No module named '{name}.part'", name=f"{name}.part")
    package = str(caught.value).split()[4].rstrip(",")
    assert package in requirements()
    assert isinstance(caught.value, TrainkitError) and isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_package_of_another_package_keeps_its_traceback() -> None:
    with pytest.raises(ModuleNotFoundError, match="yaml"), naming_missing_packages():
        raise ModuleNotFoundError("No module named 'yaml'", name="yaml")


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("keras", ["train", "digits"]),
        ("tensorflow", ["train", "digits"]),
        ("matplotlib", ["find-lr", "digits"]),
        ("matplotlib", ["report", "latest"]),
        ("jinja2", ["compare", "a", "b"]),
        ("cv2", ["data", "check", "."]),
        ("filelock", ["runs"]),
    ],
)
def test_command_says_what_to_install(missing: str, command: list[str], tmp_path: Path) -> None:
    code = f"import sys\nsys.modules[{missing!r}] = None\nfrom trainkit.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(SENTENCE, done.stderr)
    assert not list(tmp_path.iterdir())


def test_python_says_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['matplotlib'] = None\nimport trainkit\n"
        "try:\n    trainkit.report\nexcept trainkit.errors.TrainkitError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("This needs the package matplotlib, which is not installed.")
