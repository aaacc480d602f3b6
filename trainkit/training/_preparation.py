"""All that a training is made from, looked at and ready, before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from trainkit._progress import doing
from trainkit.backend import keras, tf
from trainkit.data._dataset import Dataset
from trainkit.data._pipeline import read_pixels
from trainkit.data._statistics import channel_statistics, mean_image
from trainkit.errors import DataError, TrainkitError, UsageError
from trainkit.preprocessing import Preprocessing, build_preprocessing, needs_mean_image, needs_statistics
from trainkit.runs._evaluation import predict_pixels
from trainkit.runs._settings import MODEL_SUFFIX, Config, builder_of
from trainkit.training._compilation import class_weights, training_copy
from trainkit.training._feeding import Feed
from trainkit.training._monitor import check_monitor, choose_monitor
from trainkit.training._phases import compute_features, is_frozen
from trainkit.training._sharing import share_noise

_LEAST_DEVIATION = 1e-3  # grey levels

log = logging.getLogger("trainkit")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Settings, data and a network that go together."""

    config: Config
    dataset: Dataset
    preprocessing: Preprocessing
    pixels: dict[str, np.ndarray]  # uint8 (N, height, width, channels), of the training and the validation part
    model: Any  # float32, never compiled: what is saved
    strategy: Any  # of tf.distribute: how the work is spread

    @property
    def monitor(self) -> str | None:
        """By what the best epoch is chosen; `None` where the last one is taken."""
        return choose_monitor(self.config.training, self.dataset)


def prepare(config: Config, dataset: Dataset, preprocessing: Preprocessing | None = None) -> Prepared:
    """Check that settings, data, weights and network go together, and read the pixels.

    Args:
        config: every setting.
        dataset: the config's data.
        preprocessing: that of a run, where there is one; else it is made from the config and the training images.

    Raises:
        TrainkitError: the data or the weights cannot be used.
        UsageError: the settings do not go together.
    """
    _check_settings(config, dataset)
    strategy = _strategy(config)
    pixels: dict[str, np.ndarray] = {}
    if preprocessing is None:
        preprocessing, pixels["train"] = _build_preprocessing(config, dataset)
    for side in ("train", "val"):
        if side in dataset.parts and side not in pixels:
            pixels[side] = read_pixels(dataset.parts[side], preprocessing)
    keras.utils.set_random_seed(config.training.seed)
    with doing("Building the network"), strategy.scope():
        model = _build_model(config, preprocessing, dataset)
    return Prepared(config, dataset, preprocessing, pixels, model, strategy)


def _check_settings(config: Config, dataset: Dataset) -> None:
    if config.training.class_weights == "balanced" and dataset.multi_label:
        raise UsageError("`training.class_weights` balanced needs one class an image, and these may have several.")
    check_monitor(config.training, dataset)
    if config.training.mixed_precision == "float16" and not tf.config.list_physical_devices("GPU"):
        log.warning("float16 is for GPUs: here it may be a hundred times slower than float32. Take bfloat16, or none.")
    if config.training.tensorboard:
        try:
            version("tensorboard")
        except PackageNotFoundError as error:
            raise TrainkitError("TensorBoard is not installed. Install it: pip install tensorboard") from error


def _strategy(config: Config) -> Any:
    """Return how the work is spread: over all GPUs of this machine for `mirrored`, else not at all."""
    if config.training.distribute == "none":
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return _mirrored(tuple(device.name for device in devices))


@cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    """Return the strategy of these devices: one a process, because those of a second one take the first one's keys.

    The devices then wait for sums of other shapes: "Shape mismatch in the collective instance" (TensorFlow 2.21).
    """
    return tf.distribute.MirroredStrategy(list(devices))


def _build_preprocessing(config: Config, dataset: Dataset) -> tuple[Preprocessing, np.ndarray]:
    """Return the preprocessing and the training pixels, from which its statistics may have to be taken."""
    settings = config.preprocessing
    name, (width, height) = settings.name, settings.size
    build = partial(build_preprocessing, height=height, width=width, resize=settings.resize, color=settings.color)
    plain = build("none")
    pixels = read_pixels(dataset.parts["train"], plain)
    statistics = channel_statistics(pixels, settings.color) if needs_statistics(name) else None
    if statistics and name == "standardize" and min(statistics[1]) < _LEAST_DEVIATION:
        raise DataError(
            "All training images have one and the same colour in a channel, so there is no deviation to divide by. "
            "Expected images with something on them, or --preprocessing unit."
        )
    mean = mean_image(pixels, settings.color) if needs_mean_image(name) else None
    return build(name, statistics=statistics, mean_image=mean), pixels


def _build_model(config: Config, preprocessing: Preprocessing, dataset: Dataset) -> Any:
    settings = config.section("model")
    if config.model.name.endswith(MODEL_SUFFIX):
        settings["path"] = config.model.name
    builder = builder_of(config.model.name)
    several = {"multi_label": True} if dataset.multi_label else {}  # a builder of the user's own may not know it
    return builder.build(preprocessing.shape, len(dataset.class_names), **several, **settings)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is really trained, and what it is fed with."""

    model: Any  # not compiled
    feeds: dict[str, Feed]  # of the training part, and of the validation part where there is one


def build_fitted(prepared: Prepared, callbacks: list[Any] | None = None) -> Fitted:
    """Return what is really trained.

    That is the head on the features of a frozen backbone, where these are the same in every epoch; else the whole
    network, in the precision that was asked for.

    Args:
        prepared: all that is needed.
        callbacks: of Keras, for the computing of features.
    """
    config, pixels, to_input = prepared.config, prepared.pixels, prepared.preprocessing.to_input
    augmentation, shared = config.augmentation, config.training.distribute != "none"
    if is_frozen(prepared.model) and not (augmentation.moves_pixels or augmentation.mixes):

        def predict(backbone: Any, side: str) -> np.ndarray:
            text = f"Features of the {'training' if side == 'train' else 'validation'} images"
            return predict_pixels(backbone, pixels[side], prepared.preprocessing, callbacks or [], text=text)

        head = compute_features(prepared.model, predict, {side: len(of_side) for side, of_side in pixels.items()})
        model = share_noise(head.model) if shared else head.model
        return Fitted(model, _build_feeds(prepared, head.features, np.asarray, model))
    model = training_copy(prepared.model, config.training.mixed_precision, shared=shared)
    return Fitted(model, _build_feeds(prepared, pixels, to_input, model))


def _build_feeds(
    prepared: Prepared, examples: dict[str, np.ndarray], to_input: Callable[[np.ndarray], np.ndarray], model: Any
) -> dict[str, Feed]:
    config = prepared.config
    augmentation = config.augmentation
    shares = bool(config.training.label_smoothing) or augmentation.mixes
    feeds = {}
    for side, of_side in examples.items():
        labels = prepared.dataset.parts[side].labels
        feeds[side] = Feed(
            examples=of_side,
            targets=build_targets(labels, int(model.output_shape[-1]), shares=shares),
            to_input=to_input,
            input_shape=tuple(model.input_shape[1:]),
            batch_size=config.training.batch_size,
            replicas=prepared.strategy.num_replicas_in_sync,
        )
    feeds["train"].shuffle_seed = config.training.seed
    feeds["train"].augmentation = augmentation
    if config.training.class_weights == "balanced":
        feeds["train"].weights = class_weights(
            prepared.dataset.parts["train"].labels, len(prepared.dataset.class_names)
        )
    return feeds


def build_targets(labels: np.ndarray, units: int, *, shares: bool) -> np.ndarray:
    """Return the targets of a loss.

    Args:
        labels: int `(N,)`, or `(N, classes)` of 0 and 1 where an image may have several.
        units: outputs of the network.
        shares: whether a softmax is to learn shares of all classes rather than the number of one.

    Returns:
        float32 `(N, units)` for sigmoids and shares; else int64 `(N,)`.
    """
    if labels.ndim == 2:
        return labels.astype(np.float32)
    if units == 1:
        return labels.astype(np.float32)[:, None]
    return np.eye(units, dtype=np.float32)[labels] if shares else labels.astype(np.int64)
