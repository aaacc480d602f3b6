"""What is folded away, and what must not be: each time the answers stay what they were."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from trainkit.exporting._folding import fold, take_pixels_for_rows
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


def pointwise(
    graph: Graph, source: str, outputs: int = 4, *, group: int = 1, padding: int = 0, strides: tuple[int, int] = (1, 1)
) -> str:
    channels, *sides = graph.shapes[source]
    sides = [(side + 2 * padding - 1) // stride + 1 for side, stride in zip(sides, strides, strict=True)]
    constants = [graph.constant(numbers(outputs, channels // group, 1, 1)), graph.constant(numbers(outputs))]
    rest = {"strides": list(strides), "pads": [padding] * 4, "dilations": [1, 1], "group": group}
    return graph.emit("Conv", [source, *constants], (outputs, *sides), **rest)


def max_pool(graph: Graph, source: str, kernel: int, *, padding: int = 0) -> str:
    channels, height, width = graph.shapes[source]
    shape = (channels, *((side + 2 * padding) // kernel for side in (height, width)))
    return graph.emit("MaxPool", [source], shape, kernel=[kernel] * 2, strides=[kernel] * 2, pads=[padding] * 4)


def global_average(graph: Graph, source: str) -> str:
    return graph.emit("GlobalAveragePool", [source], (graph.shapes[source][0], 1, 1))


def global_maximum(graph: Graph, source: str) -> str:
    return graph.emit("GlobalMaxPool", [source], (graph.shapes[source][0], 1, 1))


def sliced(graph: Graph, source: str, axis: int, start: int, end: int) -> str:
    shape = list(graph.shapes[source])
    shape[axis - 1] = end - start
    return graph.emit("Slice", [source], tuple(shape), axis=axis, start=start, end=end)


def dense(graph: Graph, source: str, outputs: int = 5, *, seed: int = 0) -> str:
    constants = [graph.constant(numbers(outputs, graph.size(source), seed=seed) / 4), graph.constant(numbers(outputs))]
    return graph.emit("Gemm", [source, *constants], (outputs,))


def affine(graph: Graph, source: str, *, shift: bool = True) -> str:
    count = graph.shapes[source][0]
    constants = [graph.constant(1 + numbers(count)), graph.constant(numbers(count) * shift)]
    return graph.emit("Affine", [source, *constants], graph.shapes[source])


def scaled(graph: Graph, source: str, scale: np.ndarray, shift: np.ndarray) -> str:
    return graph.emit("Affine", [source, graph.constant(scale), graph.constant(shift)], graph.shapes[source])


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


def test_affine_map_folds_into_all_the_weights_that_read_it_or_none() -> None:
    def both(g: Graph) -> str:
        x = affine(g, INPUT)
        return pair(g, "Mul", conv(g, x), each(g, "Relu", conv(g, x, seed=1)))

    assert folded(both) == ["Conv", "Conv", "Relu", "Mul"]


def test_affine_map_that_others_read_too_stays() -> None:
    def both(g: Graph) -> str:
        x = affine(g, INPUT)
        return pair(g, "Mul", conv(g, x), conv(g, each(g, "Relu", x), seed=1))

    assert folded(both) == ["Affine", "Conv", "Relu", "Conv", "Mul"]


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


def test_what_is_read_once_after_merging_folds() -> None:
    def both(g: Graph) -> str:
        x = conv(g, INPUT)
        return pair(g, "Mul", each(g, "Tanh", affine(g, x)), each(g, "Tanh", affine(g, x)))

    assert folded(both) == ["Conv", "Tanh", "Mul"]


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda g: [sliced(g, INPUT, 2, 1, 5), sliced(g, INPUT, 2, 1, 5)], ["Slice", "Add"]),
        (lambda g: [sliced(g, INPUT, 2, 1, 5), sliced(g, INPUT, 2, 2, 6)], ["Slice", "Slice", "Add"]),
        (lambda g: [g.emit("Resize", [INPUT], (4, 6, 7)) for _ in range(2)], ["Resize", "Add"]),
    ],
)
def test_what_differs_in_its_attributes_is_computed_twice(build: Callable[[Graph], list[str]], left: list[str]) -> None:
    assert folded(lambda g: pair(g, "Add", *build(g))) == left


@pytest.mark.parametrize(
    ("op", "shapes"),
    [("Resize", [(4, 6, 7), (4, 12, 13)]), ("Reshape", [(4, 12, 6), (4, 6, 12)])],
)
def test_what_differs_in_its_shape_alone_is_computed_twice(op: str, shapes: list[tuple[int, ...]]) -> None:
    def both(g: Graph) -> str:
        one, other = (global_maximum(g, sliced(g, g.emit(op, [INPUT], shape), 2, 0, 5)) for shape in shapes)
        return pair(g, "Mul", one, other)

    assert folded(both) == [op, "Slice", "GlobalMaxPool"] * 2 + ["Mul"]


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
        # Not the same line for every channel.
        lambda g: each(g, "Clip", affine(g, INPUT), min=0.0, max=1.0),
        lambda g: each(g, "Clip", scaled(g, INPUT, 1 + numbers(4), np.full(4, 0.3)), min=0.0, max=1.0),
        lambda g: each(g, "Clip", scaled(g, INPUT, np.full(4, 0.3), numbers(4)), min=0.0, max=1.0),
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
        (lambda g: conv(g, pad(g, INPUT, 0, 0, 1, 1)), ["Conv"]),
        (lambda g: conv(g, pad(g, INPUT, 1, 1, 0, 1)), ["Conv"]),
        (lambda g: conv(g, pad(g, INPUT, 0, 0, 2, 2)), ["Pad", "Conv"]),  # unlike any SAME, which readers know
        (lambda g: conv(g, pad(g, INPUT, 1, 1, 2, 2)), ["Pad", "Conv"]),
        (lambda g: each(g, "Relu", pad(g, INPUT, 1, 1, 1, 1)), ["Pad", "Relu"]),
    ],
)
def test_convolution_does_the_padding_in_front_of_it(build: Build, left: list[str]) -> None:
    assert folded(build) == left


def test_convolutions_of_one_pixel_share_the_image_that_they_step_over() -> None:
    def residual(g: Graph) -> str:
        before = each(g, "Relu", INPUT)
        return pair(
            g, "Add", pointwise(g, before, strides=(2, 2)), pointwise(g, each(g, "Relu", before), strides=(2, 2))
        )

    def shared(g: Graph) -> str:
        before = each(g, "Relu", INPUT)
        first = each(g, "Relu", pointwise(g, before, strides=(2, 2)))
        return pair(g, "Add", first, pointwise(g, before, strides=(2, 2)))

    assert folded(residual).count("MaxPool") == 2
    assert folded(shared) == ["Relu", "MaxPool", "Conv", "Relu", "Add"]
    assert folded(lambda g: pointwise(g, INPUT, strides=(1, 2))) == ["MaxPool", "Conv"]
    assert folded(lambda g: pointwise(g, INPUT, group=2, strides=(2, 2))) == ["Conv"]


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda g: max_pool(g, pad(g, each(g, "Relu", INPUT), 2, 2, 2, 2), 3), ["Relu", "MaxPool"]),
        # A maximum of nothing but padding is no zero.
        (lambda g: max_pool(g, pad(g, each(g, "Relu", INPUT), 2, 2, 2, 2), 2), ["Relu", "Pad", "MaxPool"]),
        (lambda g: max_pool(g, pad(g, each(g, "Relu", INPUT), 3, 3, 3, 3), 2), ["Relu", "Pad", "MaxPool"]),
        # Nor is that of negative numbers.
        (lambda g: max_pool(g, pad(g, INPUT, 1, 1, 1, 1), 3), ["Pad", "MaxPool"]),
    ],
)
def test_maximum_does_the_padding_only_where_that_is_zeros_too(build: Build, left: list[str]) -> None:
    assert folded(build) == left


def rows_taken(build: Build) -> list[str]:
    """Build a graph, take pixels for rows, hold its answers against those before, and return what is left."""
    graph = Graph(shapes={INPUT: IMAGE})
    graph.output = flatten(graph, build(graph))
    before = answers(graph)
    take_pixels_for_rows(graph)
    np.testing.assert_allclose(answers(graph), before, atol=2e-6)
    return [node.op for node in graph.nodes]


def test_convolution_of_one_pixel_is_a_dense_layer() -> None:
    assert rows_taken(lambda g: pointwise(g, global_average(g, INPUT))) == ["GlobalAveragePool", "Flatten", "Gemm"]


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda g: pointwise(g, global_average(g, INPUT), group=2), ["GlobalAveragePool", "Conv", "Flatten"]),
        (lambda g: conv(g, global_average(g, INPUT), pads=(1, 1, 1, 1)), ["GlobalAveragePool", "Conv", "Flatten"]),
        (lambda g: pointwise(g, global_average(g, INPUT), padding=1), ["GlobalAveragePool", "Conv", "Flatten"]),
        (lambda g: pointwise(g, INPUT), ["Conv", "Flatten"]),
    ],
)
def test_other_convolutions_stay(build: Build, left: list[str]) -> None:
    assert rows_taken(build) == left


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


def test_readers_of_all_values_at_once_are_the_consumers_of_each() -> None:
    graph = Graph(shapes={INPUT: IMAGE})
    x = conv(graph, INPUT, outputs=4, pads=(1, 1, 1, 1))
    graph.output = graph.emit("Mul", [x, x], IMAGE)
    graph.output = graph.emit("Add", [graph.output, x], IMAGE)
    readers = graph.readers()
    assert {name: graph.consumers(name) for name in readers} == readers
    assert [node.op for node in readers[x]] == ["Mul", "Add"]
    assert graph.output not in readers
