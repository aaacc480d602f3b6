"""A Keras model that the user brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainkit.errors import ModelError


def build_own_model(
    input_shape: tuple[int, int, int], class_count: int, *, path: str, multi_label: bool = False
) -> Any:
    """Load a `.keras` file to train it further: with the input, the number of classes and the last activation it needs.

    A model that ends without an activation gets the softmax or sigmoid that its classes need.

    Args:
        input_shape: (height, width, channels).
        class_count: of the data.
        path: of the file; nothing in it is executed.
        multi_label: whether an image may have several classes.

    Raises:
        ModelError: the file is missing, damaged or not safe, or the model is no classifier of such images and classes.
    """
    from trainkit.backend import keras
    from trainkit.models._loading import (
        at_size,
        class_units,
        image_shape,
        load_model_file,
    )
    from trainkit.models._losses import ends_linear

    loaded = load_model_file(Path(path))
    model = loaded.model
    if loaded.whole_levels:
        raise ModelError(
            f"The model {model.name} takes whole grey levels, 0 to 255, and scales them itself. Expected float32 to "
            "train it further: build it with keras.Input(..., dtype='float32') and load its weights."
        )
    own_shape = image_shape(model)
    if own_shape[2] != input_shape[2] or any(
        own not in (None, side) for own, side in zip(own_shape, input_shape, strict=True)
    ):
        shown = "x".join(str(side) for side in own_shape)
        raise ModelError(f"The model {model.name} takes images of {shown}. Received: {input_shape}.")
    model = at_size(model, input_shape)
    units = class_units(model)
    if units != class_count and not (units == 1 and class_count == 2 and not multi_label):
        raise ModelError(
            f"The model {model.name} gives {units} values for an image, and the data has {class_count} classes. "
            f"Expected a last layer of {class_count} units."
        )
    if ends_linear(model):
        kind = "sigmoid" if units == 1 or multi_label else "softmax"
        outputs = keras.layers.Activation(kind, name="probabilities")(model.outputs[0])
        model = keras.Model(model.inputs[0], outputs, name=model.name)
    return model


def describe_own_model(path: Path) -> dict[str, Any]:
    """Return the settings that follow from a `.keras` file: its size and colour, where it says them.

    Raises:
        ModelError: the file is missing, damaged or not safe, or no classifier of images.
    """
    from trainkit.models._loading import image_shape, load_model_file

    return settings_of_shape(image_shape(load_model_file(path).model))


def settings_of_shape(shape: tuple[int | None, int | None, int]) -> dict[str, Any]:
    """Return `preprocessing.size` and `preprocessing.color` for a model's (height, width, channels)."""
    height, width, channels = shape
    settings: dict[str, Any] = {"preprocessing.color": "gray" if channels == 1 else "rgb"}
    if height is not None and width is not None:
        settings["preprocessing.size"] = [width, height]
    return settings
