"""The form of the ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from small_networks import NETWORKS, leaving

from trainkit.errors import ExportError
from trainkit.exporting._onnx_graph import opset_of, save_logits_model, save_onnx, to_onnx

KNOWN = (
    "Abs Add AveragePool BatchNormalization Clip Concat Conv ConvTranspose Elu Erf Exp Flatten Gemm GlobalAveragePool "
    "GlobalMaxPool HardSigmoid LeakyRelu Log MatMul Max MaxPool Mul Pad Pow Relu Reshape Resize Selu Sigmoid Slice "
    "Softmax Softplus Sqrt Sub Tanh Transpose Upsample Ceil Floor Round Sin Cos Tan Asin Atan Sinh Asinh Atanh"
)
OPSET_11 = {"one_pixel_enlarged", "bilinear", "sorted_numbers"}


def write(name: str, metadata: dict[str, str] | None = None) -> onnx.ModelProto:
    it = leaving(name)
    return to_onnx(it.graph, it.traced.kind, metadata or {})


def sides(value: Any) -> list[str | int]:
    return [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]


def attributes(node: Any) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


@pytest.mark.parametrize("name", NETWORKS)
def test_file_has_the_form_that_old_readers_know(name: str) -> None:
    proto = write(name)
    it = leaving(name)
    height, width, channels = it.model.input_shape[1:]
    (source,), (target,) = proto.graph.input, proto.graph.output
    assert (source.name, sides(source)) == ("input", ["N", channels, height, width])
    assert (target.name, sides(target)) == ("probabilities", ["N", it.traced.classes])
    assert source.type.tensor_type.elem_type == target.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    opset, ir_version = (11, 6) if name in OPSET_11 else (9, 4)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", opset)]
    assert proto.ir_version == ir_version
    assert opset_of(it.graph) == opset
    assert {node.op_type for node in proto.graph.node} <= set(KNOWN.split())
    assert proto.graph.node[-1].op_type == {"softmax": "Softmax", "sigmoid": "Sigmoid"}[it.traced.kind]


@pytest.mark.parametrize("name", NETWORKS)
def test_file_holds_the_constants_that_are_read_and_no_others(name: str) -> None:
    proto = write(name)
    constants = {tensor.name for tensor in proto.graph.initializer}
    read = {name for node in proto.graph.node for name in node.input}
    made = {name for node in proto.graph.node for name in node.output}
    assert constants <= read
    assert read - constants - made == {"input"}
    assert not len(proto.functions)
    for tensor in proto.graph.initializer:
        assert tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64)
        if tensor.data_type == onnx.TensorProto.FLOAT:
            assert np.isfinite(numpy_helper.to_array(tensor)).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_nodes_say_what_old_readers_need_to_be_told(name: str) -> None:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in write(name).graph.initializer}
    for node in write(name).graph.node:
        said = attributes(node)
        if node.op_type in ("Conv", "ConvTranspose"):
            assert said["kernel_shape"] == list(shapes[node.input[1]][2:])
            assert len(node.input) == 3
        if node.op_type == "Gemm":
            assert (said["transB"], len(node.input)) == (1, 3)
            assert len(shapes[node.input[1]]) == 2
        if node.op_type in ("Add", "Sub", "Mul", "Max"):
            assert len(node.input) == 2
            assert not set(node.input) & set(shapes)  # with a constant, several readers fail for a batch
        if node.op_type == "Softmax":  # over the last side, which opset 9 and 13 mean alike
            assert said["axis"] == len(leaving(name).graph.shapes.get(node.input[0], (1,))) < 3


def test_no_activation_stands_behind_a_product_of_two_values() -> None:
    nodes = write("products_of_rows").graph.node
    products = {node.output[0] for node in nodes if node.op_type == "MatMul"}
    assert products
    assert {node.op_type for node in nodes if products & set(node.input)} <= {"Reshape", "Flatten"}


def test_gates_multiply_all_images_as_one_and_are_not_copied() -> None:
    proto = write("squeeze_and_excite")
    made_by = {node.output[0]: node for node in proto.graph.node}
    shapes = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in proto.graph.initializer}
    gated = [node for node in proto.graph.node if node.op_type == "Mul" and made_by[node.input[0]].op_type == "Reshape"]
    assert len(gated) == 2
    for node in gated:
        image, gate = (shapes[made_by[name].input[1]] for name in node.input)
        assert image[:2] == gate[:2] == [1, -1]
        assert gate[2:] == [1, 1] != image[2:]
        (behind,) = (reader for reader in proto.graph.node if node.output[0] in reader.input)
        assert (behind.op_type, shapes[behind.input[1]]) == ("Reshape", [-1, 8, *image[2:]])
    assert "Upsample" not in operations_of(proto)


def test_images_are_enlarged_where_no_gate_takes_the_copies() -> None:
    assert "Upsample" in operations_of(write("geometry"))


def operations_of(proto: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in proto.graph.node}


@pytest.mark.parametrize("name", ["geometry", "depthwise", "added_to_groups"])
def test_no_padding_by_zeros_stands_before_a_convolution(name: str) -> None:
    proto = write(name)
    padded = {node.output[0] for node in proto.graph.node if node.op_type == "Pad"}
    assert not [node for node in proto.graph.node if node.op_type == "Conv" and padded & set(node.input)]


def test_convolutions_of_one_pixel_have_no_strides() -> None:
    found = [attributes(node) for name in NETWORKS for node in write(name).graph.node if node.op_type == "Conv"]
    small = [it for it in found if it["kernel_shape"] == [1, 1] and it.get("group", 1) == 1]
    assert small and all(it.get("strides", [1, 1]) == [1, 1] for it in small)


def test_relu6_is_one_clip_behind_its_convolution() -> None:
    proto = write("depthwise")
    made_by = {node.output[0]: node.op_type for node in proto.graph.node}
    clips = [node for node in proto.graph.node if node.op_type == "Clip"]
    assert clips
    for clip in clips:  # which every reader makes a ReLU6 of, and takes into the convolution
        assert (attributes(clip)["min"], attributes(clip)["max"]) == (0, 6)
        assert made_by[clip.input[0]] == "Conv"


def test_no_sum_stands_behind_a_convolution_in_groups() -> None:
    nodes = write("added_to_groups").graph.node
    grouped = {node.output[0] for node in nodes if node.op_type == "Conv" and attributes(node)["group"] > 1}
    assert len(grouped) >= 3
    assert not [node for node in nodes if node.op_type == "Add" and grouped & set(node.input)]


def test_no_batch_normalization_stands_where_a_reader_folds_it_wrongly() -> None:
    proto = write("activations")
    made_by = {node.output[0]: node.op_type for node in proto.graph.node}
    before = {made_by[node.input[0]] for node in proto.graph.node if node.op_type == "BatchNormalization"}
    assert before
    assert not before & {"Elu", "Sigmoid", "HardSigmoid", "Tanh", "Softplus", "Exp", "Erf", "Abs", "Sqrt", "Log", "Pow"}


def test_tiny_shift_is_no_batch_normalization() -> None:
    proto = write("unit_lengths")
    tiny = {
        tensor.name
        for tensor in proto.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
        and (np.abs(numpy_helper.to_array(tensor)) == np.float32(1e-24)).all()
    }
    readers = [node.op_type for node in proto.graph.node if tiny & set(node.input)]
    assert readers
    assert set(readers) == {"Conv"}


def test_metadata_comes_back(tmp_path: Path) -> None:
    it = leaving("linear")
    said = {"manifest": '{"classes": ["café", "日本"]}', "empty": ""}
    save_onnx(it.graph, it.traced.kind, tmp_path / "model.onnx", metadata=said)
    read = onnx.load(tmp_path / "model.onnx")
    assert {entry.key: entry.value for entry in read.metadata_props} == said
    assert read.producer_name == "trainkit"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_same_model_makes_the_same_file() -> None:
    assert write("merges").SerializeToString() == write("merges").SerializeToString()


@pytest.mark.parametrize("name", ["linear", "single_sigmoid"])
def test_logits_model_ends_before_the_activation(tmp_path: Path, name: str) -> None:
    it = leaving(name)
    path, logits_model = tmp_path / "model.onnx", tmp_path / "logits.onnx"
    save_onnx(it.graph, it.traced.kind, path, metadata={})
    save_logits_model(path, logits_model)
    nodes, fewer = onnx.load(path).graph.node, onnx.load(logits_model).graph.node
    assert list(fewer) == list(nodes)[:-1]
    onnx.checker.check_model(onnx.load(logits_model))
    with pytest.raises(ExportError, match=r"ends in Gemm\. Expected Softmax, Sigmoid or Relu, to find the logits"):
        save_logits_model(logits_model, tmp_path / "again.onnx")
