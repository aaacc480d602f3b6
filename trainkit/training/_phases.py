"""What is trained in which order: a whole network, or first its head and then the top of its backbone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainkit.backend import keras
from trainkit.models._backbones import FEATURES
from trainkit.models._pixel_model import PixelModel
from trainkit.runs._settings import Config
from trainkit.training._folding import fold_normalizations

log = logging.getLogger("trainkit")


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a training, with an optimizer of its own."""

    name: str  # head, fine-tuning, or training where there is but one
    epochs: int  # at most
    learning_rate: float
    layers: int = 0  # of the backbone's top, which are trained in this phase too


def plan_phases(config: Config, model: Any) -> list[Phase]:
    """Return the phases of a training: two where a frozen backbone is to be fine-tuned."""
    training = Phase("head" if is_frozen(model) else "training", config.training.epochs, config.training.learning_rate)
    tuning = config.fine_tuning
    if tuning is None or not tuning.epochs:
        return [training]
    return [training, Phase("fine-tuning", tuning.epochs, tuning.learning_rate, layers=tuning.layers)]


def is_frozen(model: Any) -> bool:
    """Whether a model has a backbone and nothing in it is trained."""
    backbone = backbone_layers(model)
    return bool(backbone) and not any(layer.trainable_weights for layer in backbone)


def backbone_layers(model: Any) -> list[Any]:
    """Return the layers below the features; none where a model has no backbone."""
    names = [layer.name for layer in model.layers]
    return list(model.layers[: names.index(FEATURES)]) if FEATURES in names else []


def unfreeze_top(model: Any, count: int) -> None:
    """Let the last `count` layers of the backbone that have weights be trained, and the head.

    Batch normalisation stays as it is and counts for nothing: its averages are those of a large data set, and a few
    batches of a small one would spoil them (https://keras.io/guides/transfer_learning).
    """
    candidates = [
        layer
        for layer in backbone_layers(model)
        if layer.weights and not isinstance(layer, keras.layers.BatchNormalization)
    ]
    for layer in candidates[-count:]:
        layer.trainable = True


def has_random_backbone(model: Any) -> bool:
    """Whether a frozen backbone still gives other features each time, as one with dropout or noise would."""
    return any(_is_random(layer) for layer in backbone_layers(model))


def _is_random(layer: Any) -> bool:
    # What depends on chance in training has a generator of its own; at inference Keras' layers never use it.
    return bool(getattr(layer, "_seed_generators", [])) or any(map(_is_random, getattr(layer, "layers", [])))


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a network behind its frozen backbone, and the backbone's features."""

    model: Any
    features: dict[str, np.ndarray]  # float32 (N, features), by side


def compute_features(model: Any, predict: Callable[[Any, str], np.ndarray], sides: dict[str, int]) -> Head:
    """Compute a frozen backbone's features once: it would give the same ones in every epoch.

    Args:
        model: with a frozen backbone.
        predict: returns the outputs of a model for all images of a side.
        sides: the number of images, by side.
    """
    features = model.get_layer(FEATURES).output
    backbone, head = keras.Model(model.input, features), PixelModel(features, model.output)
    log.info("Computing the features of the frozen backbone once, for %d images", sum(sides.values()))
    backbone = fold_normalizations(backbone)
    return Head(head, {side: predict(backbone, side) for side in sides})
