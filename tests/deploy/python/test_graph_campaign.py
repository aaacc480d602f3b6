"""A reader is handed hundreds of hostile graphs, one after the other, and must live."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import pytest
from graph_nets import harmless_graphs
from hostile_frozen_graphs import PROTOTXT, caffemodel, frozen_graph, hostile_caffe_models, hostile_frozen_graphs
from hostile_graphs import hostile_graphs
from strange_models import BY_HAND

READER = Path(__file__).parents[2] / "graph_reader.py"
ENGINES = ("classic", "new") if hasattr(cv2.dnn, "ENGINE_CLASSIC") else ("",)
MANIFEST: dict[str, Any] = {
    **BY_HAND,
    "blob": {**BY_HAND["blob"], "size": [32, 32]},
    "output": {"kind": "logits", "class_names": [str(i) for i in range(10)]},
}


def write_bundles(folder: Path, graphs: Mapping[str, Mapping[str, bytes]], manifest: dict[str, Any]) -> list[Path]:
    """Write a bundle for each graph: its files by their names."""
    bundles = []
    for i, files in enumerate(graphs.values()):
        bundle = folder / str(i)
        bundle.mkdir()
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        for name, data in files.items():
            (bundle / name).write_bytes(data)
        bundles.append(bundle)
    return bundles


def read_all(bundles: list[Path], engine: str) -> Iterator[str]:
    """Yield what a reader says of each bundle; a reader that dies of one is started again for the next."""
    reader = None
    for bundle in bundles:
        if reader is None or reader.poll() is not None:
            reader = subprocess.Popen(
                [sys.executable, str(READER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
        assert reader.stdin
        assert reader.stdout
        print(bundle, engine, sep="\t", file=reader.stdin, flush=True)
        reader.stdout.readline()
        answer = reader.stdout.readline()
        yield answer.strip() or f"died with {reader.wait()}"
    if reader is not None:
        reader.communicate()


def check_answers(graphs: Mapping[str, Any], answers: list[str]) -> None:
    """Raise unless at most one reader in 500 has died, and the harmless graphs were answered."""
    died = {name: answer for name, answer in zip(graphs, answers, strict=True) if answer.startswith("died")}
    assert len(died) <= len(answers) / 500, died
    for name, answer in zip(graphs, answers, strict=True):
        if name.startswith("harmless"):
            assert answer.startswith(("answered", "The model's output")), (name, answer)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_reader_lives_through_hostile_onnx(engine: str, tmp_path: Path) -> None:
    harmless = {f"harmless {name}": data for name, data in harmless_graphs().items()}
    graphs = {name: {"net.onnx": data} for name, data in {**harmless, **hostile_graphs()}.items()}
    assert len(graphs) >= 1000
    bundles = write_bundles(tmp_path, graphs, {**MANIFEST, "model": {"file": "net.onnx", "format": "onnx"}})
    check_answers(graphs, list(read_all(bundles, engine)))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_reader_lives_through_an_export_with_bytes_changed(engine: str, tiny_bundle: Path, tmp_path: Path) -> None:
    """These are the graphs that most look like those that need no trial."""
    data = (tiny_bundle / "model.onnx").read_bytes()
    manifest = json.loads((tiny_bundle / "manifest.json").read_text(encoding="utf-8"))
    model = {key: value for key, value in manifest["model"].items() if key not in ("bytes", "sha256")}
    draw, graphs = random.Random(2), {}
    for i in range(500):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] ^= draw.randrange(1, 256)
        graphs[str(i)] = {"model.onnx": bytes(changed)}
    bundles = write_bundles(tmp_path, graphs, {**manifest, "opencv": {}, "model": model})
    check_answers(graphs, list(read_all(bundles, engine)))


@pytest.mark.long
@pytest.mark.slow
def test_reader_lives_through_hostile_frozen_graphs(tmp_path: Path) -> None:
    frozen = {"harmless": frozen_graph(), **hostile_frozen_graphs()}
    graphs = {name: {"net.pb": data} for name, data in frozen.items()}
    assert len(graphs) >= 200
    bundles = write_bundles(tmp_path, graphs, {**MANIFEST, "model": {"file": "net.pb", "format": "frozen-graph"}})
    check_answers(graphs, list(read_all(bundles, "")))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(cv2.dnn, "readNetFromCaffe"), reason="OpenCV 5 reads no Caffe")
def test_reader_lives_through_hostile_caffe_models(tmp_path: Path) -> None:
    models = {"harmless": (PROTOTXT.encode(), caffemodel()), **hostile_caffe_models()}
    graphs = {name: {"net.prototxt": text, "net.caffemodel": data} for name, (text, data) in models.items()}
    bundles = write_bundles(
        tmp_path, graphs, {**MANIFEST, "model": {"file": "net.caffemodel", "format": "caffe", "graph": "net.prototxt"}}
    )
    check_answers(graphs, list(read_all(bundles, "")))
