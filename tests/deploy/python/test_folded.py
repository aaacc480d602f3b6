"""Constants that a file makes of others: followed where trainkit writes them so, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from trainkit.deploy.python._folded import fold_constants
from trainkit.deploy.python._onnx import read_onnx

STORED = {
    "whole": np.zeros((4, 3, 1, 1), np.int8),
    "other": np.zeros((4, 3, 1, 1), np.int8),
    "shape": np.array([4, 3, 1, 1]),
    "scale": np.ones((1, 3, 1, 1), np.float32),
}


def node(op: str, inputs: str, output: str = "made", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], **attributes)


def full(value: Any = None) -> Any:
    value = np.array([2], np.float32) if value is None else value
    return node("ConstantOfShape", "shape", "full", value=numpy_helper.from_array(value))


CAST = node("Cast", "whole", "floats", to=TensorProto.FLOAT)


def fold(*nodes: Any, **stored: np.ndarray) -> dict[str, list[int]]:
    """Return the sides of what is made, by name."""
    constants = [numpy_helper.from_array(value, name) for name, value in {**STORED, **stored}.items()]
    graph = helper.make_graph(list(nodes), "net", [], [], constants)
    model = read_onnx(helper.make_model(graph).SerializeToString()).graph
    made = fold_constants(model.nodes, {tensor.name: tensor for tensor in model.constants})
    assert all(tensor.kind == TensorProto.FLOAT and tensor.values() is None for tensor in made.values())
    return {name: list(tensor.sides) for name, tensor in made.items()}


def test_whole_numbers_become_floats_and_one_kernel() -> None:
    other = node("Cast", "other", "low", to=TensorProto.FLOAT)
    nodes = [CAST, other, full(), node("Div", "floats full", "high"), node("Sub", "high low", "kernel")]
    assert fold(*nodes) == {name: [4, 3, 1, 1] for name in ("floats", "low", "full", "high", "kernel")}


def test_scales_are_put_side_by_side() -> None:
    twice = node("Concat", "scale scale", "twice", axis=0)
    assert fold(twice, node("Concat", "twice scale", "thrice", axis=0)) == {
        "twice": [2, 3, 1, 1],
        "thrice": [3, 3, 1, 1],
    }


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Cast", "whole", to=TensorProto.DOUBLE)],
        [node("Cast", "scale", to=TensorProto.FLOAT)],
        [node("Cast", "whole", to=TensorProto.FLOAT, saturate=1)],
        [node("Cast", "image", to=TensorProto.FLOAT)],
        [node("Cast", "whole", "whole", to=TensorProto.FLOAT)],
        [node("Cast", "whole", "ma\nde", to=TensorProto.FLOAT)],
        [node("Cast", "whole", "ma\\de", to=TensorProto.FLOAT)],
        [node("Add", "scale whole")],
        [node("Mul", "scale scale scale")],
        [node("Max", "scale scale")],
        [node("Concat", "scale whole", axis=0)],
        [node("Concat", "scale scale", axis=4)],
        [node("Concat", "scale scale", axis=-1)],
        [node("Concat", "scale scale")],
        [node("ConstantOfShape", "shape")],
        [node("ConstantOfShape", "scale", value=numpy_helper.from_array(np.ones(1, np.float32)))],
        [full(np.ones(2, np.float32))],
        [full(np.ones(1, np.int64))],
        [node("Relu", "scale")],
    ],
)
def test_of_other_forms_nothing_is_said(nodes: list[Any]) -> None:
    assert fold(*nodes) == {}


def test_sides_must_be_the_same() -> None:
    assert set(fold(CAST, node("Mul", "floats scale"))) == {"floats"}
    assert set(fold(CAST, node("Concat", "floats scale", axis=1))) == {"floats"}


@pytest.mark.parametrize("sides", [[0, 3], [-1], [2**31, 2**31], [10_000, 10_000], []])
def test_impossible_or_large_sides_are_not_followed(sides: list[int]) -> None:
    assert fold(full(), shape=np.array(sides, np.int64)) == {}


def test_so_many_numbers_are_not_followed() -> None:
    """A small file may not ask for all the memory, a little at a time."""
    casts = [node("Cast", "whole", f"made{index}", to=TensorProto.FLOAT) for index in range(100)]
    assert 16 <= len(fold(*casts)) < 100
