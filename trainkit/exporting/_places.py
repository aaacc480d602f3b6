"""Which layer of a model an operation is, so that a refusal can name it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx

from trainkit.exporting._graph import plain_name


@dataclass(frozen=True, slots=True)
class Places:
    """Where the operations of a converted graph stand in the model."""

    layers: list[Any]  # of the Keras model, in order
    nodes: dict[str, onnx.NodeProto]  # by what they make

    def find(self, node: onnx.NodeProto) -> str:
        """Say of which layer an operation is and where that stands; one without a name stands between two layers."""
        if layer := self._layer_of(node):
            return f"The layer {layer}"
        before, after = self._nearest(node, self._before), self._nearest(node, self._after)
        if before == after:
            return f"The layer {before}" if before else "The model"
        if before and after:
            return f"What stands in or between the layers {before} and {after}"
        return f"What stands in or {'behind' if before else 'before'} the layer {before or after}"

    def _layer_of(self, node: onnx.NodeProto) -> str:
        """Return `name` (place of count) of a layer, with the models that it is in; empty where the name tells none."""
        found, layers = "", self.layers
        _, *scopes = node.name.split("/")  # behind the model's own
        for part in scopes:  # a layer's name, mostly with a number of TensorFlow's behind
            names = [plain_name(layer.name) for layer in layers]
            name = next((name for name in (re.sub(r"_\d+$", "", part), part) if name in names), None)
            if name is not None:
                place = names.index(name)
                found = f"`{layers[place].name}` ({place + 1} of {len(names)})" + (f" of {found}" if found else "")
                layers = getattr(layers[place], "layers", [])
        return found

    def _nearest(self, node: onnx.NodeProto, follow: Callable[[onnx.NodeProto], onnx.NodeProto | None]) -> str:
        following = follow(node)
        while following is not None and not self._layer_of(following):
            following = follow(following)
        return self._layer_of(following) if following is not None else ""

    def _before(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        return next((self.nodes[name] for name in node.input if name in self.nodes), None)

    def _after(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        readers = (other for other in self.nodes.values() if set(node.output) & set(other.input))
        return next((other for other in readers if other.op_type != "Shape"), None)
