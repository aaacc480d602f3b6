"""Probabilities of every image by a model that had not seen it, as quickly as is sensible: nothing of it is kept.

Photographs: linear classifiers of the features of a pretrained network, which are computed once. Other pictures:
the network of the Fashion-MNIST textbook, from scratch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from trainkit._progress import counting, doing
from trainkit.data._dataset import ArrayImages, Dataset, Part, take_evenly
from trainkit.data._pipeline import read_pixels
from trainkit.errors import WeightsError
from trainkit.models._backbones import BACKBONES, FEATURES, build_backbone
from trainkit.models._builders import BUILDERS
from trainkit.models._outputs import class_probabilities
from trainkit.preprocessing import Preprocessing, build_preprocessing
from trainkit.runs._evaluation import predict_pixels
from trainkit.training._default_model import PRETRAINED, suits_pretrained
from trainkit.training._linear import predict_linearly

# Later epochs learn wrong labels by heart, and by then small-cnn has learned less: of 100 labels flipped in 10,000 of
# Fashion-MNIST this network puts 91 among the first 300, small-cnn 86.
_FROM_SCRATCH = "fashion-mnist"
_EPOCHS, _BATCH_SIZE = 6, 64
_LARGEST = 64  # pixels, of a side that it sees
_LOOKED_AT = 25  # images, evenly chosen

log = logging.getLogger("trainkit")


def predict_out_of_fold(dataset: Dataset, part: Part, folds: np.ndarray, *, seed: int) -> tuple[np.ndarray, str]:
    """Return the probabilities of each image by a model that had not seen it, and what model it was, in words.

    Args:
        dataset: whose class names count, and whose images decide on the model.
        part: images with one label each.
        folds: int `(N,)`, from 0.
        seed: of what is drawn.

    Returns:
        float32 `(N, classes)`.
    """
    features = _features(part) if suits_pretrained(replace(dataset, parts={"train": part})) else None
    count = len(dataset.class_names)
    if features is not None:
        words = "linear classifiers of the features of mobilenet, pretrained on ImageNet"
        return _by_features(features, part.labels, folds, count), words
    return _from_scratch(part, folds, count, seed), f"{_FROM_SCRATCH}, trained from scratch for {_EPOCHS} epochs"


def _features(part: Part) -> np.ndarray | None:
    """Return float64 `(N, features)`, the mean of a picture and its mirror image; `None` without the weights."""
    from trainkit.backend import keras

    name, alpha = PRETRAINED["model.name"], PRETRAINED["model.alpha"]
    backbone = BACKBONES[name]
    preprocessing = build_preprocessing(
        backbone.preprocessing, height=backbone.size, width=backbone.size, color=backbone.color
    )
    try:
        model = build_backbone(name, preprocessing.shape, 2, weights="imagenet", dropout=0.0, alpha=alpha)
    except WeightsError as error:
        log.warning("Taking %s from scratch, which finds far fewer: %s", _FROM_SCRATCH, error)
        return None
    body = keras.Model(model.input, model.get_layer(FEATURES).output)
    pixels = read_pixels(part, preprocessing)
    seen = [
        predict_pixels(body, view, preprocessing, text=text)
        for view, text in ((pixels, "Features"), (pixels[:, :, ::-1], "Features of the mirror images"))
    ]
    return np.asarray((seen[0].astype(np.float64) + seen[1]) / 2)


def _by_features(features: np.ndarray, labels: np.ndarray, folds: np.ndarray, classes: int) -> np.ndarray:
    """Learn twice: the second time without the images whose labels the first model did not give."""
    trusted = np.ones(len(labels), bool)
    for _ in range(2):
        probabilities = _held_out(folds, classes, _learn_linearly(features, labels, trusted, classes))
        trusted = probabilities.argmax(axis=1) == labels
    return probabilities


Learn = Callable[[np.ndarray, np.ndarray], np.ndarray]  # from some images, the probabilities of others


def _held_out(folds: np.ndarray, classes: int, learn: Learn) -> np.ndarray:
    probabilities = np.zeros((len(folds), classes), np.float32)
    for fold in counting(range(int(folds.max()) + 1), "Learning without each fold", unit="folds"):
        out = folds == fold
        probabilities[out] = learn(np.flatnonzero(~out), np.flatnonzero(out))
    return probabilities


def _learn_linearly(features: np.ndarray, labels: np.ndarray, trusted: np.ndarray, classes: int) -> Learn:
    def learn(others: np.ndarray, asked: np.ndarray) -> np.ndarray:
        gone = set(labels[others]) - set(labels[others[trusted[others]]])  # a class that would not be learned at all
        kept = others[trusted[others] | np.isin(labels[others], list(gone))]
        return predict_linearly(features[kept], labels[kept], features[asked], classes)

    return learn


def _from_scratch(part: Part, folds: np.ndarray, classes: int, seed: int) -> np.ndarray:
    preprocessing = _small_preprocessing(part)
    pixels = read_pixels(part, preprocessing)

    def learn(others: np.ndarray, asked: np.ndarray) -> np.ndarray:
        model = _train(preprocessing, pixels[others], part.labels[others], classes, seed)
        return class_probabilities(predict_pixels(model, pixels[asked], preprocessing))

    return _held_out(folds, classes, learn)


def _small_preprocessing(part: Part) -> Preprocessing:
    """Return that of small pictures: their own size where all have the same, and grey where all are."""
    some = take_evenly([part], _LOOKED_AT).images
    looked_at = [some[index] for index in range(len(some))]
    gray = all(np.array_equal(image[..., 0], image[..., 2]) for image in looked_at)
    height, width = part.images.pixels.shape[1:3] if isinstance(part.images, ArrayImages) else (_LARGEST, _LARGEST)
    height, width = (max(4, min(_LARGEST, side)) for side in (height, width))
    return build_preprocessing("unit", height=height, width=width, color="gray" if gray else "rgb")


def _train(preprocessing: Preprocessing, pixels: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> Any:
    from trainkit.backend import keras

    keras.utils.set_random_seed(seed)
    builder = BUILDERS[_FROM_SCRATCH]
    model = builder.build(preprocessing.shape, classes, **builder.settings)
    single, steps = classes == 2, -(-len(pixels) // _BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(builder.learning_rate, _EPOCHS * steps)
    loss = "binary_crossentropy" if single else "sparse_categorical_crossentropy"
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss)
    order = np.random.default_rng(seed)
    with doing(f"Training {_FROM_SCRATCH}", total=_EPOCHS * steps, unit="steps") as step:
        for _ in range(_EPOCHS):
            shuffled = order.permutation(len(pixels))
            for first in range(0, len(pixels), _BATCH_SIZE):
                batch = shuffled[first : first + _BATCH_SIZE]
                targets = labels[batch]
                model.train_on_batch(preprocessing.to_input(pixels[batch]), targets[:, None] if single else targets)
                step.advance()
    return model
