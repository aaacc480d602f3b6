"""The builders: their layers, their limits, and weights from files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainkit.backend import keras
from trainkit.errors import UsageError, WeightsError
from trainkit.models import BUILDERS
from trainkit.models.small_cnn import fitting_blocks


def build(name: str, shape: tuple[int, int, int], classes: int, **settings: object):  # type: ignore[no-untyped-def]
    own = {**BUILDERS[name].settings, **({"weights": "none"} if "weights" not in settings else {}), **settings}
    return BUILDERS[name].build(shape, classes, **own)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize(("classes", "units", "activation"), [(2, 1, "sigmoid"), (5, 5, "softmax")])
def test_builder_ends_in_classes(name: str, classes: int, units: int, activation: str) -> None:
    settings = {"alpha": 0.25} if name == "mobilenet" else {}
    model = build(name, (40, 48, 3), classes, **settings)
    assert model.input_shape == (None, 40, 48, 3)
    assert model.layers[-1].units == units
    assert model.layers[-1].activation.__name__ == activation


def test_small_cnn_with_one_block_is_the_network_of_the_books() -> None:
    model = build("small-cnn", (256, 256, 1), 2, blocks=1)
    kinds = [type(layer).__name__ for layer in model.layers[1:]]
    assert kinds == ["Conv2D", "MaxPooling2D", "Flatten", "Dropout", "Dense"]
    assert model.layers[1].filters == 32
    assert model.layers[1].kernel_size == (3, 3)
    assert model.layers[-1].units == 1
    assert model.count_params() == 3 * 3 * 32 + 32 + 127 * 127 * 32 + 1


def test_small_cnn_doubles_its_filters() -> None:
    model = build("small-cnn", (96, 96, 3), 3)
    assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [32, 64, 128]


@pytest.mark.parametrize(("side", "blocks"), [(3, 0), (4, 1), (8, 1), (10, 2), (28, 3), (96, 5)])
def test_fitting_blocks_leave_a_pixel(side: int, blocks: int) -> None:
    assert fitting_blocks(side) == blocks


def test_fashion_mnist_is_the_textbook_network() -> None:
    model = build("fashion-mnist", (28, 28, 1), 10)
    convolution, dense = model.layers[1], model.layers[4]
    assert (convolution.filters, convolution.kernel_size, dense.units) == (32, (3, 3), 100)
    for layer in (convolution, dense):
        assert isinstance(layer.kernel_initializer, keras.initializers.HeUniform)
        assert layer.activation.__name__ == "relu"


@pytest.mark.parametrize(
    ("name", "shape", "settings", "message"),
    [
        ("small-cnn", (8, 8, 1), {"blocks": 2}, "room for 1 blocks.*model.blocks=2"),
        ("small-cnn", (3, 9, 1), {}, "An image of 9x3 has room for 0 blocks"),
        ("fashion-mnist", (3, 9, 1), {}, "at least 4x4. Received: 9x3"),
        ("vgg16", (31, 64, 3), {}, "vgg16 needs images of at least 32x32. Received: --size 64x31"),
        ("mobilenet", (64, 64, 1), {"weights": "imagenet"}, "need colour. Received: --color gray"),
        ("mobilenet", (64, 64, 3), {"weights": "imagenet", "alpha": 0.3}, "exist for alpha .*Received: 0.3"),
    ],
)
def test_builder_refuses_what_cannot_be(name: str, shape: tuple, settings: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError, match=message):
        build(name, shape, 3, **settings)


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
def test_backbone_weights_come_from_a_file(tmp_path: Path, suffix: str) -> None:
    source = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = tmp_path / f"backbone{suffix}"
    source.save_weights(path) if suffix == ".weights.h5" else source.save(path)
    model = build("vgg16", (48, 40, 3), 3, weights=str(path))
    np.testing.assert_array_equal(model.get_layer("block3_conv2").kernel, source.get_layer("block3_conv2").kernel)
    assert not model.get_layer("block3_conv2").trainable


def test_backbone_weights_come_from_a_whole_classifier(tmp_path: Path) -> None:
    source = keras.applications.MobileNet(weights=None, alpha=0.25, input_shape=(224, 224, 3))
    source.save_weights(tmp_path / "whole.weights.h5")
    model = build("mobilenet", (64, 64, 3), 3, alpha=0.25, weights=str(tmp_path / "whole.weights.h5"))
    np.testing.assert_array_equal(model.get_layer("conv_pw_9").kernel, source.get_layer("conv_pw_9").kernel)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    build("small-cnn", (28, 28, 1), 3).save_weights(tmp_path / "small.weights.h5")
    for name in ("mobilenet", "fashion-mnist"):
        settings = {"alpha": 0.25} if name == "mobilenet" else {}
        with pytest.raises(
            WeightsError, match=r"small.weights.h5 do not fit .*Give a file saved from the same network"
        ):
            build(name, (32, 32, 3), 3, weights=str(tmp_path / "small.weights.h5"), **settings)


def test_own_weights_come_back(tmp_path: Path) -> None:
    source = build("small-cnn", (28, 28, 1), 3)
    source.save_weights(tmp_path / "own.weights.h5")
    loaded = build("small-cnn", (28, 28, 1), 3, weights=str(tmp_path / "own.weights.h5"))
    for one, other in zip(source.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.h5", None, "No such weights file"),
        ("weights.pkl", b"x", r"is no weights file. Expected .weights.h5, .h5 or .keras"),
        ("weights.h5", b"not HDF5", "do not fit small_cnn"),
        ("weights.keras", b"not a zip", "do not fit small_cnn"),
    ],
)
def test_weights_that_are_none_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        build("small-cnn", (28, 28, 1), 3, weights=str(tmp_path / name))


def test_missing_imagenet_weights_say_which_file_goes_where(tmp_path: Path) -> None:
    code = (
        "from trainkit.models.backbones import build_vgg16\n"
        "build_vgg16((64, 64, 3), 2, weights='imagenet', dense=8, dropout=0.5)"
    )
    nowhere = {"KERAS_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9", "PATH": ""}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=nowhere, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    expected = r"vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 from https://"
    assert "WeightsError" in ended.stderr
    assert expected in ended.stderr
    assert str(tmp_path / "models") in ended.stderr


@pytest.mark.shared
@pytest.mark.parametrize("size", [(224, 224), (96, 160)])
def test_imagenet_weights_come_from_the_cache(shared: Path, size: tuple[int, int]) -> None:
    model = build("mobilenet", (*size, 3), 2, weights="imagenet", alpha=0.25)
    assert not any(layer.trainable_weights for layer in model.layers[:-1])
    assert float(np.abs(model.get_layer("conv1").kernel).sum()) > 1
