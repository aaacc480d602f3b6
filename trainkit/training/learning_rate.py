"""Which learning rate suits a network and its data: the loss while the rate rises (Smith 2015, arXiv:1506.01186)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trainkit.backend import keras, tf
from trainkit.config import Config
from trainkit.data.dataset import Dataset
from trainkit.data.sources import load_dataset
from trainkit.errors import TrainingError
from trainkit.files import replacing
from trainkit.training.compilation import compile_model
from trainkit.training.feeding import Feed
from trainkit.training.phases import plan_phases
from trainkit.training.preparation import build_fitted, prepare

LOWEST, HIGHEST = 1e-6, 10.0
STEPS = 150
_MEMORY = 0.9  # of the average that smooths the loss
_DIVERGED = 4.0  # times the lowest loss: no need to go on
_SAFETY = 10.0  # the rate of the lowest loss is on the brink


@dataclass(frozen=True, slots=True)
class LearningRates:
    """The loss at rising learning rates, and the one to take."""

    rates: list[float]
    losses: list[float]  # smoothed
    suggestion: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {"suggestion": self.suggestion, "learning_rates": self.rates, "losses": self.losses}


def measure_learning_rates(config: Config, dataset: Dataset | None = None) -> LearningRates:
    """Train for up to `STEPS` steps at a rate that rises from `LOWEST` to `HIGHEST`, and suggest one.

    Raises:
        TrainkitError: data, weights and network cannot be used, or the loss is never finite.
        UsageError: the settings do not go together.
    """
    dataset = dataset or load_dataset(config["data"], validation=config["training.validation"])
    plain = Config({**config.values, "training.schedule": "constant", "training.warmup": 0.0, "training.ema": 0.0})
    prepared = prepare(plain, dataset)
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
        with tf.GradientTape() as tape:
            loss = model.compute_loss(inputs, targets, model(inputs, training=True), weights, training=True)
        model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    used: list[float] = []
    losses: list[float] = []
    for rate, batch in zip(rates, _endless(feed), strict=False):
        model.optimizer.learning_rate = rate
        inputs, targets, *weights = map(keras.ops.convert_to_tensor, batch)
        loss = float(step(inputs, targets, weights[0] if weights else None))
        if not np.isfinite(loss) or (len(losses) > STEPS // 5 and loss > _DIVERGED * min(losses)):
            break
        used.append(float(rate))
        losses.append(loss)
    return used, losses


def _endless(feed: Feed) -> Iterator[tuple[np.ndarray, ...]]:
    while True:
        yield from feed.batches()
        feed.epoch += 1


def suggest(rates: list[float], losses: list[float]) -> LearningRates:
    """Return the geometric mean of two rates: a cautious one, where the smoothed loss falls fastest, and a bold one.

    The bold one is a tenth of that at which the loss is lowest.

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
    average, smoothed = 0.0, []
    for number, loss in enumerate(losses, 1):
        average = _MEMORY * average + (1 - _MEMORY) * loss
        smoothed.append(average / (1 - _MEMORY**number))  # without the bias of the zero it began with
    steepest = rates[int(np.argmin(np.gradient(smoothed)))]
    bold = rates[int(np.argmin(smoothed))] / _SAFETY
    return LearningRates(rates, smoothed, float(f"{np.sqrt(steepest * bold):.2g}"))


def draw_learning_rates(found: LearningRates, path: Path) -> None:
    """Draw the smoothed loss against the learning rate, and mark the suggestion; the suffix is the format.

    Raises:
        OutputError: the picture cannot be written.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(found.rates, found.losses)
    axes.axvline(found.suggestion, color="C1", linestyle="--", label=f"suggested: {found.suggestion:g}")
    lowest, first = min(found.losses), found.losses[0]
    axes.set_ylim(lowest - 0.1 * (first - lowest + 1e-6), first + 0.5 * (first - lowest + 1e-6))
    axes.set(xlabel="learning rate", ylabel="loss (smoothed)")
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
