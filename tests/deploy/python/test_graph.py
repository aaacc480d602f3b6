"""Graphs: what is refused before OpenCV sees it, and what is not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from graph_corpus import CORPUS, build_corpus, sentence_about
from graph_nets import Net, harmless_graphs
from hostile_graphs import hostile_graphs
from onnx import TensorProto, helper, numpy_helper
from strange_models import protobuf

from trainkit.deploy.python._graph import check_graph
from trainkit.deploy.python._model import read_net
from trainkit.errors import BundleError


def test_corpus_is_up_to_date() -> None:
    assert json.loads(CORPUS.read_text(encoding="utf-8")) == build_corpus()


def test_corpus_has_cases_of_both_kinds() -> None:
    sentences = [case["sentence"] for case in build_corpus()["cases"]]
    assert len(sentences) >= 200
    assert 30 <= sentences.count(None) <= 60


@pytest.mark.parametrize("name", harmless_graphs())
def test_harmless_graph_passes(name: str) -> None:
    assert sentence_about(harmless_graphs()[name]) is None


def test_refused_graph_is_a_sentence_of_what_where_and_what_to_do() -> None:
    stride = hostile_graphs(flips=0)["Conv strides 0"]
    with pytest.raises(
        BundleError,
        match=r"^net\.onnx is not safe to load: `strides` of the node `b` \(Conv\) must be from 1 to 16384\. "
        r"Received: 0\. Copy or export the network again\.$",
    ):
        check_graph(stride, "onnx", None, "net.onnx")


def test_read_net_checks_what_it_reads() -> None:
    with pytest.raises(BundleError, match=r"The model is not safe to load: `group` of the node `b` \(Conv\) must be"):
        read_net(hostile_graphs(flips=0)["Conv group 0"], "onnx")


@pytest.mark.parametrize("where", ["tensor", "constant", "sparse", "subgraph", "function"])
@pytest.mark.parametrize("how", ["elsewhere", "elsewhere beside"])
def test_weights_in_another_file_are_refused_wherever_they_stand(where: str, how: str) -> None:
    sentence = sentence_about(hostile_graphs(flips=0)[f"{where} {how}"])
    assert sentence is not None
    assert "in another file, which could be any file of this machine" in sentence


def test_weights_in_another_file_are_found_in_a_second_graph_of_the_file() -> None:
    """Protobuf makes one graph of the two."""
    data = hostile_graphs(flips=0)["tensor elsewhere"]
    graph = onnx.load_from_string(data).graph
    hidden = TensorProto.FromString(graph.initializer[1].SerializeToString())
    hidden.name = "hidden"
    second = protobuf((7, protobuf((5, hidden.SerializeToString()))))
    assert "another file" in str(sentence_about(harmless_graphs()["Conv"] + second))


def test_advice_about_another_file_works(tmp_path: Path) -> None:
    model = onnx.load_from_string(harmless_graphs()["Classifier"])
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert "in another file" in str(sentence_about(path.read_bytes()))
    onnx.save(onnx.load(path), path)
    assert sentence_about(path.read_bytes()) is None


def test_names_are_shown_harmless() -> None:
    nodes = [helper.make_node("Conv", ["image", "w"], ["y"], "\x1b[2J\u202e", strides=[0, 0])]
    sentence = str(sentence_about(Net(nodes, {"w": np.zeros((4, 3, 3, 3), np.float32)}).bytes()))
    assert r"the node `\x1b[2J\u202e` (Conv)" in sentence


def test_values_that_are_written_one_by_one_count() -> None:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 1, 1], [0.5] * 12)
    nodes = [helper.make_node("Conv", ["image", "w"], ["y"])]
    assert sentence_about(Net(nodes, {"w": tensor}).bytes()) is None
    del tensor.float_data[-1]
    assert "holds 11 numbers. Expected 12" in str(sentence_about(Net(nodes, {"w": tensor}).bytes()))


@pytest.mark.parametrize("kind", ["float16", "float64", "int8", "int64", "bool", "uint16"])
def test_each_kind_of_number_may_stand_in_bytes_or_one_by_one(kind: str) -> None:
    values = np.arange(6).reshape(2, 3).astype(kind)
    raw = numpy_helper.from_array(values, "w")
    listed = helper.make_tensor("w", raw.data_type, [2, 3], values.ravel().tolist())
    for tensor in (raw, listed):
        nodes = [helper.make_node("Cast", ["w"], ["v"], to=1), helper.make_node("Relu", ["image"], ["y"])]
        assert sentence_about(Net(nodes, {"w": tensor}).bytes()) is None


def test_weights_are_not_copied_nor_looked_through() -> None:
    weights = numpy_helper.from_array(np.zeros((4096, 6400), np.float32), "w")
    data = Net([helper.make_node("Relu", ["image"], ["y"])], {"w": weights}).bytes()
    assert len(data) > 100_000_000
    started = time.process_time()
    assert sentence_about(data) is None
    assert time.process_time() - started < 0.1


def test_numbers_without_end_are_refused_in_time() -> None:
    dims = protobuf((1, b"\x01" * 30_000_000), (8, b"w"))
    started = time.process_time()
    assert "bytes of numbers where a few are expected" in str(sentence_about(protobuf((7, protobuf((5, dims))))))
    assert time.process_time() - started < 1
