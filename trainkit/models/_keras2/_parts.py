"""The layers of a model of Keras 2 beside what Keras 3 built for them, and which of them a training changes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from trainkit.backend import keras
from trainkit.errors import ModelError

# A training changes none of these, or only what is in them.
_SAME_IN_TRAINING = (
    *(keras.Model, keras.layers.RNN, keras.layers.StackedRNNCells, keras.layers.Bidirectional),
    *(keras.layers.TimeDistributed, keras.layers.Dense, keras.layers.EinsumDense),
    *(keras.layers.Resizing, keras.layers.CenterCrop),
)
_RANDOM_AMOUNTS = ("rate", "stddev", "dropout", "recurrent_dropout", "_dropout")


@dataclass(frozen=True, slots=True)
class Part:
    """A layer or model of Keras 2, and what Keras 3 built for it."""

    name: str  # in Keras 2
    kind: str  # its class in Keras 2
    layer: Any  # of Keras 3; None for an input or an operation, which have no weights
    trainable: bool = True
    parts: list[Part] = field(default_factory=list)  # of a model: its layers in Keras 2's order


def check_training(part: Part, training: Any) -> None:
    """Raise where a call is one of a training, and computes something else than outside of one.

    Args:
        part: what is called.
        training: the argument of the call.

    Raises:
        ModelError: names the layer.
    """
    found = next(_changed_by_training(part), None) if training else None
    if found is None:
        return
    name, kind = found
    place = "" if name == part.name else f" in `{part.name}`"
    raise ModelError(
        f"The layer `{name}` ({kind}){place} is called with training=True, so Keras 2 computes it as in a training "
        "whenever the model answers: from the other images of the batch, or at random. Expected an answer that "
        "depends on the image alone. Where the model was made, build it without training=True, take over the weights "
        "with new.set_weights(old.get_weights()), look at its accuracy, and save it again."
    )


def _changed_by_training(part: Part) -> Iterator[tuple[str, str]]:
    """Yield (name, class) of each layer in a part that computes something else in a training."""
    if part.parts:
        for inner in part.parts:
            yield from _changed_by_training(inner)
    elif part.kind.startswith("Random"):  # in Keras 3 some of them are layers that are not random
        yield part.name, part.kind
    elif part.layer is not None:
        for layer in part.layer._flatten_layers():
            if _is_changed_by_training(layer):
                yield (part.name, part.kind) if layer is part.layer else (layer.name, type(layer).__name__)


def _is_changed_by_training(layer: Any) -> bool:
    if isinstance(layer, _SAME_IN_TRAINING) or "training" not in inspect.signature(layer.call).parameters:
        return False
    if isinstance(layer, keras.layers.BatchNormalization):
        return bool(layer.trainable)  # Keras 2 takes a frozen one as outside a training
    amounts = [vars(layer)[name] for name in _RANDOM_AMOUNTS if name in vars(layer)]
    return any(amounts) if amounts else True
