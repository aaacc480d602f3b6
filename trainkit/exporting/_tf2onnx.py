"""What tf2onnx is told of operations that it does not know, or converts into what no OpenCV reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trainkit.backend import tf
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


def _convert_roll(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Tell tf2onnx that rolling along a side is two slices, the last part first, at places that are known."""
    source, target = node.input[0], node.output[0]
    shape, dtype = context.get_shape(target), context.get_dtype(target)
    shifts, axes = (node.inputs[place].get_tensor_value(as_list=False).reshape(-1) for place in (1, 2))
    context.remove_node(node.name)
    for number, (shift, axis) in enumerate(zip(shifts, axes, strict=True)):
        side = int(axis) % len(shape)
        cut = -int(shift) % shape[side]
        parts = [
            _slice(context, f"{name}_{number}_{start}", source, [start], [end], [side])
            for start, end in ((cut, shape[side]), (0, cut))
            if start < end
        ]
        source = context.make_node("Concat", parts, attr={"axis": side}, shapes=[shape], dtypes=[dtype]).output[0]
    context.make_node("Identity", [source], outputs=[target], name=name, shapes=[shape], dtypes=[dtype])


def _convert_slice(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Tell tf2onnx that a piece of every image is a slice at places that are known, whatever the batch."""
    source, target = node.input[0], node.output[0]
    before, shape, dtype = context.get_shape(source), context.get_shape(target), context.get_dtype(target)
    starts = node.inputs[1].get_tensor_value(as_list=False).reshape(-1)
    axes = [axis for axis, side in enumerate(shape) if side != -1 and side != before[axis]]
    context.remove_node(node.name)
    last = {"outputs": [target], "shapes": [shape], "dtypes": [dtype]}
    if not axes:
        context.make_node("Identity", [source], name=name, **last)
        return
    ends = [int(starts[axis]) + shape[axis] for axis in axes]
    _slice(context, name, source, [int(starts[axis]) for axis in axes], ends, axes, **last)


def _slice(
    context: Any, name: str, source: str, starts: list[int], ends: list[int], axes: list[int], **options: Any
) -> str:
    bounds = [
        context.make_const(f"{name}_{what}", np.array(values, np.int64)).output[0]
        for what, values in (("starts", starts), ("ends", ends), ("axes", axes))
    ]
    return str(context.make_node("Slice", [source, *bounds], name=name, **options).output[0])


def _convert_to_products(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Tell tf2onnx that a resize which no OpenCV has is two products with constant matrices: of columns, of rows."""
    source, target = node.input[0], node.output[0]
    before, dtype = context.get_shape(source), context.get_dtype(source)
    after = [before[0], *map(int, node.inputs[1].get_tensor_value(as_list=False)), before[3]]
    matrices = [_resizing_matrix(node, side, before[side + 1], after[side + 1]) for side in (0, 1)]
    context.remove_node(node.name)
    for side, order in ((1, [0, 3, 1, 2]), (0, [0, 1, 3, 2])):  # (N, C, rows, columns), then (N, C, columns, rows)
        turned = context.make_node("Transpose", [source], attr={"perm": order}).output[0]
        matrix = context.make_const(f"{name}_{side}", matrices[side].T.copy()).output[0]
        source = context.make_node("MatMul", [turned, matrix]).output[0]
    last = {"outputs": [target], "name": name, "shapes": [after], "dtypes": [dtype]}
    context.make_node("Transpose", [source], attr={"perm": [0, 3, 2, 1]}, **last)


def _resizing_matrix(node: Any, side: int, before: int, after: int) -> np.ndarray:
    """Return (after, before): what TensorFlow's own kernel makes of each row, or column, alone."""
    with tf.Graph().as_default() as graph:  # beside the one that is being converted
        rows = tf.reshape(tf.eye(before), (1, before, 1, before))
        if node.type == "ScaleAndTranslate":
            # `tf.image.resize` divides the sizes in the graph itself, of which only the answer is known here.
            scale = (
                node.inputs[2].get_tensor_value(as_list=False)[side] if node.inputs[2].is_const() else after / before
            )
            translation = node.inputs[3].get_tensor_value(as_list=False)[side]
            resized = tf.raw_ops.ScaleAndTranslate(
                images=rows,
                size=[after, 1],
                scale=[float(scale), 1.0],
                translation=[float(translation), 0.0],
                kernel_type=node.get_attr_str("kernel_type"),
                antialias=bool(node.get_attr_value("antialias", 1)),
            )
        else:
            options = {"align_corners": bool(node.get_attr_value("align_corners", 0))}
            if node.type == "ResizeBicubic":
                options["half_pixel_centers"] = bool(node.get_attr_value("half_pixel_centers", 0))
            resized = getattr(tf.raw_ops, node.type)(images=rows, size=[after, 1], **options)
    with tf.compat.v1.Session(graph=graph) as session:
        return np.asarray(session.run(resized), np.float32)[0, :, 0]


CONVERSIONS = {
    "ReverseV2": _convert_reverse,
    "Roll": _convert_roll,
    "Slice": _convert_slice,
    **dict.fromkeys(("ResizeBicubic", "ResizeArea", "ScaleAndTranslate"), _convert_to_products),
    "ResizeBilinear": _convert_resize,
    "ResizeNearestNeighbor": _convert_resize,
    "Erfc": _combined_with_one("Erf", "Sub"),  # of GELU
    "Expm1": _combined_with_one("Exp", "Sub"),
    "Log1p": _combined_with_one("Log", "Add", inside=True),
}
