"""The builders: their layers, their limits, and weights from files."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from photographs import write_class_folders
from untrained import settle

import trainkit
from trainkit.backend import keras, tf
from trainkit.errors import UsageError, WeightsError
from trainkit.files import sha256_of
from trainkit.models._backbones import BACKBONES
from trainkit.models._builders import BUILDERS
from trainkit.models._outputs import load_keras_model
from trainkit.models._small_cnn import fitting_blocks
from trainkit.preprocessing import build_preprocessing


@pytest.fixture
def forget_models() -> Iterator[None]:
    """Let Keras forget the networks of a test, which would fill the memory together."""
    yield
    keras.backend.clear_session()


# The smallest of each family: with these everything is tried. Its other members have the same layers, but more of them.
SMALLEST = [
    "vgg16", "mobilenet", "mobilenet-v2", "mobilenet-v3-small", "efficientnet-b0", "efficientnet-v2-b0", "resnet50",
    "resnet50-v2", "densenet121", "inception-v3", "xception", "nasnet-mobile", "convnext-tiny",
]  # fmt: skip
# The others are built in every test, and exported and read in the matrix of OpenCVs.
TRAINED = [
    name
    if name in ("mobilenet", "mobilenet-v3-small", "efficientnet-b0", "resnet50")
    else pytest.param(name, marks=pytest.mark.long)
    for name in SMALLEST
]
# Another member, or one that is a family of its own; the first one is small.
NEXT = [
    "mobilenet-v3-large", "vgg19", "efficientnet-b1", "efficientnet-v2-s", "resnet101", "resnet101-v2", "densenet169",
    "inception-resnet-v2", "convnext-small",
]  # fmt: skip


def build(name: str, shape: tuple[int, int, int], classes: int, **settings: object):  # type: ignore[no-untyped-def]
    own = {**BUILDERS[name].settings, **({"weights": "none"} if "weights" not in settings else {}), **settings}
    return BUILDERS[name].build(shape, classes, **own)


def application_of(name: str):  # type: ignore[no-untyped-def]
    """Return the function of `keras.applications` that builds a network."""
    return getattr(keras.applications, BACKBONES[name].application)


def sides(name: str) -> tuple[int, int]:
    """Return a height and a width that are small for a network, and not the same."""
    least = BACKBONES[name].least if name in BACKBONES else 32
    return least, least + 8


def narrow(name: str) -> dict[str, float]:
    """Return the settings of the thinnest network of this name."""
    alphas = BACKBONES[name].alphas if name in BACKBONES else ()
    return {"alpha": min(alphas)} if alphas else {}


@pytest.mark.usefixtures("forget_models")
@pytest.mark.parametrize("name", [*filter(lambda name: name not in BACKBONES, BUILDERS), *SMALLEST])
@pytest.mark.parametrize(
    ("classes", "units", "activation"),
    [(5, 5, "softmax"), pytest.param(2, 1, "sigmoid", marks=pytest.mark.slow)],  # quickly in the tests of a training
)
def test_builder_ends_in_classes(name: str, classes: int, units: int, activation: str) -> None:
    shape = (*sides(name), 3)
    model = build(name, shape, classes, **narrow(name))
    assert model.input_shape == (None, *shape)
    assert model.layers[-1].units == units
    assert model.layers[-1].activation.__name__ == activation
    assert model.trainable_weights


@pytest.fixture(scope="module")
def few_photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("few") / "photos", count=4)


def train_a_step(name: str, data: Path, experiments: Path) -> trainkit.Run:
    """Train a network on a few images, step by step: to trace the graph of a large one takes longer than its step."""
    height, width = sides(name)
    tf.config.run_functions_eagerly(True)
    try:
        return trainkit.train(
            data,
            model=name,
            weights="none",
            size=(width, height),
            epochs=1,
            batch_size=64,
            settings={f"model.{key}": value for key, value in narrow(name).items()},
            experiments=experiments,
        )
    finally:
        tf.config.run_functions_eagerly(False)


one_step = pytest.mark.filterwarnings(
    "ignore:Even though the `tf.config.experimental_run_functions_eagerly`:UserWarning"
)


@pytest.mark.usefixtures("forget_models", "undrawn")
@pytest.mark.slow
@one_step
@pytest.mark.parametrize("name", TRAINED)
def test_backbone_trains_a_step(name: str, few_photographs: Path, tmp_path: Path) -> None:
    """Saved, loaded and measured too: a layer that Keras cannot load safely would fail here."""
    height, width = sides(name)
    run = train_a_step(name, few_photographs, tmp_path)
    assert run.result["status"] == "finished"
    assert run.preprocessing.color == BACKBONES[name].color
    assert 0 <= run.result["test_accuracy"] <= 1
    fresh = build(name, (height, width, 3), 3, **narrow(name))
    trained = load_keras_model(run.model_path)
    assert [weight.shape for weight in trained.weights] == [weight.shape for weight in fresh.weights]


@pytest.mark.usefixtures("forget_models", "undrawn")
@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_backbone_is_tuned_and_leaves(name: str, few_photographs: Path, tmp_path: Path) -> None:
    """Weights from a file, a head, the top of the backbone, its own preprocessing, and out through the check."""
    height, width = max(64, BACKBONES[name].least), max(64, BACKBONES[name].least) + 8
    keras.utils.set_random_seed(0)
    random = build(name, (height, width, 3), 3, **narrow(name))
    body = keras.Model(random.input, random.get_layer("features").input)
    body.save_weights(tmp_path / "body.weights.h5")
    run = trainkit.train(
        few_photographs,
        model=name,
        weights=tmp_path / "body.weights.h5",
        size=(width, height),
        epochs=1,
        batch_size=8,
        settings={
            "fine_tuning.epochs": 1,
            "fine_tuning.layers": 2,
            **{f"model.{key}": value for key, value in narrow(name).items()},
        },
        experiments=tmp_path / "experiments",
    )
    assert run.result["status"] == "finished"
    assert run.result["epochs"] == 2
    backbone = BACKBONES[name]
    geometry = {"height": height, "width": width, "color": backbone.color}
    assert run.preprocessing == build_preprocessing(backbone.preprocessing, **geometry)
    bundle = trainkit.export(run, exported=tmp_path / "exported")
    assert trainkit.check(bundle.path, data=str(few_photographs), experiments=tmp_path / "experiments").ok


@pytest.mark.usefixtures("forget_models", "undrawn")
@pytest.mark.slow
@one_step
@pytest.mark.parametrize("name", [NEXT[0], *(pytest.param(name, marks=pytest.mark.long) for name in NEXT[1:])])
def test_next_members_train_export_and_check(name: str, few_photographs: Path, tmp_path: Path) -> None:
    run = train_a_step(name, few_photographs, tmp_path / "experiments")
    assert run.result["status"] == "finished"
    model = load_keras_model(run.model_path)
    images = [cv2.imread(str(path)) for path in sorted(few_photographs.glob("*/*.png"))]
    settle(model, run.preprocessing.to_input([run.preprocessing.to_pixels(image) for image in images]))
    model.save(run.model_path)
    run.set_result(keras_sha256=sha256_of(run.model_path))
    bundle = trainkit.export(run, exported=tmp_path / "exported")
    assert trainkit.check(bundle.path, data=str(few_photographs), experiments=tmp_path / "experiments").ok


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_sees_what_keras_would_give_it(name: str, street_image: np.ndarray) -> None:
    builder = BUILDERS[name]
    height, width = street_image.shape[:2]
    preprocessing = build_preprocessing(builder.preprocessing, height=height, width=width, color=builder.color)
    rgb = street_image[..., ::-1].astype(np.float32)
    family = sys.modules[application_of(name).__module__]  # the module of `keras.applications` that it is made in
    expected = family.preprocess_input(rgb.copy())
    actual = preprocessing.to_input([preprocessing.to_pixels(street_image)])[0]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_names_the_smallest_image_it_takes(name: str) -> None:
    least = BACKBONES[name].least
    application = application_of(name)
    with pytest.raises(ValueError, match=f"at least {least}x{least}"):
        application(include_top=False, weights=None, input_shape=(least - 1, least, 3))
    with pytest.raises(UsageError, match=f"{name} needs images of at least {least}x{least}. .*--size {least}x"):
        build(name, (least - 1, least, 3), 3)


@pytest.mark.parametrize("name", [name for name in BACKBONES if not name.startswith("mobilenet-v3")])
def test_backbone_has_the_size_that_its_imagenet_weights_were_trained_at(name: str) -> None:
    """Keras says so, where it is asked for a whole network in another one; MobileNetV3 comes in any."""
    size = BACKBONES[name].size
    with pytest.raises(ValueError, match=rf"`input_shape` should be \({size}, {size}, 3\)"):
        application_of(name)(weights="imagenet", input_shape=(size + 1, size + 1, 3))


def test_every_network_of_keras_is_there() -> None:
    public = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {backbone.application for backbone in BACKBONES.values()} == public


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return where Keras would have downloaded weights from; the networks keep their random ones."""
    origins: list[str] = []
    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", lambda name, origin, **_: origins.append(origin))
    monkeypatch.setattr(keras.Model, "load_weights", lambda *_, **__: None)
    return origins


@cache
def kinds_of_smallest(module: str) -> set[tuple[str, str]]:
    """Return the kinds of layers of the smallest network that is made in a module of Keras."""
    name = next(name for name in SMALLEST if application_of(name).__module__ == module)
    return kinds_of(build(name, (*sides(name), 3), 5))


def kinds_of(model) -> set[tuple[str, str]]:  # type: ignore[no-untyped-def]
    """Return the kinds of layers of a network, with their activations."""
    found = {(type(layer).__name__, str(layer.get_config().get("activation"))) for layer in model._flatten_layers()}
    return found - {("Rescaling", "None")}  # of what a network does to pixels


@pytest.mark.usefixtures("forget_models")
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in SMALLEST])
def test_other_members_are_like_the_smallest_and_take_weights_of_their_own(name: str, downloads: list[str]) -> None:
    shape = (*sides(name), 3)
    model = build(name, shape, 5, weights="imagenet")
    assert model.input_shape == (None, *shape)
    assert model.layers[-1].units == 5
    assert [layer.name for layer in model.layers if layer.trainable_weights][-1] == "classes"
    assert len(model.trainable_weights) == (4 if "dense" in BACKBONES[name].settings else 2)
    (origin,) = downloads
    assert re.search(r"no_?-?top", origin)
    assert re.search(re.sub(r"\W", "", name) + "(?!v2)", re.sub(r"\W|_", "", origin).lower())
    if name not in NEXT:
        assert kinds_of(model) <= kinds_of_smallest(application_of(name).__module__)


@pytest.mark.usefixtures("forget_models")
def test_small_cnn_with_one_block_is_the_network_of_the_books() -> None:
    model = build("small-cnn", (256, 256, 1), 2, blocks=1)
    kinds = [type(layer).__name__ for layer in model.layers[1:]]
    assert kinds == ["Conv2D", "MaxPooling2D", "Flatten", "Dropout", "Dense"]
    assert model.layers[1].filters == 32
    assert model.layers[1].kernel_size == (3, 3)
    assert model.layers[-1].units == 1
    assert model.count_params() == 3 * 3 * 32 + 32 + 127 * 127 * 32 + 1


@pytest.mark.usefixtures("forget_models")
def test_small_cnn_doubles_its_filters() -> None:
    model = build("small-cnn", (96, 96, 3), 3)
    assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [32, 64, 128]


@pytest.mark.parametrize(("side", "blocks"), [(3, 0), (4, 1), (8, 1), (10, 2), (28, 3), (96, 5)])
def test_fitting_blocks_leave_a_pixel(side: int, blocks: int) -> None:
    assert fitting_blocks(side) == blocks


@pytest.mark.usefixtures("forget_models")
def test_fashion_mnist_is_the_textbook_network() -> None:
    model = build("fashion-mnist", (28, 28, 1), 10)
    convolution, dense = model.layers[1], model.layers[4]
    assert (convolution.filters, convolution.kernel_size, dense.units) == (32, (3, 3), 100)
    for layer in (convolution, dense):
        assert isinstance(layer.kernel_initializer, keras.initializers.HeUniform)
        assert layer.activation.__name__ == "relu"


@pytest.mark.usefixtures("forget_models")
@pytest.mark.parametrize(("blocks", "widths"), [(1, [8, 16, 32, 32]), (3, [8, 16, 16, 16, 32, 32, 32, 32])])
def test_small_resnet_has_its_blocks_in_the_last_two_stages(blocks: int, widths: list[int]) -> None:
    model = build("small-resnet", (8, 9, 1), 3, width=8, blocks=blocks)
    assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == widths
    assert sum(isinstance(layer, keras.layers.Add) for layer in model.layers) == 2 * blocks - 1
    kinds = [type(layer).__name__ for layer in model.layers[1:5]]
    assert kinds == ["Conv2D", "MaxPooling2D", "BatchNormalization", "ReLU"]
    assert model.get_layer(index=-3).input.shape[1:] == (2, 2, 32)


@pytest.mark.usefixtures("forget_models")
def test_small_resnet_can_have_blocks_in_its_first_stage() -> None:
    model = build("small-resnet", (8, 9, 1), 3, width=8, blocks=1, first_blocks=2)
    assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [8, 8, 8, 16, 32, 32]
    assert sum(isinstance(layer, keras.layers.Add) for layer in model.layers) == 3


@pytest.mark.usefixtures("forget_models")
def test_small_resnet_block_adds_to_what_it_was_given() -> None:
    """A block whose normalisation gives nothing lets everything through."""
    model = build("small-resnet", (28, 28, 1), 3, width=8)
    add = next(layer for layer in model.layers if isinstance(layer, keras.layers.Add))
    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    normalizations[-1].gamma.assign(np.zeros(32))
    given, sums = keras.Model(model.input, [add.input[0], add.output])(np.random.default_rng(0).random((2, 28, 28, 1)))
    assert np.ptp(given) > 0
    np.testing.assert_array_equal(sums, given)


@pytest.mark.parametrize(
    ("name", "shape", "settings", "message"),
    [
        ("small-cnn", (8, 8, 1), {"blocks": 2}, "room for 1 blocks.*model.blocks=2"),
        ("small-cnn", (3, 9, 1), {}, "An image of 9x3 has room for 0 blocks"),
        ("fashion-mnist", (3, 9, 1), {}, "at least 4x4. Received: 9x3"),
        ("small-resnet", (7, 9, 1), {}, "small-resnet needs images of at least 8x8. Received: --size 9x7"),
        ("vgg16", (31, 64, 3), {}, "vgg16 needs images of at least 32x32. Received: --size 64x31"),
        ("inception-v3", (80, 74, 3), {}, "inception-v3 needs images of at least 75x75. Received: --size 74x80"),
        ("xception", (1, 1, 1), {"weights": "imagenet"}, "at least 71x71"),
        ("mobilenet-v3-small", (64, 64, 3), {"weights": "imagenet", "alpha": 0.5}, r"\(0.75, 1.0\)\. Received: 0.5"),
        ("convnext-tiny", (64, 64, 1), {"weights": "imagenet"}, "of convnext-tiny need colour. Received: --color gray"),
        ("mobilenet", (64, 64, 1), {"weights": "imagenet"}, "need colour. Received: --color gray"),
        ("mobilenet", (64, 64, 3), {"weights": "imagenet", "alpha": 0.3}, "exist for alpha .*Received: 0.3"),
    ],
)
def test_builder_refuses_what_cannot_be(name: str, shape: tuple, settings: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError, match=message):
        build(name, shape, 3, **settings)


@pytest.mark.usefixtures("forget_models")
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
def test_backbone_weights_come_from_a_file(tmp_path: Path, suffix: str) -> None:
    source = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = tmp_path / f"backbone{suffix}"
    source.save_weights(path) if suffix == ".weights.h5" else source.save(path)
    model = build("vgg16", (48, 40, 3), 3, weights=str(path))
    np.testing.assert_array_equal(model.get_layer("block3_conv2").kernel, source.get_layer("block3_conv2").kernel)
    assert not model.get_layer("block3_conv2").trainable


@pytest.mark.usefixtures("forget_models")
def test_backbone_weights_come_from_a_whole_classifier(tmp_path: Path) -> None:
    source = keras.applications.MobileNet(weights=None, alpha=0.25, input_shape=(224, 224, 3))
    source.save_weights(tmp_path / "whole.weights.h5")
    model = build("mobilenet", (64, 64, 3), 3, alpha=0.25, weights=str(tmp_path / "whole.weights.h5"))
    np.testing.assert_array_equal(model.get_layer("conv_pw_9").kernel, source.get_layer("conv_pw_9").kernel)


@pytest.mark.usefixtures("forget_models")
@pytest.mark.parametrize(
    "name", ["efficientnet-b0", "mobilenet-v3-small", pytest.param("inception-v3", marks=pytest.mark.slow)]
)
def test_backbone_weights_come_from_a_classifier_with_unnamed_layers(tmp_path: Path, name: str) -> None:
    """Keras numbers the layers of a second network of the same kind on: names are no way to find them."""
    application = application_of(name)
    source = application(weights=None, input_shape=(BACKBONES[name].size, BACKBONES[name].size, 3))
    source.save(tmp_path / "whole.h5")
    model = build(name, (96, 96, 3), 3, weights=str(tmp_path / "whole.h5"))
    ours = [layer for layer in model.layers if layer.weights][:-1]
    theirs = [layer for layer in source.layers if layer.weights]
    assert len(ours) > 30
    for one, other in zip(ours, theirs, strict=False):
        assert one.name.rstrip("_0123456789") == other.name.rstrip("_0123456789")
        for weight, expected in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)


@pytest.mark.usefixtures("forget_models")
@pytest.mark.parametrize("top", [pytest.param(False, marks=pytest.mark.slow), True])
def test_efficientnet_from_a_file_scales_as_keras_does_with_imagenet_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: bool
) -> None:
    """The file has the mean and the deviation of ImageNet in its Normalization, as the one to be downloaded."""
    whole = keras.applications.EfficientNetB0(include_top=top, weights=None, input_shape=(224, 224, 3))
    normalization = next(layer for layer in whole.layers if isinstance(layer, keras.layers.Normalization))
    deviation = (0.229, 0.224, 0.225)
    normalization.set_weights([np.array((0.485, 0.456, 0.406)), np.array(deviation), normalization.get_weights()[2]])
    path = tmp_path / "efficientnet.weights.h5"
    whole.save_weights(path)

    build_module = sys.modules[keras.applications.EfficientNetB0.__module__]
    monkeypatch.setattr(build_module.file_utils, "get_file", lambda *_, **__: path)
    reference = keras.applications.EfficientNetB0(weights="imagenet", include_top=top, input_shape=(224, 224, 3))
    assert sum(isinstance(layer, keras.layers.Rescaling) for layer in reference.layers) == 2

    ours = build("efficientnet-b0", (224, 224, 3), 3, weights=str(path))
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3)).astype(np.float32)
    outputs = [
        keras.Model(model.input, model.get_layer("stem_conv").output).predict(image, verbose=0)
        for model in (reference, ours)
    ]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=0, atol=1e-5)
    assert np.ptp(outputs[0]) > 1


@pytest.mark.usefixtures("forget_models")
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    build("small-cnn", (28, 28, 1), 3).save_weights(tmp_path / "small.weights.h5")
    for name in ("mobilenet", "fashion-mnist"):
        settings = {"alpha": 0.25} if name == "mobilenet" else {}
        with pytest.raises(
            WeightsError, match=r"small.weights.h5 do not fit .*Give a file saved from the same network"
        ):
            build(name, (32, 32, 3), 3, weights=str(tmp_path / "small.weights.h5"), **settings)


@pytest.mark.usefixtures("forget_models")
def test_own_weights_come_back(tmp_path: Path) -> None:
    source = build("small-cnn", (28, 28, 1), 3)
    source.save_weights(tmp_path / "own.weights.h5")
    loaded = build("small-cnn", (28, 28, 1), 3, weights=str(tmp_path / "own.weights.h5"))
    for one, other in zip(source.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("forget_models")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.h5", None, "No such weights file"),
        ("weights.pkl", b"x", r"is no weights file. Expected .weights.h5, .h5 or .keras"),
        ("weights.h5", b"not HDF5", "cannot be read"),
        ("weights.keras", b"not a zip", "cannot be read"),
    ],
)
def test_weights_that_are_none_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        build("small-cnn", (28, 28, 1), 3, weights=str(tmp_path / name))


@pytest.mark.usefixtures("forget_models")
def test_missing_imagenet_weights_say_which_file_goes_where(tmp_path: Path) -> None:
    code = (
        "from trainkit.models._builders import BUILDERS\n"
        "BUILDERS['vgg16'].build((64, 64, 3), 2, weights='imagenet', dense=8, dropout=0.5)"
    )
    nowhere = {"KERAS_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9", "PATH": ""}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=nowhere, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    expected = r"vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 from https://"
    assert "WeightsError" in ended.stderr
    assert expected in ended.stderr
    assert str(tmp_path / "models") in ended.stderr


@pytest.mark.usefixtures("forget_models")
@pytest.mark.shared
@pytest.mark.parametrize("size", [(224, 224), (96, 160)])
@pytest.mark.parametrize(("name", "alpha", "layer"), [("mobilenet", 0.25, "conv1"), ("mobilenet-v2", 0.35, "Conv1")])
def test_imagenet_weights_come_from_the_cache(
    shared: Path, name: str, alpha: float, layer: str, size: tuple[int, int]
) -> None:
    if name == "mobilenet-v2" and size != (224, 224):
        size = (224, 160)  # the file for 224 is the one that Keras takes where the sides differ
    model = build(name, (*size, 3), 2, weights="imagenet", alpha=alpha)
    assert not any(layer.trainable_weights for layer in model.layers[:-1])
    assert float(np.abs(model.get_layer(layer).kernel).sum()) > 1
