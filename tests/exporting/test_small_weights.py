"""Kernels as whole numbers: rounded with care, right in OpenCV, and found again in the Keras model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from small_networks import NETWORKS, leaving, randomize

from trainkit.backend import keras
from trainkit.deploy.python._graph import check_onnx
from trainkit.deploy.python._model import read_net
from trainkit.deploy.python._vouching import vouches_for
from trainkit.exporting._conversion import build_graph
from trainkit.exporting._graph import Graph
from trainkit.exporting._onnx_graph import save_onnx, to_onnx
from trainkit.exporting._small_weights._choosing import SHARE, store_in_8_bits, store_in_16_bits
from trainkit.exporting._small_weights._kernels import StoredKernel, kernel_readers
from trainkit.exporting._small_weights._moments import blocks_of, measure_moments
from trainkit.exporting._small_weights._onnx import read_stored
from trainkit.exporting._small_weights._origins import find_origins
from trainkit.exporting._small_weights._rounding import choose_scales, round_in_turn, whole
from trainkit.exporting._small_weights._shrinking import Shrunk, find_shrunk, shrink
from trainkit.exporting._tracing import trace

ENGINES = ["classic", "new"] if hasattr(cv2.dnn, "ENGINE_CLASSIC") else [None]
QUICK = {"convolutions", "depthwise", "transposed_short", "normalizations", "shared", "flattened", "mixer", "shuffled"}
# Of the others one in four is tried by the gate.
OTHERS = [name for name in sorted(NETWORKS) if name not in QUICK]
CASES = [
    *sorted(set(NETWORKS) - set(OTHERS)),
    *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS[::4]),
    *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.long]) for name in OTHERS if name not in OTHERS[::4]),
]


@pytest.fixture(autouse=True)
def every_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the few bytes of these networks be worth it."""
    choosing = "trainkit.exporting._small_weights._choosing"
    monkeypatch.setattr(f"{choosing}._FEWEST", 1)
    monkeypatch.setattr(f"{choosing}._OVERHEAD", {8: 0, 16: 0})


def shrunk(name: str, weights_as: str) -> Shrunk:
    it = leaving(name)
    return shrink(it.traced, weights_as, [blob(it)], broadcast=False)


def blob(it: Any) -> np.ndarray:
    return np.ascontiguousarray(it.inputs.transpose(0, 3, 1, 2))


def answers(path: Path, engine: str | None, inputs: np.ndarray) -> np.ndarray:
    """Return what OpenCV answers, with batch sizes that change on one net."""
    net = read_net(path.read_bytes(), "onnx", engine)
    parts = []
    for start, end in ((0, 1), (1, 4), (4, 8)):
        net.setInput(inputs[start:end])
        parts.append(np.array(net.forward()).reshape(end - start, -1))
    return np.concatenate(parts)


@pytest.mark.parametrize("weights_as", ["int8", "float16"])
@pytest.mark.parametrize("name", CASES)
def test_file_answers_as_keras_with_the_same_weights(name: str, weights_as: str, tmp_path: Path) -> None:
    it, found = leaving(name), shrunk(name, weights_as)
    own = it.traced.predict(it.inputs)["probabilities"]
    path = tmp_path / "model.onnx"
    with found.held(it.traced) as (graph, kernels):
        expected = it.traced.predict(it.inputs)["probabilities"]
        save_onnx(graph, it.traced.activation, path, metadata={}, kernels=kernels)
    assert set(kernels) <= set(graph.constants)
    for engine in ENGINES:
        np.testing.assert_allclose(answers(path, engine, blob(it)), expected, atol=2e-5)
    assert np.array_equal(it.traced.predict(it.inputs)["probabilities"], own)  # the model is what it was


@pytest.mark.parametrize("name", ["convolutions", "flattened", "single_sigmoid", "sums_of_products", "unrolled"])
def test_kernels_are_found_in_the_keras_model(name: str) -> None:
    """Each kernel of one layer has an origin, and the graph of the changed model has the wanted kernels."""
    it = leaving(name)
    readers = kernel_readers(it.graph)
    origins = find_origins(it.model, it.graph, list(readers), lambda: build_graph(it.traced))
    own = np.random.default_rng(1)
    wanted = {
        key: np.float32(it.graph.constants[key] * own.uniform(0.5, 1.5, it.graph.constants[key].shape))
        for key in origins.places
    }
    found = Shrunk(it.graph, origins, {key: as_stored(value) for key, value in wanted.items()}, broadcast=False)
    with found.held(it.traced) as (_, kernels):
        assert len(kernels) == len(wanted)


def as_stored(kernel: np.ndarray) -> StoredKernel:
    """Return a kernel as one of 16 bits whose scale makes it what it is to within a thousandth."""
    largest = np.abs(kernel).max(initial=1e-9)
    numbers = np.rint(kernel / largest * 32000).astype(np.int16) * (kernel != 0)
    return StoredKernel(numbers.astype(np.int16), np.full(kernel.shape[0], largest / 32000, np.float32), 0)


def test_kernel_whose_weights_stand_in_another_too_stays_as_it_is() -> None:
    """A convolution that is used twice, each time in front of a normalisation of its own."""
    image = keras.Input((12, 12, 3))
    convolve = keras.layers.Conv2D(3, 3, padding="same")
    x = keras.layers.BatchNormalization()(convolve(keras.layers.BatchNormalization()(convolve(image))))
    answer = keras.layers.Dense(4, "softmax")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, answer)
    randomize(model)
    found = shrink(trace(model), "int8", [np.ones((2, 3, 12, 12), np.float32)], broadcast=False)
    assert [kernel.numbers.shape for kernel in found.kernels.values()] == [(4, 3)]


def test_kernels_come_back_from_a_file_and_are_found_in_the_model(tmp_path: Path) -> None:
    it, found = leaving("transposed_short"), shrunk("transposed_short", "int8")
    path = tmp_path / "model.onnx"
    save_onnx(found.graph, "softmax", path, metadata={}, kernels=found.kernels)
    read = read_stored(path)
    assert read.keys() == found.kernels.keys()
    for name, kernel in read.items():
        assert kernel.bits == found.kernels[name].bits
        np.testing.assert_allclose(kernel.restored, found.kernels[name].restored, rtol=1e-6)
    again = find_shrunk(it.traced, read, broadcast=False)
    assert again is not None
    assert again.kernels.keys() == found.kernels.keys()


def test_kernels_of_another_model_are_not_found() -> None:
    others = shrunk("flattened", "int8").kernels
    assert find_shrunk(leaving("convolutions").traced, others, broadcast=False) is None


def test_file_without_small_weights_has_none(tmp_path: Path) -> None:
    save_onnx(leaving("convolutions").graph, "softmax", tmp_path / "model.onnx", metadata={})
    assert read_stored(tmp_path / "model.onnx") == {}


@pytest.mark.parametrize("spread", [0.2, 0.3])  # one scale, or one a channel
def test_numbers_of_16_bits_are_written_as_two_halves(spread: float, tmp_path: Path) -> None:
    """All that there are, from the least to the largest."""
    graph = Graph(shapes={"input": (1, 1, 1)})
    numbers = np.arange(-32639, 32640, 7, dtype=np.int16).reshape(-1, 1, 1, 1)
    kernel = StoredKernel(numbers, np.linspace(0.2, spread, len(numbers), dtype=np.float32), 0)
    constants = [graph.constant(kernel.restored), graph.constant(np.linspace(0, 1, len(numbers)))]
    window = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": 1}
    image = graph.emit("Conv", ["input", *constants], (len(numbers), 1, 1), **window)
    graph.output = graph.emit("Flatten", [image], (len(numbers),))
    save_onnx(graph, "relu", tmp_path / "model.onnx", metadata={}, kernels={constants[0]: kernel})
    (read,) = read_stored(tmp_path / "model.onnx").values()
    assert np.array_equal(read.numbers, numbers)
    for engine in ENGINES:
        found = answers(tmp_path / "model.onnx", engine, np.ones((8, 1, 1, 1), np.float32))
        expected = np.maximum(kernel.restored.reshape(-1) + np.linspace(0, 1, len(numbers)), 0)
        np.testing.assert_allclose(found, np.tile(expected, (8, 1)), rtol=1e-5, atol=1e-5)


def test_the_file_has_a_quarter_or_half_of_the_bytes() -> None:
    it = leaving("row_activations")
    sizes = []
    for weights_as in (None, "float16", "int8"):
        kernels = None if weights_as is None else shrunk("row_activations", weights_as).kernels
        proto = to_onnx(it.graph, "softmax", {}, kernels)
        sizes.append(sum(len(one.raw_data) for one in proto.graph.initializer))
    assert sizes[1] < 0.55 * sizes[0]
    assert sizes[2] < 0.33 * sizes[0]


def test_kernel_that_two_layers_share_is_written_once() -> None:
    graph = Graph(shapes={"input": (4,)})
    constants = [graph.constant(np.arange(16).reshape(4, 4)), graph.constant(np.zeros(4))]
    first = graph.emit("Relu", [graph.emit("Gemm", ["input", *constants], (4,))], (4,))
    graph.output = graph.emit("Gemm", [first, *constants], (4,))
    proto = to_onnx(graph, "softmax", {}, store_in_16_bits(graph, kernel_readers(graph)))
    onnx.checker.check_model(proto)
    assert [tensor.data_type for tensor in proto.graph.initializer].count(onnx.TensorProto.INT8) == 2


# Rounding


def correlated(inputs: int, seed: int = 0) -> np.ndarray:
    """Return the second moments of inputs that say much the same."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (4000, 6)) @ random.normal(0, 1, (6, inputs)) + random.normal(0.3, 0.1, (4000, inputs))
    return np.asarray(values.T @ values / len(values))


def cost(change: np.ndarray, moments: np.ndarray) -> float:
    return float(np.einsum("ri,ij,rj->", change, moments, change))


def test_rounding_in_turn_costs_a_fraction_of_rounding_to_the_nearest() -> None:
    weights, moments = np.random.default_rng(2).normal(0, 1, (8, 96)), correlated(96)
    scales = choose_scales(weights, np.diag(moments), 8)
    nearest, in_turn = whole(weights, scales, 8), round_in_turn(weights, scales, moments)
    assert np.array_equal(in_turn, np.rint(in_turn))
    assert np.abs(in_turn).max() <= 127
    changes = [weights - numbers * scales[:, None] for numbers in (nearest, in_turn)]
    assert cost(changes[1], moments) < 0.25 * cost(changes[0], moments)


def test_rounding_in_turn_is_rounding_to_the_nearest_where_inputs_are_independent() -> None:
    weights = np.random.default_rng(2).normal(0, 1, (8, 40))
    scales = choose_scales(weights, np.ones(40), 8)
    assert np.array_equal(round_in_turn(weights, scales, np.eye(40)), whole(weights, scales, 8))


def test_inputs_that_are_always_zero_are_rounded_to_the_nearest() -> None:
    weights = np.random.default_rng(2).normal(0, 1, (8, 40))
    scales = choose_scales(weights, np.ones(40), 8)
    assert np.array_equal(round_in_turn(weights, scales, np.zeros((40, 40))), whole(weights, scales, 8))


def test_scale_is_chosen_by_what_rounding_costs() -> None:
    """An outlier whose input is nearly always zero does not make all others coarse."""
    weights = np.random.default_rng(3).normal(0, 1, (1, 200))
    weights[0, 7] = 6.0
    squares = np.ones(200)
    squares[7] = 1e-6
    (scale,) = choose_scales(weights, squares, 8)
    assert scale < 0.8 * 6.0 / 127
    (scale,) = choose_scales(np.zeros((1, 200)), squares, 8)
    assert scale > 0


def test_moments_are_those_of_what_meets_the_kernel() -> None:
    """By the answers: the mean square of a convolution without bias is w' M w, where all pixels are looked at."""
    it = leaving("convolutions")
    readers = kernel_readers(it.graph)
    images = blob(it)
    moments = measure_moments(it.graph, readers, [images[:4], images[4:]])
    name, (node,) = next((name, nodes) for name, nodes in readers.items() if nodes[0].inputs[0] == "input")
    assert moments[name].shape == (1, 27, 27)
    blocks = {key: blocks_of(nodes[0], it.graph.constants[key]) for key, nodes in readers.items()}
    assert all(moments[key].shape == (count, size, size) for key, (count, size) in blocks.items())
    patches = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(2, 3))
    rows = patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 27)
    assert it.graph.shapes[node.output][1:] == patches.shape[2:4]
    np.testing.assert_allclose(np.diag(moments[name][0]), (rows**2).mean(0), rtol=0.2)  # a sample of the pixels
    grouped = next(key for key, nodes in readers.items() if nodes[0].attributes.get("group", 1) == 4)
    assert moments[grouped].shape == (4, 18, 18)


def test_bytes_that_are_left_go_to_the_kernels_that_lose_most() -> None:
    it = leaving("dense_on_images")
    readers = kernel_readers(it.graph)
    moments = measure_moments(it.graph, readers, [blob(it)])
    size = to_onnx(it.graph, "softmax", {}).ByteSize()
    found = {bound: store_in_8_bits(it.graph, readers, moments, bound) for bound in (size, 100 * size)}
    assert {kernel.bits for kernel in found[size].values()} <= {8, 16}
    assert {kernel.bits for kernel in found[100 * size].values()} == {8}  # nothing is left of so small a share
    assert 0.25 < SHARE < 0.30


def test_zeros_stay_zeros() -> None:
    """Where a weight is zero its origin is not known, so nothing may be made of it."""
    it = leaving("convolutions")
    for name, kernel in shrunk("convolutions", "int8").kernels.items():
        assert not kernel.numbers[it.graph.constants[name] == 0].any()


@pytest.mark.parametrize("weights_as", ["int8", "float16"])
@pytest.mark.parametrize("name", ["convolutions", "depthwise", "flattened", "transposed_short"])
def test_clients_need_not_try_it_first(name: str, weights_as: str, tmp_path: Path) -> None:
    """Which would take longer than all the rest of opening a bundle."""
    it, found = leaving(name), shrunk(name, weights_as)
    save_onnx(found.graph, it.traced.activation, tmp_path / "model.onnx", metadata={}, kernels=found.kernels)
    model = check_onnx((tmp_path / "model.onnx").read_bytes(), "model.onnx")
    assert vouches_for(model, it.graph.shapes["input"], "model.onnx")
