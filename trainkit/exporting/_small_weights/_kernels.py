"""A kernel as whole numbers with a scale a channel, and which kernels of a graph can be stored so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainkit.exporting._graph import Graph, Node

LARGEST = {8: 127, 16: 32639}  # the high half of a number of 16 bits must be one of 8 bits, too: 127 * 256 + 127
_OUTPUT_AXIS = {"Conv": 0, "Gemm": 0, "ConvTranspose": 1}


@dataclass(frozen=True, slots=True, eq=False)
class StoredKernel:
    """Whole numbers of 8 or 16 bits that become a kernel when each channel is multiplied by its scale."""

    numbers: np.ndarray  # int8 or int16, in the kernel's own shape
    scale: np.ndarray  # float32 (channels,)
    axis: int  # of the output channels

    @property
    def bits(self) -> int:
        """How many bits a number takes."""
        return self.numbers.dtype.itemsize * 8

    @property
    def is_even(self) -> bool:
        """Whether all channels have one scale."""
        return bool((self.scale == self.scale[0]).all())

    @property
    def restored(self) -> np.ndarray:
        """The kernel as a reader brings it back, float32."""
        whole: np.ndarray = self.numbers.astype(np.float32)
        return np.asarray(whole * along(self.scale, self.numbers.ndim, self.axis))


def along(values: np.ndarray, sides: int, axis: int) -> np.ndarray:
    """Return one value a channel, so shaped that a kernel of so many sides can be multiplied by it."""
    return values.reshape(*(-1 if side == axis else 1 for side in range(sides)))


def kernel_readers(graph: Graph) -> dict[str, list[Node]]:
    """Return the kernels of a graph that can be stored small, in their order, with the operations that read each.

    A transposed convolution in groups is not among them, nor is a kernel that is read in two ways.
    """
    found: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.op in _OUTPUT_AXIS:
            found.setdefault(node.inputs[1], []).append(node)
    return {name: nodes for name, nodes in found.items() if _is_storable(nodes)}


def _is_storable(nodes: list[Node]) -> bool:
    grouped = [node.attributes.get("group", 1) for node in nodes]
    same = len({(node.op, group) for node, group in zip(nodes, grouped, strict=True)}) == 1
    return same and (nodes[0].op != "ConvTranspose" or grouped[0] == 1)


def output_axis(node: Node) -> int:
    """Return along which side of a kernel the output channels are."""
    return _OUTPUT_AXIS[node.op]
