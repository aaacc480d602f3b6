"""Operations of TensorFlow between the layers of Keras 2, as those of `keras.ops`.

Keras 2 wrote `x / 127.5` into a Functional model as a TFOpLambda (since 2.4) or a TensorFlowOpLayer (before), with the
name of the function and its arguments. Only what is in the tables here is built; no function is looked up by its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainkit.backend import keras
from trainkit.errors import ModelError

OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod")
ops = keras.ops


def name_of_operation(part: dict[str, Any]) -> str | None:
    """Return the function of an operation, as `tf.math.add`; `None` where there is nothing for it in `keras.ops`."""
    kind, config = part.get("class_name"), part.get("config") or {}
    if kind == "TensorFlowOpLayer":
        name = str((config.get("node_def") or {}).get("op"))
        return name if name in _NODES else None
    name = _todays_name(str(config.get("function")))
    return f"tf.{name}" if kind in ("TFOpLambda", "SlicingOpLambda") and name in _FUNCTIONS else None


def _todays_name(function: str) -> str:
    """Return the name of a function that is the same under `compat.v1`; images are resized otherwise there."""
    if not function.startswith("compat.v1.") or function.startswith("compat.v1.image."):
        return function
    name = function.removeprefix("compat.v1.")
    known = (spelling for spelling in (name, f"math.{name}") if spelling in _FUNCTIONS)
    return _OF_V1.get(name, next(known, function))


def call_operation(part: dict[str, Any], values: list[Any], named: dict[str, Any]) -> Any:
    """Call what an operation of Keras 2 did.

    Args:
        part: the layer that Keras 2 wrote for it.
        values: its tensor or constant, or in a list all that it takes as one.
        named: its other arguments, tensors among them.

    Raises:
        ModelError: it has an argument that is not known here.
    """
    config = part["config"]
    if part["class_name"] == "TensorFlowOpLayer":
        return _NODES[config["node_def"]["op"]](_Node(config["node_def"], _with_constants(values, config)))
    function = _FUNCTIONS[_todays_name(config["function"])]
    takes = inspect.signature(function).parameters
    named = {
        key: _constant(value)
        for key, value in named.items()
        if key in takes or not (key == "name" or value is None or value is False)  # as it is where nobody sets it
    }
    if unknown := [f"{key}={value!r:.40}" for key, value in named.items() if key not in takes]:
        raise ModelError(
            f"The operation `{config.get('name')}` calls tf.{config['function']} with {', '.join(unknown)}, which is "
            "not known here. Build the model again from Keras' own layers, and load its weights."
        )
    return function(*map(_constant, values), **{key: value for key, value in named.items() if value is not None})


def _constant(value: Any) -> Any:
    """Return a list of fractions, which is a tensor, as an array; others (an axis, a shape, tensors) as they are."""
    flat = keras.tree.flatten(value) if isinstance(value, list) else []
    if any(isinstance(entry, float) for entry in flat) and all(isinstance(entry, float | int) for entry in flat):
        return np.asarray(value, np.float32)
    return value


def _slice(x: Any, slice_spec: Any) -> Any:
    entries = slice_spec if isinstance(slice_spec, list) else [slice_spec]
    return x[tuple(_slice_entry(entry) for entry in entries)]


def _slice_entry(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    if entry.get("class_name") == "__ellipsis__":
        return Ellipsis
    return slice(entry.get("start"), entry.get("stop"), entry.get("step"))


def _resize(images: Any, size: Any, method: str = "bilinear", antialias: bool = False) -> Any:
    if method not in _METHODS:
        raise ModelError(
            f"The operation tf.image.resize has method={method!r}, and Keras 3 knows {', '.join(_METHODS)}. Build the "
            "model again with one of these, load its weights, and compare some answers."
        )
    return ops.image.resize(images, tuple(size), interpolation=method, antialias=antialias)


def _grey(images: Any) -> Any:
    return ops.sum(images * np.asarray([0.2989, 0.5870, 0.1140], np.float32), axis=-1, keepdims=True)


def _pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: float = 0) -> Any:
    if mode.upper() != "CONSTANT":
        return ops.pad(tensor, paddings, mode=mode.lower())
    return ops.pad(tensor, paddings, constant_values=constant_values)


def _bias_add(value: Any, bias: Any, data_format: str | None = None) -> Any:
    if data_format not in (None, "NHWC"):
        raise ModelError("The operation tf.nn.bias_add has channels first. Build the model again with channels last.")
    return ops.add(value, _as_other(bias, value))


def _product(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    first, second = (ops.swapaxes(x, -1, -2) if turned else x for x, turned in ((a, transpose_a), (b, transpose_b)))
    return ops.matmul(first, second)


def _as_other(value: Any, other: Any) -> Any:
    """Return a list of numbers as a constant of the kind that the tensor beside it has, as TensorFlow does."""
    return np.asarray(value, keras.backend.standardize_dtype(other.dtype)) if isinstance(value, list) else value


_METHODS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area")
_TAKES_X: dict[str, Callable[[Any], Any]] = {
    "math.negative": ops.negative, "math.abs": ops.abs, "math.square": ops.square, "math.sqrt": ops.sqrt,
    "math.rsqrt": ops.rsqrt, "math.exp": ops.exp, "math.log": ops.log, "math.log1p": ops.log1p, "math.tanh": ops.tanh,
    "math.sigmoid": ops.sigmoid, "math.softplus": ops.softplus, "math.erf": ops.erf, "math.sin": ops.sin,
    "math.cos": ops.cos, "math.sign": ops.sign, "math.floor": ops.floor, "math.ceil": ops.ceil,
    "math.reciprocal": ops.reciprocal, "identity": lambda x: x, "stop_gradient": lambda x: x, "round": ops.round,
    "ones_like": ops.ones_like, "zeros_like": ops.zeros_like,
}  # fmt: skip
_TAKES_FEATURES: dict[str, Callable[[Any], Any]] = {
    "nn.relu": ops.relu, "nn.relu6": ops.relu6, "nn.elu": ops.elu, "nn.selu": ops.selu, "nn.softsign": ops.softsign,
    "nn.silu": ops.silu, "nn.swish": ops.silu,
}  # fmt: skip
_TAKES_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "math.add": ops.add, "__operators__.add": ops.add, "math.subtract": ops.subtract, "math.multiply": ops.multiply,
    "math.truediv": ops.true_divide, "math.divide": ops.true_divide, "math.pow": ops.power,
    "math.maximum": ops.maximum, "math.minimum": ops.minimum, "math.floordiv": ops.floor_divide, "math.mod": ops.mod,
    "math.floormod": ops.mod,
    "math.squared_difference": lambda x, y: ops.square(ops.subtract(x, y)),
}  # fmt: skip
_REDUCES: dict[str, Callable[..., Any]] = {
    "math.reduce_mean": ops.mean, "math.reduce_sum": ops.sum, "math.reduce_max": ops.max, "math.reduce_min": ops.min,
    "math.reduce_prod": ops.prod, "math.reduce_std": ops.std, "math.reduce_variance": ops.var,
}  # fmt: skip


def _taking_x(of: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda x: of(x)


def _taking_features(of: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda features: of(features)


def _taking_two(of: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda x, y: of(_as_other(x, y), _as_other(y, x))


def _reducing(of: Callable[..., Any]) -> Callable[..., Any]:
    return lambda input_tensor, axis=None, keepdims=False: of(input_tensor, axis=_axes(axis), keepdims=keepdims)


def _axes(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


# By the name that the function has in TensorFlow, without `tf.`; the arguments are named as there.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _taking_x(of) for name, of in _TAKES_X.items()},
    **{name: _taking_features(of) for name, of in _TAKES_FEATURES.items()},
    **{name: _taking_two(of) for name, of in _TAKES_TWO.items()},
    **{name: _reducing(of) for name, of in _REDUCES.items()},
    "nn.leaky_relu": lambda features, alpha=0.2: ops.leaky_relu(features, negative_slope=alpha),
    "nn.gelu": lambda features, approximate=False: ops.gelu(features, approximate=approximate),
    "nn.softmax": lambda logits, axis=-1: ops.softmax(logits, axis=axis),
    "nn.log_softmax": lambda logits, axis=-1: ops.log_softmax(logits, axis=axis),
    "nn.bias_add": _bias_add,
    "math.l2_normalize": lambda x, axis=None, epsilon=1e-12: ops.multiply(
        x, ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=_axes(axis), keepdims=True), epsilon))
    ),
    "clip_by_value": lambda t, clip_value_min, clip_value_max: ops.clip(
        t, _as_other(clip_value_min, t), _as_other(clip_value_max, t)
    ),
    "cast": lambda x, dtype: ops.cast(x, dtype),
    "convert_to_tensor": lambda value, dtype=None: value if dtype is None else ops.cast(value, dtype),
    "reshape": lambda tensor, shape: ops.reshape(tensor, tuple(shape)),
    "transpose": lambda a, perm=None: ops.transpose(a, perm),
    "expand_dims": lambda input, axis: ops.expand_dims(input, axis),
    "squeeze": lambda input, axis=None: ops.squeeze(input, _axes(axis)),
    "concat": lambda values, axis: ops.concatenate(values, axis=axis),
    "stack": lambda values, axis=0: ops.stack(values, axis=axis),
    "reverse": lambda tensor, axis: ops.flip(tensor, axis=_axes(axis)),
    "pad": _pad,
    "linalg.matmul": _product,
    "image.resize": _resize,
    "image.flip_left_right": lambda image: ops.flip(image, axis=-2),
    "image.flip_up_down": lambda image: ops.flip(image, axis=-3),
    "image.rgb_to_grayscale": _grey,
    "image.grayscale_to_rgb": lambda images: ops.concatenate([images, images, images], axis=-1),
    "__operators__.getitem": _slice,
}

# Functions of `compat.v1` that go by another name today.
_OF_V1 = {
    "floor_div": "math.floordiv", "floordiv": "math.floordiv", "mod": "math.mod", "floormod": "math.mod",
    "sub": "math.subtract", "mul": "math.multiply", "neg": "math.negative", "matmul": "linalg.matmul",
}  # fmt: skip


class _Node:
    """A node of a graph of TensorFlow with its inputs, of which some are constants."""

    def __init__(self, node: dict[str, Any], inputs: Sequence[Any]) -> None:
        self.inputs = inputs
        self._attributes = node.get("attr") or {}

    def number(self, name: str) -> int:
        """Return a whole number among the attributes, 0 where there is none."""
        return int(self._attributes.get(name, {}).get("i", 0))

    def flag(self, name: str) -> bool:
        """Whether an attribute is set."""
        return bool(self._attributes.get(name, {}).get("b", False))

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return a list among the attributes."""
        return tuple(int(entry) for entry in self._attributes.get(name, {}).get("list", {}).get("i", []))

    def type(self, name: str) -> str:
        """Return a type among the attributes, as `float32`."""
        word = str(self._attributes.get(name, {}).get("type", "DT_FLOAT"))
        return {"DT_FLOAT": "float32", "DT_HALF": "float16"}.get(word, word.removeprefix("DT_").lower())


def _with_constants(values: list[Any], config: dict[str, Any]) -> list[Any]:
    """Put the constants of a node, by their places as words, between its tensors."""
    inputs = list(keras.tree.flatten(values))
    for place, value in sorted((config.get("constants") or {}).items(), key=lambda item: int(item[0])):
        inputs.insert(int(place), np.asarray(value, np.float32) if _has_fractions(value) else value)
    return inputs


def _has_fractions(value: Any) -> bool:
    return any(isinstance(entry, float) for entry in keras.tree.flatten(value))


def _node_slice(node: _Node) -> Any:
    x, begin, end, step = node.inputs
    masks = {name: node.number(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    entries: list[Any] = []
    for place in range(len(begin)):
        if masks["ellipsis"] >> place & 1:
            entries.append(Ellipsis)
        elif masks["new_axis"] >> place & 1:
            entries.append(None)
        elif masks["shrink_axis"] >> place & 1:
            entries.append(int(begin[place]))
        else:
            start = None if masks["begin"] >> place & 1 else int(begin[place])
            stop = None if masks["end"] >> place & 1 else int(end[place])
            entries.append(slice(start, stop, int(step[place])))
    return x[tuple(entries)]


def _node_of_two(of: Callable[[Any, Any], Any]) -> Callable[[_Node], Any]:
    return lambda node: of(_as_other(node.inputs[0], node.inputs[1]), _as_other(node.inputs[1], node.inputs[0]))


def _node_of_one(of: Callable[[Any], Any]) -> Callable[[_Node], Any]:
    return lambda node: of(node.inputs[0])


def _node_reducing(of: Callable[..., Any]) -> Callable[[_Node], Any]:
    return lambda node: of(node.inputs[0], axis=_axes(node.inputs[1]), keepdims=node.flag("keep_dims"))


_NODES_OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "Add": ops.add, "AddV2": ops.add, "BiasAdd": ops.add, "Sub": ops.subtract, "Mul": ops.multiply,
    "RealDiv": ops.true_divide, "Maximum": ops.maximum, "Minimum": ops.minimum, "Pow": ops.power,
}  # fmt: skip
_NODES_OF_ONE: dict[str, Callable[[Any], Any]] = {
    "Neg": ops.negative, "Abs": ops.abs, "Square": ops.square, "Sqrt": ops.sqrt, "Rsqrt": ops.rsqrt, "Exp": ops.exp,
    "Log": ops.log, "Tanh": ops.tanh, "Sigmoid": ops.sigmoid, "Softplus": ops.softplus, "Relu": ops.relu,
    "Relu6": ops.relu6, "Elu": ops.elu, "Selu": ops.selu, "Softmax": ops.softmax, "Identity": lambda x: x,
}  # fmt: skip
_NODES: dict[str, Callable[[_Node], Any]] = {
    **{name: _node_of_two(of) for name, of in _NODES_OF_TWO.items()},
    **{name: _node_of_one(of) for name, of in _NODES_OF_ONE.items()},
    **{name: _node_reducing(of) for name, of in
       {"Mean": ops.mean, "Sum": ops.sum, "Max": ops.max, "Min": ops.min, "Prod": ops.prod}.items()},
    "Cast": lambda node: ops.cast(node.inputs[0], node.type("DstT")),
    "Reshape": lambda node: ops.reshape(node.inputs[0], tuple(int(side) for side in node.inputs[1])),
    "Transpose": lambda node: ops.transpose(node.inputs[0], tuple(int(axis) for axis in node.inputs[1])),
    "ExpandDims": lambda node: ops.expand_dims(node.inputs[0], int(node.inputs[1])),
    "Squeeze": lambda node: ops.squeeze(node.inputs[0], node.numbers("squeeze_dims") or None),
    "ConcatV2": lambda node: ops.concatenate(list(node.inputs[:-1]), axis=int(node.inputs[-1])),
    "ReverseV2": lambda node: ops.flip(node.inputs[0], axis=_axes(node.inputs[1])),
    "StridedSlice": _node_slice,
}  # fmt: skip
