from __future__ import annotations

import numpy as np
import pytest

from trainkit.backend import keras, tf
from trainkit.training._adam import FusedAdam

ROUNDING = 5e-5  # of float32, over 25 steps of 0.1


def weights_after(optimizer, steps: int = 25) -> list[np.ndarray]:  # type: ignore[no-untyped-def]
    """Return the weights that an optimizer makes of the same ones, by the same gradients."""
    generator = np.random.default_rng(0)
    variables = [keras.Variable(generator.normal(size=shape).astype("float32")) for shape in ((30, 20), (20,))]
    optimizer.build(variables)

    @tf.function
    def apply(gradients: list[tf.Tensor]) -> None:
        optimizer.apply(gradients, variables)

    for _ in range(steps):
        apply([tf.constant(generator.normal(size=variable.shape), tf.float32) for variable in variables])
    return [np.asarray(variable) for variable in variables]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"weight_decay": 0.1},
        {"global_clipnorm": 0.5},
        {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 5},
        {"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 20)},
    ],
)
def test_weights_are_those_of_keras(arguments: dict[str, object]) -> None:
    arguments = {"learning_rate": 0.1, **arguments}
    expected = weights_after(keras.optimizers.Adam(**arguments))
    for ours, theirs in zip(weights_after(FusedAdam(**arguments)), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=ROUNDING, rtol=0)


def test_loss_scaling_goes_through_it() -> None:
    scaled = [
        keras.optimizers.LossScaleOptimizer(kind(0.1), initial_scale=8) for kind in (keras.optimizers.Adam, FusedAdam)
    ]
    theirs, ours = (weights_after(optimizer) for optimizer in scaled)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=ROUNDING, rtol=0)


def test_sparse_gradients_go_keras_own_way() -> None:
    table = keras.Variable(np.ones((5, 2), "float32"))
    optimizer = FusedAdam(0.1)
    optimizer.build([table])
    optimizer.apply([tf.IndexedSlices(tf.ones((1, 2)), tf.constant([3]), tf.constant([5, 2]))], [table])
    assert (np.asarray(table) != 1).any(axis=1).tolist() == [False, False, False, True, False]
