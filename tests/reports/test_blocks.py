"""Layers folded to the blocks of a network."""

from __future__ import annotations

from pathlib import Path

import pytest

import trainkit
from trainkit.models._summary import LayerShape
from trainkit.reports._blocks import fold


def layer(name: str, kind: str, shape: tuple[int | None, ...], parameters: int = 0) -> LayerShape:
    return LayerShape(
        name=name,
        kind=kind,
        output_shape=shape,
        parameters=parameters,
        multiply_adds=None if kind == "Lambda" else 10 * parameters,
        receptive_field=None,
    )


@pytest.mark.parametrize(
    ("model", "names", "layers"),
    [
        ("small-cnn", None, [3, 2, 2, 3]),
        ("vgg16", ["input", "block1", "block2", "block3", "block4", "block5", None], [1, 3, 3, 4, 4, 4, 4]),
        ("mobilenet", [None, *(f"conv_{number}" for number in range(1, 14)), None], None),
    ],
)
def test_blocks_are_those_of_the_network(model: str, names: list[str | None] | None, layers: list[int] | None) -> None:
    shapes = trainkit.shapes(model)
    blocks = fold(shapes.layers)
    assert [one for block in blocks for one in block.layers] == shapes.layers, "all of them, in their order"
    assert sum(block.parameters for block in blocks) == shapes.parameters
    assert sum(block.multiply_adds or 0 for block in blocks) == shapes.multiply_adds
    if layers:
        assert [len(block.layers) for block in blocks] == layers
    for block, name in zip(blocks, names or [None] * len(blocks), strict=True):
        assert block.name == (name or f"{block.layers[0].name} … {block.layers[-1].name}")


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("block2a_se_reduce", "block2a"),
        ("conv4_block6_2_conv", "conv4_block6"),
        ("backbone/block_12_project_BN", "backbone/block_12"),
        ("expanded_conv_depthwise", "expanded_conv"),
        ("expanded_conv_10_add", "expanded_conv_10"),
        ("convnext_tiny_stage_0_block_2_identity", "convnext_tiny_stage_0_block_2"),
        ("conv_dw_3_relu", "conv_3"),
        ("conv_preds", "conv_preds"),
        ("my block", "my block"),
    ],
)
def test_names_tell_the_block(name: str, block: str) -> None:
    assert [found.name for found in fold([layer(name, "Conv2D", (8, 8, 4), 1)])] == [block]


def test_what_has_no_weights_belongs_to_its_neighbours() -> None:
    rows = [
        layer("block1_conv", "Conv2D", (8, 8, 4), 10),
        layer("relu", "ReLU", (8, 8, 4)),  # goes on: the block does
        layer("block1_conv2", "Conv2D", (8, 8, 4), 10),
        layer("add", "Add", (8, 8, 4)),
        layer("top", "Conv2D", (8, 8, 9), 10),  # has weights, and the block is over
        layer("pad", "ZeroPadding2D", (9, 9, 9)),
        layer("down", "Conv2D", (4, 4, 9), 10),
        layer("pool", "MaxPooling2D", (2, 2, 9)),
        layer("mean", "GlobalAveragePooling2D", (9,)),
        layer("strange", "Lambda", (9,)),
    ]
    blocks = fold(rows)
    assert [len(block.layers) for block in blocks] == [4, 1, 3, 2]
    assert [block.name for block in blocks] == ["block1", "top", "pad … pool", "mean … strange"]
    assert blocks[0].kinds == "2 Conv2D, ReLU …"
    assert [block.multiply_adds for block in blocks] == [200, 100, 100, 0]
    assert fold(rows[-1:])[0].multiply_adds is None


def test_no_layers_are_no_blocks(tmp_path: Path) -> None:
    assert fold([]) == []
