"""What is folded away, and what must not be: each time the answers stay what they were."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from trainkit.exporting._folding import fold
from trainkit.exporting._graph import INPUT, Graph
from trainkit.exporting._onnx_graph import to_onnx

IMAGE = (4, 8, 9)
Build = Callable[[Graph], str]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).normal(0, 0.4, shape)


def conv(
    graph: Graph, source: str, outputs: int = 6, *, pads: tuple[int, ...] = (0, 0, 0, 0), group: int = 1, seed: int = 0
) -> str:
    channels, height, width = graph.shapes[source]
    shape = (outputs, height + pads[0] + pads[2] - 2, width + pads[1] + pads[3] - 2)
    weights = graph.constant(numbers(outputs, channels // group, 3, 3, seed=seed))
    rest = {"strides": [1, 1], "pads": list(pads), "dilations": [1, 1], "group": group}
    return graph.emit("Conv", [source, weights, graph.constant(numbers(outputs))], shape, **rest)


def conv_transpose(graph: Graph, source: str, *, group: int = 1) -> str:
    channels, height, width = graph.shapes[source]
    constants = [graph.constant(numbers(channels, 3, 3, 3)), graph.constant(numbers(3 * group))]
    rest = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": group}
    return graph.emit("ConvTranspose", [source, *constants], (3 * group, height + 2, width + 2), **rest)


def dense(graph: Graph, source: str, outputs: int = 5, *, seed: int = 0) -> str:
    constants = [graph.constant(numbers(outputs, graph.size(source), seed=seed) / 4), graph.constant(numbers(outputs))]
    return graph.emit("Gemm", [source, *constants], (outputs,))


def affine(graph: Graph, source: str, *, shift: bool = True) -> str:
    count = graph.shapes[source][0]
    constants = [graph.constant(1 + numbers(count)), graph.constant(numbers(count) * shift)]
    return graph.emit("Affine", [source, *constants], graph.shapes[source])


def uniform(graph: Graph, source: str, scale: float, shift: float) -> str:
    count = graph.shapes[source][0]
    constants = [graph.constant(np.full(count, value)) for value in (scale, shift)]
    return graph.emit("Affine", [source, *constants], graph.shapes[source])


def each(graph: Graph, op: str, source: str, **attributes: float) -> str:
    return graph.emit(op, [source], graph.shapes[source], **attributes)


def flatten(graph: Graph, source: str) -> str:
    return graph.emit("Flatten", [source], (graph.size(source),))


def pad(graph: Graph, source: str, top: int, left: int, bottom: int, right: int) -> str:
    channels, height, width = graph.shapes[source]
    shape = (channels, height + top + bottom, width + left + right)
    return graph.emit("Pad", [source], shape, pads=[top, left, bottom, right])


def pair(graph: Graph, op: str, one: str, other: str) -> str:
    return graph.emit(op, [one, other], graph.shapes[one])


def answers(graph: Graph) -> np.ndarray:
    session = onnxruntime.InferenceSession(to_onnx(graph, "sigmoid", {}).SerializeToString())
    inputs = np.random.default_rng(9).normal(0, 1, (3, *graph.shapes[INPUT])).astype(np.float32)
    return np.asarray(session.run(None, {INPUT: inputs})[0])


def folded(build: Build) -> list[str]:
    """Build a graph, fold it, hold its answers against those before, and return what is left but the last Flatten."""
    graph = Graph(shapes={INPUT: IMAGE})
    output = build(graph)
    graph.output = output if len(graph.shapes[output]) == 1 else flatten(graph, output)
    before = answers(graph)
    assert before.std() > 0.01
    fold(graph)
    np.testing.assert_allclose(answers(graph), before, atol=2e-6)
    operations = [node.op for node in graph.nodes]
    return operations if len(graph.shapes[output]) == 1 else operations[:-1]


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda g: affine(g, conv(g, INPUT)), ["Conv"]),
        (lambda g: affine(g, conv(g, INPUT, group=2)), ["Conv"]),
        (lambda g: affine(g, conv_transpose(g, INPUT)), ["ConvTranspose"]),
        (lambda g: affine(g, conv_transpose(g, INPUT, group=2)), ["ConvTranspose"]),
        (lambda g: affine(g, dense(g, flatten(g, INPUT))), ["Flatten", "Gemm"]),
        (lambda g: affine(g, affine(g, INPUT)), ["Affine"]),
        (lambda g: conv(g, affine(g, INPUT)), ["Conv"]),
        (lambda g: conv(g, affine(g, INPUT), group=2), ["Conv"]),
        (lambda g: conv(g, affine(g, INPUT), 4, group=4), ["Conv"]),
        (lambda g: conv(g, affine(g, INPUT, shift=False), pads=(1, 1, 1, 1)), ["Conv"]),
        (lambda g: dense(g, affine(g, flatten(g, INPUT))), ["Flatten", "Gemm"]),
        (lambda g: dense(g, flatten(g, affine(g, INPUT))), ["Flatten", "Gemm"]),
        (lambda g: affine(g, each(g, "Relu", affine(g, conv(g, INPUT)))), ["Conv", "Relu", "Affine"]),
    ],
)
def test_affine_map_goes_into_the_weights_beside_it(build: Build, left: list[str]) -> None:
    assert folded(build) == left


@pytest.mark.parametrize(
    ("build", "left"),
    [
        # The zeros around an image are zeros behind the shift: in front of it they would be something else.
        (lambda g: conv(g, affine(g, INPUT), pads=(1, 1, 1, 1)), ["Affine", "Conv"]),
        (lambda g: conv(g, affine(g, INPUT), pads=(0, 0, 0, 1)), ["Affine", "Conv"]),
        (lambda g: conv(g, pad(g, affine(g, INPUT), 1, 1, 1, 1)), ["Affine", "Conv"]),
    ],
)
def test_shift_in_front_of_padding_stays(build: Build, left: list[str]) -> None:
    assert folded(build) == left


def test_affine_map_of_a_value_that_is_read_twice_stays() -> None:
    def both(g: Graph) -> str:
        x = conv(g, INPUT)
        return pair(g, "Mul", x, affine(g, x))

    assert folded(both) == ["Conv", "Affine", "Mul"]


def test_affine_map_that_is_read_twice_stays() -> None:
    def both(g: Graph) -> str:
        x = affine(g, INPUT)
        return pair(g, "Mul", conv(g, x), each(g, "Relu", conv(g, x, seed=1)))

    assert folded(both) == ["Affine", "Conv", "Conv", "Relu", "Mul"]


def test_flatten_that_is_read_twice_keeps_its_affine_map() -> None:
    def both(g: Graph) -> str:
        x = flatten(g, affine(g, each(g, "Relu", INPUT)))
        return pair(g, "Add", dense(g, x), each(g, "Relu", dense(g, x, seed=1)))

    assert folded(both) == ["Relu", "Affine", "Flatten", "Gemm", "Gemm", "Relu", "Add"]


def test_what_changes_nothing_goes() -> None:
    assert folded(lambda g: each(g, "Relu", uniform(g, INPUT, 1, 0))) == ["Relu"]


def test_what_is_computed_twice_is_computed_once() -> None:
    assert folded(lambda g: pair(g, "Mul", each(g, "Tanh", INPUT), each(g, "Tanh", INPUT))) == ["Tanh", "Mul"]
    slopes = (0.1, 0.2)
    left = folded(lambda g: pair(g, "Mul", *(each(g, "LeakyRelu", INPUT, alpha=slope) for slope in slopes)))
    assert left == ["LeakyRelu", "LeakyRelu", "Mul"]


def test_reshapes_become_the_last_one() -> None:
    def turned(g: Graph) -> str:
        x = g.emit("Reshape", [INPUT], (8, 4, 9))
        x = g.emit("Reshape", [x], (2, 16, 9))
        return flatten(g, x)

    assert folded(turned) == ["Flatten"]
    assert folded(lambda g: each(g, "Relu", g.emit("Reshape", [INPUT], IMAGE))) == ["Relu"]


def test_two_dense_layers_become_one_where_that_is_smaller() -> None:
    assert folded(lambda g: dense(g, dense(g, flatten(g, INPUT), 200), 5)) == ["Flatten", "Gemm"]


def test_narrow_dense_layer_between_wide_ones_stays() -> None:
    assert folded(lambda g: dense(g, dense(g, flatten(g, INPUT), 2), 200)) == ["Flatten", "Gemm", "Gemm"]


def test_clipped_line_is_a_hard_sigmoid() -> None:
    line = ["HardSigmoid", "Affine"]
    assert folded(lambda g: each(g, "Clip", uniform(g, INPUT, 1, 3), min=0.0, max=6.0)) == line
    assert folded(lambda g: each(g, "Clip", uniform(g, INPUT, -0.5, 0.4), min=0.0, max=1.0)) == line[:1]


@pytest.mark.parametrize(
    "build",
    [
        lambda g: each(g, "Clip", affine(g, INPUT), min=0.0, max=1.0),  # not the same line for every channel
        lambda g: each(g, "Clip", uniform(g, INPUT, 2, 1), min=-1.0, max=1.0),
    ],
)
def test_other_clips_stay(build: Build) -> None:
    assert folded(build) == ["Affine", "Clip"]


def test_reciprocal_of_a_square_root_is_one_power() -> None:
    def inverse(g: Graph) -> str:
        square = pair(g, "Mul", INPUT, INPUT)
        return each(g, "Pow", each(g, "Sqrt", uniform(g, square, 1, 0.5)), exponent=-1.0)

    assert folded(inverse) == ["Mul", "Affine", "Pow"]

    def both(g: Graph) -> str:
        root = each(g, "Sqrt", uniform(g, pair(g, "Mul", INPUT, INPUT), 1, 0.5))
        return pair(g, "Add", root, each(g, "Pow", root, exponent=-1.0))

    assert folded(both) == ["Mul", "Affine", "Sqrt", "Pow", "Add"]


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda g: conv(g, pad(g, INPUT, 1, 2, 1, 2)), ["Conv"]),
        (lambda g: conv(g, pad(g, INPUT, 1, 0, 0, 1), pads=(0, 1, 1, 0)), ["Conv"]),
        (lambda g: conv(g, pad(g, INPUT, 0, 0, 1, 1)), ["Pad", "Conv"]),  # readers disagree about uneven padding
        (lambda g: each(g, "Relu", pad(g, INPUT, 1, 1, 1, 1)), ["Pad", "Relu"]),
    ],
)
def test_convolution_does_the_padding_in_front_of_it(build: Build, left: list[str]) -> None:
    assert folded(build) == left


def test_padding_that_is_read_twice_stays() -> None:
    def both(g: Graph) -> str:
        x = pad(g, INPUT, 1, 1, 1, 1)
        return pair(g, "Mul", conv(g, x), each(g, "Relu", conv(g, x, seed=1)))

    assert folded(both) == ["Pad", "Conv", "Conv", "Relu", "Mul"]


def test_what_nobody_reads_goes() -> None:
    graph = Graph(shapes={INPUT: IMAGE})
    conv(graph, INPUT)
    graph.output = flatten(graph, each(graph, "Relu", INPUT))
    fold(graph)
    graph.remove_unused()
    assert [node.op for node in graph.nodes] == ["Relu", "Flatten"]
    assert graph.constants == {}
