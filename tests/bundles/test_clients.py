from __future__ import annotations

import filecmp
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trainkit
from trainkit.bundles._clients import CLIENTS, add_clients, check_clients, source_of
from trainkit.errors import BundleError, OutputError, UsageError

SOURCES = Path(trainkit.__file__).parent / "deploy"


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle, tmp_path / "tiny")


def edit(bundle: Path, section: str, key: str, value: object) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest[section][key] = value
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainkit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("given", "names"),
    [("web", ["web"]), (" cpp , web,cpp", ["cpp", "web"]), (["node", "python"], ["node", "python"])],
)
def test_names_come_as_a_list_or_as_text(given: str | list[str], names: list[str]) -> None:
    assert check_clients(given) == names


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("c++", r"Unknown client `c\+\+`.* cpp, node, python, web"),
        ("", "Name at least one client: python"),
        ([], "one"),
    ],
)
def test_what_is_no_client_is_refused(given: str | list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_clients(given)


@pytest.mark.parametrize("name", ["cpp", "node", "web"])
def test_client_is_copied_as_it_is_and_no_more(bundle: Path, name: str) -> None:
    before = {path.relative_to(bundle) for path in bundle.rglob("*")}
    assert add_clients(bundle, [name]) == {name: bundle / name}
    after = {path.relative_to(bundle) for path in bundle.rglob("*")}
    assert after - before == {Path(name), *map(Path, CLIENTS[name])}
    for file in CLIENTS[name]:
        assert filecmp.cmp(bundle / file, source_of(file), shallow=False)


def test_every_file_of_a_client_is_named() -> None:
    for name in ("cpp", "node", "web"):
        there = set((SOURCES / name).iterdir())
        assert there <= {source_of(file) for file in CLIENTS[name]}
    shared = set((SOURCES / "javascript").iterdir())
    for name in ("node", "web"):
        assert shared == {source_of(file) for file in CLIENTS[name]} & shared


def test_client_that_is_there_is_not_overwritten(bundle: Path) -> None:
    (bundle / "web").mkdir()
    (bundle / "web" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"web exists already, and nothing is overwritten"):
        add_clients(bundle, ["cpp", "web"])
    assert not (bundle / "cpp").exists()
    with pytest.raises(OutputError, match=r"classify\.py exists already"):
        add_clients(bundle, "python")


def test_python_goes_beside_a_manifest_written_by_hand(bundle: Path) -> None:
    (bundle / "classify.py").unlink()
    shutil.rmtree(bundle / "selftest")
    assert add_clients(bundle.name, "python", exported=bundle.parent) == {"python": bundle / "classify.py"}
    assert (bundle / "classify.py").is_file()


def test_client_that_cannot_do_what_the_manifest_says_is_refused(bundle: Path) -> None:
    edit(bundle, "blob", "mean", "mean.npy")
    with pytest.raises(BundleError, match=r"which the Python client alone reads\. Received: --add cpp"):
        add_clients(bundle, "cpp")
    edit(bundle, "blob", "mean", [0.0])
    edit(bundle, "output", "kind", "ssd")
    with pytest.raises(BundleError, match="The page classifies, and this manifest describes a detector"):
        add_clients(bundle, "web")
    assert not (bundle / "web").exists()


def test_command_adds_clients(bundle: Path) -> None:
    done = run("clients", bundle, "--add", "cpp,node", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"cpp": str(bundle / "cpp"), "node": str(bundle / "node")}
    again = run("clients", bundle, "--add", "node")
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (1, "", 1)
    unknown = run("clients", bundle, "--add", "rust")
    assert (unknown.returncode, unknown.stdout, unknown.stderr.count("\n")) == (2, "", 1)
    missing = run("clients", bundle.parent / "nowhere", "--add", "web")
    assert (missing.returncode, missing.stdout, missing.stderr.count("\n")) == (1, "", 1)


def test_export_puts_clients_in(trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    bundle = trainkit.export(trained_run, name="all", clients="python,cpp,node,web", exported=tmp_path).path
    for files in CLIENTS.values():
        for file in files:
            assert (bundle / file).is_file()
    with pytest.raises(UsageError, match="Unknown client"):
        trainkit.export(trained_run, name="none", clients=["pascal"], exported=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["all"]
