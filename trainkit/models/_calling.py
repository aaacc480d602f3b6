"""Running a model that others built: what TensorFlow, Keras or the model's own code finds wrong becomes one sentence.

What trainkit itself does wrong meanwhile keeps its traceback.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from trainkit import errors
from trainkit.backend import keras, onednn_is_on, tf
from trainkit.errors import ModelError, TrainkitError

_PACKAGE = Path(errors.__file__).parent
_LONGEST = 240
_STEPS = ("train_step", "test_step", "predict_step")  # of a model of ours around layers of others
LAMBDA_ADVICE = (
    "A file keeps a function without what it imports (tf, keras, K, ops, layers, np and math are lent to it), and a "
    "graph is made of operations alone: write it with keras.ops between the layers, as in keras.ops.mean(x, axis=-1, "
    "keepdims=True), and save the model again."
)
# What stands around the cause in a message of Keras, AutoGraph or a TensorFlow graph.
_AROUND = re.compile(
    r"Graph execution error|Detected at node|<stack traces unavailable>|Exception encountered when calling|"
    r"in user code:|\(most recent call last\)|^Node: |root error\(s\) found|File \"|\[\[|Arguments received by|"
    r"Function call stack|\d+ successful operations|\d+ derived errors|Original stack trace for|Call arguments received"
)


@contextmanager
def calling(
    model: Any,
    doing: str,
    *,
    expected: str = "one that TensorFlow computes on this machine",
    advice: str = "",
    kind: type[TrainkitError] = ModelError,
) -> Iterator[None]:
    """Turn what is raised by a model, or by TensorFlow that runs it, into one sentence.

    Args:
        model: of Keras, built by others.
        doing: what is done with it, behind "cannot be": `traced`, `run`.
        expected: what kind of layer or model.
        advice: what to do, where the cause itself does not tell.
        kind: of the error.

    Raises:
        ModelError: or the `kind` that is asked for: names the layer, the cause and what to do.
    """
    filtering = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()  # which would cut off the layer, and wrap the cause in its arguments
    try:
        yield
    except TrainkitError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] == __name__.partition(".")[0]:  # Ctrl-C in a training, say
            raise
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][1:]  # without the one of this function
        if _is_ours(frames, str(error)):
            raise
        layer = _layer_in(frames, model) or _layer_named_in(str(error), model)
        place = f"The layer `{layer.name}` ({type(layer).__name__}) of the model" if layer is not None else "The model"
        raise kind(
            f"{place} {model.name} cannot be {doing}: expected {expected}. Received: {_ended(cause_of(error))} "
            f"{_advice(layer, error) or advice or _trial(model)}"
        ) from error
    finally:
        if filtering:
            keras.config.enable_traceback_filtering()


def cause_of(error: BaseException) -> str:
    """Return the line of an error's message that says what is wrong, without what stands around it."""
    name = type(error).__name__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).rpartition("Exception encountered: ")[2]
    lines = [re.sub(r"^\(\d+\) [A-Z_]+: *", "", line.strip()) for line in text.splitlines()]
    after_file = {number + 1 for number, line in enumerate(lines) if line.startswith('File "')}
    telling = [
        line for number, line in enumerate(lines) if line and number not in after_file and not _AROUND.search(line)
    ]
    first = telling[0] if telling else " ".join(text.split())
    first = re.split(r"\s*(?:\[Op:|\[\[)", re.sub(r"^(\{\{.*?\}\}\s*)+", "", first))[0]
    if not first:
        return name
    shown = _shortened(first)
    return shown if re.match(r"[A-Za-z]*(Error|Exception|Warning): ", shown) else f"{name}: {shown}"


def _shortened(text: str) -> str:
    """Cut a text behind a sentence, or else behind a word."""
    if len(text) <= _LONGEST:
        return text
    head = text[:_LONGEST]
    return head[: head.rindex(". ") + 1] if ". " in head else f"{head.rpartition(' ')[0] or head}..."


def _ended(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _is_ours(frames: list[FrameType], message: str) -> bool:
    """Whether an exception came by trainkit's own code, behind the module that called the model.

    Of what feeds a model, a thread of TensorFlow keeps the traceback as text.
    """
    if str(_PACKAGE) in message.partition("Traceback (most recent call last)")[2]:
        return True
    files = [Path(frame.f_code.co_filename) for frame in frames]
    return files[-1].is_relative_to(_PACKAGE) or any(
        file.is_relative_to(_PACKAGE) and file != files[0] and frame.f_code.co_name not in _STEPS
        for file, frame in zip(files[1:], frames[1:], strict=True)
    )


def _layer_in(frames: list[FrameType], model: Any) -> Any:
    """Return the innermost layer that was being called, none where it was the whole model."""
    for frame in reversed(frames):
        layer = frame.f_locals.get("self")
        if isinstance(layer, keras.Layer) and not isinstance(layer, keras.Model) and layer is not model:
            return layer
    return None


def _layer_named_in(message: str, model: Any) -> Any:
    """Return the layer whose operation a graph's error names: `{{node model_1/conv2d_1/convolution}}`.

    Keras may have numbered the name: where that makes it another layer's, none is returned.
    """
    parts = {part for found in re.findall(r"[Nn]ode:? '?([\w.\\/>-]+)", message) for part in found.split("/")}
    places = parts | {re.sub(r"_\d+$", "", part) for part in parts}
    layers = getattr(model, "_flatten_layers", lambda **_: ())(include_self=False)
    found = [layer for layer in layers if layer.name in places and not isinstance(layer, keras.Model)]
    return found[0] if len(found) == 1 else None


def _advice(layer: Any, error: Exception) -> str:
    """Return what helps against a cause that is known."""
    text, off = str(error), os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" and not onednn_is_on()
    if off and isinstance(error, (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError)):
        return "Turn oneDNN on, which has more kernels and is off now: set TF_ENABLE_ONEDNN_OPTS=1."
    if "deterministic" in text and isinstance(error, tf.errors.UnimplementedError):
        return (
            "Take --set training.deterministic=false: then the GPU computes it, and a training that is resumed may "
            "have other last digits."
        )
    if "could not create a primitive" in text:  # of oneDNN, which has not each kernel in 16 bits on each CPU
        return (
            "If it trains in 16 bits, this CPU may have none: take --set training.mixed_precision=none. A run that "
            "began in 16 bits goes on where they are, such as on the machine that it began on."
        )
    if getattr(layer, "data_format", None) == "channels_first" or "NCHW" in text or "NHWC" in text:
        return (
            "Its channels come first, which TensorFlow computes on a CPU only in part: build the model again with "
            'data_format="channels_last" in every layer, without a Permute in front of them, and load its weights.'
        )
    if isinstance(layer, keras.layers.Lambda) or isinstance(error, (NameError, ImportError)):
        return LAMBDA_ADVICE
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return "It does not fit into memory: take a smaller image or batch, or a smaller model."
    return ""


def _trial(model: Any) -> str:
    """Return how to see the same where the model was built: as a graph, in which it is run here."""
    sides = [side or 224 for side in model.input_shape[1:]]
    return (
        f"Where the model was built, tf.function(model)(tf.zeros((1, {', '.join(map(str, sides))}))) says the same: "
        "mend it there and save the model again."
    )
