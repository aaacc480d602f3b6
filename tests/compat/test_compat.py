"""The harness of the matrix: what is wrong shows red, whatever it does, and the table says what was measured."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

COMPAT = Path(__file__).parent
sys.path.insert(0, str(COMPAT))

import bundles  # noqa: E402
import cells  # noqa: E402
import environments  # noqa: E402
import networks  # noqa: E402
import table  # noqa: E402
import worker  # noqa: E402

pytestmark = pytest.mark.slow  # each exports many networks


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return networks.write_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="module")
def written(images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a network's bundles and reference."""
    work = tmp_path_factory.mktemp("work")
    bundles.build(networks.known_networks()["multi-label"], ["onnx"], work, images)
    return bundles.folder_of(work, "multi-label", "onnx")


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "copy")


def read(folder: Path, images: list[Path], engine: str | None = None) -> cells.Cell:
    """Read a bundle with the OpenCV that runs the tests, in a process of its own, and judge it."""
    reader = environment_of(folder.parent, engine)
    return cells.run_cell(
        "multi-label", "onnx", reader, folder=folder, images=images[: networks.TESTED], environments=folder.parent
    )


def environment_of(environments_folder: Path, engine: str | None = None) -> environments.Reader:
    """Let the OpenCV that runs the tests be one of the environments in a folder."""
    python = environments_folder / "opencv-0" / "bin" / "python"
    if not python.exists():  # a link would lose the packages of the environment that it points into
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
    return environments.Reader(name="this", opencv="0", engine=engine)


def change_manifest(folder: Path, **sections: dict[str, object]) -> None:
    for part in ("bundle", "logits"):
        path = folder / part / "manifest.json"
        manifest = json.loads(path.read_text())
        for section, values in sections.items():
            manifest[section].update(values)
        path.write_text(json.dumps(manifest))


def replace_model(folder: Path, data: bytes) -> None:
    """Put other bytes in the place of the model, with a manifest that describes them."""
    (folder / "bundle" / "model.onnx").write_bytes(data)
    path = folder / "bundle" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["model"].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    path.write_text(json.dumps(manifest))


def test_right_bundle_is_green(copy: Path, images: list[Path]) -> None:
    assert json.loads((copy / "outcome.json").read_text()) == {"status": "written", "reason": ""}
    cell = read(copy, images)
    assert (cell.status, cell.reason, cell.loosened) == ("green", "", False)
    assert cell.logits is not None
    assert 0 < cell.logits < 1e-4


def test_wrong_answer_is_red(copy: Path, images: list[Path]) -> None:
    import onnx
    from onnx import numpy_helper

    proto = onnx.load(copy / "bundle" / "model.onnx")
    bias = next(tensor for tensor in proto.graph.initializer if list(tensor.dims) == [networks.CLASSES])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1e-3), bias.name))
    replace_model(copy, proto.SerializeToString())
    cell = read(copy, images)
    assert cell.status == "red"
    assert cell.reason.startswith("probabilities differ by ")


def test_damaged_graph_is_red(copy: Path, images: list[Path]) -> None:
    replace_model(copy, (copy / "bundle" / "model.onnx").read_bytes()[:200])
    cell = read(copy, images)
    assert cell.status == "red"
    assert "model.onnx is no ONNX file" in cell.reason


def test_process_that_dies_is_red(copy: Path, images: list[Path]) -> None:
    with (copy / "bundle" / "classify.py").open("a") as file:
        file.write("\nimport signal\nos.kill(os.getpid(), signal.SIGFPE)\n")
    cell = read(copy, images)
    assert (cell.status, cell.reason) == ("red", "the process was ended by SIGFPE")


def test_bundles_that_one_process_reads_are_judged_each_by_itself(
    copy: Path, written: Path, images: list[Path], tmp_path: Path
) -> None:
    def another(name: str) -> Path:
        return shutil.copytree(written, tmp_path / name)

    dying, refused, last = another("dying"), another("refused"), another("last")
    with (dying / "bundle" / "classify.py").open("a") as file:
        file.write("\nimport signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    (refused / "outcome.json").write_text(json.dumps({"status": "red", "reason": "no such layer"}))
    this_python = environment_of(tmp_path)
    bundles_of = [(folder.name, "onnx", folder) for folder in (copy, dying, refused, last)]
    found = cells.run_cells(bundles_of, this_python, images=images[: networks.TESTED], environments=tmp_path)
    assert [(cell.network, cell.status, cell.reason) for cell in found] == [
        ("copy", "green", ""),
        ("dying", "red", "the process was ended by SIGSEGV"),
        ("refused", "red", "export: no such layer"),
        ("last", "green", ""),
    ]
    folders = [copy, dying, last]
    answers, ended = cells.ask_in_turn(Path(sys.executable), folders, images=images[:1], engine=None)
    assert [answer is not None for answer in answers] == [True, False, False]
    assert ended == "the process was ended by SIGSEGV"


def test_process_that_takes_too_long_is_red(copy: Path, images: list[Path]) -> None:
    with (copy / "bundle" / "classify.py").open("a") as file:
        file.write("\nimport time\ntime.sleep(60)\n")
    answer = cells.ask(Path(sys.executable), folder=copy, images=images[:1], engine=None, timeout_s=1)
    assert answer == {"error": "no answer within 1 s"}
    assert cells.judge(answer, {})["status"] == "red"


def test_other_pixels_are_red(copy: Path, images: list[Path]) -> None:
    reference = json.loads((copy / "reference.json").read_text())
    reference["pixels"][3] = "0" * 64
    (copy / "reference.json").write_text(json.dumps(reference))
    assert read(copy, images).reason == "the pixels of 1 of 8 images differ"


def test_opencv_that_is_too_old_is_declared(copy: Path, images: list[Path]) -> None:
    change_manifest(copy, opencv={"minimum": "99.0"})
    cell = read(copy, images)
    assert cell.status == "declared"
    assert "needs OpenCV 99.0" in cell.reason


def test_other_engine_than_the_declared_one_is_not_tried(copy: Path, images: list[Path]) -> None:
    change_manifest(copy, opencv={"engine": "classic"})
    assert read(copy, images, engine="new").status == "declared"
    assert read(copy, images, engine="classic").status == "green"


def test_bundle_that_was_not_written_shows_why(copy: Path, images: list[Path]) -> None:
    for status in ("red", "declared"):
        (copy / "outcome.json").write_text(json.dumps({"status": status, "reason": "no such layer"}))
        cell = read(copy, images)
        assert (cell.status, cell.reason) == (status, "export: no such layer")


def answer_of(reference: dict[str, object], **changes: object) -> dict[str, object]:
    """Return the answer of a reader that is right, but for some changes."""
    answer: dict[str, object] = {"pixels": reference["pixels"]}
    for kind in ("probabilities", "logits"):
        values = np.array(reference[kind])
        answer[kind] = [
            {
                "shape": [size, values.shape[1]],
                "values": values[worker.batch_indices(size, first, len(values))].ravel().tolist(),
            }
            for size, first in worker.BATCHES
        ]
    return {**answer, **changes}


@pytest.fixture
def reference() -> dict[str, object]:
    logits = np.random.default_rng(0).normal(0, 2, (8, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return {"pixels": ["0"], "logits": logits.tolist(), "probabilities": probabilities.tolist()}


def test_shape_of_every_batch_counts(reference: dict[str, object]) -> None:
    answer = answer_of(reference)
    assert cells.judge(answer, reference)["status"] == "green"
    answer["logits"][3]["shape"] = [2, 1, 3]  # type: ignore[index]
    assert cells.judge(answer, reference)["reason"] == (
        "logits of a batch of 2 have the shape [2, 1, 3], expected [2, 3]"
    )


@pytest.mark.parametrize("batch", range(len(worker.BATCHES)))
def test_answers_of_every_batch_count(reference: dict[str, object], batch: int) -> None:
    for wrong in (0.9, float("nan")):
        answer = answer_of(reference)
        answer["probabilities"][batch]["values"][-1] = wrong  # type: ignore[index]
        assert cells.judge(answer, reference)["status"] == "red"


def test_own_difference_of_onnxruntime_loosens_the_bound(reference: dict[str, object]) -> None:
    answer = answer_of(reference)
    spread = float(np.std(reference["logits"]))  # type: ignore[arg-type]
    answer["logits"][0]["values"][0] += 3e-4 * spread  # type: ignore[index]
    verdicts = [
        cells.judge(answer, {**reference, "own": {"logits": own, "probabilities": 1e-6}})
        for own in (9e-5, 2e-4, 2e-3, float("inf"))
    ]
    assert [verdict["status"] for verdict in verdicts] == ["red", "green", "red", "red"]
    assert [verdict.get("loosened", False) for verdict in verdicts] == [False, True, False, False]


def test_flat_and_saturated_networks_are_no_test() -> None:
    generator = np.random.default_rng(0)
    for spread in (0.001, 2, 100):
        logits = generator.normal(0, spread, (8, 7))
        expected = {"logits": logits, "probabilities": np.exp(logits - logits.max(1, keepdims=True))}
        if spread == 2:
            bundles.check_fair(expected)
        else:
            with pytest.raises(ValueError, match="no fair test"):
                bundles.check_fair(expected)


def test_table_is_written_between_its_marks(tmp_path: Path) -> None:
    some = [
        cells.Cell(network="one", format="onnx", reader="4.5.5", status="green", logits=1.2e-6, probabilities=1e-7),
        cells.Cell(network="one", format="onnx", reader="5.0-new", status="declared", reason="needs"),
        cells.Cell(network="two", format="onnx", reader="4.5.5", status="green", logits=3e-4, loosened=True),
        cells.Cell(network="two", format="onnx", reader="5.0-new", status="red", logits=float("inf")),
    ]
    page = tmp_path / "matrix.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    for _ in range(2):
        table.write_table(page, some)
        lines = page.read_text().splitlines()
        assert lines[:2] + lines[-2:] == ["before", table.BEGIN, table.END, "after"]
        assert lines[2:-2] == [
            "2 green, 1 declared, 1 red.",
            "",
            "| network | format | 4.5.5 | 5.0 new |",
            "|---|---|---|---|",
            "| one | onnx | 1e-6 | – |",
            "| two | onnx | 3e-4* | red |",
        ]
    table.save_results(tmp_path / "results.json", some)
    assert table.load_results(tmp_path / "results.json")[:3] == some[:3]
    page.write_text("no marks")
    with pytest.raises(ValueError, match="needs the lines"):
        table.write_table(page, some)


def test_table_of_kinds_is_written_between_its_own_marks(tmp_path: Path) -> None:
    def cell(network: str, reader: str, status: str) -> cells.Cell:
        return cells.Cell(network=network, format="onnx", reader=reader, status=status, logits=1e-6)  # type: ignore[arg-type]

    some = [cell("one", "4.5.5", "green"), cell("two", "4.5.5", "declared"), cell("three", "4.5.5", "green")]
    some += [cell("one", "4.7", "red"), cell("two", "4.7", "green"), cell("three", "4.7", "declared")]
    page = tmp_path / "matrix.md"
    page.write_text(f"{table.BEGIN}\nold\n{table.END}\n{table.KINDS_BEGIN}\n{table.KINDS_END}\nafter\n")
    table.write_kinds(page, some, {"odd": ("one", "two"), "even": ("three",)})
    assert page.read_text().splitlines() == [
        table.BEGIN, "old", table.END, table.KINDS_BEGIN,
        "3 green, 2 declared, 1 red.",
        "",
        "| three networks of the kind | 4.5.5 | 4.7 |",
        "|---|---|---|",
        "| odd | 1 –1 | 1 red 1 |",
        "| even | 1 | –1 |",
        table.KINDS_END, "after",
    ]  # fmt: skip
    assert table.to_markdown(some).splitlines()[-1] == "In 4.7, which lie between them: 1 green, 1 declared, 1 red."


def test_table_of_all_readers_has_short_lines() -> None:
    some = [
        cells.Cell(network=name, format="frozen-graph", reader=reader, status=status, logits=1e-4, loosened=True)
        for name in networks.known_networks()
        for reader, status in zip(environments.USUAL_READERS, ["green"] * 7 + ["declared"] * 2, strict=True)
    ]
    assert max(map(len, table.to_markdown(some).split("\n"))) <= 120


def script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_python_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    script(tmp_path / "shims" / "python3.11", "echo 'command not found' >&2; exit 127")
    script(tmp_path / "old" / "python3.12", "echo '[3, 9]'")
    script(tmp_path / "good" / "python3.12", "echo '[3, 12]'")
    folders = [str(tmp_path / name) for name in ("nowhere", "shims", "old")]
    assert environments.find_python(os.pathsep.join(folders)) is None
    folders.append(str(tmp_path / "good"))
    assert environments.find_python(os.pathsep.join(folders)) == tmp_path / "good" / "python3.12"


def test_environment_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "python3.11", "echo 'No module named venv' >&2; exit 1")
    with pytest.raises(environments.MissingEnvironmentError, match=r"OpenCV 4.5.5.64 .* \(No module named venv\)"):
        environments.make_environment(tmp_path, "4.5.5.64", tmp_path / "bin" / "python3.11")
    assert not environments.is_ready(tmp_path, "4.5.5.64")


@pytest.mark.parametrize(("option", "code"), [("--quick", 0), ("--keep", 1)])
def test_without_a_python_it_says_what_is_missing(tmp_path: Path, option: str, code: int) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(COMPAT)!r}); import runpy, environments; "
        "environments.find_python.__defaults__ = ('/nowhere',); "
        f"sys.argv = ['compat', {option!r}, '--folder', {str(tmp_path)!r}, '--page', {str(tmp_path / 'R')!r}]; "
        f"runpy.run_path({str(COMPAT)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "No Python 3.11 or 3.12 that runs was found on PATH" in done.stderr


def compat_module() -> Any:
    """Import the program `python tests/compat`."""
    spec = importlib.util.spec_from_file_location("compat", COMPAT / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_survey_says_why_what_is_refused_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--survey", "--networks", "one-sigmoid,mha-self", "--folder", str(tmp_path)]
    assert compat_module().main([*options, "--formats", "frozen-graph"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 written, 1 declared, 0 refused, 0 red"
    assert lines[-2].startswith("declared mha-self frozen-graph: At the layer ")
    assert lines[-2].endswith("Export --format onnx.")


def test_groups_of_networks_and_all_readers_have_a_name() -> None:
    compat = compat_module()
    chosen, readers, _ = compat._choose(compat._parse(["--networks", "attention", "--readers", "all"]))
    assert len(chosen) == 110
    assert [reader.name for reader in readers] == list(environments.READERS)
    usual = compat._choose(compat._parse([]))[1]
    assert [reader.name for reader in readers if reader not in usual] == ["4.7", "4.9", "4.11", "4.13"]


def test_export_that_ends_its_process_is_red_and_the_next_goes_on(
    tmp_path: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    compat = compat_module()
    builder = tmp_path / "builder.py"
    builder.write_text(
        f"import os, signal, sys; sys.path.insert(0, {str(COMPAT)!r}); import bundles, dataclasses, networks\n"
        "known = networks.known_networks()\n"
        "die = lambda photographs: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "known['gelu'] = dataclasses.replace(known['gelu'], build=die)\n"
        "networks.known_networks = lambda: known\n"
        "bundles.main()\n"
    )
    monkeypatch.setattr(compat, "BUILDER", builder)
    chosen = [networks.known_networks()[name] for name in ("gelu", "one-sigmoid")]
    compat._write_bundles(tmp_path, chosen, ["onnx"], images, Console(quiet=True))
    outcomes = [json.loads((tmp_path / f"{network.name}-onnx" / "outcome.json").read_text()) for network in chosen]
    assert outcomes == [
        {"status": "red", "reason": "the process of the export was ended by SIGSEGV"},
        {"status": "written", "reason": ""},
    ]


def test_unknown_names_are_a_mistake_of_the_command_line() -> None:
    command = [sys.executable, str(COMPAT), "--readers", "4.5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Unknown reader `4.5`. Expected some of: 4.5.5, 4.6, ")


def test_small_networks_use_every_layer(images: list[Path]) -> None:
    from trainkit.backend import keras

    wanted = """Conv2D DepthwiseConv2D SeparableConv2D Conv2DTranspose Dense Flatten Reshape Permute MaxPooling2D
        AveragePooling2D GlobalAveragePooling2D GlobalMaxPooling2D BatchNormalization LayerNormalization
        GroupNormalization Add Subtract Multiply Concatenate Average Maximum Minimum ZeroPadding2D Cropping2D
        UpSampling2D Resizing Rescaling Normalization Dropout SpatialDropout2D GaussianNoise GaussianDropout
        ActivityRegularization RandomFlip RandomRotation RandomZoom RandomContrast RandomTranslation ReLU LeakyReLU
        PReLU ELU Activation Softmax"""
    photographs = [cv2.imread(str(path)) for path in images]
    used: set[str] = set()
    functions: set[str] = set()
    for network in networks.known_networks().values():
        if network.group == "small":
            for layer in networks.all_layers(network.build(photographs)):
                used.add(type(layer).__name__)
                functions.add(getattr(getattr(layer, "activation", None), "__name__", ""))
            keras.backend.clear_session()
    assert set(wanted.split()) <= used
    assert {"relu", "relu6", "leaky_relu", "selu", "gelu", "silu", "hard_sigmoid", "hard_silu", "tanh", "softplus",
            "sigmoid", "softmax"} <= functions  # fmt: skip
