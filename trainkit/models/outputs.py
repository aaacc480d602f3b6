"""What a Keras model's last layer means, and the form in which it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainkit.backend import keras
from trainkit.errors import ExportError, RunError


def load_keras_model(path: Path) -> Any:
    """Load a `.keras` file, whose layers must all be Keras' own: nothing in it is executed.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # zip, JSON, h5py and Keras raise whatever they meet in a damaged file
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"{path} cannot be loaded as a Keras model ({reason}). Train it again, or name another file."
        ) from None


def output_kind(model: Any) -> str:
    """Return `softmax` or `sigmoid`.

    Raises:
        ExportError: the model does not end in a dense layer with one of the two.
    """
    last = model.layers[-1]
    kind = getattr(getattr(last, "activation", None), "__name__", "none")
    if not isinstance(last, keras.layers.Dense) or kind not in ("softmax", "sigmoid"):
        raise ExportError(
            f"The last layer `{last.name}` is a {type(last).__name__} with activation {kind}. "
            "Expected a Dense layer with softmax or sigmoid."
        )
    return kind


def build_deployed(model: Any) -> Any:
    """Build the model that is exported: its output is always (N, classes), so that every client's argmax is right.

    A single sigmoid `p` becomes two, `[1 - p, p]`: sigmoid(-x) is 1 - sigmoid(x), so a second column with the opposite
    sign is all it takes. The last activation becomes a layer of its own.

    Args:
        model: ends in a dense layer with softmax or sigmoid.

    Raises:
        ExportError: it does not.
    """
    kind = output_kind(model)
    last = model.layers[-1]
    kernel, bias = last.kernel.numpy(), last.bias.numpy() if last.use_bias else np.zeros(last.units, np.float32)
    if last.units == 1:
        kernel, bias = np.hstack([-kernel, kernel]), np.hstack([-bias, bias])
    logits = keras.layers.Dense(len(bias), name="logits")
    outputs = keras.layers.Activation(kind, name="probabilities")(logits(last.input))
    deployed = keras.Model(model.input, outputs, name=model.name)
    logits.set_weights([kernel, bias])
    return deployed


def predict_deployed(deployed: Any, inputs_nhwc: np.ndarray) -> dict[str, np.ndarray]:
    """Return `probabilities` and `logits`, float32 `(N, classes)`, of what `build_deployed` built."""
    both = keras.Model(
        deployed.input, {"logits": deployed.get_layer("logits").output, "probabilities": deployed.output}
    )
    answers: dict[str, np.ndarray] = both.predict(inputs_nhwc, batch_size=32, verbose=0)
    return answers


def class_probabilities(output: np.ndarray) -> np.ndarray:
    """Return `(N, classes)` for what a model gave: a single sigmoid `p` becomes `[1 - p, p]`."""
    return np.hstack([1 - output, output]) if output.shape[1] == 1 else output
