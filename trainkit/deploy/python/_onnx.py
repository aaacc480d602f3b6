"""An ONNX file, read as far as it takes to judge it; weights are looked at, not copied."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Sequence

import numpy as np

from trainkit.deploy.python._protobuf import (
    Fields,
    count_varints,
    fields_of,
    merged,
    messages_in,
    text_in,
    wholes_in,
)

MAX_NODES = 100_000
MAX_SUBGRAPHS_DEEP = 24  # protobuf itself ends at 100 messages in each other, of which a subgraph takes three

# Of what `data_type` counts: the bytes of a number in `raw_data`, and the field of those that are written one by one.
_TENSOR_KINDS = {
    **{1: (4, 4), 2: (1, 5), 3: (1, 5), 4: (2, 5), 5: (2, 5), 6: (4, 5), 7: (8, 7), 9: (1, 5), 10: (2, 5)},
    **{11: (8, 10), 12: (4, 11), 13: (8, 11), 16: (2, 5), 17: (1, 5), 18: (1, 5), 19: (1, 5), 20: (1, 5)},
}
_TYPED_BYTES = {4: 4, 10: 8}  # of numbers that are no varints
_NUMPY_KINDS = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "u1", 11: "<f8"}


class OnnxTensor(NamedTuple):
    """A constant.

    Attributes:
        name: as nodes know it.
        sides: its shape as it is declared.
        kind: TensorProto.DataType.
        stored: how many numbers lie there, -1 where that cannot be said.
        external: whether they are said to lie in another file.
        fields: all of it.
    """

    name: str
    sides: List[int]
    kind: int
    stored: int
    external: bool
    fields: Fields

    def wanted(self) -> int:
        """Return how many numbers its shape asks for, 2**62 for what is beyond."""
        if 0 in self.sides:
            return 0
        count = 1
        for side in self.sides:
            count = min(count * side, 2**62)
        return count

    def values(self, most: int = 4096) -> np.ndarray | None:
        """Return its numbers, in one row, where they are at most so many and of a usual kind."""
        if self.kind not in _NUMPY_KINDS or not 0 <= self.stored <= most or self.external:
            return None
        raw, kind = messages_in(self.fields, 9), np.dtype(_NUMPY_KINDS[self.kind])
        field = _TENSOR_KINDS[self.kind][1]
        if raw and len(raw[-1]):
            return np.frombuffer(raw[-1], kind, len(raw[-1]) // kind.itemsize)
        if field in _TYPED_BYTES:
            packed = merged(self.fields, field)
            return np.frombuffer(packed, kind, len(packed) // kind.itemsize)
        return np.array(wholes_in(self.fields, field), np.int64)


class OnnxAttribute(NamedTuple):
    """An attribute of a node: all that it holds, whatever type it says that it has."""

    wholes: List[int]
    floats: np.ndarray
    text: str
    tensors: List[OnnxTensor]
    graphs: List["OnnxGraph"]
    twice: bool


class OnnxNode(NamedTuple):
    """A node; an input or output that is left out has the name ''."""

    op: str
    name: str
    inputs: List[str]
    outputs: List[str]
    attributes: Dict[str, OnnxAttribute]
    domain: str

    def wholes(self, name: str) -> List[int] | None:
        """Return the whole numbers of an attribute, None where there is no such."""
        return self.attributes[name].wholes if name in self.attributes else None


class OnnxInput(NamedTuple):
    """What is fed, with the sides that are declared: -1 for one that may change, None where there are none."""

    name: str
    sides: List[int] | None


class OnnxGraph(NamedTuple):
    """Nodes in their order, constants, and what comes in and goes out."""

    nodes: List[OnnxNode]
    constants: List[OnnxTensor]
    inputs: List[OnnxInput]
    outputs: List[str]


class OnnxModel(NamedTuple):
    """A file: its main graph, and all others that are not within that one: functions, training."""

    graph: OnnxGraph
    others: List[OnnxGraph]
    producer: str


def read_onnx(data: bytes) -> OnnxModel:
    """Read the structure of an ONNX file.

    Raises:
        ValueError: it is no protobuf message, has too many nodes, or graphs too deep in each other.
    """
    fields = fields_of(memoryview(data))
    trainings = [fields_of(one) for one in messages_in(fields, 20)]
    graphs = [merged(training, number) for training in trainings for number in (1, 2)]
    return OnnxModel(
        graph=_graph(merged(fields, 7), 0),
        others=[*map(_function, messages_in(fields, 25)), *(_graph(one, 0) for one in graphs)],
        producer=text_in(fields, 2),
    )


def graphs_in(model: OnnxModel) -> Iterator[OnnxGraph]:
    """Yield every graph of a file, the main one first, subgraphs after what holds them."""
    waiting = [model.graph, *model.others]
    while waiting:
        graph = waiting.pop(0)
        yield graph
        waiting += [one for node in graph.nodes for attribute in node.attributes.values() for one in attribute.graphs]


def _graph(data: Any, depth: int) -> OnnxGraph:
    if depth > MAX_SUBGRAPHS_DEEP:
        raise ValueError(f"its graphs are nested more than {MAX_SUBGRAPHS_DEEP} deep")
    fields = fields_of(data)
    sparse = [tensor for one in messages_in(fields, 15) for tensor in _sparse_tensors(one)]
    return OnnxGraph(
        nodes=_nodes(messages_in(fields, 1), depth),
        constants=[*map(_tensor, messages_in(fields, 5)), *sparse],
        inputs=[_input(one) for one in messages_in(fields, 11)],
        outputs=[text_in(fields_of(one), 1) for one in messages_in(fields, 12)],
    )


def _function(data: Any) -> OnnxGraph:
    fields = fields_of(data)
    defaults = [_attribute(fields_of(one), 0, twice=False) for one in messages_in(fields, 11)]
    node = OnnxNode("", "", [], [], {str(i): one for i, one in enumerate(defaults)}, "")
    return OnnxGraph([*_nodes(messages_in(fields, 7), 0), *([node] if defaults else [])], [], [], [])


def _nodes(found: Sequence[Any], depth: int) -> List[OnnxNode]:
    if len(found) > MAX_NODES:
        raise ValueError(f"it has {len(found)} nodes; no image network has more than {MAX_NODES}")
    return [_node(one, depth) for one in found]


def _node(data: Any, depth: int) -> OnnxNode:
    fields = fields_of(data)
    attributes: Dict[str, OnnxAttribute] = {}
    for one in messages_in(fields, 5):
        parts = fields_of(one)
        name = text_in(parts, 1)
        found = _attribute(parts, depth, twice=name in attributes)
        attributes[name] = _both(attributes[name], found) if name in attributes else found
    return OnnxNode(
        op=text_in(fields, 4),
        name=text_in(fields, 3),
        inputs=_names(messages_in(fields, 1)),
        outputs=_names(messages_in(fields, 2)),
        attributes=attributes,
        domain=text_in(fields, 7),
    )


def _names(found: Sequence[Any]) -> List[str]:
    return [bytes(one).decode("utf-8", "backslashreplace") for one in found]


def _attribute(fields: Fields, depth: int, *, twice: bool) -> OnnxAttribute:
    sparse = [tensor for number in (22, 23) for one in messages_in(fields, number) for tensor in _sparse_tensors(one)]
    one = merged(fields, 5)
    tensors = [*([_tensor(one)] if len(one) else []), *map(_tensor, messages_in(fields, 10)), *sparse]
    one = merged(fields, 6)
    graphs = [*([one] if len(one) else []), *messages_in(fields, 11)]
    floats = b"".join(value for number in (2, 7) for value in messages_in(fields, number))
    return OnnxAttribute(
        wholes=[*wholes_in(fields, 3), *wholes_in(fields, 8)],
        floats=np.frombuffer(floats[: len(floats) // 4 * 4], "<f4"),
        text=text_in(fields, 4),
        tensors=tensors,
        graphs=[_graph(graph, depth + 1) for graph in graphs],
        twice=twice,
    )


def _both(first: OnnxAttribute, second: OnnxAttribute) -> OnnxAttribute:
    """Return what two attributes of one name hold: who reads them may take the one or the other."""
    return OnnxAttribute(
        wholes=first.wholes + second.wholes,
        floats=np.concatenate([first.floats, second.floats]),
        text=second.text,
        tensors=first.tensors + second.tensors,
        graphs=first.graphs + second.graphs,
        twice=True,
    )


def _sparse_tensors(data: Any) -> List[OnnxTensor]:
    fields = fields_of(data)
    return [_tensor(one) for number in (1, 2) for one in messages_in(fields, number)]


def _tensor(data: Any) -> OnnxTensor:
    fields = fields_of(data)
    kind = (wholes_in(fields, 2) or [0])[-1]
    return OnnxTensor(
        name=text_in(fields, 8),
        sides=wholes_in(fields, 1),
        kind=kind,
        stored=_stored(fields, kind),
        external=13 in fields or 1 in fields.get(14, ()),
        fields=fields,
    )


def _stored(fields: Fields, kind: int) -> int:
    """Return how many numbers of a kind are stored; -1 for a kind that is not known, or where it is not even."""
    if kind == 8:
        return len(messages_in(fields, 6))
    if kind not in _TENSOR_KINDS:
        return -1
    size, field = _TENSOR_KINDS[kind]
    raw = messages_in(fields, 9)
    if raw and len(raw[-1]):  # `raw_data` is one value: the last counts
        return len(raw[-1]) // size if len(raw[-1]) % size == 0 else -2
    if field in _TYPED_BYTES:
        return sum(map(len, messages_in(fields, field))) // _TYPED_BYTES[field]
    return sum(1 if isinstance(one, int) else count_varints(one) for one in fields.get(field, ()))


def _input(data: Any) -> OnnxInput:
    fields = fields_of(data)
    tensor = fields_of(merged(fields_of(merged(fields, 2)), 1))
    if 2 not in tensor:
        return OnnxInput(text_in(fields, 1), None)
    return OnnxInput(text_in(fields, 1), [_side(one) for one in messages_in(fields_of(merged(tensor, 2)), 1)])


def _side(data: Any) -> int:
    fields = fields_of(data)
    return (wholes_in(fields, 1) or [-1])[-1]
