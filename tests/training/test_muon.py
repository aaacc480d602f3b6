"""Muon for kernels of convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainkit.backend import keras
from trainkit.training._muon import ConvolutionMuon
from trainkit.training._schedules import build_optimizer


def step(shape: tuple[int, ...], optimizer: Any, *, times: int = 1) -> np.ndarray:
    """Return by how much a weight of ones has changed after some steps along random gradients."""
    variable = keras.Variable(np.ones(shape, np.float32))
    optimizer.build([variable])
    generator = np.random.default_rng(0)
    for _ in range(times):
        optimizer.apply([keras.ops.convert_to_tensor(generator.normal(size=shape).astype(np.float32))], [variable])
    return np.asarray(keras.ops.convert_to_numpy(variable)) - 1


def test_a_step_of_a_kernel_is_orthogonal_and_as_long_as_one_of_adam() -> None:
    change = step((3, 3, 16, 24), ConvolutionMuon(0.1, weight_decay=None)).reshape(144, 24) / 0.1
    values = np.linalg.svd(change, compute_uv=False) / (0.2 * 144**0.5)
    assert values.min() > 0.6 and values.max() < 1.3, "the five rounds of the polynomial bring them near 1"
    assert np.sqrt(np.mean(change**2)) == pytest.approx(0.2, rel=0.3), "rms, as Moonlight has it"


@pytest.mark.parametrize("shape", [(10,), (24, 24), (3, 3, 32, 1), (3, 3, 1, 32), (1, 1, 32, 8)])
def test_all_but_the_kernels_of_convolutions_is_adams(shape: tuple[int, ...]) -> None:
    found = step(shape, build_optimizer("muon-conv", 0.01), times=3)
    expected = step(shape, build_optimizer("adam", 0.01), times=3)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)


def test_weights_shrink_only_where_it_is_asked_for() -> None:
    for shape, decay, expected in (((3, 3, 16, 16), 0.0, 1.0), ((3, 3, 16, 16), 0.5, 0.5), ((24, 24), 0.5, 1.0)):
        variable = keras.Variable(np.ones(shape, np.float32), name="kernel")
        optimizer = build_optimizer("muon-conv", 1.0, weight_decay=decay)
        optimizer.build([variable])
        optimizer.apply([keras.ops.zeros(shape)], [variable])
        np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)
