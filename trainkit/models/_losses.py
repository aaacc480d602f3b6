"""What a model's loss says about answers that come without their softmax or sigmoid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainkit.backend import keras

_KINDS: dict[str, Literal["sigmoid", "softmax"]] = {
    "binary": "sigmoid",
    "sigmoid": "sigmoid",
    "categorical": "softmax",
    "softmax": "softmax",
}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A Keras model, and what its loss says about its answers."""

    model: Any
    from_logits: bool  # whether it ends without its softmax or sigmoid
    whole_levels: bool = False  # whether the file's model takes whole grey levels, 0 to 255
    unclear_loss: str | None = None  # takes logits and does not say whether of one class an image or of several labels


def describe_loss(loss: Any) -> Any:
    """Return the loss of a model in memory in the form in which a file has it."""
    if loss is None or isinstance(loss, str):
        return loss
    if isinstance(loss, dict):
        return {key: describe_loss(value) for key, value in loss.items()}
    if isinstance(loss, (list, tuple)):
        return [describe_loss(value) for value in loss]
    if isinstance(loss, keras.losses.Loss):
        config = loss.get_config()
        from_logits = config.get("from_logits", getattr(loss, "from_logits", False))
        return {"class_name": type(loss).__name__, "config": {**config, "from_logits": from_logits}}
    return {"class_name": "function", "config": getattr(loss, "__name__", type(loss).__name__)}


def loss_for(loss: Any, output: str | None, names: Sequence[str]) -> Any:
    """Return the loss of the output that counts: models with several have one for each, by name or by place."""
    if isinstance(loss, dict) and output in loss:
        return loss[output]
    if not isinstance(loss, (list, tuple)):
        return loss
    place = names.index(output) if output in names else 0
    return loss[place] if place < len(loss) else None


def completed(model: Any, loss: Any, *, from_logits: bool) -> LoadedModel:
    """Return a classifier with the sigmoid behind it that its loss asks for, where it gives logits of several labels.

    Args:
        model: with one row of answers.
        loss: as a file describes it.
        from_logits: whoever exports it says that it ends without its activation.
    """
    name, takes_logits = _read(loss)
    if not ends_linear(model):
        return LoadedModel(model, from_logits)
    if not (from_logits or takes_logits) or model.outputs[0].shape[-1] == 1:
        return LoadedModel(model, from_logits or takes_logits)
    kind = next((kind for word, kind in _KINDS.items() if word in name), None)
    if kind == "sigmoid":  # several labels at once: no softmax would be right
        outputs = keras.layers.Activation("sigmoid")(model.outputs[0])
        inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
        return LoadedModel(keras.Model(inputs, outputs, name=model.name), False)
    unclear = (name or "no loss") if kind is None else None
    return LoadedModel(model, from_logits or unclear is None, unclear_loss=unclear)


def ends_linear(model: Any) -> bool:
    """Whether a model's last layer has no activation of its own."""
    last = model
    while getattr(last, "layers", None) and getattr(last, "outputs", None):  # a nested model may be the last layer
        last = last.outputs[0]._keras_history.operation
    if isinstance(last, keras.layers.Softmax):
        return False
    return getattr(getattr(last, "activation", None), "__name__", "linear") == "linear"


def _read(loss: Any) -> tuple[str, bool]:
    """Return a loss's name in snake case, and whether it takes logits."""
    if isinstance(loss, str):
        name, from_logits = loss, False
    elif isinstance(loss, dict) and "class_name" in loss:
        name, config = str(loss["class_name"]), loss.get("config")
        from_logits = isinstance(config, dict) and config.get("from_logits") is True
        if isinstance(config, dict) and isinstance(config.get("fn"), dict):  # a function in a class of Keras' own
            name = _read(config["fn"])[0]
        elif name == "function" and isinstance(config, str):
            name = config
    else:
        return "", False
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return name, from_logits or "with_logits" in name
