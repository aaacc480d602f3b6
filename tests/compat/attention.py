"""Networks with attention, recurrence and what else people write between an image and its classes: 110, three a kind.

They stand here before the exporter knows them: how many leave it, and are right in every OpenCV, is measured and not
chosen. Where a network attends, it attends to something: its query kernels are scaled until the largest weight of each
softmax is between `SHARPEST` in the mean over queries, heads and photographs. Flat weights are an average, which a
wrong product of queries and keys would give as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from networks import Network, all_layers, calibrate, small_network, spread_logits

SHARPEST = (0.55, 0.9)  # the mean of the largest weight: above a half, and no choice of one that hides the others
_WANTED = 0.62
_STEPS = 12  # one or two, where the scores have no bias and no mask
_FACTORS = 2.0 ** np.arange(-3, 4.01, 0.125)

# The kind, and its networks; each is a function of that name in one of the modules below.
KINDS = {
    "multi-head self-attention": ("mha-self", "mha-image-axes", "mha-encoder-blocks"),
    "multi-head cross-attention": ("mha-cross", "mha-cross-value-width", "mha-cross-scales"),
    "multi-head attention with a class token": ("mha-class-token", "mha-causal", "mha-class-attention"),
    "Attention": ("attention-scaled", "attention-key-and-value", "attention-concat"),
    "AdditiveAttention": ("additive-self", "additive-cross", "additive-unscaled"),
    "Dot": ("dot-of-tokens", "dot-normalized", "dot-attention"),
    "EinsumDense": ("einsum-dense-heads", "einsum-dense-tokens", "einsum-dense-image"),
    "einsum of two values": ("einsum-attention", "einsum-similarity", "einsum-outer"),
    "matmul of two values": ("matmul-attention", "matmul-gram", "matmul-heads"),
    "softmax over a side": ("softmax-over-rows", "softmax-over-image", "softmax-over-tokens"),
    "class token": ("class-token-tile", "class-token-broadcast", "class-tokens-repeat"),
    "position": ("position-embedding", "position-weight", "position-sinusoidal"),
    "Vision Transformer": ("vit-example", "vit-hub", "vit-distilled"),
    "Swin": ("swin-windows", "swin-shifted", "swin-merging"),
    "global context": ("global-context", "global-context-scale", "global-context-heads"),
    "bilinear pooling": ("bilinear-pooling", "bilinear-two-branches", "bilinear-low-rank"),
    "Siamese halves": ("siamese-dot", "siamese-cosine", "siamese-distance"),
    "LSTM": ("lstm-rows", "lstm-stacked", "lstm-unrolled"),
    "GRU": ("gru-rows", "gru-reset-before", "gru-unrolled"),
    "SimpleRNN": ("simple-rnn-rows", "simple-rnn-backwards", "simple-rnn-unrolled"),
    "Bidirectional": ("bidirectional-lstm", "bidirectional-gru-sum", "bidirectional-stacked"),
    "TimeDistributed": ("time-distributed-dense", "time-distributed-conv", "time-distributed-crnn"),
    "recurrent cells": ("conv-lstm", "conv-lstm-sequences", "rnn-stacked-cells"),
    "where and comparisons": ("where-threshold", "comparison-mask", "where-of-two"),
    "shrinking": ("hard-shrink", "soft-shrink", "tanh-shrink-and-threshold"),
    "sparse activations": ("sparse-plus-and-sigmoid", "sparsemax-gate", "squareplus-and-others"),
    "resizing inside": ("resizing-area", "resizing-bicubic", "resizing-antialiased"),
    "image operations": ("image-grayscale-crop-pad", "image-patches", "image-contrast-and-hue"),
    "attention of convolutions": ("non-local-block", "cbam", "efficient-channel-attention"),
    "grouped queries": ("grouped-queries", "one-key-for-all-queries", "grouped-queries-block"),
    "MLP-Mixer": ("mlp-mixer", "gated-mlp", "residual-mlp"),
    "bias of positions and heads": ("talking-heads", "relative-bias", "linear-bias"),
    "linear attention": ("linear-attention", "efficient-attention", "external-attention"),
    "pooling by attention": ("attention-pooling-head", "perceiver-latents", "weighted-pooling"),
    "normalisation": ("local-response", "rms-normalization", "unit-normalization"),
    "space and depth": ("space-to-depth", "depth-to-space", "focus-slices"),
    "sums and order of rows": ("cumulative-sums", "flipped-rolled-taken"),
}
TRANSFORMERS = ("vit-tiny", "vit-tiny-class-token")
NAMES = tuple(name for names in KINDS.values() for name in names)
# Those that have no softmax over what they attend to.
_WITHOUT_WEIGHTS = frozenset(
    name
    for kind in (
        "EinsumDense", "softmax over a side", "bilinear pooling", "Siamese halves", "LSTM", "GRU", "SimpleRNN",
        "Bidirectional", "TimeDistributed", "recurrent cells", "where and comparisons", "shrinking",
        "sparse activations", "resizing inside", "image operations", "MLP-Mixer", "linear attention", "normalisation",
        "space and depth", "sums and order of rows",
    )
    for name in KINDS[kind]
) | {"cbam", "efficient-channel-attention", "dot-of-tokens", "dot-normalized", "einsum-similarity", "einsum-outer",
     "matmul-gram"}  # fmt: skip
ATTENDING = tuple(name for name in NAMES if name not in _WITHOUT_WEIGHTS)
_MODULES = ("bodies_attention", "bodies_transformer", "bodies_recurrence", "bodies_pixels")


def attention_networks() -> Iterator[Network]:
    """Yield the networks, in the order of the list."""
    for name in NAMES:
        whole = small_network(name, _body(name), prepare=_prepare(name), preprocessing=_preprocessing(name))
        yield replace(whole, group="attention")


def vision_transformers() -> Iterator[Network]:
    """Yield ViT-Tiny at 224 x 224, with and without a class token; it attends to something in each of its 12 blocks."""
    for name in TRANSFORMERS:
        whole = small_network(name, _body(name), prepare=_prepare(name), size=(224, 224))
        yield replace(whole, group="family")


def _preprocessing(name: str) -> str:
    return "unit" if name.startswith(("image-", "resizing-")) else "symmetric"


def _body(name: str) -> Any:
    def build(layers: Any, inputs: Any) -> Any:
        function = name.replace("-", "_")
        for module in map(importlib.import_module, _MODULES):  # as late as this: they import Keras
            if hasattr(module, function):
                return getattr(module, function)(inputs)
        raise LookupError(f"No function {function} in {', '.join(_MODULES)}.")

    return build


def _prepare(name: str) -> Any:
    def prepare(model: Any, inputs_nhwc: np.ndarray) -> Any:
        calibrate(model, inputs_nhwc)
        if name in (*ATTENDING, *TRANSFORMERS):
            sharpen(model, inputs_nhwc)
            spread_logits(model, list(all_layers(model)), inputs_nhwc, np.random.default_rng(0))
        return model

    return prepare


@contextmanager
def recorded_scores() -> Iterator[list[np.ndarray]]:
    """Record what goes into each softmax while a model runs eagerly, by whichever of Keras' paths.

    Each is brought to two sides: a row for whatever the softmax is over.
    """
    from trainkit.backend import keras, tf

    recorded: list[np.ndarray] = []
    over_one_side, layer = tf.nn.softmax, keras.layers.Softmax.call

    def softmax(logits: Any, axis: Any = -1, name: Any = None) -> Any:
        recorded.append(_as_rows(logits, (axis,)))
        return over_one_side(logits, axis=axis, name=name)

    def call(self: Any, inputs: Any, mask: Any = None) -> Any:
        if isinstance(self.axis, tuple | list) and len(self.axis) > 1:  # which Keras says by other operations
            recorded.append(_as_rows(inputs, tuple(self.axis)))
        return layer(self, inputs, mask)

    tf.nn.softmax, keras.layers.Softmax.call = softmax, call
    try:
        yield recorded
    finally:
        tf.nn.softmax, keras.layers.Softmax.call = over_one_side, layer


def _as_rows(scores: Any, axes: tuple[int, ...]) -> np.ndarray:
    values = np.moveaxis(np.asarray(scores, np.float64), axes, range(-len(axes), 0))
    return values.reshape(-1, int(np.prod(values.shape[-len(axes) :])))


def _largest(scores: np.ndarray, factor: float = 1) -> float:
    """Return the mean of the largest weight when the scores are scaled."""
    return float((1 / np.exp(factor * (scores - scores.max(1, keepdims=True))).sum(1)).mean())


def _attended(model: Any, inputs_nhwc: np.ndarray) -> list[np.ndarray]:
    with recorded_scores() as recorded:
        model(inputs_nhwc, training=False)
    return recorded[:-1]  # the last makes the probabilities


def largest_weights(model: Any, inputs_nhwc: np.ndarray) -> list[float]:
    """Return, for each softmax but the last, the mean of its largest weight over queries, heads and images."""
    return [_largest(scores) for scores in _attended(model, inputs_nhwc)]


def sharpen(model: Any, inputs_nhwc: np.ndarray) -> None:
    """Scale what makes the scores, one softmax after the other, until each attends to something.

    Raises:
        ValueError: no scale does it.
    """
    kernels = [weight for weight in model.weights if _makes_scores(weight.path)]
    count = len(_attended(model, inputs_nhwc))
    for index in range(count):
        scaled = [kernels[index]] if len(kernels) == count else kernels
        for _ in range(_STEPS):
            scores = _attended(model, inputs_nhwc)[index]
            if SHARPEST[0] <= _largest(scores) <= SHARPEST[1]:
                break
            factor = min(_FACTORS, key=lambda factor: abs(_largest(scores, factor) - _WANTED))
            for weight in scaled:
                weight.assign(weight * factor)
    found = largest_weights(model, inputs_nhwc)
    if not found or not all(SHARPEST[0] <= largest <= SHARPEST[1] for largest in found):
        raise ValueError(f"the largest weights are {found} in the mean, expected each to be between {SHARPEST}")


def _makes_scores(path: str) -> bool:
    parts = path.split("/")
    if "attention" in path and parts[-1] in ("scale", "concat_score_weight"):
        return "concat" not in path or parts[-1] == "concat_score_weight"
    return parts[-1] in ("kernel", "queries") and any(part.startswith(("query", "queries")) for part in parts)
