"""Which learning rate suits a network and its data: the loss while the rate rises (Smith 2015, arXiv:1506.01186)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trainkit._progress import counting
from trainkit.backend import tf
from trainkit.data._dataset import Dataset
from trainkit.data._sources import load_dataset
from trainkit.errors import TrainingError
from trainkit.files import replacing
from trainkit.models._calling import calling
from trainkit.runs._settings import Config
from trainkit.training._compilation import compile_model
from trainkit.training._feeding import Feed
from trainkit.training._phases import plan_phases
from trainkit.training._preparation import build_fitted, prepare
from trainkit.training._suggestion import LearningRates

LOWEST, HIGHEST = 1e-6, 10.0
STEPS = 150
_MEMORY = 0.9  # of the average that smooths the loss
_DIVERGED = 4.0  # times the lowest loss: no need to go on
_SAFETY = 10.0  # the rate of the lowest loss is on the brink
_UNSETTLED = 10  # the first steps, over which the average is of too few losses to tell
_CLEAR = 5.0  # times the scatter that is left in the average: less may be chance

log = logging.getLogger("trainkit")


def measure_learning_rates(config: Config, dataset: Dataset | None = None) -> LearningRates:
    """Train for up to `STEPS` steps at a rate that rises from `LOWEST` to `HIGHEST`, and suggest one.

    Raises:
        TrainkitError: data, weights and network cannot be used, or the loss is never finite.
        UsageError: the settings do not go together.
    """
    dataset = dataset or load_dataset(config.data, validation=config.training.validation, reading=config.reading)
    # The rate is what is looked at; and one device is enough for it, because several train like one.
    simple = {"schedule": "constant", "warmup": 0.0, "ema": 0.0, "distribute": "none"}
    plain = config.replace({f"training.{key}": value for key, value in simple.items()})
    prepared = prepare(plain, dataset)
    log.info("Training up to %d steps at rising learning rates, %g to %g", STEPS, LOWEST, HIGHEST)
    fitted = build_fitted(prepared)
    feed = fitted.feeds["train"]
    compile_model(
        fitted.model,
        plain,
        plan_phases(plain, prepared.model)[0],
        steps=feed.steps,
        multi_label=dataset.multi_label,
        smooth=feed.targets.ndim > 1,
    )
    return suggest(*_losses(fitted.model, feed))


def _losses(model: Any, feed: Feed) -> tuple[list[float], list[float]]:
    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(inputs: Any, targets: Any, weights: Any) -> Any:
        inputs = model.to_input(inputs)
        with tf.GradientTape() as tape:
            loss = model.compute_loss(inputs, targets, model(inputs, training=True), weights, training=True)
        model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    used: list[float] = []
    losses: list[float] = []
    for rate, batch in zip(counting(rates, "Training", unit="steps"), _endless(feed), strict=False):
        model.optimizer.learning_rate = rate
        inputs, targets, *weights = tf.nest.map_structure(tf.convert_to_tensor, batch)
        with calling(model, "trained"):
            loss = float(step(inputs, targets, weights[0] if weights else None))
        if not np.isfinite(loss):
            break
        used.append(float(rate))
        losses.append(loss)
        smoothed = _smooth(losses)
        if len(losses) > STEPS // 5 and smoothed[-1] > _DIVERGED * min(smoothed[_UNSETTLED:]):
            break
    return used, losses


def _smooth(losses: list[float]) -> list[float]:
    """Return an exponential average at each of them, without the bias of the zero it begins with."""
    average, smoothed = 0.0, []
    for number, loss in enumerate(losses, 1):
        average = _MEMORY * average + (1 - _MEMORY) * loss
        smoothed.append(average / (1 - _MEMORY**number))
    return smoothed


def _endless(feed: Feed) -> Iterator[tuple[np.ndarray, ...]]:
    while True:
        yield from feed.batches()
        feed.epoch += 1


def suggest(rates: list[float], losses: list[float]) -> LearningRates:
    """Return the geometric mean of two rates: a cautious one, where the smoothed loss falls fastest, and a bold one.

    The bold one is a tenth of that at which the loss is lowest. Where the loss does not fall by more than its scatter
    from batch to batch explains, there is nothing to suggest.

    Args:
        rates: rising.
        losses: at each of them, before the step.

    Raises:
        TrainingError: there are too few to tell.
    """
    if len(losses) < STEPS // 10:
        raise TrainingError(
            f"The loss is not finite from a learning rate of {LOWEST:g} on: the inputs are likely not scaled. "
            "Try --preprocessing standardize."
        )
    smoothed = _smooth(losses)
    lowest = _UNSETTLED + int(np.argmin(smoothed[_UNSETTLED:]))
    before = np.array(smoothed[_UNSETTLED : lowest + 1])
    # Of independent losses, an exponential average keeps this share of the standard deviation.
    scatter = np.std(np.diff(losses[: lowest + 1])) / np.sqrt(2) * np.sqrt((1 - _MEMORY) / (1 + _MEMORY))
    if len(before) < 2 or before[0] - before[-1] < _CLEAR * scatter:
        return LearningRates(rates, smoothed, None)
    steepest = rates[_UNSETTLED + int(np.argmin(np.gradient(before)))]
    bold = rates[lowest] / _SAFETY
    return LearningRates(rates, smoothed, float(f"{np.sqrt(steepest * bold):.2g}"))


def draw_learning_rates(found: LearningRates, path: Path) -> None:
    """Draw the smoothed loss against the learning rate, and mark the suggestion; the suffix is the format.

    Raises:
        OutputError: the picture cannot be written.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(found.rates, found.losses)
    if found.suggestion is None:
        axes.set_title("No clear fall", fontsize="medium")
    else:
        axes.axvline(found.suggestion, color="C1", linestyle="--", label=f"suggested: {found.suggestion:g}")
        axes.legend()
    # The end, where it explodes, would hide all the rest.
    settled = found.losses[_UNSETTLED:]
    lowest = int(np.argmin(settled))
    low, high = settled[lowest], max(settled[: lowest + 1])
    room = max(high - low, 0.05 * abs(high), 1e-6)
    axes.set_ylim(low - 0.1 * room, high + 0.3 * room)
    axes.set(xlabel="learning rate", ylabel="loss (smoothed)")
    axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
