"""Layers put together to the blocks that a network is built of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainkit.models._summary import LayerShape, Shape

_MOST_KINDS = 2  # that a block is described by
# As networks of keras.applications call them: conv_dw_3_relu, block2a_se_reduce, conv4_block6_out, expanded_conv_1_add.
_NAMES = (
    re.compile(r"(?P<block>.*?conv)_(?:dw|pw|pad)(?P<number>_\d+)(?:_|$)"),
    re.compile(r"(?P<block>.*?(?:block_?\d+[a-z]?|expanded_conv))(?P<number>(?<=expanded_conv)_\d+)?(?:[_/]|$)"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Layers that follow each other."""

    name: str
    layers: list[LayerShape]

    @property
    def parameters(self) -> int:
        """Of all layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int | None:
        """Of all layers that are known; `None` where none is."""
        known = [layer.multiply_adds for layer in self.layers if layer.multiply_adds is not None]
        return sum(known) if known else None

    @property
    def kinds(self) -> str:
        """The kinds of layers that are in it, those with the most work first, such as `2 Conv2D, ReLU …`."""
        work: Counter[str] = Counter()
        for layer in self.layers:
            work[layer.kind] += (layer.multiply_adds or 0) + layer.parameters
        kinds = [kind for kind, _ in work.most_common(_MOST_KINDS)]
        counts = Counter(layer.kind for layer in self.layers)
        named = ", ".join(kind if counts[kind] == 1 else f"{counts[kind]} {kind}" for kind in kinds)
        return f"{named} …" if len(counts) > _MOST_KINDS else named


def fold(layers: Sequence[LayerShape]) -> list[Block]:
    """Put layers together: by the block that is in their names, or else as long as height and width stay the same.

    Activation and pooling belong to the layers with weights before them, padding to those behind it.
    """
    blocks: list[tuple[str | None, list[LayerShape]]] = []
    for place, layer in enumerate(layers):
        name = _block_of(layer)
        if blocks and _goes_on(*blocks[-1], layer, name, layers[place + 1 :]):
            blocks[-1][1].append(layer)
        else:
            blocks.append((name, [layer]))
    return [Block(name=name or _span(found), layers=found) for name, found in blocks]


def _goes_on(
    current: str | None, so_far: Sequence[LayerShape], layer: LayerShape, name: str | None, later: Sequence[LayerShape]
) -> bool:
    """Whether a layer belongs to a block; `current` and `name` are what block and layer are called, if anything."""
    if name is not None:
        return name == current
    if current is not None:
        following = next((found for one in later if (found := _block_of(one)) is not None), None)
        return following == current or (_sides(so_far[-1]) == _sides(layer) and not _weighs(layer))
    if layer.kind.startswith("ZeroPadding") or bool(_sides(so_far[-1])) != bool(_sides(layer)):
        return False
    before = [one for one in so_far if _weighs(one)]
    return not _weighs(layer) or not before or _sides(before[-1]) == _sides(layer)


def _weighs(layer: LayerShape) -> bool:
    return layer.shared or layer.parameters > 0


def _block_of(layer: LayerShape) -> str | None:
    found = next((match for pattern in _NAMES if (match := pattern.match(layer.name))), None)
    return f"{found['block']}{found['number'] or ''}" if found else None


def _sides(layer: LayerShape) -> Shape:
    """Return height and width of what a layer gives; of a vector, or a single place, nothing."""
    shape = layer.output_shape
    return shape[:2] if len(shape) == 3 and shape[:2] != (1, 1) else ()


def _span(layers: Sequence[LayerShape]) -> str:
    return layers[0].name if len(layers) == 1 else f"{layers[0].name} … {layers[-1].name}"
