from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainkit.backend import keras, tf
from trainkit.errors import UsageError
from trainkit.explaining._activation_maps import activation_mapper, find_feature_map
from trainkit.explaining._explainer import explainer_of
from trainkit.explaining._networks import Network, of_model
from trainkit.explaining._receptive_fields import Axis, Places, find_places
from trainkit.models._builders import BUILDERS
from trainkit.preprocessing import Preprocessing

layers = keras.layers
SHAPE = (40, 56, 3)
# The height and width of the last feature map, and what makes it.
LAST_MAPS = {
    "small-cnn": ((6, 10), "Relu"),
    "small-resnet": ((10, 14), "Add"),
    "fashion-mnist": ((38, 54), "Relu"),
}


def network_of(model: Any) -> Network:
    height, width, channels = model.input_shape[1:]
    preprocessing = Preprocessing(
        height=height, width=width, color="rgb" if channels == 3 else "gray", mean=(90.0,) * 3, std=(60.0,) * 3
    )
    units = model.output_shape[-1]
    return of_model(model, preprocessing, [f"class {number}" for number in range(max(2, units))])


def feature_map_of(network: Network) -> tuple[Any, Places]:
    found: list[tuple[Any, Places]] = []
    assert network.traced is not None

    def build(image: Any, logits: Any) -> tuple[list[Any], list[Any]]:
        features = find_feature_map(image, logits)
        found.append((features, find_places(image, features)))
        return [], [logits]

    network.traced.extended(build)
    return found[0]


def body() -> Any:
    image = keras.Input(SHAPE)
    x = layers.Conv2D(8, 3, strides=2, activation="relu", padding="same")(image)
    return keras.Model(image, layers.Conv2D(12, 3, padding="same", name="last")(x), name="body")


def nested(head: Any) -> Any:
    image = keras.Input(SHAPE)
    x = layers.MaxPooling2D()(layers.ReLU()(body()(image)))
    return keras.Model(image, head(layers.Flatten()(x)))


HEADS = {
    "softmax": lambda: layers.Dense(3, activation="softmax"),
    "softmax_layer": lambda: keras.Sequential([layers.Dense(3), layers.Softmax()]),
    "several_labels": lambda: layers.Dense(3, activation="sigmoid"),
    "sigmoid": lambda: layers.Dense(1, activation="sigmoid"),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("method", ["grad-cam", "hirescam"])
def test_a_map_is_what_its_formula_says(street_image: np.ndarray, head: str, method: str) -> None:
    """Beside Keras' own gradient of the dense layer's logits by what goes into the pooling."""
    keras.utils.set_random_seed(0)  # of some weights a Grad-CAM is 0 everywhere
    model = nested(HEADS[head]())
    network = network_of(model)
    blob = network.to_blob(street_image)
    biggest = []
    for index in (0, 1):
        cells = formula(model, blob, index, method)
        _, places = feature_map_of(network)
        expected = places.to_input(cells, *SHAPE[:2])
        found = activation_mapper(network, method)(blob, index)  # type: ignore[arg-type]
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
        biggest.append(np.abs(expected).max())
    assert max(biggest) > 0


def formula(model: Any, blob: np.ndarray, index: int, method: str) -> np.ndarray:
    image = tf.constant((blob.transpose(0, 2, 3, 1) / 1).astype(np.float32))
    *before, pooling, flatten, head = model.layers[1:]
    dense = head.layers[0] if isinstance(head, keras.Sequential) else head
    x = image
    for layer in before:
        x = layer(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = tf.matmul(flatten(pooling(x)), dense.kernel) + dense.bias
        logit = logits[0, index] if logits.shape[1] > 1 else logits[0, 0] * (2 * index - 1)
    features, gradient = np.asarray(x[0]), np.asarray(tape.gradient(logit, x)[0])
    if method == "grad-cam":
        return np.maximum(0, (features * gradient.mean((0, 1))).sum(-1))
    return np.asarray((features * gradient).sum(-1))


def test_a_saturated_network_has_the_map_of_its_logit(street_image: np.ndarray) -> None:
    model = nested(layers.Dense(3, activation="softmax"))
    sure = keras.models.clone_model(model)
    sure.set_weights(model.get_weights())
    sure.layers[-1].set_weights([1e4 * weight for weight in model.layers[-1].get_weights()])
    found, of_sure = (
        explainer_of(network_of(one), "hirescam", "class 1").explain(street_image) for one in (model, sure)
    )
    assert of_sure.probability in (0, 1)
    assert np.abs(of_sure.map / 1e4 - found.map).max() < 1e-3 * np.abs(found.map).max()


@pytest.mark.parametrize("name", ["small-cnn", "small-resnet", "fashion-mnist"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_last_feature_map_of_our_networks(name: str, classes: int) -> None:
    settings = {**BUILDERS[name].settings, "weights": "none"}
    model = BUILDERS[name].build(SHAPE, classes, multi_label=False, **settings)
    features, _ = feature_map_of(network_of(model))
    assert (features.shape[1], features.shape[2]) == LAST_MAPS[name][0]
    assert features.op.name.endswith(LAST_MAPS[name][1])


# The height and width of the last feature map of 224x224, or of 299x299, and the layer that makes it: one of a family.
LAST_LAYERS = {
    "vgg16": (14, "block5_conv3"),
    "mobilenet": (7, "conv_pw_13_relu"),
    "mobilenet-v2": (7, "out_relu"),
    "mobilenet-v3-small": (7, "activation"),
    "efficientnet-b0": (7, "top_activation"),
    "efficientnet-v2-b0": (7, "top_activation"),
    "resnet50": (7, "conv5_block3_out"),
    "resnet50-v2": (7, "post_relu"),
    "densenet121": (7, "relu"),
    "inception-v3": (8, "mixed10"),
    "xception": (10, "block14_sepconv2_act"),
    "nasnet-mobile": (7, "activation"),
    "convnext-tiny": (7, "layer_normalization"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAST_LAYERS)
def test_the_last_feature_map_of_backbones(name: str, street_image: np.ndarray) -> None:
    builder = BUILDERS[name]
    assert builder.size is not None
    settings = {**builder.settings, "weights": "none"}
    network = network_of(builder.build((*builder.size, 3), 2, multi_label=False, **settings))
    features, places = feature_map_of(network)
    side, layer = LAST_LAYERS[name]
    assert (features.shape[1], features.shape[2]) == (side, side)
    assert features.op.name.split("/")[-2].startswith(layer)
    middle = places.vertical.scale * side / 2 + places.vertical.start
    assert middle == pytest.approx(builder.size[0] / 2, abs=places.vertical.scale / 2)
    found = explainer_of(network, "hirescam").explain(street_image)
    assert found.map.shape == street_image.shape[:2]


def test_cells_lie_where_convolutions_without_padding_look() -> None:
    """Two of 3x3, each with a pooling behind it: the first cell sees pixels 0 to 9, the next one begins 4 later."""
    image = keras.Input((42, 42, 3))
    x = layers.MaxPooling2D()(layers.Conv2D(4, 3)(image))
    x = layers.MaxPooling2D()(layers.Conv2D(4, 3)(x))
    outputs = layers.Dense(2, activation="softmax")(layers.Flatten()(layers.Conv2D(4, 1, padding="same")(x)))
    _, places = feature_map_of(network_of(keras.Model(image, outputs)))
    assert places.vertical == places.horizontal == Axis(scale=4.0, start=3.0)  # the first centre is at 5


def test_a_network_without_a_feature_map_is_refused_and_names_occlusion(street_image: np.ndarray) -> None:
    image = keras.Input(SHAPE)
    outputs = layers.Dense(3, activation="softmax")(layers.Dense(8, activation="relu")(layers.Flatten()(image)))
    network = network_of(keras.Model(image, outputs))
    with pytest.raises(UsageError, match=r"has no convolution that sees more than one place.*Take --method occlusion"):
        explainer_of(network, "hirescam")
    assert np.abs(explainer_of(network, "occlusion").explain(street_image).map).max() > 0
