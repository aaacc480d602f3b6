"""A model of Keras 2, built again by calling its layers one after the other as its config says.

Keras 2 counts the calls of a layer from 0, and those of a nested model from 1, because the model's own call was the
first; Sequentials without an input begin at 0 in some versions. Every call is part of the model, so the lowest number
that is mentioned is the first one.
"""

from __future__ import annotations

import inspect
import itertools
import platform
from collections.abc import Iterator
from typing import Any

from trainkit.backend import keras
from trainkit.errors import ModelError
from trainkit.models._keras2._operations import OPERATIONS, call_operation
from trainkit.models._keras2._parts import Part, check_training
from trainkit.models._keras2._words import MODELS

_CONSTANT = "_CONSTANT_VALUE"
_MERGES = (  # which take a list, of one tensor too
    *(keras.layers.Add, keras.layers.Subtract, keras.layers.Multiply, keras.layers.Average, keras.layers.Maximum),
    *(keras.layers.Minimum, keras.layers.Concatenate, keras.layers.Dot),
)
_OF_LAMBDAS = ("module", "function_type", "output_shape_type", "output_shape_module")


@keras.saving.register_keras_serializable("trainkit")  # type: ignore[untyped-decorator]
def hard_sigmoid_of_keras_2(x: Any) -> Any:
    """Return 0.2 x + 0.5, between 0 and 1; Keras 3's is x / 6 + 0.5."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def build_part(data: dict[str, Any], *, unsafe: bool) -> Part:
    """Build a layer or a model, with all that is in it.

    Args:
        data: `{"class_name", "config"}` in Keras 3's words, looked at before.
        unsafe: build Lambdas and classes that the caller has registered.

    Raises:
        ModelError: its layers do not follow from each other.
    """
    kind, config = data["class_name"], data["config"]
    name = str(data.get("name") or config.get("name") or kind)
    trainable = config.get("trainable") is not False
    if kind in MODELS:
        build = _build_sequential if kind == "Sequential" else _build_functional
        model, parts = build(config, unsafe)
        if not trainable:
            model.trainable = False
        return Part(name, data.get("keras_2_class", kind), model, trainable, parts)
    layer = None if kind in ("InputLayer", *OPERATIONS) else _build_layer(data, unsafe)
    return Part(name, data.get("keras_2_class", kind), layer, trainable)


def _build_layer(data: dict[str, Any], unsafe: bool) -> Any:
    config = {key: value for key, value in data["config"].items() if key != "batch_input_shape"}
    if "name" in config:
        config["name"] = _name(config["name"])
    whole = {"class_name": data["class_name"], "config": config, "registered_name": None}
    whole["module"] = data.get("module") or "keras.layers"
    inner = config.get("layer")
    if isinstance(inner, dict) and inner.get("class_name") in MODELS:  # which TimeDistributed calls at each step
        rest = {key: value for key, value in config.items() if key != "layer"}
        layer = getattr(keras.layers, data["class_name"])(build_part(inner, unsafe=unsafe).layer, **rest)
    elif data["class_name"] == "Lambda":
        layer = _build_lambda(whole, unsafe)
    else:
        if not (whole["module"].startswith("keras.") and _is_of_keras(data)):
            whole.update(module=None, registered_name=_registered(data))
        layer = keras.saving.deserialize_keras_object(whole, safe_mode=not unsafe)
    for inner in layer._flatten_layers():  # the cells of an RNN among them
        for name in ("activation", "recurrent_activation"):
            if vars(inner).get(name) is keras.activations.hard_sigmoid:
                setattr(inner, name, hard_sigmoid_of_keras_2)
    return layer


def _is_of_keras(data: dict[str, Any]) -> bool:
    applications = str(data.get("module")).startswith("keras.src.applications.")
    return applications or (hasattr(keras.layers, data["class_name"]) and ">" not in str(data.get("registered_name")))


def _registered(data: dict[str, Any]) -> str:
    """Return the name by which the caller has registered a class; Keras 2 wrote it mostly without its package."""
    wanted = str(data.get("registered_name") or data["class_name"])
    same = (name for name in keras.saving.get_custom_objects() if name.rpartition(">")[2] == wanted)
    return next(same, wanted)


def _build_lambda(data: dict[str, Any], unsafe: bool) -> Any:
    """Build a Lambda, whose function Keras 2 wrote as [code, defaults, closure] or by its name."""
    config = {key: value for key, value in data["config"].items() if key not in _OF_LAMBDAS}
    function = config["function"]
    if isinstance(function, list):
        parts = dict(zip(("code", "defaults", "closure"), function, strict=False))
        config["function"] = {"class_name": "__lambda__", "config": parts}
    elif isinstance(function, str):
        name = _registered({"class_name": function})
        config["function"] = {"class_name": "function", "module": "builtins", "config": name, "registered_name": name}
    try:
        return keras.saving.deserialize_keras_object({**data, "config": config}, safe_mode=not unsafe)
    except (ValueError, EOFError, TypeError) as error:
        if "marshal" not in str(error) and not isinstance(error, EOFError):
            raise
        version = ".".join(platform.python_version_tuple()[:2])
        raise ModelError(
            f"The Lambda layer `{config.get('name')}` holds the code of another Python, which Python {version} cannot "
            "run. Write the function with layers of Keras (Rescaling, Activation) where the model was made, and save "
            "it again there."
        ) from error


def _name(name: Any) -> str:
    """Return a name without slashes, which Keras 3 does not take."""
    return str(name).replace("/", "_")


def _with_names_apart(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the layers of a model with names that stay different without slashes: `a/b` beside `a_b`."""
    used: set[str] = set()
    plain = {str(data["config"].get("name")) for data in layers if isinstance(data["config"], dict)}
    changed = []
    for data in layers:
        name = data["config"].get("name") if isinstance(data["config"], dict) else None
        if name is not None:
            free = _name(name)
            numbers = itertools.count(1)
            while free in used or (free != name and free in plain):
                free = f"{_name(name)}_{next(numbers)}"
            used.add(free)
            data = {**data, "name": data.get("name") or name, "config": {**data["config"], "name": free}}
        changed.append(data)
    return changed


def _build_sequential(config: dict[str, Any], unsafe: bool) -> tuple[Any, list[Part]]:
    parts = [build_part(data, unsafe=unsafe) for data in _with_names_apart(config["layers"])]
    layers = [part.layer for part in parts if part.layer is not None]
    first = config["layers"][0]["config"] if config["layers"] else {}
    shape = first.get("batch_input_shape") or config.get("build_input_shape")
    if shape is None and layers and isinstance(layers[0], keras.Model) and layers[0].built:
        shape = layers[0].input_shape
    if shape is not None:
        kind = first.get("dtype") if config["layers"][0]["class_name"] == "InputLayer" else None
        layers.insert(0, keras.Input(batch_shape=tuple(shape), dtype=kind or "float32"))
    return keras.Sequential(layers, name=_name(config.get("name", "sequential"))), parts


def _build_functional(config: dict[str, Any], unsafe: bool) -> tuple[Any, list[Part]]:
    graph = _Graph(config, unsafe)
    graph.call_all()
    inputs = [graph.tensor(*reference) for reference in _references(config["input_layers"])]
    model = keras.Model(_alone(inputs), _outputs(graph, config), name=_name(config.get("name", "model")))
    return model, list(graph.parts.values())


def _outputs(graph: _Graph, config: dict[str, Any]) -> Any:
    """Return what a model gives, by the words of a dictionary where Keras 2 gave one."""
    places = config["output_layers"]
    if isinstance(places, dict) and all(_is_reference(place) for place in places.values()):
        return {key: graph.tensor(*place[:3]) for key, place in places.items()}
    return _alone([graph.tensor(*reference) for reference in _references(places)])


def _alone(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _references(value: Any) -> Iterator[tuple[str, int, int]]:
    """Yield each (layer, call, tensor) in a list of them, in one of them, or in a dictionary, by its sorted words."""
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    if _is_reference(value):
        yield value[0], value[1], value[2]
    elif isinstance(value, list):
        for entry in value:
            yield from _references(entry)


def _is_reference(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and isinstance(value[2], int)
    )


class _Graph:
    """The calls of a Functional model, made as soon as what they take is there."""

    def __init__(self, config: dict[str, Any], unsafe: bool) -> None:
        self._layers = {str(data["name"]): data for data in _with_names_apart(config["layers"])}
        self.parts = {name: build_part(data, unsafe=unsafe) for name, data in self._layers.items()}
        self._outputs: dict[tuple[str, int], list[Any]] = {}
        for name, data in self._layers.items():
            if data["class_name"] == "InputLayer":
                self._outputs[name, 0] = [_input(name, data["config"])]
        self._first = self._first_calls(config)

    def _first_calls(self, config: dict[str, Any]) -> dict[str, int]:
        mentioned: dict[str, int] = {}
        nodes = [data.get("inbound_nodes", []) for data in config["layers"]]
        for name, call, _ in self._mentioned([nodes, config["output_layers"]]):
            mentioned[name] = min(call, mentioned.get(name, call))
        return mentioned

    def _mentioned(self, value: Any) -> Iterator[tuple[str, int, int]]:
        if _is_reference(value) and value[0] in self._layers:
            yield value[0], value[1], value[2]
            value = value[3:]
        if isinstance(value, list | dict):
            for entry in value.values() if isinstance(value, dict) else value:
                yield from self._mentioned(entry)

    def call_all(self) -> None:
        """Call every layer as often as the config says.

        Raises:
            ModelError: a call waits for what never comes.
        """
        waiting = [
            (name, self._first.get(name, 0) + number, node)
            for name, data in self._layers.items()
            for number, node in enumerate(data.get("inbound_nodes", []))
            if data["class_name"] != "InputLayer"
        ]
        while waiting:
            left = [entry for entry in waiting if not self._call(*entry)]
            if len(left) == len(waiting):
                names = ", ".join(f"`{name}`" for name, _, _ in left)
                raise ModelError(f"The calls of the layers {names:.200} wait for each other: the file is damaged.")
            waiting = left

    def _call(self, name: str, number: int, node: Any) -> bool:
        """Make a call, where all that it takes is there."""
        if any((other, call) not in self._outputs for other, call, _ in self._mentioned(node)):
            return False
        entries = list(_entries(node))
        values = [self._value(entry) for entry in entries]
        named: dict[str, Any] = {}
        for entry in entries:
            named.update(self._resolved(entry[3]) if len(entry) > 3 else {})
        part = self.parts[name]
        layer = part.layer
        if layer is not None:
            check_training(part, named.get("training"))
            taken = values if isinstance(layer, _MERGES) else _alone(values)
            produced = layer(taken, **_known(layer, named))
        else:
            produced = call_operation(self._layers[name], values if _is_entry(node) else [values], named)
            _name_operations(produced, str(self._layers[name]["config"]["name"]))
        self._outputs[name, number] = keras.tree.flatten(produced)
        return True

    def _value(self, entry: list[Any]) -> Any:
        return entry[2] if entry[0] == _CONSTANT else self.tensor(entry[0], entry[1], entry[2])

    def _resolved(self, value: Any) -> Any:
        if _is_reference(value) and value[0] in self._layers:
            return self.tensor(value[0], value[1], value[2])
        if isinstance(value, dict):
            return {key: self._resolved(entry) for key, entry in value.items()}
        return [self._resolved(entry) for entry in value] if isinstance(value, list) else value

    def tensor(self, name: str, call: int, place: int) -> Any:
        """Return what a call gave."""
        if (name, call) not in self._outputs and self._layers.get(name, {}).get("class_name") == "InputLayer":
            call = 0
        return self._outputs[name, call][place]


def _name_operations(tensor: Any, name: str) -> None:
    """Name what `keras.ops` put before a tensor after the layer of Keras 2: names of its own would meet others."""
    numbers = itertools.count()
    waiting = [tensor]
    while waiting:
        operation, call, _ = waiting.pop()._keras_history
        if not isinstance(operation, keras.layers.Layer) and not hasattr(operation, "name_in_keras_2"):
            number = next(numbers)
            operation.name = f"{name}.{number}" if number else name
            operation.name_in_keras_2 = name
            waiting += operation._inbound_nodes[call].arguments.keras_tensors


def _entries(node: Any) -> Iterator[list[Any]]:
    """Yield what a call takes: one tensor, a list, or a dictionary, which Keras sorts by its words."""
    if _is_entry(node):
        yield node
    else:
        for inner in [node[key] for key in sorted(node)] if isinstance(node, dict) else node:
            yield from _entries(inner)


def _is_entry(node: Any) -> bool:
    return isinstance(node, list) and bool(node) and isinstance(node[0], str)


def _known(layer: Any, named: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a layer of Keras 3 takes no more, where it was not set, and a training that changes nothing."""
    takes = inspect.signature(layer.call).parameters
    if named.get("training"):
        named = {key: value for key, value in named.items() if key != "training"}
    return {key: value for key, value in named.items() if key in takes or value not in (None, False)}


def _input(name: str, config: dict[str, Any]) -> Any:
    shape = config.get("batch_input_shape") or config["batch_shape"]
    return keras.Input(batch_shape=tuple(shape), dtype=config.get("dtype") or "float32", name=_name(name))
