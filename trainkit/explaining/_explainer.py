"""A network and the method by which its answers are explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from trainkit.errors import UsageError, unknown
from trainkit.explaining._explanation import Explanation
from trainkit.explaining._networks import Network
from trainkit.explaining._occlusion import count_patches, occlude
from trainkit.explaining._scores import log_odds

Method = Literal["occlusion", "grad-cam", "hirescam"]
METHODS: tuple[Method, ...] = get_args(Method)
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """A network, opened, and the method by which it is explained."""

    network: Network
    to_map: Callable[[np.ndarray, int, Advance], np.ndarray]  # a blob and a class -> (h, w) of the input
    index: int | None  # of the class that is explained, None for the likeliest
    parts: int  # of the work for one image
    unit: str

    def explain(
        self,
        image_bgr: np.ndarray,
        advance: Advance = lambda count: None,
        *,
        index: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> Explanation:
        """Return what speaks for a class in a picture.

        Args:
            image_bgr: uint8 `(height, width, 3)`.
            advance: is told of each part that is done.
            index: of the class, where it is not the explainer's own.
            size: columns and rows of the map, where they are not those of the picture.

        Raises:
            BundleError: the network cannot take the image.
        """
        blob = self.network.to_blob(image_bgr)
        probabilities = self.network.predict(blob)[0]
        if index is None:
            index = int(probabilities.argmax()) if self.index is None else self.index
        columns, rows = image_bgr.shape[1::-1] if size is None else size
        heat = self.network.framing.to_picture(self.to_map(blob, index, advance), columns, rows)
        return Explanation(self.network.class_names[index], float(probabilities[index]), heat)


def explainer_of(network: Network, method: str, label: str | None = None) -> Explainer:
    """Return what explains a network's answers.

    Raises:
        UsageError: there is no such method or class, or the network cannot be explained by it.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if label is not None and label not in network.class_names:
        raise unknown("label", label, network.class_names)
    index = None if label is None else list(network.class_names).index(label)
    if method == "occlusion":
        patches = count_patches(network.framing.height, network.framing.width)
        return Explainer(network=network, to_map=_occluder(network), index=index, parts=patches, unit="patches")
    return Explainer(network=network, to_map=_activation_mapper(network, method), index=index, parts=1, unit="images")


def _occluder(network: Network) -> Callable[[np.ndarray, int, Advance], np.ndarray]:
    def to_map(blob: np.ndarray, index: int, advance: Advance) -> np.ndarray:
        def score(blobs: np.ndarray) -> np.ndarray:
            return log_odds(network.predict(blobs), index, multi_label=network.multi_label)

        return occlude(blob, score, advance)

    return to_map


def _activation_mapper(network: Network, method: Any) -> Callable[[np.ndarray, int, Advance], np.ndarray]:
    if network.traced is None:
        raise UsageError(
            f"{method} needs the gradients of the Keras model, which a bundle does not have. Name the run it came "
            "from, or take --method occlusion."
        )
    from trainkit.explaining._activation_maps import activation_mapper

    mapper = activation_mapper(network, method)

    def to_map(blob: np.ndarray, index: int, advance: Advance) -> np.ndarray:
        found = mapper(blob, index)
        advance(1)
        return found

    return to_map
