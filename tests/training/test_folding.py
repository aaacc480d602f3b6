"""A frozen backbone gives the same features with its normalisations folded into its convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainkit.backend import keras
from trainkit.training._folding import fold_normalizations

LAYERS = keras.layers


def settle(model: Any) -> Any:
    """Give a model weights and averages that are neither zero nor one, and freeze it."""
    draw = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([draw.uniform(0.3, 1.5, weight.shape) for weight in layer.get_weights()])
    model.trainable = False
    return model


def normalizations(model: Any) -> int:
    return sum(type(layer) is LAYERS.BatchNormalization for layer in model.layers)


@pytest.mark.parametrize("scale", [True, False], ids=["scale", "no scale"])
@pytest.mark.parametrize("center", [True, False], ids=["center", "no center"])
@pytest.mark.parametrize(
    "convolution",
    [
        lambda: LAYERS.Conv2D(4, (3, 2), strides=2, padding="same", use_bias=False),
        lambda: LAYERS.Conv2D(6, 3, dilation_rate=2, groups=3),
        lambda: LAYERS.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
        lambda: LAYERS.DepthwiseConv2D(3, padding="same"),
    ],
    ids=["convolution", "groups", "by depth", "by depth, with a bias"],
)
def test_folded_model_gives_the_same(convolution: Any, scale: bool, center: bool) -> None:
    inputs = keras.Input((9, 8, 3))
    x = LAYERS.BatchNormalization(scale=scale, center=center, epsilon=0.01)(convolution()(inputs))
    model = settle(keras.Model(inputs, LAYERS.GlobalAveragePooling2D()(LAYERS.ReLU(6.0)(x))))
    folded = fold_normalizations(model)
    assert (normalizations(model), normalizations(folded)) == (1, 0)
    images = np.random.default_rng(1).normal(size=(3, 9, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(folded(images), model(images), rtol=1e-5, atol=1e-5)
    assert not np.allclose(*np.asarray(model(images))[:2])


def test_branches_come_together_again_and_the_model_stays_as_it_was() -> None:
    inputs = keras.Input((8, 8, 4))
    first = LAYERS.Conv2D(4, 1)(inputs)  # whose output two need
    left = LAYERS.BatchNormalization()(first)
    right = LAYERS.BatchNormalization()(LAYERS.Conv2D(4, 3, padding="same")(first))
    tanh = LAYERS.BatchNormalization()(LAYERS.Conv2D(4, 1, activation="tanh")(inputs))  # not before the activation
    model = settle(keras.Model(inputs, LAYERS.Concatenate()([LAYERS.Add()([left, right]), tanh])))
    config, weights = model.get_config(), model.get_weights()
    folded = fold_normalizations(model)
    assert normalizations(folded) == 2
    images = np.random.default_rng(1).normal(size=(2, 8, 8, 4)).astype(np.float32)
    np.testing.assert_allclose(folded(images), model(images), rtol=1e-5, atol=1e-4)
    assert model.get_config() == config
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_model_with_nothing_to_fold_or_with_unknown_layers_is_itself() -> None:
    class Own(LAYERS.Conv2D):  # type: ignore[misc]
        pass

    inputs = keras.Input((8, 8, 4))
    plain = keras.Model(inputs, LAYERS.BatchNormalization()(inputs))
    own = keras.Model(inputs, LAYERS.BatchNormalization()(Own(4, 1)(LAYERS.BatchNormalization()(inputs))))
    half = LAYERS.Conv2D(4, 1, dtype="bfloat16")(inputs)
    for model in (plain, own, keras.Model(inputs, LAYERS.BatchNormalization(dtype="bfloat16")(half))):
        assert fold_normalizations(model) is model
