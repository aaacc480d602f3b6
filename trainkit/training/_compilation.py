"""How a network is trained: its loss, its precision, its optimizer, how many steps Keras makes at once."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from trainkit.backend import keras
from trainkit.models._calling import calling
from trainkit.models._pixel_model import PixelModel
from trainkit.preprocessing import Preprocessing
from trainkit.runs._settings import Config
from trainkit.training._device import GROUPED, LEAST_FUSED_EPSILON, find_gpu, is_deterministic_on_gpu
from trainkit.training._normalization import FusedBatchNormalization, can_be_fused
from trainkit.training._phases import Phase
from trainkit.training._schedules import build_optimizer, build_schedule
from trainkit.training._sharing import SharedLoss, SharingModel, counting_once, shared_kind

# Multiply-adds of the forward passes that Keras makes between two looks at the clock, the progress bar and Ctrl-C: some
# tenths of a second on two cores, and on a GPU that makes 1e13 in a second. Between two steps of a small network Keras
# spends more time than in them.
_WORK_PER_EXECUTION = 5e9
_WORK_PER_EXECUTION_ON_GPU = 1e12
_MOST_STEPS = 200

log = logging.getLogger("trainkit")


def compile_model(
    model: Any, config: Config, phase: Phase, *, steps: int, multi_label: bool, smooth: bool, shared: bool = False
) -> None:
    """Compile a model for a phase and build its optimizer.

    Args:
        model: with one sigmoid, a softmax, or for `multi_label` a sigmoid for each class.
        config: of the run.
        phase: the one to come.
        steps: batches an epoch.
        multi_label: whether an image may have several classes.
        smooth: whether the targets are shares of the classes rather than the number of one.
        shared: whether several devices share a batch.
    """
    schedule = build_schedule(
        config.training.schedule,
        phase.learning_rate,
        steps_per_epoch=steps,
        epochs=phase.epochs,
        warmup=config.training.warmup,
    )
    optimizer = build_optimizer(
        config.training.optimizer,
        schedule,
        weight_decay=config.training.weight_decay,
        clip_norm=config.training.clip_norm,
        ema=config.training.ema,
        shared=shared,
    )
    optimizer.build(model.trainable_variables)
    if config.training.mixed_precision == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)  # small gradients are 0 in float16
        optimizer.build(model.trainable_variables)
    binary = multi_label or model.output_shape[-1] == 1
    loss = _build_loss(config.training.label_smoothing, binary=binary, smooth=smooth, shared=shared)
    accuracy = "binary_accuracy" if binary else "categorical_accuracy" if smooth else "sparse_categorical_accuracy"
    at_once = config.training.steps_per_execution or choose_steps(model, config.training.batch_size)
    if shared:
        at_once = 1  # TensorFlow 2.21 fails on several under a strategy ("You must feed a value for placeholder")
    metrics = [_METRICS[accuracy](name="accuracy")]
    if shared:
        metrics = [
            counting_once(_METRICS[accuracy])(name="accuracy"),
            SharedLoss(loss, model),  # takes the place of Keras' own, which has this name
        ]
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=None if shared else metrics,
        weighted_metrics=metrics if shared else None,
        steps_per_execution=min(at_once, steps),
        auto_scale_loss=False,
        # Two to three times slower on a CPU. On a GPU Keras says yes where every layer can be compiled, but for
        # trainings that are asked for the same bits each time.
        jit_compile="auto" if find_gpu() else False,
    )


def _build_loss(smoothing: float, *, binary: bool, smooth: bool, shared: bool) -> Any:
    """Return the loss; where a batch is shared, of which the weights hold its size, the sum of a device's examples."""
    reduction = "sum" if shared else "sum_over_batch_size"
    if binary:
        return keras.losses.BinaryCrossentropy(label_smoothing=smoothing, reduction=reduction)
    if smooth:
        return keras.losses.CategoricalCrossentropy(label_smoothing=smoothing, reduction=reduction)
    return keras.losses.SparseCategoricalCrossentropy(reduction=reduction)


_METRICS = {
    "binary_accuracy": keras.metrics.BinaryAccuracy,
    "categorical_accuracy": keras.metrics.CategoricalAccuracy,
    "sparse_categorical_accuracy": keras.metrics.SparseCategoricalAccuracy,
}


def choose_steps(model: Any, batch_size: int) -> int:
    """Return how many steps Keras should make at once: many of a small network, one of a large one."""
    work = max(1.0, _multiply_adds(model) * batch_size)
    at_once = _WORK_PER_EXECUTION_ON_GPU if find_gpu() else _WORK_PER_EXECUTION
    return int(np.clip(at_once / work, 1, _MOST_STEPS))


def _multiply_adds(model: Any) -> float:
    """Estimate the multiply-adds of one image, near enough to tell small from large."""
    total = 0.0
    for layer in _flatten(model):
        places = math.prod(side or 1 for side in tuple(getattr(layer.output, "shape", ()))[1:-1])
        total += places * sum(math.prod(weight.shape) for weight in layer.weights if len(weight.shape) > 1)
    return total


def _flatten(model: Any) -> Iterator[Any]:
    """Yield the layers of a model, and those of the models among them."""
    for layer in model.layers:
        yield from _flatten(layer) if getattr(layer, "layers", None) else (layer,)


def training_copy(
    model: Any, precision: str, *, shared: bool = False, preprocessing: Preprocessing | None = None
) -> PixelModel:
    """Return what is trained in a model's place: the same layers where that is as well, else a copy of them.

    Args:
        model: in float32, as it is saved.
        precision: `float16` or `bfloat16` for what every layer but the last computes in; `none` for float32.
        shared: whether several devices share a batch.
        preprocessing: by which it makes its input of the pixels that it is fed with; `None` where it is fed with that.

    Returns:
        A model with the same weights, float32, and layers trained where they were. Batch normalisation is fused;
        where a batch is shared, it is a `SharingModel`, and batch normalisation, dropout and noise see the whole of it.
    """
    on_gpu, deterministic = find_gpu() is not None, is_deterministic_on_gpu()
    chosen = {
        id(layer): kind_in_training(layer, shared=shared, on_gpu=on_gpu, deterministic=deterministic)
        for layer in _flatten(model)
    }
    kinds = {layer: kind for layer, kind in chosen.items() if kind}
    if precision == "none" and not kinds and not shared:
        # A second one, so that what is saved carries no optimizer.
        copied = PixelModel(model.inputs[0], model.outputs[0])
    else:
        clone = _clone(model, precision, kinds)
        copied = (SharingModel if shared else PixelModel)(clone.inputs[0], clone.outputs[0])
    copied.preprocessing = preprocessing
    return copied


def kind_in_training(layer: Any, *, shared: bool, on_gpu: bool, deterministic: bool) -> Any:
    """Return the class that computes in a layer's place while it is trained, `None` where it does so itself.

    Args:
        layer: of Keras.
        shared: whether several devices share a batch.
        on_gpu: whether a GPU trains.
        deterministic: whether it was asked for the same bits each time.
    """
    if on_gpu and deterministic and type(layer) in GROUPED:
        return GROUPED[type(layer)]
    if shared:
        kind = shared_kind(type(layer))
        return None if kind is type(layer) else kind
    if not can_be_fused(layer):
        return None
    if on_gpu and layer.epsilon < LEAST_FUSED_EPSILON:
        log.info(
            "%s has an epsilon of %g, and cuDNN takes none below %g: it is computed without cuDNN, which is slower",
            *(layer.name, layer.epsilon, LEAST_FUSED_EPSILON),
        )
        return None
    return FusedBatchNormalization


def _clone(model: Any, precision: str, kinds: dict[int, Any]) -> Any:
    """Return a copy of a model with its weights, in another precision and with other classes of some layers, by id."""
    *_, last = _flatten(model)

    def copy(layer: Any) -> Any:
        config = layer.get_config()
        # An operation that is no layer, such as `x * 2`, has no precision of its own: it takes that of its input.
        is_layer = isinstance(layer, keras.layers.Layer) and type(layer) is not keras.layers.InputLayer
        if precision != "none" and layer is not last and is_layer:
            config["dtype"] = f"mixed_{precision}"
        return kinds.get(id(layer), type(layer)).from_config(config)

    with calling(model, "built again for the training"):
        clone = keras.models.clone_model(model, clone_function=copy, recursive=True)
        clone.set_weights(model.get_weights())
    return clone


def class_weights(labels: np.ndarray, class_count: int) -> np.ndarray:
    """Return float32 `(N,)`: each image's weight, so that every class weighs the same (scikit-learn's `balanced`).

    Args:
        labels: int `(N,)`.
        class_count: how many there may be.
    """
    counts = np.bincount(labels, minlength=class_count)
    of_class = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.asarray(of_class[labels], np.float32)
