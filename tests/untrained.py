"""Runs and networks that answer without having been trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def save_run(folder: Path, model, preprocessing, dataset: Path, class_names: list[str], **settings: object):  # type: ignore[no-untyped-def]
    """Write a finished run around a Keras model that was never trained."""
    from trainkit.files import sha256_of
    from trainkit.runs._run import create_run
    from trainkit.runs._settings import build_config

    config = build_config({"data": str(dataset), **settings})
    run = create_run(folder, config=config, preprocessing=preprocessing, class_names=class_names, environment={})
    model.save(run.model_path)
    run.set_result(status="finished", keras_sha256=sha256_of(run.model_path))
    return run


def spread_weights(model, seed: int = 0) -> None:  # type: ignore[no-untyped-def]
    """Give a random network biases, and logits that neither saturate nor flatten the softmax."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta")):
            weight.assign(generator.normal(0, 0.1, weight.shape))
    last = model.layers[-1]
    inputs = generator.normal(0, 1, (16, *model.input_shape[1:])).astype(np.float32)
    from trainkit.backend import keras

    spread = float(np.std(keras.Model(model.input, last.input).predict(inputs, verbose=0) @ last.kernel.numpy()))
    last.kernel.assign(last.kernel.numpy() * (2 / max(spread, 1e-6)))


def settle(model, inputs_nhwc: np.ndarray, seed: int = 0) -> None:  # type: ignore[no-untyped-def]
    """Let a network that has made few steps tell images from one another, and every layer of it count.

    Args:
        model: ends in a dense layer.
        inputs_nhwc: float32, what it is fed with.
        seed: of what is drawn.
    """
    from trainkit.backend import keras

    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith("gamma"):  # that of a layer scale is 1e-6 at first, and hides its block
            weight.assign(generator.uniform(0.7, 1.3, weight.shape))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0  # what it has seen of these images in one pass is what it keeps
    model(inputs_nhwc, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    last = model.layers[-1]
    logits = np.asarray(keras.Model(model.input, last.input)(inputs_nhwc)) @ last.kernel.numpy()
    factor = 1.5 / max(float((logits - logits.mean(0)).std()), 1e-30)
    last.kernel.assign(last.kernel.numpy() * factor)
    last.bias.assign(-logits.mean(0) * factor)
