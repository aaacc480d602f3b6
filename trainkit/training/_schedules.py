"""How the learning rate goes over a training, and the optimizer that obeys it: Keras' own wherever it has them."""

from __future__ import annotations

import math
from typing import Any

from trainkit.backend import keras, tf
from trainkit.training._adam import FusedAdam
from trainkit.training._muon import ConvolutionMuon
from trainkit.training._sharing import clipping_together

_OWN = {"adam": FusedAdam, "adamw": FusedAdam, "muon-conv": ConvolutionMuon}
_CLASSES = {
    "sgd": "SGD",
    "rmsprop": "RMSprop",
    "nadam": "Nadam",
    "lamb": "Lamb",
    "lion": "Lion",
    "adafactor": "Adafactor",
    "muon": "Muon",
}
RISING_SHARE = 0.3  # of the steps of one cycle, where no warm-up is given
_START_DIVISOR, _END_DIVISOR = 25.0, 1e4  # of one cycle: the first rate is a 25th, the last a 10,000th of that
# Biases, normalisations and PReLU's slopes are not pulled towards 0: they do not make a function wilder, and slopes of
# 0 would make a ReLU of each PReLU (He et al. 2015, arXiv:1502.01852, section 2.1).
_WITHOUT_DECAY = ["bias", "gamma", "beta", "alpha"]


@keras.saving.register_keras_serializable("trainkit")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A rate that rises in a straight line over the first steps and then stays."""

    def __init__(self, learning_rate: float, steps: int) -> None:
        super().__init__()
        self._learning_rate, self._steps = learning_rate, steps

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, which counts from 0."""
        risen = (tf.cast(step, tf.float32) + 1.0) / max(1, self._steps)
        return self._learning_rate * tf.minimum(1.0, risen)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments it was made with."""
        return {"learning_rate": self._learning_rate, "steps": self._steps}


@keras.saving.register_keras_serializable("trainkit")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A rate that rises and falls once along half cosines (Smith and Topin 2017, arXiv:1708.07120).

    From a 25th of the highest rate up to it, and down to a 250,000th of it, step by step what PyTorch's `OneCycleLR`
    does: with `rising` steps, it is highest at the step `rising - 1`, which need not be a whole one.
    """

    def __init__(self, learning_rate: float, steps: int, rising: float) -> None:
        super().__init__()
        self._learning_rate, self._steps, self._rising = learning_rate, steps, rising

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, which counts from 0."""
        step = tf.cast(step, tf.float32)
        highest = self._learning_rate
        lowest = highest / _START_DIVISOR
        peak = max(0.0, self._rising - 1.0)
        up = _between(lowest, highest, step / (peak or 1.0))
        falling = max(1.0, self._steps - 1 - peak)
        down = _between(highest, lowest / _END_DIVISOR, tf.minimum(1.0, (step - peak) / falling))
        return tf.where(step < peak, up, down)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments it was made with."""
        return {"learning_rate": self._learning_rate, "steps": self._steps, "rising": self._rising}


def _between(start: float, end: float, share: Any) -> Any:
    return end + (start - end) * 0.5 * (1.0 + tf.cos(math.pi * share))


def build_schedule(
    name: str, learning_rate: float, *, steps_per_epoch: int, epochs: int, warmup: float
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate of an optimizer.

    Args:
        name: `constant`, `cosine`, `one-cycle`, or `plateau`, whose falls are the work of `PlateauSchedule`.
        learning_rate: the highest learning rate.
        steps_per_epoch: batches an epoch.
        epochs: how many will be trained.
        warmup: epochs in which the learning rate rises to the highest one.
    """
    total, rising = steps_per_epoch * epochs, round(steps_per_epoch * warmup)
    if name == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            learning_rate / (rising + 1) if rising else learning_rate,  # a first step at the rate 0 would train nothing
            max(1, total - rising),
            warmup_target=learning_rate if rising else None,
            warmup_steps=rising,
        )
    if name == "one-cycle":
        return OneCycle(learning_rate, total, min(total, rising or RISING_SHARE * total))
    return WarmUp(learning_rate, rising) if rising and name == "constant" else learning_rate


def build_optimizer(
    name: str,
    learning_rate: Any,
    *,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    ema: float = 0.0,
    shared: bool = False,
) -> Any:
    """Return one of Keras' optimizers, or one that computes like it; `sgd` has a Nesterov momentum of 0.9.

    Args:
        name: one of `trainkit.runs._settings.OPTIMIZERS`.
        learning_rate: a number or a schedule.
        weight_decay: taken from each kernel in each step, times the rate, under `muon-conv` from those of convolutions
            alone; 0 for none.
        clip_norm: the longest gradient, over all weights; 0 for any.
        ema: the momentum of the moving average of the weights; 0 for none.
        shared: whether several devices share a batch.
    """
    arguments: dict[str, Any] = {"momentum": 0.9, "nesterov": True} if name == "sgd" else {}
    if weight_decay or name == "adamw":  # Keras' AdamW has a decay of its own otherwise
        arguments["weight_decay"] = weight_decay
    if ema:
        # Keras would write the average over the weights at the end of `fit`, and what goes on from there is another
        # training: the average stays where it is, see `training.averaging`.
        arguments.update(use_ema=True, ema_momentum=ema)
    if clip_norm:
        arguments["global_clipnorm"] = clip_norm
    if name == "muon-conv":  # Keras' Muon has decays of its own; Adam's weights have none here
        arguments.update(weight_decay=weight_decay or None, adam_weight_decay=None)
    kind = _OWN.get(name) or getattr(keras.optimizers, _CLASSES[name])
    optimizer = (clipping_together(kind) if clip_norm and shared else kind)(learning_rate, **arguments)
    if weight_decay:
        optimizer.exclude_from_weight_decay(var_names=_WITHOUT_DECAY)
    return optimizer
