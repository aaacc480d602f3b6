"""All that a training is made from, looked at and ready, before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from trainkit._progress import doing
from trainkit.backend import keras, tf
from trainkit.data._dataset import Dataset, Part
from trainkit.data._pipeline import read_pixels
from trainkit.data._share import WHOLE, share_of_part
from trainkit.data._statistics import channel_statistics, mean_image
from trainkit.errors import DataError, TrainkitError, UsageError
from trainkit.models._pixel_model import can_be_made_in_graph
from trainkit.preprocessing import Preprocessing, build_preprocessing, needs_mean_image, needs_statistics
from trainkit.runs._evaluation import PREDICTED_AT_ONCE, predict_pixels
from trainkit.runs._settings import MODEL_SUFFIX, Config, builder_of
from trainkit.training._compilation import class_weights, training_copy
from trainkit.training._device import find_gpu
from trainkit.training._feeding import Feed
from trainkit.training._monitor import check_monitor, choose_monitor
from trainkit.training._phases import compute_features, is_frozen
from trainkit.training._recorder import Interruption
from trainkit.training._sharing import share_noise
from trainkit.training._team import Team, build_team

_LEAST_DEVIATION = 1e-3  # grey levels

log = logging.getLogger("trainkit")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Settings, data and a network that go together."""

    config: Config
    dataset: Dataset
    preprocessing: Preprocessing
    pixels: dict[str, np.ndarray]  # uint8 (N, height, width, channels), of the training and the validation part; or of
    # what this process has of them
    model: Any  # float32, never compiled: what is saved
    team: Team  # who trains

    @property
    def monitor(self) -> str | None:
        """By what the best epoch is chosen; `None` where the last one is taken."""
        return choose_monitor(self.config.training, self.dataset)


def prepare(
    config: Config, dataset: Dataset, preprocessing: Preprocessing | None = None, team: Team | None = None
) -> Prepared:
    """Check that settings, data, weights and network go together, and read the pixels.

    Args:
        config: every setting.
        dataset: the config's data.
        preprocessing: that of a run, where there is one; else it is made from the config and the training images.
        team: the processes that train, where they are known already.

    Raises:
        TrainkitError: the data or the weights cannot be used.
        UsageError: the settings do not go together.
    """
    team = team or build_team(config.training.distribute)
    _check_settings(config, dataset)
    preprocessing, pixels = prepare_pixels(config, dataset, preprocessing, team)
    keras.utils.set_random_seed(config.training.seed)
    with doing("Building the network"), team.scope_of_saved():
        model = _build_model(config, preprocessing, dataset)
    team.share_weights(model)
    return Prepared(config, dataset, preprocessing, pixels, model, team)


def prepare_pixels(
    config: Config, dataset: Dataset, preprocessing: Preprocessing | None, team: Team
) -> tuple[Preprocessing, dict[str, np.ndarray]]:
    """Return the preprocessing, and the pixels of the training and of the validation images of this process.

    Args:
        config: every setting.
        dataset: the config's data.
        preprocessing: as for `prepare`.
        team: the processes that train.

    Raises:
        DataError: an image cannot be decoded, or there are fewer images than processes.
        OutputError: the pixels are too many for the memory, and cannot be kept on disk.
    """
    parts = _own_parts(config, dataset, team)
    pixels: dict[str, np.ndarray] = {}
    if preprocessing is None:
        preprocessing, pixels["train"] = _build_preprocessing(config, parts["train"], team)
    for side in parts.keys() - pixels.keys():
        pixels[side] = read_pixels(parts[side], preprocessing)
    return preprocessing, pixels


def _own_parts(config: Config, dataset: Dataset, team: Team) -> dict[str, Part]:
    """Return what this process reads of the training and the validation images.

    Where images are mixed, the partner of one may be any other: then each process has them all.

    Raises:
        DataError: there are fewer images than processes.
    """
    parts = {side: dataset.parts[side] for side in ("train", "val") if side in dataset.parts}
    fewest = min(len(part) for part in parts.values())
    if fewest < team.count:
        raise DataError(
            f"{team.count} workers need as many training images and as many validation images at least. Received: "
            f"{fewest}. Take fewer workers."
        )
    mixes = config.augmentation.mixes
    return {side: share_of_part(part, WHOLE if mixes else team.share) for side, part in parts.items()}


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


def _build_preprocessing(config: Config, part: Part, team: Team) -> tuple[Preprocessing, np.ndarray]:
    """Return the preprocessing and the training pixels, from which its statistics may have to be taken.

    Those of several processes are of what each of them has, added up.
    """
    add_up = (lambda sums: sums) if config.augmentation.mixes else team.total
    settings = config.preprocessing
    name, (width, height) = settings.name, settings.size
    build = partial(build_preprocessing, height=height, width=width, resize=settings.resize, color=settings.color)
    plain = build("none")
    pixels = read_pixels(part, plain)
    statistics = channel_statistics(pixels, settings.color, add_up) if needs_statistics(name) else None
    if statistics and name == "standardize" and min(statistics[1]) < _LEAST_DEVIATION:
        raise DataError(
            "All training images have one and the same colour in a channel, so there is no deviation to divide by. "
            "Expected images with something on them, or --preprocessing unit."
        )
    mean = mean_image(pixels, settings.color, add_up) if needs_mean_image(name) else None
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
    source: Any  # what the model is a copy of, or shares its layers with: the model that is saved, or a part of it
    feeds: dict[str, Feed]  # of the training part, and of the validation part where there is one

    def copy_back(self) -> None:
        """Give the model that is saved the weights of the one that is trained, where they are not the same ones."""
        if self.model.layers[-1] is not self.source.layers[-1]:
            self.source.set_weights(self.model.get_weights())


def build_fitted(prepared: Prepared, interruption: Interruption | None = None) -> Fitted:
    """Return what is really trained.

    That is the head on the features of a frozen backbone, where these are the same in every epoch; else the whole
    network, in the precision that was asked for.

    Args:
        prepared: all that is needed.
        interruption: ends the computing of features.
    """
    config, pixels, team = prepared.config, prepared.pixels, prepared.team
    augmentation, shared = config.augmentation, team.devices > 1
    if is_frozen(prepared.model) and not (augmentation.moves_pixels or augmentation.mixes):

        def predict(backbone: Any, side: str) -> np.ndarray:
            text = f"Features of the {'training' if side == 'train' else 'validation'} images"
            fewest = team.fewest(np.arange(len(prepared.dataset.parts[side])))
            callbacks = [interruption.among(fewest, at_once=PREDICTED_AT_ONCE)] if interruption else []
            return predict_pixels(backbone, pixels[side], prepared.preprocessing, callbacks, text=text)

        with team.scope_of_saved():
            head = compute_features(prepared.model, predict, {side: len(of_side) for side, of_side in pixels.items()})
        with team.strategy.scope():
            model = _shared_head(head.model, team) if shared else head.model
        return Fitted(model, head.model, _build_feeds(prepared, head.features, np.asarray, model))
    preprocessing = prepared.preprocessing
    in_graph = preprocessing if can_be_made_in_graph(preprocessing) else None
    with team.strategy.scope():
        model = training_copy(prepared.model, config.training.mixed_precision, shared=shared, preprocessing=in_graph)
    feeds = _build_feeds(prepared, pixels, None if in_graph else preprocessing.to_input, model)
    return Fitted(model, prepared.model, feeds)


def _shared_head(head: Any, team: Team) -> Any:
    """Return a head that several devices train: on the same layers, or on those of this process alone."""
    return share_noise(head) if team.count == 1 else training_copy(head, "none", shared=True)


def _build_feeds(
    prepared: Prepared,
    examples: dict[str, np.ndarray],
    to_input: Callable[[np.ndarray], np.ndarray] | None,
    model: Any,
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
            share=prepared.team.share,
        )
    feeds["train"].shuffle_seed = config.training.seed
    feeds["train"].augmentation = augmentation
    # On a CPU OpenCV flips, brightens and erases two to nine times as fast as TensorFlow.
    feeds["train"].augments_in_graph = to_input is None and not augmentation.warps and find_gpu() is not None
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
