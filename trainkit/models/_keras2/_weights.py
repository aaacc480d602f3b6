"""The weights of a file of Keras 2, given to the layers that Keras 3 built for it.

An `.h5` has a group for each layer of the outer model, with the weights in Keras 2's order: of a nested model first
all trainable ones, then the others. A `.keras` has a group for each layer, by its class and number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from trainkit.backend import keras
from trainkit.errors import ModelError
from trainkit.models._keras2._parts import Part

Named = list[tuple[str, Any]]
# Of a random layer, and of a batch renormalisation in a training: in no answer.
_NOT_WEIGHTS = re.compile(r"(.*/)?(StateVar|rng_state|seed_generator_state|renorm_\w+|moving_stddev)(_\d+)?(:0)?")


def assign_hdf5(model: Part, group: Any) -> None:
    """Give every layer what an `.h5` of Keras 2 has for it.

    Args:
        model: as it was built.
        group: `model_weights`.

    Raises:
        ModelError: the file has other weights than the layers of its config.
    """
    for part in model.parts:
        stored = _stored(group, part.name)
        wanted = _in_order_of_keras_2(part)
        if stored or wanted:
            _assign(part, stored, wanted)
    for layer in _leaves(model):
        if hasattr(layer, "finalize_state") and layer.weights:
            layer.finalize_state()


def _stored(group: Any, name: str) -> Named:
    if name not in group:
        return []
    names = _attribute(group[name], "weight_names")
    return [(entry, group[name][entry]) for entry in names if not _NOT_WEIGHTS.fullmatch(entry)]


def _attribute(group: Any, name: str) -> list[str]:
    """Return a list of names, which Keras 2 cuts into several attributes where it is long."""
    numbered = (f"{name}{number}" for number in range(len(group.attrs)))
    found = [name] if name in group.attrs else [key for key in numbered if key in group.attrs]
    return [
        entry if isinstance(entry, str) else bytes(entry).decode("utf-8") for key in found for entry in group.attrs[key]
    ]


def _assign(part: Part, stored: Named, wanted: Named) -> None:
    """Assign by names where these are clear, and by order what is left."""
    if len(stored) != len(wanted):
        raise ModelError(
            f"The layer `{part.name}` ({part.kind}) takes {len(wanted)} weights, and the file has {len(stored)} for "
            "it: it is damaged, or no file of Keras."
        )
    values = dict(_unique(stored))
    variables = dict(_unique(wanted))
    clear = [name for name in variables if name in values]
    for name in clear:
        _set(name, variables[name], values[name])
    left = [value for name, value in stored if _tail(name) not in clear]
    for (name, variable), value in zip([w for w in wanted if _tail(w[0]) not in clear], left, strict=True):
        _set(name, variable, value)


def _unique(named: Named) -> Iterator[tuple[str, Any]]:
    tails = Counter(_tail(name) for name, _ in named)
    for name, value in named:
        if tails[_tail(name)] == 1:
            yield _tail(name), value


def _tail(name: str) -> str:
    """Return `layer/variable` of `model/layer/variable:0`, in Keras 3's words."""
    layer, variable = name.split("/")[-2:] if "/" in name else ("", name)
    variable = variable.split(":")[0]
    return f"{layer}/{'kernel' if variable == 'depthwise_kernel' else variable}"


def _set(name: str, variable: Any, value: Any) -> None:
    if tuple(value.shape) != tuple(variable.shape):
        raise ValueError(f"the weight {name} has the shape {tuple(value.shape)}, expected {tuple(variable.shape)}")
    variable.assign(np.asarray(value))


def _in_order_of_keras_2(part: Part) -> Named:
    return [*_trainable(part), *_others(part)]


def _trainable(part: Part) -> Named:
    if not part.trainable or part.layer is None:
        return []
    if part.parts:
        return [entry for inner in _once(part.parts) for entry in _trainable(inner)]
    return _named(part.layer, part.layer.trainable_weights)


def _others(part: Part) -> Named:
    if part.layer is None:
        return []
    if part.parts:
        each = _others if part.trainable else _in_order_of_keras_2
        return [entry for inner in _once(part.parts) for entry in each(inner)]
    return _named(part.layer, part.layer.non_trainable_weights if part.trainable else part.layer.weights)


def _once(parts: list[Part]) -> list[Part]:
    return [part for part in parts if part.layer is not None]


def _named(layer: Any, variables: list[Any]) -> Named:
    return [("/".join([layer.name, *variable.path.split("/")])[-1000:], variable) for variable in variables]


def _leaves(part: Part) -> Iterator[Any]:
    if part.parts:
        for inner in part.parts:
            yield from _leaves(inner)
    elif part.layer is not None:
        yield part.layer


def assign_archive(model: Part, group: Any) -> None:
    """Give every layer what the `model.weights.h5` of a `.keras` of Keras 2 has for it.

    Raises:
        ModelError: the file has other weights than the layers of its config.
    """
    place = group.get("_layer_checkpoint_dependencies", group.get("layers", {}))  # the former up to 2.14
    named = _group_names(model.parts, twice=False)
    if not all(_has_data(place.get(name)) for name, part in named.items() if _has_weights(part)):
        named = _group_names(model.parts, twice=True)
    for name, part in named.items():
        if part.parts:
            assign_archive(part, place.get(name, {}))
        elif _has_weights(part):
            _assign_layer(part, part.layer, place.get(name))


def _group_names(parts: list[Part], *, twice: bool) -> dict[str, Part]:
    """Name the groups of layers: by their class, numbered; up to 2.13, layers with weights were counted twice."""
    used: Counter[str] = Counter()
    named = {}
    for part in parts:
        kind = _snake_case(part.kind)
        named[f"{kind}_{used[kind]}" if used[kind] else kind] = part
        used[kind] += 2 if twice and _has_weights(part) else 1
    return named


def _has_weights(part: Part) -> bool:
    return part.layer is not None and bool(part.layer.weights)


def _has_data(group: Any) -> bool:
    """Whether there is any weight in a group of a file, at any depth."""
    if not isinstance(group, h5py.Group):
        return isinstance(group, h5py.Dataset)
    return any(_has_data(group[name]) for name in group)


def _assign_layer(part: Part, layer: Any, group: Any) -> None:
    found = _load(layer, group) if isinstance(group, h5py.Group) else 0
    if found != len(layer.weights):
        raise ModelError(
            f"The layer `{part.name}` ({part.kind}) takes {len(layer.weights)} weights, and the file has {found} for "
            "it: it is damaged, or no file of Keras."
        )


def _load(layer: Any, group: Any) -> int:
    """Load what a layer has by itself, and what the layers in it have; return how many weights."""
    own = group.get("vars", {})
    if isinstance(layer, keras.layers.BatchNormalization):  # what only a renormalisation has comes behind
        own = {key: own[key] for key in map(str, range(len(layer.weights))) if key in own}
    if own:
        layer.load_own_variables(own)
    found = len(own)
    for name in group:
        inner = getattr(layer, name, None)
        if isinstance(inner, list):  # the cells of an RNN, by their class and number as layers are
            parts = [Part(one.name, type(one).__name__, one) for one in inner]
            found += sum(_load(part.layer, group[name][key]) for key, part in _group_names(parts, twice=False).items())
        elif name != "vars" and isinstance(inner, keras.layers.Layer):
            found += _load(inner, group[name])
    return found


def _snake_case(name: str) -> str:
    """Return a class's name as Keras writes it into a file: conv2d, global_average_pooling2d."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
