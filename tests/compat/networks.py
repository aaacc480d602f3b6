"""What is tested: the networks of trainkit, and small ones that together use every layer of an image classifier.

The weights must neither saturate nor flatten the softmax, or every graph would seem right. ImageNet's are taken where
Keras finds them on this machine, the two smallest networks are trained for a moment, and the others are random:
batch normalisation calibrated on photographs, biases not zero, the last layer reading what the photographs differ in,
scaled to logits with a standard deviation of about 2.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from trainkit.models._builders import BUILDERS
from trainkit.preprocessing import PREPROCESSINGS, Preprocessing, build_preprocessing

PHOTOGRAPHS = 16  # to calibrate on; the first `TESTED` of them are what every reader is asked about
TESTED = 8
CLASSES = 7
_STATISTICS = (123.5, 116.0, 104.25), (58.5, 57.0, 60.25)  # of a training set that we do not have
_IMAGE_SPREAD, _CLASS_SPREAD = 1.5, 1.3  # of the logits: from image to image, from class to class; 2 together

FAMILIES = (
    "small-cnn", "small-resnet", "fashion-mnist", "vgg16", "mobilenet", "mobilenet-v2", "mobilenet-v3-small",
    "efficientnet-b0", "efficientnet-v2-b0", "resnet50", "resnet50-v2", "densenet121", "inception-v3", "xception",
    "nasnet-mobile", "convnext-tiny",
)  # fmt: skip
# Weights that a download may have left on this machine: the file, and the settings it belongs to.
_PRETRAINED = {
    "mobilenet": ("mobilenet_7_5_224_tf_no_top.h5", {"alpha": 0.75}),
    "mobilenet-v2": ("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5", {"alpha": 0.35}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A row of the table; `build` returns a Keras model with its weights."""

    name: str
    group: Literal["small", "family", "other", "attention"]
    preprocessing: Preprocessing
    build: Callable[[list[np.ndarray]], Any]  # takes photographs, uint8 BGR
    classes: int = CLASSES

    @property
    def class_names(self) -> list[str]:
        """Names for its outputs."""
        return [f"class {number}" for number in range(self.classes)]


# Photographs


def write_photographs(folder: Path) -> list[Path]:
    """Write the photographs into two class folders and return their files.

    They are test images of cats-dogs where TRAINKIT_SHARED names the real data, else cuttings of the two photographs
    that scikit-learn carries.
    """
    shared = os.environ.get("TRAINKIT_SHARED")
    photographs = list(_shared_photographs(Path(shared)) if shared else _cuttings())
    paths = []
    for number, (suffix, data) in enumerate(photographs):
        path = folder / ("one", "two")[number % 2] / f"{number:02}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        paths.append(path)
    return paths


def _shared_photographs(shared: Path) -> Iterator[tuple[str, bytes]]:
    files = [sorted((shared / "data" / "cats-dogs" / "test" / name).glob("*.jpg")) for name in ("cats", "dogs")]
    for number in range(PHOTOGRAPHS):
        path = files[number % 2][number * 5]
        yield path.suffix, path.read_bytes()


def _cuttings() -> Iterator[tuple[str, bytes]]:
    from sklearn.datasets import load_sample_images

    images = [image[..., ::-1] for image in load_sample_images().images]  # uint8 (427, 640, 3), RGB
    generator = np.random.default_rng(0)
    for number in range(PHOTOGRAPHS):
        image = images[number % 2]
        height, width = int(generator.integers(60, 400)), int(generator.integers(60, 600))
        top, left = (int(generator.integers(0, n - m)) for n, m in zip(image.shape, (height, width), strict=False))
        yield ".png", cv2.imencode(".png", image[top : top + height, left : left + width])[1].tobytes()


# Weights


def all_layers(model: Any) -> Iterator[Any]:
    """Yield every layer, those of nested models too, in their order."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from all_layers(layer)
        else:
            yield layer


def keras_logits(model: Any, inputs_nhwc: np.ndarray) -> np.ndarray:
    """Return float32 (N, units): what Keras has before the last activation.

    The activation is taken off the last layer for a moment, wherever it stands, so that the whole model is Keras' own.
    """
    from trainkit.backend import keras

    last = list(all_layers(model))[-1]
    if isinstance(last, keras.layers.Softmax):
        return np.asarray(keras.Model(model.input, last.input)(inputs_nhwc, training=False))
    activation, last.activation = last.activation, keras.activations.linear
    try:
        return np.asarray(model(inputs_nhwc, training=False))
    finally:
        last.activation = activation


def keras_answers(model: Any, inputs_nhwc: np.ndarray) -> dict[str, np.ndarray]:
    """Return `probabilities` and `logits`, float32 (N, classes); a single sigmoid becomes two columns."""
    logits = keras_logits(model, inputs_nhwc)
    probabilities = np.asarray(model(inputs_nhwc, training=False))
    if logits.shape[1] == 1:
        return {
            "logits": np.hstack([-logits, logits]),
            "probabilities": np.hstack([1 - probabilities, probabilities]),
        }
    return {"logits": logits, "probabilities": probabilities}


def calibrate(model: Any, inputs_nhwc: np.ndarray, seed: int = 0) -> Any:
    """Give a random network weights that let every layer count, and return it.

    Args:
        model: ends in a layer with a kernel, perhaps followed by pooling and a softmax.
        inputs_nhwc: float32, photographs after preprocessing.
        seed: of the biases.
    """
    from trainkit.backend import keras

    generator = np.random.default_rng(seed)
    layers = list(all_layers(model))
    normalized = any("Normalization" in type(layer).__name__ for layer in layers)
    for weight in model.weights:
        name, shape = weight.path.rsplit("/", 1)[-1], weight.shape
        if name == "bias":
            weight.assign(generator.normal(0, 0.1, shape))
        elif name == "beta":  # two of three units at work: images fall together where a deep network cuts half of them
            weight.assign(generator.normal(0.5, 0.1, shape))
        elif name == "gamma":  # of a layer scale too, which is 1e-6 at first and would hide its block
            weight.assign(generator.uniform(0.7, 1.3, shape))
        elif name == "alpha":
            weight.assign(generator.uniform(0.05, 0.4, shape))
        elif name == "kernel" and not normalized:  # or a deep network's signal would drown in its biases
            weight.assign(keras.initializers.HeNormal(seed=seed)(shape))
    _calm_branches(layers)
    _calibrate_batch_normalization(model, layers, inputs_nhwc)
    spread_logits(model, layers, inputs_nhwc, generator)
    return model


def _calm_branches(layers: list[Any]) -> None:
    """Let a residual branch add little to what it is added to, as training begins (arXiv:1706.02677, 5.1) and ends.

    With branches as strong as the way past them, fifty layers make of rounding what nobody could tell from an error.
    """
    from trainkit.backend import keras

    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            readers = [node.operation for node in layer._outbound_nodes]
            if any(isinstance(reader, keras.layers.Add) for reader in readers):
                layer.gamma.assign(0.25 * layer.gamma)


def _calibrate_batch_normalization(model: Any, layers: list[Any], inputs_nhwc: np.ndarray) -> None:
    from trainkit.backend import keras

    found = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in found]
    for layer in found:
        layer.momentum = 0.0  # one pass, and what it has seen of the photographs is what it keeps
    if found:
        model(inputs_nhwc, training=True)
    for layer, momentum in zip(found, momenta, strict=True):
        layer.momentum = momentum


def spread_logits(model: Any, layers: list[Any], inputs_nhwc: np.ndarray, generator: np.random.Generator) -> None:
    """Scale the last kernel, so that the logits differ from image to image and not only from class to class."""
    last = [layer for layer in layers if hasattr(layer, "kernel")][-1]
    units = last.kernel.shape[-1]
    if last in model.layers and last.kernel.ndim == 2:
        last.kernel.assign(_discerning_kernel(model, last, inputs_nhwc, generator))
    last.bias.assign(np.zeros(units))
    logits = keras_logits(model, inputs_nhwc)
    factor = _IMAGE_SPREAD / max(float((logits - logits.mean(0)).std()), 1e-6)
    last.kernel.assign(last.kernel.numpy() * factor)
    last.bias.assign(generator.normal(0, _CLASS_SPREAD, units) - logits.mean(0) * factor)


def _discerning_kernel(model: Any, last: Any, inputs_nhwc: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a kernel, (features, units), that reads the directions in which the photographs differ most.

    Training finds such. In a random direction they hardly differ, and the scale that such a kernel needs would blow up
    the rounding of every runtime, until no runtime could be told from a wrong one.
    """
    from trainkit.backend import keras

    features = np.asarray(keras.Model(model.input, last.input)(inputs_nhwc, training=False))
    _, sizes, directions = np.linalg.svd(features - features.mean(0), full_matrices=False)
    weights = np.sqrt(sizes[:8, None]).clip(1e-12) ** -1  # so that the first direction does not make all the labels
    return np.asarray(directions[:8].T @ (weights * generator.normal(0, 1, (len(weights), last.kernel.shape[-1]))))


# The networks of trainkit


def _family(name: str) -> Network:
    builder = BUILDERS[name]
    trained = name in ("small-cnn", "small-resnet", "fashion-mnist")
    width, height = builder.size or {"fashion-mnist": (28, 28)}.get(name, (32, 32))
    color = builder.color or "gray"
    preprocessing = build_preprocessing(
        builder.preprocessing, height=height, width=width, color=color, statistics=_statistics(color)
    )

    def build(photographs: list[np.ndarray]) -> Any:
        if trained:
            return _train_for_a_moment(name, preprocessing)
        settings = {**builder.settings, "weights": "none"}
        file, extra = _PRETRAINED.get(name, ("", {}))
        settings.update({key: value for key, value in extra.items() if key in settings})
        pretrained = bool(file) and (_keras_home() / "models" / file).is_file()
        if pretrained:
            settings["weights"] = "imagenet"
        model = builder.build(preprocessing.shape, CLASSES, **settings)
        inputs = to_input(photographs, preprocessing)
        if not pretrained:
            return calibrate(model, inputs)
        spread_logits(model, list(all_layers(model)), inputs, np.random.default_rng(0))
        return model

    return Network(
        name=name, group="family", preprocessing=preprocessing, build=build, classes=10 if trained else CLASSES
    )


def to_input(photographs: list[np.ndarray], preprocessing: Preprocessing) -> np.ndarray:
    """Return float32 (N, height, width, channels): what the Keras model is fed with."""
    return preprocessing.to_input([preprocessing.to_pixels(image) for image in photographs])


def _keras_home() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def _statistics(color: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return ((116.0,), (58.0,)) if color == "gray" else _STATISTICS


def _train_for_a_moment(name: str, preprocessing: Preprocessing) -> Any:
    from trainkit.data._sources import load_dataset

    there = (_keras_home() / "datasets" / "fashion-mnist").is_dir()
    data = "fashion-mnist" if name == "fashion-mnist" and there else "digits"
    part = load_dataset(data).parts["train"]
    chosen = range(0, len(part), max(1, len(part) // 6000))
    inputs = to_input([part.images[i] for i in chosen], preprocessing)
    builder = BUILDERS[name]
    model = builder.build(preprocessing.shape, 10, **builder.settings)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.fit(inputs, part.labels[list(chosen)], batch_size=32, epochs=2, verbose=0)
    return model


def _inception_resnet() -> Network:
    preprocessing = build_preprocessing("symmetric", height=139, width=139)

    def build(photographs: list[np.ndarray]) -> Any:
        from trainkit.backend import keras

        backbone = keras.applications.InceptionResNetV2(
            include_top=False, weights=None, input_shape=preprocessing.shape, pooling="avg"
        )
        outputs = keras.layers.Dense(CLASSES, activation="softmax")(backbone.output)
        return calibrate(keras.Model(backbone.input, outputs), to_input(photographs, preprocessing))

    return Network(name="inception-resnet-v2", group="other", preprocessing=preprocessing, build=build)


# Small networks, one idea each. A body takes the input tensor and returns features, under which comes the head, or
# with `whole` the probabilities.


def small_network(
    name: str,
    body: Callable[..., Any],
    *,
    preprocessing: str = "symmetric",
    size: tuple[int, int] = (40, 32),
    color: Any = "rgb",
    resize: Any = "stretch",
    classes: int = CLASSES,
    whole: bool = False,
    adapt: bool = False,
    prepare: Callable[[Any, np.ndarray], Any] | None = None,
) -> Network:
    """Return a small network around a body.

    Args:
        name: its name.
        body: takes Keras' layers and the input, and with `adapt` the photographs; returns features.
        preprocessing: the name of a preprocessing.
        size: width and height.
        color: what the network sees.
        resize: how a photograph becomes that size.
        classes: how many.
        whole: the body returns probabilities.
        adapt: whether it looks at the photographs.
        prepare: gives the model its weights, on photographs; `calibrate` by default.
    """
    extra = {"mean_image": _mean_image(size)} if preprocessing == "mean-image" else {}
    prepared = build_preprocessing(
        preprocessing,
        height=size[1],
        width=size[0],
        color=color,
        resize=resize,
        statistics=_statistics(color),
        **extra,
    )

    def build(photographs: list[np.ndarray]) -> Any:
        from trainkit.backend import keras

        photos = to_input(photographs, prepared)
        inputs = keras.Input(prepared.shape)
        x = body(keras.layers, inputs, photos) if adapt else body(keras.layers, inputs)
        if not whole:
            x = x if len(x.shape) == 2 else keras.layers.Flatten()(x)
            x = keras.layers.Dense(classes, activation="softmax")(x)
        return (prepare or calibrate)(keras.Model(inputs, x, name=name.replace("-", "_")), photos)

    return Network(name=name, group="small", preprocessing=prepared, build=build, classes=classes)


def _mean_image(size: tuple[int, int]) -> np.ndarray:
    """Return float32 (height, width, 3), 60 to 180: the mean of a training set that we do not have."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    image = np.stack([60 + 2 * rows, 180 - 2 * columns, 90 + rows + columns], axis=-1)
    return (image + np.random.default_rng(0).uniform(0, 9, image.shape)).clip(60, 180).astype(np.float32)


def convolutions(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, (3, 5), activation="relu")(x)
    x = layers.Conv2D(12, 3, padding="same", use_bias=False)(x)
    x = layers.Conv2D(12, 4, padding="same", strides=2, activation="relu")(x)  # pads more on one side than the other
    x = layers.Conv2D(8, (1, 3), strides=(1, 2), activation="relu")(x)
    return layers.Conv2D(6, 1)(x)


def dilations(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, dilation_rate=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(8, 3, dilation_rate=(2, 3), activation="relu")(x)
    return layers.MaxPooling2D(3)(x)


def groups(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(8, 3, groups=4, strides=2, padding="same", activation="relu")(x)
    return layers.Conv2D(6, 3, groups=2, activation="relu")(x)


def depthwise(layers: Any, x: Any) -> Any:
    x = layers.DepthwiseConv2D(3, depth_multiplier=3, activation="relu")(x)
    x = layers.DepthwiseConv2D(5, padding="same", strides=2)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    x = layers.SeparableConv2D(10, 3, padding="same", depth_multiplier=2, activation="relu")(x)
    return layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", use_bias=False)(x)


def transposed(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(5, 4, strides=2, activation="relu")(x)
    x = layers.Conv2DTranspose(4, 3, padding="same", use_bias=False)(x)
    x = layers.Conv2DTranspose(4, 2, strides=3, padding="same", activation="relu")(x)
    return layers.AveragePooling2D(5)(x)


def dense_on_images(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.Dense(10, activation="relu")(x)
    x = layers.Dense(6, use_bias=False)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(20, activation="relu")(x)
    return layers.Dense(12, activation="tanh", use_bias=False)(x)


def reshape_and_permute(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)  # 16, 20, 8
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(x)  # 20, 16, 6
    x = layers.Reshape((10, 32, 6))(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Permute((3, 1, 2))(x)  # 6, 5, 16
    x = layers.Reshape((30, 16))(x)
    return layers.Flatten()(x)


def pooling(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 2, activation="relu")(x)  # 32, 40
    one = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    two = layers.AveragePooling2D(3, strides=2, padding="same")(x)  # the border is not part of the mean
    x = layers.Concatenate()([one, two])
    x = layers.MaxPooling2D((3, 2), strides=(2, 1))(x)
    x = layers.AveragePooling2D(2, padding="same")(x)
    return layers.AveragePooling2D((2, 3), strides=1)(x)


def global_pooling(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(12, 3, strides=2, activation="relu")(x)
    one = layers.GlobalAveragePooling2D(keepdims=True)(x)
    one = layers.Flatten()(layers.Conv2D(8, 1, activation="relu")(one))
    two = layers.GlobalMaxPooling2D(keepdims=True)(x)
    two = layers.Reshape((12,))(two)
    return layers.Concatenate()([one, two, layers.GlobalMaxPooling2D()(x), layers.GlobalAveragePooling2D()(x)])


def batch_normalization(layers: Any, x: Any) -> Any:
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
    x = layers.BatchNormalization(center=False, epsilon=1e-5)(x)
    x = layers.ReLU()(layers.AveragePooling2D(2)(x))
    x = layers.BatchNormalization()(layers.Flatten()(x))
    x = layers.Dense(16, activation="relu")(x)
    return layers.BatchNormalization()(x)


def layer_normalization(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 4, strides=4)(x)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Dense(12, activation="gelu")(x)
    x = layers.LayerNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return layers.LayerNormalization(scale=False)(x)


def group_normalization(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(12, 3, strides=2)(x)
    x = layers.ReLU()(layers.GroupNormalization(groups=4)(x))
    x = layers.Conv2D(8, 3, padding="same")(x)
    x = layers.ReLU()(layers.GroupNormalization(groups=-1)(x))  # each channel for itself
    return layers.GroupNormalization(groups=1)(layers.MaxPooling2D(2)(x))


def additions(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    one, two, three = (layers.Conv2D(8, 3, padding="same", activation="relu")(x) for _ in range(3))
    x = layers.Add()([x, one])
    x = layers.Average()([x, two, three])
    x = layers.Subtract()([x, one])
    return layers.Add()([x, two, three])


def products(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    gate = layers.Conv2D(8, 3, padding="same", activation="sigmoid")(x)
    x = layers.Multiply()([x, gate])
    mask = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)
    return layers.Multiply()([x, mask])  # one mask for all channels


def maximum_and_minimum(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2)(x)
    one, two, three = (layers.Conv2D(8, 3, padding="same")(x) for _ in range(3))
    x = layers.Maximum()([one, two, three])
    return layers.Minimum()([x, layers.Conv2D(8, 1)(x)])


def concatenations(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same")(x), layers.Conv2D(3, 1)(x)])
    x = layers.Concatenate(axis=1)([x, layers.Conv2D(15, 3, padding="same")(x)])
    x = layers.AveragePooling2D(3)(x)
    return layers.Concatenate()([layers.Flatten()(x), layers.Dense(5)(layers.GlobalAveragePooling2D()(x))])


def squeeze_and_excite(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="swish")(x)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    excited = layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(4, 1, activation="relu")(squeezed))
    x = layers.Conv2D(12, 3, activation="relu")(layers.Multiply()([x, excited]))
    squeezed = layers.Reshape((1, 1, 12))(layers.GlobalAveragePooling2D()(x))
    excited = layers.Dense(12, activation="hard_sigmoid")(layers.Dense(6, activation="relu")(squeezed))
    return layers.MaxPooling2D(2)(layers.Multiply()([excited, x]))


def padding_and_cropping(layers: Any, x: Any) -> Any:
    x = layers.ZeroPadding2D(((1, 2), (0, 3)))(x)
    x = layers.Conv2D(8, 3, strides=2)(x)
    x = layers.Cropping2D(((1, 2), (3, 1)))(x)
    x = layers.MaxPooling2D(3)(layers.ZeroPadding2D((2, 1))(x))  # of negative values, which a padding of 0 exceeds
    return layers.Cropping2D(1)(layers.Conv2D(8, 3, padding="same")(x))


def upsampling(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    nearest = layers.UpSampling2D(2)(layers.Conv2D(4, 3, padding="same")(x))
    bilinear = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.Conv2D(6, 3, strides=2, activation="relu")(layers.Concatenate()([nearest, bilinear]))
    x = layers.UpSampling2D((1, 3))(x)
    return layers.AveragePooling2D(3)(x)


def resizing(layers: Any, x: Any) -> Any:
    x = layers.Resizing(29, 45)(x)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.Resizing(9, 13)(x)
    return layers.Resizing(18, 26, interpolation="nearest")(x)


def rescaling_first(layers: Any, x: Any) -> Any:
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = layers.Conv2D(8, 3, padding="same", strides=2, activation="relu")(x)  # an offset does not pass zero padding
    return layers.Rescaling(0.5)(layers.MaxPooling2D(2)(x))


def normalization_first(layers: Any, x: Any, photographs: np.ndarray) -> Any:
    normalization = layers.Normalization()
    normalization.adapt(photographs)
    x = layers.Conv2D(8, 3, padding="same", strides=2, activation="relu")(normalization(x))
    return layers.MaxPooling2D(2)(x)


def plain(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, padding="same", strides=2, activation="relu")(x)  # padded: a shift does not fold into it
    return layers.MaxPooling2D(2)(layers.Conv2D(8, 3, activation="relu")(x))


def dropout_and_noise(layers: Any, x: Any) -> Any:
    x = layers.GaussianNoise(0.1)(x)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.SpatialDropout2D(0.2)(x)
    x = layers.ActivityRegularization(l2=1e-4)(layers.Conv2D(8, 3, activation="relu")(x))
    x = layers.GaussianDropout(0.1)(layers.MaxPooling2D(2)(x))
    x = layers.Dense(16, activation="relu")(layers.Dropout(0.3)(layers.Flatten()(x)))
    return layers.AlphaDropout(0.1)(x)


def augmentation(layers: Any, x: Any) -> Any:
    x = layers.RandomFlip("horizontal")(x)
    x = layers.RandomRotation(0.1)(x)
    x = layers.RandomZoom(0.2)(x)
    x = layers.RandomContrast(0.2)(x)
    x = layers.RandomTranslation(0.1, 0.1)(x)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    return layers.MaxPooling2D(2)(x)


def rectifiers(layers: Any, x: Any) -> Any:
    x = layers.ReLU(max_value=6.0)(layers.Conv2D(8, 3)(x))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(8, 3, strides=2)(x))
    x = layers.ELU(0.7)(layers.Conv2D(8, 3)(x))
    x = layers.Conv2D(8, 3, activation="selu")(x)
    x = layers.Conv2D(8, 3, activation="relu6", strides=2)(x)
    return layers.Conv2D(8, 1, activation="leaky_relu")(x)


def prelu(layers: Any, x: Any) -> Any:
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(8, 3, strides=2)(x))
    x = layers.PReLU()(layers.Conv2D(6, 3, strides=2)(x))
    return layers.PReLU()(layers.Dense(16)(layers.Flatten()(x)))


def smooth_activations(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="swish")(x)
    x = layers.Conv2D(8, 3, activation="tanh")(x)
    x = layers.Conv2D(8, 3, activation="softplus")(x)
    x = layers.Conv2D(8, 3, strides=2, activation="sigmoid")(x)
    x = layers.Dense(16, activation="softplus")(layers.Flatten()(x))
    return layers.Dense(16, activation="swish")(x)


def hard_activations(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="hard_silu")(x)
    x = layers.Conv2D(8, 3, activation="hard_sigmoid")(x)
    return layers.Activation("hard_swish")(layers.Conv2D(8, 3, strides=2)(x))


def gelu(layers: Any, x: Any) -> Any:
    from trainkit.backend import keras

    x = layers.Conv2D(8, 3, strides=2, activation="gelu")(x)
    x = layers.Conv2D(8, 3, strides=2)(x)
    x = keras.activations.gelu(x, approximate=True)
    return layers.Dense(16, activation="gelu")(layers.Flatten()(x))


def softmax_inside(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    attention = layers.Softmax()(layers.Conv2D(8, 3, padding="same")(x))
    x = layers.Multiply()([x, attention])
    return layers.Conv2D(6, 3, strides=2, activation="softmax")(x)


def nested(layers: Any, x: Any) -> Any:
    from trainkit.backend import keras

    inner = keras.Input((None, None, 8))
    y = layers.Add()([inner, layers.Conv2D(8, 3, padding="same", activation="relu")(inner)])
    block = keras.Model(inner, layers.BatchNormalization()(y))
    stem = keras.Sequential([layers.Conv2D(8, 3, strides=2), layers.BatchNormalization(), layers.ReLU()])
    x = block(layers.MaxPooling2D(2)(block(stem(x))))  # one block, used twice
    head = keras.Sequential([keras.Sequential([layers.Flatten(), layers.Dense(12, activation="relu")])])
    return head(x)


def nested_whole(layers: Any, x: Any) -> Any:
    from trainkit.backend import keras

    backbone = keras.Sequential([layers.Conv2D(8, 3, strides=2, activation="relu"), layers.GlobalAveragePooling2D()])
    return keras.Sequential([backbone, keras.Sequential([layers.Dense(CLASSES, activation="softmax")])])(x)


def _features(layers: Any, x: Any) -> Any:
    x = layers.MaxPooling2D(2)(layers.Conv2D(8, 3, activation="relu")(x))
    return layers.Flatten()(layers.Conv2D(8, 3, strides=2, activation="relu")(x))


def one_sigmoid(layers: Any, x: Any) -> Any:
    return layers.Dense(1, activation="sigmoid")(_features(layers, x))


def multi_label(layers: Any, x: Any) -> Any:
    return layers.Dense(CLASSES, activation="sigmoid")(_features(layers, x))


def softmax_layer(layers: Any, x: Any) -> Any:
    return layers.Softmax()(layers.Dense(CLASSES)(_features(layers, x)))


def softmax_activation(layers: Any, x: Any) -> Any:
    return layers.Activation("softmax")(layers.Dense(CLASSES)(_features(layers, x)))


def fully_convolutional(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    x = layers.Conv2D(CLASSES, 1)(layers.Dropout(0.2)(x))
    return layers.Activation("softmax")(layers.GlobalAveragePooling2D()(x))


def _small_networks() -> Iterator[Network]:
    odd = (41, 33)
    yield small_network("convolutions", convolutions, resize="crop")
    yield small_network("dilations", dilations)
    yield small_network("groups", groups)
    yield small_network("depthwise", depthwise)
    yield small_network("transposed", transposed)
    yield small_network("dense-on-images", dense_on_images, color="gray", resize="pad")
    yield small_network("reshape-permute", reshape_and_permute)
    yield small_network("pooling", pooling, size=odd)
    yield small_network("global-pooling", global_pooling)
    yield small_network("batch-norm", batch_normalization, preprocessing="caffe", color="bgr")
    yield small_network("layer-norm", layer_normalization)
    yield small_network("group-norm", group_normalization)
    yield small_network("additions", additions)
    yield small_network("products", products)
    yield small_network("maximum-minimum", maximum_and_minimum)
    yield small_network("concatenations", concatenations)
    yield small_network("squeeze-excite", squeeze_and_excite, preprocessing="torch")
    yield small_network("padding-cropping", padding_and_cropping, preprocessing="standardize")
    yield small_network("upsampling", upsampling)
    yield small_network("resizing", resizing)
    yield small_network("rescaling-first", rescaling_first, preprocessing="none")
    yield small_network("normalization-first", normalization_first, preprocessing="none", adapt=True)
    for name in ("mean-image", "samplewise-center", "samplewise-standardize"):
        if name in PREPROCESSINGS:
            yield small_network(name, plain, preprocessing=name)
    yield small_network("dropout-noise", dropout_and_noise, preprocessing="unit")
    yield small_network("augmentation", augmentation, preprocessing="unit")
    yield small_network("rectifiers", rectifiers)
    yield small_network("prelu", prelu)
    yield small_network("smooth-activations", smooth_activations)
    yield small_network("hard-activations", hard_activations)
    yield small_network("gelu", gelu)
    yield small_network("softmax-inside", softmax_inside)
    yield small_network("nested", nested)
    yield small_network("nested-whole", nested_whole, whole=True)
    yield small_network("one-sigmoid", one_sigmoid, whole=True, classes=2)
    yield small_network("multi-label", multi_label, whole=True)
    yield small_network("softmax-layer", softmax_layer, whole=True)
    yield small_network("softmax-activation", softmax_activation, whole=True)
    yield small_network("fully-convolutional", fully_convolutional, whole=True)


def known_networks() -> dict[str, Network]:
    """Return all networks by name, in the order of the table; those that trainkit does not build yet are left out."""
    from attention import attention_networks, vision_transformers  # it is made of what stands here

    families = map(_family, filter(BUILDERS.__contains__, FAMILIES))
    found = [*families, *vision_transformers(), _inception_resnet(), *_small_networks(), *attention_networks()]
    return {network.name: network for network in found}
