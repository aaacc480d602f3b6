"""The list of networks with attention, recurrence and the like: that there are as many, and that they attend."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import attention
import bundles
import networks

NETWORKS = {network.name: network for network in attention.attention_networks()}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    return [cv2.imread(str(path)) for path in networks.write_photographs(tmp_path_factory.mktemp("photographs"))]


def test_there_are_a_hundred_and_ten_three_of_a_kind() -> None:
    assert len(attention.NAMES) == len(set(attention.NAMES)) == len(NETWORKS) == 110
    assert sorted({len(names) for names in attention.KINDS.values()}) == [2, 3]
    assert len(attention.ATTENDING) == 44


@pytest.mark.slow
def test_every_name_is_a_function() -> None:
    from trainkit.backend import keras

    inputs = keras.Input((32, 40, 3))
    with pytest.raises(LookupError, match="No function no_such_network in bodies_attention"):
        attention._body("no-such-network")(keras.layers, inputs)
    for network in NETWORKS.values():
        features = attention._body(network.name)(keras.layers, inputs)
        assert features.shape[0] is None, network.name
        assert None not in features.shape[1:], network.name


# The others are judged as the matrix builds them; of these the gate tries one in five.
FEW = attention.ATTENDING[::5]
MANY = [pytest.param(name, marks=pytest.mark.long) for name in attention.ATTENDING if name not in FEW]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FEW, *MANY])
def test_network_attends_and_is_a_fair_test(name: str, photographs: list[np.ndarray]) -> None:
    from trainkit.backend import keras

    keras.utils.set_random_seed(0)
    network = NETWORKS[name]
    model = network.build(photographs)
    inputs = networks.to_input(photographs, network.preprocessing)
    bundles.check_fair(networks.keras_answers(model, inputs[: networks.TESTED]))
    largest = attention.largest_weights(model, inputs)
    assert largest
    assert min(largest) > 0.5
    keras.backend.clear_session()


@pytest.mark.slow
def test_flat_attention_is_seen(photographs: list[np.ndarray]) -> None:
    from trainkit.backend import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 40, 3))
    features = attention._body("mha-self")(keras.layers, inputs)
    model = keras.Model(inputs, keras.layers.Dense(7, activation="softmax")(features))
    batch = networks.to_input(photographs, NETWORKS["mha-self"].preprocessing)
    (flat,) = attention.largest_weights(model, batch)
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.MultiHeadAttention))
    tokens = keras.Model(inputs, layer.input[0])(batch)
    _, weights = layer(tokens, tokens, return_attention_scores=True)
    assert flat == pytest.approx(float(np.asarray(weights).max(-1).mean()), abs=1e-5)
    assert flat < 0.5
    attention.sharpen(model, batch)
    assert attention.largest_weights(model, batch)[0] > 0.5
