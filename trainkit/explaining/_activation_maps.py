"""Class activation maps: where the last convolutional feature map of a network speaks for a class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from trainkit.backend import tf
from trainkit.errors import UsageError
from trainkit.explaining._networks import Network, call_graph, to_input
from trainkit.explaining._receptive_fields import Places, find_places, operations_between, size_of

CamMethod = Literal["grad-cam", "hirescam"]
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput")

# For a blob (1, C, H, W) and a class: a map (H, W).
ToMap = Callable[[np.ndarray, int], np.ndarray]


def activation_mapper(network: Network, method: CamMethod) -> ToMap:
    """Return what makes a class activation map of a blob.

    With `A` the last convolutional feature map, `(h, w, K)`, and `G` the gradient of the class's logit by it:

    - Grad-CAM: `max(0, sum_k mean(G_k) A_k)`. Selvaraju et al. 2017, Grad-CAM: Visual Explanations from Deep Networks
      via Gradient-based Localization, equations 1 and 2, arXiv:1610.02391.
    - HiResCAM: `sum_k G_k * A_k`, element by element, which for a network that ends in one dense layer is what each
      place adds to the logit. Draelos and Carin 2020, Use HiResCAM instead of Grad-CAM, arXiv:2011.08891.

    The logit is the number before the softmax or sigmoid, which does not saturate; the first class of a single sigmoid
    has the negative one. The feature map is the last tensor of the size of the last convolution that sees more than one
    place: behind its normalisation, activation and shortcut, before the pooling.

    Raises:
        UsageError: the network has no such feature map.
    """
    assert network.traced is not None and network.preprocessing is not None
    traced, preprocessing = network.traced, network.preprocessing
    places: list[Places] = []

    def build(image: Any, logits: Any) -> tuple[list[Any], list[Any]]:
        weights, features, gradient = _with_gradient(image, logits, traced.model.name)
        places.append(find_places(image, features))
        return [weights], [features, gradient]

    run = traced.extended(build)

    def to_map(blob_nchw: np.ndarray, index: int) -> np.ndarray:
        weights = np.eye(traced.units)[index] if traced.units > 1 else np.array([2.0 * index - 1])
        features, gradient = call_graph(run, traced.model, to_input(blob_nchw, preprocessing), weights)
        combined = _combined(np.asarray(features[0], np.float64), np.asarray(gradient[0], np.float64), method)
        return places[0].to_input(combined, *blob_nchw.shape[2:])

    return to_map


def _combined(features: np.ndarray, gradient: np.ndarray, method: CamMethod) -> np.ndarray:
    if method == "grad-cam":
        return np.asarray(np.maximum(0, (features * gradient.mean(axis=(0, 1))).sum(axis=-1)))
    return np.asarray((features * gradient).sum(axis=-1))


def _with_gradient(image: Any, logits: Any, name: str) -> tuple[Any, Any, Any]:
    """Return the weights of the logits, which are fed; the features; and the gradient of the logits' sum by them."""
    features = find_feature_map(image, logits)
    if features is None:
        raise UsageError(
            f"The network {name} has no convolution that sees more than one place, and so no feature map of the "
            "picture. Take --method occlusion, which asks for none."
        )
    weights = tf.compat.v1.placeholder(tf.float32, (None,))
    (gradient,) = tf.gradients(tf.reduce_sum(logits * weights), features)
    return weights, features, gradient


def find_feature_map(image: Any, logits: Any) -> Any:
    """Return the tensor `(N, h, w, K)` of a graph that class activation maps are made of, `None` where there is none.

    Args:
        image: the tensor that the model is fed with.
        logits: the tensor that it ends in.
    """
    between = operations_between(image, logits)
    sizes = [size_of(op.outputs[0]) for op in between if op.type in _CONVOLUTIONS]
    size = next((found for found in reversed(sizes) if found is not None), None)
    if size is None:
        return None
    return next(op.outputs[0] for op in reversed(between) if op.outputs and size_of(op.outputs[0]) == size)
