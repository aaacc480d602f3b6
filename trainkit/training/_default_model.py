"""What is trained on photographs where nobody named a model: a pretrained network, where its weights can be had."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.data._dataset import Dataset, take_evenly
from trainkit.data._sources import SOURCES
from trainkit.errors import UsageError, WeightsError
from trainkit.models._backbones import build_backbone
from trainkit.preprocessing import read_size
from trainkit.runs._sections import Config

# Of 200 test photographs of cats and dogs, learned from 600, it had 0.975 to 0.98 right over three seeds; MobileNetV2
# at 0.35 had 0.96 to 0.98, MobileNet at 0.25 0.92 to 0.935. Learned from 74, over two seeds: 0.94 and 0.955,
# MobileNetV2 0.955 and 0.92, small-cnn from scratch 0.53 and 0.49.
PRETRAINED: dict[str, Any] = {"model.name": "mobilenet", "model.alpha": 0.75}
_ALPHAS = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}  # as Keras writes them into the names of its files
LEAST_PHOTOGRAPH = 96  # pixels on the shorter side: below, there is little left of what the network was trained to see
_LOOKED_AT = 25  # training images, evenly chosen: decoding them takes a fraction of a second

log = logging.getLogger("trainkit")


def leaves_model_open(options: Mapping[str, Any]) -> bool:
    """Tell whether the options say nothing that a network pretrained on colour photographs would contradict.

    Args:
        options: settings by their dotted keys, none of them from a recipe or the config of another run.
    """
    if options.get("data") in (None, "", *SOURCES) or any(key.startswith("model.") for key in options):
        return False
    if options.get("preprocessing.color", "rgb") != "rgb" or options.get("augmentation.preprocessing_function"):
        return False
    if options.get("preprocessing.name", "symmetric") != "symmetric":
        return False
    try:
        return min(read_size(options.get("preprocessing.size", (224, 224)))) >= LEAST_PHOTOGRAPH
    except UsageError:
        return False  # to be refused by its own rule


def suits_pretrained(dataset: Dataset) -> bool:
    """Tell whether most training images are colour photographs of 96 pixels and more on their shorter side."""
    images = take_evenly([dataset.parts["train"]], _LOOKED_AT).images
    fitting = [_is_photograph(images[index]) for index in range(len(images))]
    return 2 * sum(fitting) > len(fitting)


def _is_photograph(image_bgr: np.ndarray) -> bool:
    if min(image_bgr.shape[:2]) < LEAST_PHOTOGRAPH:
        return False
    return not np.array_equal(image_bgr[..., 0], image_bgr[..., 2])  # grey, whatever the file calls it


def weights_can_be_had(config: Config) -> bool:
    """Tell whether the pretrained network's weights are here, or download them; where neither, say what it means."""
    width, height = config.preprocessing.size
    name, alpha = config.model.name, config.model.alpha or 1.0
    if not (_cache() / weights_file(alpha, width, height)).is_file():
        try:
            build_backbone(name, (height, width, 3), 2, weights="imagenet", dropout=0.0, alpha=alpha)
        except WeightsError as error:
            log.warning(
                "Training small-cnn from scratch: it has to learn from these photographs alone, and is right on far "
                "fewer new ones than a pretrained network would be. %s",
                error,
            )
            return False
    log.info("Colour photographs, and no --model: taking %s (alpha %g), pretrained on ImageNet", name, alpha)
    return True


def weights_file(alpha: float, width: int, height: int) -> str:
    """Return what Keras calls the file of MobileNet's weights: there are some for four sizes, 224 serves all others."""
    size = width if width == height and width in (128, 160, 192) else 224
    return f"mobilenet_{_ALPHAS[alpha]}_{size}_tf_no_top.h5"


def _cache() -> Path:
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "models")
