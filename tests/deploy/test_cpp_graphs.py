"""The C++ client and graphs that would end it: the corpus of all clients, byte flips, and what only shows when tried."""

# ruff: noqa: E501 (sentences are compared whole)

from __future__ import annotations

import base64
import json
import random
import re
import time
from pathlib import Path

import onnx
import pytest
from cpp_client import answering, build_reader, read, run
from graph_corpus import CORPUS, sentence_about
from graph_nets import SIDE, harmless_graphs
from hostile_graphs import hostile_graphs
from strange_models import BY_HAND, protobuf, write_manifest


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_reader("check_graphs", tmp_path_factory.mktemp("reader"))


@pytest.mark.slow  # the reader is compiled with sanitizers
def test_corpus_is_answered_as_by_every_client(reader: Path) -> None:
    cases = json.loads(CORPUS.read_text(encoding="utf-8"))["cases"]
    sentences = read(reader, [base64.b64decode(case["base64"]) for case in cases])
    assert len(sentences) == len(cases) >= 230
    different = [(c["name"], s) for c, s in zip(cases, sentences, strict=True) if s != c["sentence"]]
    assert different == []


def mutate(data: bytes, generator: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.choice([1, 1, 2, 4])):
        place, other = generator.randrange(len(changed)), generator.randrange(len(changed))
        action = generator.randrange(4)
        if action == 0:
            changed[place] ^= 1 << generator.randrange(8)
        elif action == 1:
            changed[place] = generator.randrange(256)
        elif action == 2 and len(changed) > 20:
            del changed[place : place + generator.choice([1, 2, 9])]
        else:
            changed[place:place] = changed[other : other + generator.choice([1, 8, 40])]
    return bytes(changed)


@pytest.mark.slow
def test_damaged_graphs_get_pythons_sentence(reader: Path) -> None:
    generator = random.Random(0)
    graphs = [data for data in {**harmless_graphs(), **hostile_graphs(flips=0)}.values() if 20 < len(data) < 20_000]
    files = [mutate(generator.choice(graphs), generator) for _ in range(3000)]
    sentences = read(reader, files)
    assert sum(sentence is None for sentence in sentences) > 50
    for data, sentence in zip(files, sentences, strict=True):
        assert sentence == sentence_about(data), data


@pytest.mark.timing
def test_much_of_nothing_is_read_fast(reader: Path) -> None:
    weights = protobuf((1, b"\x80\x80\x40"), (2, 1), (8, b"w"), (9, bytes(2**22)))
    nodes = [(1, protobuf((4, b"Relu"), (1, b"x"), (2, b"x")))] * 50_000
    names = protobuf((7, protobuf((5, protobuf((1, b"\x01" * 30_000_000), (8, b"w"))))))
    started = time.perf_counter()
    said = read(reader, [protobuf((7, protobuf((5, weights), (11, protobuf((1, b"x"))), *nodes))), names])
    assert said == [
        None,
        "is no ONNX file (it has more than 1048576 bytes of numbers where a few are expected). Copy or export it again.",
    ]
    assert time.perf_counter() - started < 20


@pytest.fixture
def graphs() -> dict[str, bytes]:
    return hostile_graphs(flips=0)


def test_graph_that_ends_the_process_is_refused(
    program: Path, photo: Path, tmp_path: Path, graphs: dict[str, bytes]
) -> None:
    folder = write_manifest(tmp_path, BY_HAND)
    (folder / "net.onnx").write_bytes(graphs["Conv strides 0"])
    done = run(program, folder, photo)
    sentence = (
        f"{folder}/net.onnx is not safe to load: `strides` of the node `b` (Conv) must be from 1 to 16384. Received: 0. "
        "Copy or export the network again.\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_weights_in_another_file_are_not_read(program: Path, photo: Path, tmp_path: Path) -> None:
    folder = answering(tmp_path / "net", [1, 0, 0])
    model = onnx.load(folder / "net.onnx")
    (folder / "net.onnx").unlink()
    onnx.save(model, folder / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    done = run(program, folder, photo, cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert "in another file, which could be any file of this machine. Save it with all its weights" in done.stderr


@pytest.mark.parametrize(
    "name", ["Gather axis 4", "Gather axis -5", "CumSum as usual", "Conv", "Classifier", "LpPool kernel_shape 1000"]
)
def test_network_that_dies_only_when_tried_is_a_sentence(
    program: Path, opencv: str, photo: Path, tmp_path: Path, graphs: dict[str, bytes], name: str
) -> None:
    """Of the first three OpenCV 4.6 dies; none ends the client."""
    data = {**graphs, **harmless_graphs()}[name]
    assert sentence_about(data) is None
    folder = write_manifest(tmp_path, BY_HAND, blob={"size": [SIDE, SIDE]})
    (folder / "net.onnx").write_bytes(data)
    done = run(program, folder, photo)
    assert done.returncode in (0, 1), done
    assert len(done.stdout.splitlines()) + len(done.stderr.splitlines()) == 1, done
    if opencv == "4.6.0" and name in ("Gather axis 4", "Gather axis -5", "CumSum as usual"):
        assert re.fullmatch(
            rf"OpenCV 4\.6\.0 dies of {folder}/net\.onnx \(SIG(ABRT|SEGV)\)\. Take another file or, .*\n", done.stderr
        )
