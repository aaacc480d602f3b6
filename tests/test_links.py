"""Links that lead to themselves, and folders that hold themselves: a sentence, or what else is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mutated_runs import RUN

import trainkit
from trainkit.data._check import check_data as check
from trainkit.errors import BundleError, ModelError, RunError, TrainkitError, WeightsError
from trainkit.models._layers import check_weights_file
from trainkit.models._loading import load_model_file
from trainkit.runs._run import Run, list_runs, summarize_runs


def loop(path: Path) -> Path:
    """Make a link that leads to itself."""
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)
    return path


@pytest.mark.parametrize("name", ["data", "table.csv", "arrays.npz"])
def test_data_that_is_a_loop_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainkitError, match=rf"(No such|No data|Cannot read|There is no).*{name}"):
        trainkit.train(loop(tmp_path / name), epochs=1, experiments=tmp_path / "experiments")


def test_folder_of_data_that_holds_itself_is_read_once(tiny_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(tiny_dataset, folder)
    before = len(check(folder).files)
    first = next(path for path in sorted(folder.iterdir()) if path.is_dir())
    (first / "again").symlink_to(folder)
    (folder / "self").symlink_to(".")
    (folder / "up").symlink_to("..")
    loop(first / "loop.jpg")
    found = check(folder)
    assert len([one for one in found.files if one.file.problem is None]) == before
    assert [one.file.path.name for one in found.files if one.file.problem] == ["loop.jpg"]


@pytest.mark.parametrize("name", ["result.json", "environment.json", "metrics.csv", "preprocessing.json"])
def test_file_of_a_run_that_is_a_loop_is_damaged(tmp_path: Path, name: str) -> None:
    run = Run(Path(shutil.copytree(RUN, tmp_path / "run")))
    loop(run.path / name)
    (tmp_path / "again").symlink_to(".")
    loop(tmp_path / "nothing")
    assert [found.name for found in list_runs(tmp_path)] == ["run"]
    assert len(summarize_runs(tmp_path)) == 1
    if name != "metrics.csv":  # of which there may be none
        with pytest.raises(RunError, match=rf"The run run is damaged: .*{name}"):
            _ = run.result, run.environment, run.preprocessing


def test_models_and_weights_that_are_loops_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No Keras model at"):
        load_model_file(loop(tmp_path / "model.keras"))
    with pytest.raises(WeightsError, match="No such weights file"):
        check_weights_file(str(loop(tmp_path / "some.weights.h5")))


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "labels.txt"])
def test_file_of_a_bundle_that_is_a_loop_is_missing(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["output"]["class_names"] = "labels.txt"
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    loop(bundle / name)
    with pytest.raises(BundleError, match=rf"{name} is missing|No bundle|No manifest"):
        trainkit.predict(bundle, [bundle / "selftest" / "1.png"])


def test_image_that_is_a_loop_is_not_there(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainkitError, match=r"No such image: .*loop\.png"):
        trainkit.predict(tiny_bundle, [loop(tmp_path / "loop.png")])
