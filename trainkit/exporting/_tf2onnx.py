"""What tf2onnx is told of operations that it does not know, or converts into what no OpenCV reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trainkit.exporting._graph import factor_of


def _combined_with_one(function: str, combine: str, *, inside: bool = False) -> Callable[..., None]:
    """Return what tells tf2onnx that an operation it does not know is a known one and a one: 1 - erf(x), say."""

    def convert(context: Any, node: Any, name: str, arguments: Any) -> None:
        source, target = node.input[0], node.output[0]
        shape, dtype = context.get_shape(target), context.get_dtype(target)
        context.remove_node(node.name)
        one = context.make_const(f"{name}_one", np.array(1.0, np.float32)).output[0]
        last = {"outputs": [target], "name": name, "shapes": [shape], "dtypes": [dtype]}
        if inside:
            context.make_node(function, [context.make_node(combine, [source, one]).output[0]], **last)
        else:
            inner = context.make_node(function, [source]).output[0]
            context.make_node(combine, [one, inner] if function == "Erf" else [inner, one], **last)

    return convert


def _convert_reverse(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Tell tf2onnx that a picture turned round is a slice that runs backwards."""
    source, target = node.input[0], node.output[0]
    shape, dtype = context.get_shape(target), context.get_dtype(target)
    axes = [int(axis) % len(shape) for axis in node.inputs[1].get_tensor_value(as_list=False).reshape(-1)]
    context.remove_node(node.name)
    bounds = [
        context.make_const(f"{name}_{what}", np.array(values, np.int64)).output[0]
        for what, values in (
            ("starts", [-1] * len(axes)),
            ("ends", [np.iinfo(np.int64).min] * len(axes)),
            ("axes", axes),
            ("steps", [-1] * len(axes)),
        )
    ]
    context.make_node("Slice", [source, *bounds], outputs=[target], name=name, shapes=[shape], dtypes=[dtype])


def _convert_resize(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Tell tf2onnx how large a resized image is: the factors that it computes itself may end a pixel short."""
    source, target = node.input[0], node.output[0]
    before, after, dtype = context.get_shape(source), context.get_shape(target), context.get_dtype(target)
    linear, centers = node.type == "ResizeBilinear", node.get_attr_value("half_pixel_centers")
    corners = node.get_attr_value("align_corners")
    context.remove_node(node.name)
    image = context.make_node("Transpose", [source], attr={"perm": [0, 3, 1, 2]}).output[0]
    factors = [1.0, 1.0, *(factor_of(old, new) for old, new in zip(before[1:3], after[1:3], strict=True))]
    constants = [
        context.make_const(f"{name}_{what}", np.array(value, np.float32)).output[0]
        for what, value in (("region", []), ("factors", factors))
    ]
    resized = context.make_node(
        "Resize",
        [image, *constants],
        attr={
            "mode": "linear" if linear else "nearest",
            "coordinate_transformation_mode": "half_pixel" if centers else "align_corners" if corners else "asymmetric",
            "nearest_mode": "round_prefer_ceil" if centers else "floor",
        },
    ).output[0]
    context.make_node(
        "Transpose", [resized], attr={"perm": [0, 2, 3, 1]}, outputs=[target], name=name, shapes=[after], dtypes=[dtype]
    )


CONVERSIONS = {
    "ReverseV2": _convert_reverse,
    "ResizeBilinear": _convert_resize,
    "ResizeNearestNeighbor": _convert_resize,
    "Erfc": _combined_with_one("Erf", "Sub"),  # of GELU
    "Expm1": _combined_with_one("Exp", "Sub"),
    "Log1p": _combined_with_one("Log", "Add", inside=True),
}
