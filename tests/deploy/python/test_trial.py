"""Networks that are tried in a process of their own, and those that need no trial."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from client import edit, replace_model, run_script
from graph_nets import Net, harmless_graphs, node_of
from hostile_graphs import hostile_graphs
from strange_models import BY_HAND, mean_color, write_manifest

from trainkit.deploy import Classifier
from trainkit.deploy.python import _trial
from trainkit.deploy.python._graph import check_onnx
from trainkit.deploy.python._trial import Trial
from trainkit.deploy.python._vouching import vouches_for
from trainkit.errors import BundleError

OPENCV_5 = pytest.mark.skipif(not hasattr(cv2.dnn, "ENGINE_CLASSIC"), reason="OpenCV 4 lives through it")
DEADLY = "ConvTranspose pads 1000"  # in the new engine of 5.0
SIDES = (3, 32, 32)


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A network that trainkit did not make, with a manifest written by hand."""
    folder = write_manifest(tmp_path / "strange", BY_HAND, output={"kind": "logits"})
    (folder / "net.onnx").write_bytes(mean_color(width=5, height=4))
    return folder


def write_deadly(tmp_path: Path) -> Path:
    folder = write_manifest(tmp_path / "deadly", BY_HAND, blob={"size": [32, 32]})
    (folder / "net.onnx").write_bytes(hostile_graphs(flips=0)[DEADLY])
    return folder


def try_network(data: bytes, model_format: str = "onnx", engine: str | None = None) -> Trial:
    trial = Trial(data, model_format, engine, graph=None, model_name="net.onnx")
    trial.load((1, *SIDES))
    return trial


@OPENCV_5
def test_network_that_ends_the_process_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=rf"^OpenCV {cv2.__version__} dies of .*net\.onnx \(SIG\w+\)\. Take another file or, if you"
    ):
        Classifier(write_deadly(tmp_path), "new")


@OPENCV_5
def test_script_in_a_bundle_does_not_die_of_a_network(bundle: Path) -> None:
    edit(bundle, opencv={"engine": "new"}, blob={"size": [32, 32]}, before_blob=[])
    done = run_script(replace_model(bundle, hostile_graphs(flips=0)[DEADLY]), "selftest/1.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"OpenCV {cv2.__version__} dies of " in done.stderr
    assert "Traceback" not in done.stderr


@OPENCV_5
def test_network_that_divides_by_what_it_sees_is_a_sentence(tmp_path: Path) -> None:
    """A blank image is divided by 1, every other one by 0."""
    nodes = [
        node_of("ReduceMax", "image", "brightest", keepdims=0),
        node_of("Ceil", "brightest", "up"),
        node_of("Cast", "up", "whole", to=7),
        node_of("Min", "whole one", "seen"),
        node_of("Sub", "one seen", "divisor"),
        node_of("Div", "one divisor", "quotient"),
        node_of("Cast", "quotient", "number", to=1),
        node_of("Add", "image number", "y"),
    ]
    folder = write_manifest(tmp_path / "divider", BY_HAND, blob={"size": [32, 32], "scalefactor": 1 / 255})
    (folder / "net.onnx").write_bytes(Net(nodes, {"one": np.int64(1)}).bytes())
    with pytest.raises(BundleError, match=r"dies of .*net\.onnx \(SIGFPE\)\. Take another file"):
        Classifier(folder)


def test_strange_network_answers_after_its_trial(strange: Path, street_image: np.ndarray) -> None:
    network = Classifier(strange)
    assert network._trial is not None
    assert network.predict(street_image) == Classifier(strange, trial=False).predict(street_image)


def test_each_size_of_batch_is_tried_once(
    strange: Path, street_image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    ask = Trial._ask
    monkeypatch.setattr(Trial, "_ask", lambda trial, shape: asked.append(tuple(shape)) or ask(trial, shape))
    network = Classifier(strange)
    for count in (1, 2, 2, 1):
        network.predict_many([street_image] * count)
    assert asked == [(1, 3, 4, 5), (2, 3, 4, 5)]


def test_network_of_trainkit_is_not_tried(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    assert Classifier(tiny_bundle)._trial is None


@pytest.mark.parametrize("executable", ["", "/usr/bin/uwsgi"])
def test_network_that_cannot_be_tried_is_refused_with_the_way_out(
    strange: Path, street_image: np.ndarray, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(
        BundleError,
        match=r"must be tried in a process of its own, and none can be started here \(.* no Python\)\. If",
    ):
        Classifier(strange)
    assert Classifier(strange, trial=False).predict(street_image)


def test_process_that_fails_before_the_trial_is_named(strange: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trial, "_THIS_FILE", str(strange / "nowhere.py"))
    with pytest.raises(BundleError, match=r"none can be started here \(.*nowhere\.py"):
        Classifier(strange)


def test_network_that_takes_too_long_is_refused(strange: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trial, "TRIAL_SECONDS", 0.001)
    with pytest.raises(BundleError, match=r"net\.onnx did not answer within 0\.001 seconds in a trial\. Take another"):
        Classifier(strange)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no alarm")
def test_trial_ends_though_the_process_that_asked_is_gone() -> None:
    code = (
        "import signal; from trainkit.deploy.python import _trial; _trial._limit_this_process(2**34); "
        "print(0 < signal.alarm(0) <= _trial.TRIAL_SECONDS + 10)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"True\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits the memory of a process")
def test_network_that_fills_the_memory_fails_in_its_trial() -> None:
    trial = try_network(hostile_graphs(flips=0)["Gather indices many"])
    with pytest.raises(BundleError, match="cannot run the model"):
        trial.run((64, *SIDES))


def test_network_that_fails_in_its_trial_fails_when_it_is_run(tmp_path: Path, street_image: np.ndarray) -> None:
    folder = write_manifest(tmp_path / "residual", BY_HAND, blob={"size": [16, 16]})
    (folder / "net.onnx").write_bytes(harmless_graphs()["Residual"])
    network = Classifier(folder)
    with pytest.raises(BundleError, match=rf"^OpenCV {cv2.__version__} cannot run the model \(.+\)\. Copy or export"):
        network.predict(street_image)


def test_nothing_is_imported_from_the_current_folder(
    strange: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "importlib", "cv2", "numpy"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'w').close()\nraise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    assert Classifier(strange)._trial is not None
    assert not Path("imported").exists()


def test_windows_larger_than_the_image_are_refused() -> None:
    model = check_onnx(hostile_graphs(flips=0)["MaxPool kernel_shape 1000"], "net.onnx")
    with pytest.raises(
        BundleError,
        match=r"net\.onnx is not safe to load: the node `b` \(MaxPool\) looks at windows of 1000 numbers, and its "
        r"input has 32\. Check `blob\.size` in the manifest, or export the network again\.",
    ):
        vouches_for(model, SIDES, "net.onnx")


@pytest.mark.parametrize("place", [(0, 0, 0, 32), (9, 9, 9, 9), (0, 0, 0, -33), (0, 0, 0, 0, 0)])
def test_places_that_an_array_has_not_are_refused(place: tuple[int, ...]) -> None:
    nodes = [node_of("Relu", "image", "r"), node_of("GatherND", "r places", "y")]
    model = check_onnx(Net(nodes, {"places": np.array([place])}).bytes(), "net.onnx")
    with pytest.raises(BundleError, match=r"the node `y` \(GatherND\) reads places that its input does not have\. Exp"):
        vouches_for(model, SIDES, "net.onnx")


def test_places_that_an_array_has_are_for_the_trial() -> None:
    nodes = [node_of("Relu", "image", "r"), node_of("GatherND", "r places", "y")]
    model = check_onnx(Net(nodes, {"places": np.array([[0, 2, 31, 31], [-1, -3, -32, 0]])}).bytes(), "net.onnx")
    assert not vouches_for(model, SIDES, "net.onnx")


def test_exported_network_is_vouched_for(tiny_bundle: Path) -> None:
    model = check_onnx((tiny_bundle / "model.onnx").read_bytes(), "net.onnx")
    sides = model.graph.inputs[0].sides
    assert sides is not None
    assert vouches_for(model, sides[1:], "net.onnx")
    assert not vouches_for(model, [3, sides[2] + 32, sides[3]], "net.onnx")


def test_network_of_another_maker_is_not_vouched_for(tiny_bundle: Path) -> None:
    model = onnx.load_model(tiny_bundle / "model.onnx")
    model.producer_name = "pytorch"
    found = check_onnx(model.SerializeToString(), "net.onnx")
    sides = found.graph.inputs[0].sides
    assert sides is not None
    assert not vouches_for(found, sides[1:], "net.onnx")


def test_hostile_graphs_are_not_vouched_for() -> None:
    """But for those in which nothing is wrong."""
    right = []
    for name, data in hostile_graphs().items():
        with contextlib.suppress(BundleError):
            if vouches_for(check_onnx(data, "net.onnx"), SIDES, "net.onnx"):
                right.append(name)
    assert right == []
