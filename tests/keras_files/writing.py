"""Writes the files of one old TensorFlow, with images and Keras 2's own answers: `python writing.py FOLDER 2.15`."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf
from kinds import KINDS
from reconstructed import rewrite

keras = tf.keras
IMAGES = 8


def write_all(folder: Path, version: str, names: list[str]) -> None:
    """Write what is listed for a version and is not there yet; a kind that fails leaves its error instead."""
    for name, entry in KINDS.items():
        target = folder / f"{name}-{version}{entry['suffix']}"
        if version not in entry["versions"] or (names and name not in names) or target.with_suffix(".npz").exists():
            continue
        print(f"writing {target.name}", flush=True)
        target.with_suffix(".error").unlink() if target.with_suffix(".error").exists() else None
        try:
            write(target, entry)
        except Exception:
            target.with_suffix(".error").write_text(traceback.format_exc())
            print(f"{target.name} could not be written:\n{traceback.format_exc()[-600:]}", flush=True)


def write(target: Path, entry) -> None:  # type: ignore[no-untyped-def]
    """Build a model, draw its weights, save it, and save its answers."""
    keras.backend.clear_session()
    tf.random.set_seed(3)
    np.random.seed(3)
    model = entry["build"]()
    generator = np.random.default_rng(7)
    x = draw_images(generator, IMAGES, entry)
    draw_weights(model, draw_images(generator, 4 * IMAGES, entry), entry["pixels"])
    answers = np.asarray(model.predict(x, verbose=0), "float64")
    if not np.isfinite(answers).all() or answers.std(axis=0).max() < 1e-3:
        raise ValueError("the answers are flat or not finite: " + str(answers[:2]))
    model.save(str(target), **({} if target.suffix == ".keras" else {"save_format": "h5"}))
    if entry["rewrite"]:
        rewrite(target, entry["rewrite"])
    np.savez_compressed(target.with_suffix(".npz"), x=x, y=answers)


def draw_images(generator, count, entry):  # type: ignore[no-untyped-def]
    """Return smooth patches of different brightness: noise alone looks the same to every pooling."""
    low, high = (0, 255) if entry["pixels"] else (-1, 1)
    coarse = generator.uniform(low, high, (count, 4, 4, entry["channels"]))
    fine = np.repeat(np.repeat(coarse, -(-entry["side"] // 4), 1), -(-entry["side"] // 4), 2)
    fine = fine[:, : entry["side"], : entry["side"]]
    return np.clip(fine + generator.normal(0, (high - low) / 20, fine.shape), low, high).astype("float32")


def draw_weights(model, x, pixels) -> None:  # type: ignore[no-untyped-def]
    """Give biases and normalisations values that show when they are lost, and the answers a spread."""
    flags = [(layer, layer.trainable) for layer in every_layer(model)]
    for layer, _ in flags:
        layer.trainable = True
    generator = np.random.default_rng(11)
    for layer in leaves(model):
        for weight in layer.weights:
            name = weight.name.split("/")[-1].split(":")[0]
            if name in ("bias", "beta", "alpha"):
                weight.assign(weight.numpy() + generator.normal(0, 0.1, weight.shape))
            elif name == "gamma" and weight.numpy().min() > 0.01:
                weight.assign(weight.numpy() * generator.uniform(0.7, 1.3, weight.shape))
    calibrate(model, x, pixels, generator)
    spread(model, x)
    for layer, flag in flags:  # from the outer models to the inner layers
        layer.trainable = flag


def calibrate(model, x, pixels, generator) -> None:  # type: ignore[no-untyped-def]
    """Set the moving statistics to those of the images, shaken, so that deep networks neither fade nor burst."""
    norms = [layer for layer in leaves(model) if "BatchNormalization" in type(layer).__name__]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    for inner in every_layer(model):  # those that are called with training=False
        if hasattr(inner, "layers") and getattr(inner, "input_shape", None) == (None, *x.shape[1:]):
            inner(tf.constant(x / 127.5 - 1 if pixels else x), training=True)
    model(tf.constant(x), training=True)
    for norm, momentum in zip(norms, momenta):  # noqa: B905 -- Python 3.8
        norm.momentum = momentum
        if len(norm.moving_mean.shape):
            scale = generator.uniform(0.8, 1.25, norm.moving_variance.shape)
            norm.moving_variance.assign(norm.moving_variance * scale + 1e-3)
            shift = generator.normal(0, 0.1, norm.moving_mean.shape) * np.sqrt(norm.moving_variance.numpy())
            norm.moving_mean.assign(norm.moving_mean + shift)


def spread(model, x) -> None:  # type: ignore[no-untyped-def]
    """Scale the last layer so that the logits have a standard deviation of about 2, and no class wins always."""
    last = [layer for layer in leaves(model) if hasattr(layer, "kernel")][-1]
    kernel = last.kernel
    for _ in range(12):
        answers = np.asarray(model.predict(x, verbose=0), "float64")
        if answers.min() >= 0:  # probabilities
            answers = np.log(np.clip(answers, 1e-30, None)) - (
                np.log(np.clip(1 - answers, 1e-30, None)) if answers.sum(axis=1).max() > 1.01 or answers.shape[1] == 1
                else 0
            )  # fmt: skip
        if np.abs(answers).max() > 60:  # saturated
            kernel.assign(kernel * 0.1)
            last.bias.assign(last.bias * 0.0)
            continue
        answers = answers - (answers.mean(axis=1, keepdims=True) if answers.shape[1] > 1 else 0)
        kernel.assign(kernel * np.clip(2 / (answers.std(axis=0).mean() + 1e-9), 1e-3, 1e3))
        if last.bias is not None:
            last.bias.assign(last.bias - answers.mean(axis=0) * 0.9)


def every_layer(model):  # type: ignore[no-untyped-def]
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from every_layer(layer)


def leaves(model):  # type: ignore[no-untyped-def]
    return [layer for layer in every_layer(model) if not hasattr(layer, "layers")]


def main() -> None:
    """Write the files of one version."""
    folder, version, *names = sys.argv[1:]
    tf.get_logger().setLevel("ERROR")
    entries = {name: {key: entry[key] for key in entry if key != "build"} for name, entry in KINDS.items()}
    Path(folder, "list.json").write_text(json.dumps(entries))
    write_all(Path(folder), version, names)


main()
