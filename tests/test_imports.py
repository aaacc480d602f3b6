from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import trainkit

LIGHT = [
    "trainkit",
    "trainkit.preprocessing",
    "trainkit.bundles._manifest",
    "trainkit.runs._run",
    "trainkit.runs._settings",
    "trainkit.models._builders",
    "trainkit.deploy",
    "trainkit.bundles._predict",
    "trainkit.lessons._cascade",
    "trainkit.lessons._faces",
    "trainkit.bundles._detect",
    "trainkit.bundles._find",
    "trainkit.bundles._drawing",
    "trainkit.training._train",
    "trainkit.bundles._export",
    "trainkit.bundles._description",
    "trainkit.models._applications",
    "trainkit.bundles._check",
    "trainkit.bundles._evaluate",
    "trainkit.bundles._bench",
    "trainkit.cli",
    "trainkit.bundles._networks",
    "trainkit.bundles._folder",
    "trainkit.training._suggestion",
    "trainkit.cluster._sweep",
    "trainkit.training._tasks",
    "trainkit.cluster._workers",
]


def modules_after(code: str) -> set[str]:
    """Run code in a Python of its own and return the top-level modules it has loaded."""
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", LIGHT)
def test_import_needs_no_tensorflow(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert "trainkit" in loaded
    assert not loaded & {"tensorflow", "keras", "mtcnn"}


def test_predict_and_detect_need_no_tensorflow() -> None:
    code = "import trainkit; trainkit.predict, trainkit.detect, trainkit.Classifier, trainkit.Run, trainkit.Bundle"
    assert not modules_after(code) & {"tensorflow", "keras", "mtcnn"}


@pytest.mark.parametrize("name", ["bad.weights.h5", "bad.keras"])
def test_hostile_weights_are_refused_before_tensorflow_is_loaded(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("../else", "")
    else:
        path.write_bytes(b"no weights")
    code = (
        "from trainkit.models._layers import check_weights_file\nfrom trainkit.errors import WeightsError\n"
        f"try:\n    check_weights_file({str(path)!r})\nexcept WeightsError:\n    import colorsys"
    )
    loaded = modules_after(code)
    assert "colorsys" in loaded  # it was refused
    assert not loaded & {"tensorflow", "keras", "mtcnn"}


def test_import_of_the_command_needs_no_opencv() -> None:
    assert not modules_after("import trainkit.cli") & {"cv2", "numpy", "matplotlib", "sklearn"}


def test_help_needs_no_opencv() -> None:
    code = "import sys; sys.argv = ['trainkit', '--help']\nfrom trainkit.cli import app\napp(standalone_mode=False)"
    assert not modules_after(code) & {"tensorflow", "keras", "mtcnn", "cv2"}


def test_a_command_is_built_without_the_others() -> None:
    from trainkit.cli._app import ORDER
    from trainkit.cli._main import _MODULES

    assert {*_MODULES} == {*ORDER, "--version"}
    for name, modules in _MODULES.items():
        code = f"""import sys; sys.argv = ['trainkit', {name!r}, '--help']
from trainkit.cli import main
try:
    main()
except SystemExit:
    print(*sys.modules)"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        loaded = {one for one in done.stdout.split() if one.startswith("trainkit.cli._")}
        assert {f"trainkit.cli.{module}" for module in modules} <= loaded
        assert "trainkit.cli._commands" not in loaded, name


def test_every_public_name_is_there() -> None:
    assert len(set(trainkit.__all__)) == len(trainkit.__all__) > 0
    for name in trainkit.__all__:
        assert getattr(trainkit, name) is not None


def test_version_is_that_of_the_package() -> None:
    assert trainkit.__version__ == version("trainkit")


@pytest.mark.parametrize("name", ["nonsense", "__nonsense__"])
def test_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(trainkit, name)


def test_import_of_an_unknown_name_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="nonsense"):
        from trainkit import nonsense  # type: ignore[attr-defined]  # noqa: F401
