"""The one file that is built from the parts, and the bundles that were written before."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from client import SPEED, run_script

from trainkit.deploy import Classifier, _build, python
from trainkit.deploy.python import _values
from trainkit.deploy.python._media import read_image
from trainkit.deploy.python._selftest import selftest
from trainkit.errors import BundleError

TESTS = Path(__file__).parents[1]
OLD_BUNDLE = TESTS / "data" / "bundle-v1"
PARTS = Path(python.__file__).parent
ENVIRONMENTS = TESTS.parent / ".compat"
sys.path.insert(0, str(TESTS / "compat"))

import environments  # noqa: E402


def statements(source: str) -> list[str]:
    """Return the statements at the top level of a module, word by word, without its docstring and imports."""
    tree = ast.parse(source)
    kept = [node for node in tree.body[1:] if not isinstance(node, (ast.Import, ast.ImportFrom))]
    return [str(ast.get_source_segment(source, node)) for node in kept]


def part_sources() -> list[str]:
    return [(PARTS / f"{name}.py").read_text(encoding="utf-8") for name in _build.PARTS]


@pytest.mark.slow
def test_built_file_holds_each_part_word_by_word_in_order_and_nothing_else() -> None:
    assert {path.stem for path in PARTS.glob("*.py")} == {"__init__", *_build.PARTS}
    built = _build.build_classify()
    assert statements(built) == [one for source in part_sources() for one in statements(source)]
    lines = [line for line in built.splitlines() if line]
    expected = []  # the comments too
    for source in part_sources():
        imports = [node for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        code = source.splitlines()[imports[-1].end_lineno :]
        expected += ["# " + source.splitlines()[0].strip('"'), *filter(None, code)]
    assert lines[lines.index("import numpy as np") + 1 :] == expected


def test_built_file_is_the_same_each_time_and_laid_out_as_the_parts_are(tmp_path: Path) -> None:
    built = _build.build_classify()
    assert built == _build.build_classify()
    assert built.startswith("#!/usr/bin/env python3\n")
    (tmp_path / "classify.py").write_text(built, encoding="utf-8")
    config = ["--config", str(TESTS.parent / "pyproject.toml")]
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["format", "--diff"], ["check", "--ignore", "UP,B905"]):
        done = subprocess.run([*ruff, *command, *config, str(tmp_path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def part(name: str, code: str) -> _build.Part:
    return _build.read_part(name, f'"""Some part."""\n\nfrom __future__ import annotations\n\n{code}')


@pytest.mark.parametrize("code", ["def same(): ...", "same = 1", "same: int = 1", "class same: ..."])
def test_name_that_two_parts_define_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match=r"Two parts define the same name, and would meet in one file: same"):
        _build.join([part("_one", "other, same = 1, 2\n"), part("_two", code)])


@pytest.mark.parametrize("name", ["other", "later", "same as other"])
def test_part_may_import_only_what_stands_before_it(name: str) -> None:
    first, second = part("_one", "same = 1\n"), part("_two", f"from trainkit.deploy.python._one import {name}\n")
    with pytest.raises(ValueError, match=r"_two imports from _one what does not stand before it: "):
        _build.join([first, second])
    with pytest.raises(ValueError, match=r"_two imports from _one what does not stand before it: "):
        _build.join([second, first])


def test_import_below_a_definition_is_refused() -> None:
    with pytest.raises(ValueError, match=r"_one: its imports must stand together, below the docstring"):
        part("_one", "same = 1\nimport os\n")


def test_imports_are_merged_and_sorted() -> None:
    parts = [
        part("_one", "import os\nfrom typing import List\n\nimport numpy as np\n\none = 1\n"),
        part("_two", "import io, os\n\ntwo = 2\n"),
        part("_three", "from typing import Any, List\nfrom trainkit.deploy.python._two import two\n"),
    ]
    block = _build.join(parts).partition("annotations\n\n")[2].partition("\n\n#")[0]
    assert block == "import io\nimport os\nfrom typing import Any, List\n\nimport numpy as np"


def test_built_file_gives_every_name_that_the_old_module_had(tmp_path: Path) -> None:
    (tmp_path / "classify.py").write_text(_build.build_classify(), encoding="utf-8")
    code = f"from classify import {', '.join(python.__all__)}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    old = ast.parse((OLD_BUNDLE / "classify.py").read_text(encoding="utf-8")).body
    defined = {node.name for node in old if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert {name for name in defined if not name.startswith("_")} <= {*python.__all__}


def find_python_3_8() -> Path | None:
    """Return a Python 3.8 that runs; a name on PATH may be a shim for one that is not there."""
    found = [Path(name) for name in (shutil.which("python3.8"),) if name]
    found += sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python3.8"))
    asked = ["-I", "-c", "import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 8))"]
    runs = (one for one in found if subprocess.run([one, *asked], capture_output=True, check=False).returncode == 0)
    return next(runs, None)


@pytest.mark.slow
def test_built_file_runs_on_python_3_8_and_opencv_4_5_5(tmp_path: Path) -> None:
    python_3_8 = find_python_3_8()
    if python_3_8 is None:
        pytest.skip("no Python 3.8 is installed; `pyenv install 3.8` gives one")
    folder, version = ENVIRONMENTS / "python-3.8", environments.OPENCV[0]
    if not environments.is_ready(folder, version):
        try:
            environments.make_environment(folder, version, python_3_8)
        except environments.MissingEnvironmentError as error:
            pytest.skip(str(error))
    shutil.copytree(OLD_BUNDLE, tmp_path / "bundle")
    (tmp_path / "bundle" / "classify.py").write_text(_build.build_classify(), encoding="utf-8")

    def run(*arguments: str) -> str:
        command = [environments.environment_python(folder, version), "-I", "classify.py", *arguments]
        done = subprocess.run(command, cwd=tmp_path / "bundle", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--selftest").startswith("OpenCV 4.5.5: the same answers as Keras. 8 of 8 labels, 8 of 8 inputs equal")
    answers = run("selftest", "--batch", "3", "--top", "2", "--annotate", str(tmp_path / "drawn")).splitlines()
    assert [line.count(", ") for line in answers] == [1] * len(answers)
    assert len(list((tmp_path / "drawn").iterdir())) == len(answers) >= 8


def test_errors_are_those_of_trainkit() -> None:
    assert _values.BundleError is BundleError


def test_bundle_of_the_first_version_is_still_read() -> None:
    """It stays as it was written (small-cnn on `digits` at 8x8); a client that cannot read it has broken a promise."""
    result = selftest(OLD_BUNDLE)
    assert result["ok"] is True
    assert result["images"] == 8
    opened = Classifier(OLD_BUNDLE)
    assert opened.class_names == list("0123456789")
    for case in json.loads((OLD_BUNDLE / "selftest" / "selftest.json").read_text(encoding="utf-8"))["images"]:
        found = opened.predict(read_image(OLD_BUNDLE / "selftest" / case["png"]))
        assert found[0].label == case["label"]


def test_client_of_the_first_version_still_runs() -> None:
    done = run_script(OLD_BUNDLE, "--selftest", PYTHONDONTWRITEBYTECODE="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "the same answers as Keras. 8 of 8 labels" in done.stdout


def test_bundle_carries_the_client_as_it_is(tiny_bundle: Path) -> None:
    assert (tiny_bundle / "classify.py").read_bytes() == _build.build_classify().encode()


def test_client_is_python_3_8() -> None:
    tree = ast.parse(_build.build_classify(), feature_version=(3, 8))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imports[0].module == "__future__"  # `str | Path` is no error in 3.8 while annotations are not evaluated
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports}
    assert {name for name in names if name not in sys.stdlib_module_names} == {"cv2", "numpy", "trainkit.errors"}


def test_script_needs_no_trainkit(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "trainkit.py").write_text("raise ImportError('there is no trainkit on this machine')")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    check = [sys.executable, "-c", "import trainkit.errors"]
    blocked = subprocess.run(
        check, env={**os.environ, "PYTHONPATH": path}, cwd=bundle, capture_output=True, check=False
    )
    assert b"there is no trainkit on this machine" in blocked.stderr
    for arguments in (("--selftest",), ("selftest/1.png",)):
        done = run_script(bundle, *arguments, options=(), PYTHONPATH=path)
        assert done.returncode == 0
        assert not SPEED.sub("", done.stderr)
    os.truncate(bundle / "model.onnx", 1000)
    done = run_script(bundle, "selftest/1.png", options=(), PYTHONPATH=path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
