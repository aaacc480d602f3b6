"""How dark and light the training images of a run are, for `extra.training_pixels` of its bundle's manifest."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from trainkit._progress import counting_chunks
from trainkit.data._cores import all_cores
from trainkit.data._dataset import Part, take_evenly
from trainkit.deploy.python._brightness import Brightness, inverted_fit, measure_brightness
from trainkit.errors import DataError
from trainkit.preprocessing import Preprocessing

log = logging.getLogger("trainkit")

_MOST_IMAGES = 2000  # of a side; more would not move the bounds
_LEAST_IMAGES = 20  # fewer do not say what is usual: ten would warn of a hundredth of the others
_BLOCK = 16
# What is usual: all but two in a thousand of the training images, and whatever is within four deviations, or as near as
# 24 grey levels. Measured in docs/measurements.md.
_UNUSUAL = 0.002
_DEVIATIONS = 4.0
_LEAST_WIDTH = 24.0
_LEAST_FIT = 0.1  # of a picture that would be usual if it were inverted; that of a grey one is near 0, and says nothing


def measure_training_pixels(part: Part, preprocessing: Preprocessing) -> dict[str, Any] | None:
    """Return what the readers of a manifest compare a picture with; see `trainkit.deploy.python._brightness`.

    Args:
        part: the training images.
        preprocessing: brings them to what the network gets.

    Returns:
        None where they are too few, or one of them cannot be read any more, which is logged.
    """
    if len(part) < _LEAST_IMAGES:
        return None
    try:
        return describe_brightness(_measure(take_evenly([part], _MOST_IMAGES), preprocessing))
    except DataError as error:
        log.warning("The bundle does not say how dark and light the training images are: %s", error)
        return None


def _measure(part: Part, preprocessing: Preprocessing) -> list[Brightness]:
    def read(first: int) -> list[Brightness]:
        chosen = range(first, min(first + _BLOCK, len(part)))
        pixels = (preprocessing.to_pixels(part.images[index]) for index in chosen)
        return [measure_brightness(list(image.transpose(2, 0, 1))) for image in pixels]

    with all_cores() as pool:
        measured = pool.map(read, range(0, len(part), _BLOCK))
        chunks = counting_chunks(len(part), _BLOCK, "Measuring the brightness of the training images")
        return [one for _ in chunks for one in next(measured)]


def describe_brightness(measured: list[Brightness]) -> dict[str, Any]:
    """Return `extra.training_pixels` for images that were measured."""
    means = np.array([one.mean for one in measured])
    levels = np.mean([one.levels for one in measured], axis=0).round(6).tolist()
    fits = np.array([inverted_fit(one.levels, levels) for one in measured])
    mean, std = float(means.mean()), float(means.std())
    width = max(_DEVIATIONS * std, _LEAST_WIDTH)
    least, most = np.quantile(means, [_UNUSUAL, 1 - _UNUSUAL])
    fit = max(_LEAST_FIT, float(np.quantile(fits, 1 - _UNUSUAL)), float(fits.mean() + _DEVIATIONS * fits.std()))
    return {
        "images": len(measured),
        "mean": round(mean, 3),
        "std": round(std, 3),
        "low": round(max(0.0, min(float(least), mean - width)), 3),
        "high": round(min(255.0, max(float(most), mean + width)), 3),
        "levels": levels,
        "inverted_above": round(fit, 4),
    }
