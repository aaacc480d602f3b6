"""A disk that is full: a sentence, and nothing half written."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import without_coverage

from trainkit.runs._run import Run

pytestmark = pytest.mark.slow  # each starts the command, or a training, by itself


def on_full_disk(*arguments: object, cwd: Path, room: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command where no file can have more than `room` bytes, and hold that it ends with a sentence."""
    ended = subprocess.run(
        [sys.executable, "-m", "trainkit", *map(str, arguments)],
        cwd=cwd,
        env={**without_coverage(), **environment},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    return ended


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_export_to_a_full_disk_leaves_nothing(trained_run: Run, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    ended = on_full_disk(
        "export", trained_run.path, "--name", "b", cwd=tmp_path, room=9000, TMPDIR=str(tmp_path / "tmp")
    )
    assert ended.stderr.splitlines()[-1].startswith(("Cannot write exported/", "Cannot write temporary files in"))
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]
    assert not list((tmp_path / "tmp").glob("tmp*"))


def test_report_on_a_full_disk_leaves_the_run_as_it_was(trained_run: Run, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run.path, tmp_path / "experiments" / trained_run.name)
    before = contents(run)
    ended = on_full_disk("report", run, cwd=tmp_path, room=2000)
    assert "curves.png: File too large. Free the space" in ended.stderr
    assert contents(run) == before


def test_page_and_pixels_on_a_full_disk(tiny_dataset: Path, tmp_path: Path) -> None:
    ended = on_full_disk("data", "check", tiny_dataset, "--html", "page.html", cwd=tmp_path, room=2000)
    assert ended.stderr.startswith("Cannot write page.html: File too large. Free the space or choose a place you may")
    cache = tmp_path / "cache"
    options = ("--size", "64x64", "--model", "small-cnn", "--epochs", "1")
    ended = on_full_disk("train", tiny_dataset, *options, cwd=tmp_path, room=100_000, TRAINKIT_CACHE=str(cache))
    assert f"of pixels in {cache}: File too large. Free the space" in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("Cannot write experiments/")
    left = [path for path in tmp_path.rglob("*") if path.name.startswith(".") and path.name != ".lock"]
    assert not left
    assert not list(tmp_path.rglob("model.keras"))


@pytest.mark.parametrize("arguments", ["export {run} --name b", "check {bundle}"])
def test_full_folder_for_temporary_files_is_named(
    trained_run: Run, tiny_bundle: Path, tmp_path: Path, arguments: str
) -> None:
    """Where nothing can be written, Python's own choice of a folder ends: it takes another one where there is one."""
    gone = "import tempfile, sys; tempfile.tempdir = '/gone/tmp'\nfrom trainkit.cli import main\nmain()"
    words = arguments.format(run=trained_run.path, bundle=tiny_bundle).split()
    command = [sys.executable, "-c", gone, *words, "--experiments", str(trained_run.path.parent)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("Cannot write temporary files in /gone/tmp: No such file or directory. Free the space")
    assert list(tmp_path.iterdir()) == []
