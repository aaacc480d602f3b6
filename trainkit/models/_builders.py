"""The networks that trainkit builds, by name.

To add one, write a function `build_<name>(input_shape, class_count, *, multi_label, **settings) -> keras.Model` in a
module of its own and give it an entry in `BUILDERS`. A network of `keras.applications` needs no more than a line in
`_backbones.BACKBONES`. Keras is imported inside the functions, so that reading this table costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from trainkit.models._backbones import BACKBONES, build_backbone
from trainkit.models._fashion_mnist import build_fashion_mnist
from trainkit.models._small_cnn import build_small_cnn
from trainkit.models._small_resnet import build_small_resnet
from trainkit.preprocessing import Color


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """A network, and what is right for it unless the user says otherwise."""

    build: Callable[..., Any]
    preprocessing: str
    size: tuple[int, int] | None = None  # width, height; None: the data's own, else 96x96
    color: Color | None = None  # None: the data's own, else rgb
    settings: dict[str, int | float | str] = field(default_factory=dict)  # what `model.<key>` may set
    pretrained: bool = False  # whether there are ImageNet weights for it
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.001
    about: str = ""  # what it is, in a few words, for the manual


BUILDERS = {
    "small-cnn": Builder(
        build=build_small_cnn,
        preprocessing="unit",
        settings={"blocks": 0, "filters": 32, "dropout": 0.25, "weights": "none"},
        epochs=20,
        batch_size=32,
        about="convolution and pooling",
    ),
    "small-resnet": Builder(
        build=build_small_resnet,
        preprocessing="unit",
        settings={"width": 32, "blocks": 1, "first_blocks": 0, "dropout": 0.0, "weights": "none"},
        about="residual, three stages",
    ),
    "fashion-mnist": Builder(
        build=build_fashion_mnist,
        preprocessing="unit",
        settings={"weights": "none"},
        about="convolution, pooling, dense 100",
    ),
    **{
        name: Builder(
            build=partial(build_backbone, name),
            preprocessing=backbone.preprocessing,
            size=(backbone.size, backbone.size),
            color=backbone.color,
            pretrained=True,
            settings=backbone.settings,
            batch_size=backbone.batch_size,
            about=backbone.application,
        )
        for name, backbone in BACKBONES.items()
    },
}
