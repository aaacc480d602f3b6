"""A Keras model as one TensorFlow function, cut before its last activation.

Keras itself computes here, with TensorFlow's own kernels: nothing of ours is between the model and its answer,
which is what every export is compared with.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from trainkit._progress import doing
from trainkit.backend import keras, silent_stderr, tf
from trainkit.errors import ExportError
from trainkit.exporting._graph import plain_name
from trainkit.exporting._tf2onnx import CONVERSIONS
from trainkit.exporting._traced_layers._table import expressed_otherwise
from trainkit.models._calling import calling
from trainkit.preprocessing import Preprocessing

_OPSET = 13  # of the conversion, whose operations are then lowered to ours; not that of the file
_BATCH = 32
_COMPARED = 4  # images on which the graph must answer as the model itself
_TRACE_TOLERANCE = 1e-4  # of the largest value; eagerly, oneDNN fuses less than in a graph
_SUM_TOLERANCE = 1e-4
_ADVICE = "Replace it by convolutions, pooling, dense layers, normalisations and the usual activations."
_ADVICE_ON_VALUES = (  # for a single value that is a probability, and for several
    "Give both classes, for p = model.outputs[0]: keras.Model(model.inputs[0], keras.ops.concatenate([1 - p, p], -1)).",
    "Divide them by their sum before the model ends; where each is a question of its own, end in one sigmoid.",
)
_LEAST_PROBABILITY = 1e-7  # whose logarithm is taken in its place
_PASSED = ("Identity", "Reshape", "Squeeze", "StopGradient")  # between the last activation and the output


@dataclass(frozen=True, slots=True)
class Traced:
    """A model whose last activation is known."""

    model: Any
    kind: str  # softmax or sigmoid: what the probabilities are
    units: int  # of the last layer: 1 for a single sigmoid
    activation: str  # that makes them of what the graph ends in; relu where they are probabilities already
    _function: Any
    _model_input: Any  # behind the part of the preprocessing that is in the graph
    _logits: Any
    _output: Any

    @property
    def classes(self) -> int:
        """How many probabilities leave: a single sigmoid `p` becomes `[1 - p, p]`."""
        return max(self.units, 2)

    @property
    def multi_label(self) -> bool:
        """Whether every class is a question of its own: a sigmoid of more than one unit."""
        return self.kind == "sigmoid" and self.units > 1

    def predict(self, inputs_nhwc: np.ndarray) -> dict[str, np.ndarray]:
        """Return what Keras answers: `logits` and `probabilities`, float32 `(N, classes)`.

        Where a model's last activation is inside of it, as in an average of several, both are its probabilities.

        Args:
            inputs_nhwc: float32 `(N, height, width, channels)`, as `Preprocessing.to_input` makes them.
        """
        logits = self._run(inputs_nhwc, self._logits)
        if self.units == 1:
            logits = np.hstack([-logits, logits])
        activation = getattr(tf.nn, self.activation)
        return {"logits": logits, "probabilities": np.asarray(activation(logits))}

    def scores(self, answers: dict[str, np.ndarray]) -> np.ndarray:
        """Return what a temperature divides, float64 `(N, classes)`: logits, or of mere probabilities their logarithm.

        Args:
            answers: as `predict` gives them.
        """
        logits = answers["logits"].astype(np.float64)
        return np.log(logits + _LEAST_PROBABILITY) if self.activation == "relu" else logits

    def calibrated(self, temperature: float) -> Traced:
        """Return the same model with its logits divided by a temperature in the graph itself; by 1 it is the same."""
        if temperature == 1:
            return self
        with self._function.graph.as_default():
            mere = self.activation == "relu"
            logits = tf.math.log(self._logits + _LEAST_PROBABILITY) if mere else self._logits
            scaled = logits * tf.constant(1 / temperature, tf.float32)
        return replace(self, activation="softmax" if mere else self.activation, _logits=scaled)

    def check_answers(self, inputs_nhwc: np.ndarray) -> None:
        """Raise unless the traced model answers as the model itself does, whatever was traced otherwise.

        Args:
            inputs_nhwc: a few images, as `predict` takes them.

        Raises:
            ExportError: says by how much they differ.
        """
        inputs = inputs_nhwc[:_COMPARED]
        with calling(self.model, "run"):
            expected = np.asarray(self.model(tf.constant(inputs), training=False), np.float32)
        if len(expected) != len(inputs):
            raise ExportError(
                f"The model {self.model.name} answers {len(inputs)} images with {len(expected)} rows. Expected one row "
                "an image: keep the batch, the first side, as it is in every layer."
            )
        difference = np.abs(self._run(inputs, self._output) - expected.reshape(len(inputs), -1)).max()
        if difference > _TRACE_TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise ExportError(
                f"The model {self.model.name} answers otherwise as a graph than in Keras, by up to {difference:.1e}, "
                "so nothing was written. Its answers must depend on the image alone: not on chance, on earlier images "
                "or on Python's own conditions."
            )

    def _run(self, inputs_nhwc: np.ndarray, target: Any) -> np.ndarray:
        return _run(self._function.prune(self._model_input, target), inputs_nhwc, self.model).reshape(-1, self.units)

    def extended(self, build: Callable[[Any, Any], tuple[list[Any], list[Any]]]) -> Any:
        """Return a function of the model's input, and of what else is fed, that gives other tensors of the graph.

        Args:
            build: is given the model's input and its logits, in their graph; returns what else is fed, and what is
                asked for: tensors of the graph, or new ones that it adds to it.
        """
        with self._function.graph.as_default():
            fed, wanted = build(self._model_input, self._logits)
        return self._function.prune([self._model_input, *fed], wanted)

    def to_onnx(self) -> onnx.ModelProto:
        """Let tf2onnx convert it, from the blob `(N, C, H, W)` to the logits."""
        import tf2onnx
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it cannot convert is found and reported by us
        function = self._function.prune(self._function.inputs[0], [self._logits])
        with self._converting(), silent_stderr():
            frozen = convert_variables_to_constants_v2(function)
            if len(frozen.inputs) > 1:
                raise ExportError(
                    f"The model {self.model.name} reads what is outside of its layers: `{frozen.inputs[1].name}`, a "
                    f"table for one. Expected weights and the image alone. {_ADVICE}"
                )
            (source,), (target,) = [value.name for value in frozen.inputs], [value.name for value in frozen.outputs]
            with frozen.graph.as_default():
                graph_def = tf2onnx.tf_loader.tf_optimize([source], [target], frozen.graph.as_graph_def())
            with tf.Graph().as_default() as tf_graph:
                tf.import_graph_def(graph_def, name="")
                # Without tf2onnx's own optimizers, which take as long again: what they do, lowering and folding do.
                converted = tf2onnx.tfonnx.process_tf_graph(
                    tf_graph,
                    input_names=[source],
                    output_names=[target],
                    opset=_OPSET,
                    inputs_as_nchw=[source],
                    continue_on_error=True,
                    custom_op_handlers={name: (convert, []) for name, convert in CONVERSIONS.items()},
                )
                return converted.make_model(self.model.name)

    def _converting(self) -> AbstractContextManager[None]:
        expected = "one whose operations tf2onnx knows"
        return calling(self.model, "converted", expected=expected, advice=_ADVICE, kind=ExportError)


def trace(
    model: Any,
    *,
    from_logits: bool = False,
    after_blob: Callable[[Any], Any] = lambda blob: blob,
    units: int | None = None,
    images: Callable[[], np.ndarray] | None = None,
) -> Traced:
    """Trace a Keras model and find its last activation.

    Args:
        model: takes float32 `(N, H, W, C)`; ends in a softmax or a sigmoid, or gives probabilities otherwise.
        from_logits: the model ends before its activation: a softmax follows, or for one unit a sigmoid.
        after_blob: the part of the preprocessing that the blob does not do, on a tensor `(N, H, W, C)`.
        units: how many outputs are expected; `None` where any number is.
        images: returns inputs, as `Traced.predict` takes them, by which a model that ends in neither is judged: its
            answers are probabilities where they sum to 1 for each. Without them it is refused.

    Raises:
        ExportError: the model ends in something else.
    """
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="blob")]

    def forward(blob: Any) -> Any:
        return model(tf.identity(after_blob(blob), name="model_input"), training=False)

    with (
        doing("Tracing the network"),
        calling(model, "traced"),
        silent_stderr(),
        _inlined(),
        expressed_otherwise(),
        _plain_names(model),
    ):
        function = tf.compat.v1.wrap_function(forward, signature)
    output = function.outputs[0]
    if len(function.outputs) != 1:
        raise ExportError(f"Expected a model with one output. Received: {len(function.outputs)} outputs.")
    fed = next(op for op in function.graph.get_operations() if op.name.endswith("model_input")).outputs[0]
    count = _units(output, model)
    if units is not None and count != units:
        raise ExportError(f"The model has {count} outputs, and there are {units} class names. Give one for each.")
    found = _find_activation(output, model, from_logits)
    if found is None:
        answers = _run(function.prune(fed, output), images(), model).reshape(-1, count) if images else None
        found = _judge_answers(output, model, answers, from_logits)
    kind, activation, logits = found
    if count == 1 and kind == "softmax":
        raise ExportError(f"The model {model.name} ends in a softmax of one unit, which is always 1. Use a sigmoid.")
    return Traced(model, kind, count, activation, function, fed, logits, output)


def _run(pruned: Any, inputs_nhwc: np.ndarray, model: Any) -> np.ndarray:
    with calling(model, "run"):
        parts = [
            np.asarray(pruned(tf.constant(inputs_nhwc[start : start + _BATCH])))
            for start in range(0, len(inputs_nhwc), _BATCH)
        ]
    return np.concatenate(parts).astype(np.float32)


def after_blob_in_graph(preprocessing: Preprocessing) -> Callable[[Any], Any]:
    """Return the part of a preprocessing that the graph does, on a tensor (N, H, W, C): what the blob leaves over."""
    return lambda blob: preprocessing.after_blob(blob, keras.ops)


finish_in_graph = after_blob_in_graph  # its name in 0.1


def _units(output: Any, model: Any) -> int:
    sides = output.shape.as_list()[1:]
    if None in sides or not sides or int(np.prod(sides)) != sides[-1]:
        raise ExportError(
            f"The model {model.name} answers with the shape {tuple(output.shape)}. Expected (N, classes): one row of "
            "classes an image. Put a GlobalAveragePooling2D or a Flatten before the last layer."
        )
    return int(sides[-1])


def _find_activation(output: Any, model: Any, from_logits: bool) -> tuple[str, str, Any] | None:
    """Return what the probabilities are, the activation that makes them and what goes into it; none without one."""
    last = output
    while last.op.type in _PASSED:
        last = last.op.inputs[0]
    kind = last.op.type.lower()
    if kind == "logsoftmax":  # its answers and its input have the same softmax
        return "softmax", "softmax", last.op.inputs[0]
    if kind == "softmax" and last.op.inputs[0].shape[-1] != _units(output, model):
        raise ExportError(
            f"The softmax at the end of the model {model.name} is over {last.op.inputs[0].shape[-1]} values, and the "
            f"model has {_units(output, model)} outputs. Expected one softmax over all classes."
        )
    if kind not in ("softmax", "sigmoid"):
        return None
    if from_logits:
        raise ExportError(f"The model {model.name} ends in a {kind} already. Leave out --from-logits.")
    return kind, kind, last.op.inputs[0]


def _judge_answers(output: Any, model: Any, answers: np.ndarray | None, from_logits: bool) -> tuple[str, str, Any]:
    """Return what `_find_activation` does for a model that ends in no activation that is known, by its answers.

    An average of softmaxes, a product of probabilities or a ReLU over its sum are probabilities as they are.
    """
    last = output
    while last.op.type in _PASSED:
        last = last.op.inputs[0]
    if last.op.type == "Neg" and last.op.inputs[0].op.type == "Softplus":
        raise ExportError(
            f"The model {model.name} ends in log_sigmoid: its outputs are logarithms of probabilities, and no logits. "
            "End it in a sigmoid, activation='sigmoid', which has no weights: those of the model stay."
        )
    if answers is not None and _are_probabilities(answers):
        if from_logits:
            raise ExportError(
                f"The model {model.name} gives probabilities already: they sum to 1 for each image. Leave out "
                "--from-logits."
            )
        return "softmax", "relu", output
    if from_logits:
        kind = "sigmoid" if _units(output, model) == 1 else "softmax"
        return kind, kind, output
    ending = f"The model {model.name} ends in {last.op.type}, in the layer `{model.layers[-1].name}`."
    if answers is not None and answers.min() >= 0 and answers.max() <= 1:
        sums = answers.sum(1)
        raise ExportError(
            f"{ending} Expected a softmax or a sigmoid, or probabilities that sum to 1 for each image. Received: "
            f"values from {answers.min():.2g} to {answers.max():.2g}, whose sums are {sums.min():.2g} to "
            f"{sums.max():.2g}. {_ADVICE_ON_VALUES[answers.shape[1] > 1]}"
        )
    raise ExportError(f"{ending} Expected a softmax or a sigmoid. If its outputs are logits, say so: --from-logits.")


def _are_probabilities(answers: np.ndarray) -> bool:
    return bool(answers.shape[1] > 1 and answers.min() >= 0 and np.abs(answers.sum(1) - 1).max() <= _SUM_TOLERANCE)


@contextmanager
def _inlined() -> Iterator[None]:
    """Trace functions inside the model (Keras compiles a grouped convolution, for one) as if they stood there."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@contextmanager
def _plain_names(model: Any) -> Iterator[None]:
    """Let layers have names that TensorFlow can give to operations, for as long as it traces."""
    layers = [model, *model._flatten_layers(include_self=False)]
    before = [layer.name for layer in layers]
    for layer in layers:
        layer.name = plain_name(layer.name)
    model.name = re.sub(r"^[^A-Za-z0-9.]", ".", model.name)
    try:
        yield
    finally:
        for layer, name in zip(layers, before, strict=True):
            layer.name = name
