"""An image's way through a network: what each layer gives, its parameters, its work, and how far it sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import prod
from typing import Any

from trainkit._progress import doing
from trainkit.backend import keras
from trainkit.models._calling import calling

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """One call of a layer."""

    name: str  # `backbone/conv1` for a layer of a model in the model
    kind: str  # its class: Conv2D, for one
    output_shape: Shape  # of one image: (height, width, channels) mostly; the first output's, where there are several
    parameters: int  # trainable or not; 0 where a layer is called again, because it shares them
    multiply_adds: int | None  # for one image; None where trainkit does not know the layer's arithmetic
    receptive_field: tuple[int, int] | None  # height, width in pixels of the image; None where it cannot be said
    shared: bool = False  # whether the layer was called before

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)


def trace_shapes(model: Any, *, input_shape: tuple[int, int, int] | None = None) -> list[LayerShape]:
    """Return a row for every call of a layer in a Keras model, in the order in which the image comes by.

    A multiply-add is one multiplication by a weight whose result is added to others: the work of convolutions and
    dense layers. Activations, normalisation, pooling and biases count as none. What is padded counts as if it were
    image, and a transposed convolution spreads each input over its whole kernel, also where the edge cuts it off.

    The receptive field is how many pixels of the image one output depends on (Araujo et al. 2019,
    doi:10.23915/distill.00021), the image's edge left aside: it may be larger than the image. Behind a global pooling
    or a Flatten it is the image.

    Args:
        model: a functional or sequential model; one that is subclassed is a single row.
        input_shape: (height, width, channels), where the model itself leaves its sides open.
    """
    inputs = [keras.KerasTensor((None, *(input_shape or given.shape[1:])), dtype=given.dtype) for given in model.inputs]
    trace = _Trace(inputs)
    followed = f"followed for {tuple(inputs[0].shape[1:])}"
    refused = calling(model, followed, expected="one that takes it", advice="Take the size that it was built for.")
    with doing("Following the shapes through the network"), refused:
        trace.walk(model, inputs, prefix="")
    return trace.rows


def sum_multiply_adds(layers: Sequence[LayerShape]) -> tuple[int, list[str]]:
    """Return the multiply-adds of all layers for one image, and the names of those that could not be counted."""
    known = sum(layer.multiply_adds for layer in layers if layer.multiply_adds is not None)
    return known, [layer.name for layer in layers if layer.multiply_adds is None]


@dataclass(frozen=True, slots=True)
class _Field:
    """How much of the image one value depends on, and how far apart two neighbours are: (height, width) in pixels."""

    size: tuple[int, int]
    step: tuple[int, int] | None  # None: there are no neighbours, the value depends on the whole image


class _Trace:
    """The rows so far, and the field of each tensor that was met."""

    def __init__(self, inputs: list[Any]) -> None:
        self.rows: list[LayerShape] = []
        self._seen: set[int] = set()  # ids of the weights that were counted
        self._fields: dict[int, _Field | None] = {}
        self._tensors: list[Any] = []  # kept, so that an id stays that of one tensor
        image = inputs[0]
        self._image = (image.shape[1], image.shape[2]) if len(image.shape) == 4 else (None, None)
        for tensor in inputs:
            self._keep(tensor, _Field((1, 1), (1, 1)) if len(tensor.shape) == 4 else None)
            self.rows.append(
                LayerShape(
                    name="input",
                    kind="InputLayer",
                    output_shape=tuple(tensor.shape[1:]),
                    parameters=0,
                    multiply_adds=0,
                    receptive_field=self._pixels(self._fields[id(tensor)]),
                )
            )

    def walk(self, model: Any, inputs: Any, *, prefix: str) -> Any:
        """Follow tensors through a model and return what comes out of it."""
        graph = getattr(model, "_functional", None) or model  # of a sequential model
        if not hasattr(graph, "_run_through_graph"):
            return self._observe(model, prefix, *keras.tree.flatten(inputs))
        return graph._run_through_graph(inputs, operation_fn=lambda operation: partial(self._call, operation, prefix))

    def _call(self, operation: Any, prefix: str, *arguments: Any, **named: Any) -> Any:
        if isinstance(operation, keras.Model):
            return self.walk(operation, arguments[0], prefix=f"{prefix}{operation.name}/")
        return self._observe(operation, prefix, *arguments, **named)

    def _observe(self, operation: Any, prefix: str, *arguments: Any, **named: Any) -> Any:
        outputs = operation.compute_output_spec(*arguments, **named)
        given = [value for value in keras.tree.flatten((arguments, named)) if isinstance(value, keras.KerasTensor)]
        produced = keras.tree.flatten(outputs)
        field = self._field(operation, given)
        for tensor in produced:
            self._keep(tensor, field)
        weights = {id(weight): weight for weight in getattr(operation, "weights", [])}
        fresh = {key: weight for key, weight in weights.items() if key not in self._seen}
        self._seen.update(weights)
        self.rows.append(
            LayerShape(
                name=f"{prefix}{operation.name}",
                kind=type(operation).__name__,
                output_shape=tuple(produced[0].shape[1:]),
                parameters=sum(prod(weight.shape) for weight in fresh.values()),
                multiply_adds=_multiply_adds(operation, tuple(given[0].shape[1:]), tuple(produced[0].shape[1:])),
                receptive_field=self._pixels(field),
                shared=bool(weights) and not fresh,
            )
        )
        return outputs

    def _keep(self, tensor: Any, field: _Field | None) -> None:
        self._tensors.append(tensor)
        self._fields[id(tensor)] = field

    def _field(self, operation: Any, given: list[Any]) -> _Field | None:
        before = [self._fields.get(id(tensor)) for tensor in given]
        kind = type(operation).__name__
        if _WHOLE in before or (kind in _OVER_ALL_PIXELS and None not in before):
            return _WHOLE
        known = [field for field in before if field is not None]
        if not known or len(known) < len(before):
            return None
        if isinstance(operation, _WINDOWS):
            return _through_window(operation, known[0])
        return _merged(known) if kind in _PIXEL_BY_PIXEL else None

    def _pixels(self, field: _Field | None) -> tuple[int, int] | None:
        if field is not _WHOLE:
            return field.size if field else None
        height, width = self._image
        return None if height is None or width is None else (height, width)


_WHOLE = _Field((0, 0), None)

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_POOLS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
_WINDOWS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, *_POOLS)
_OVER_ALL_PIXELS = {"GlobalAveragePooling2D", "GlobalMaxPooling2D", "Flatten", "GroupNormalization"}
# Layers and operations of keras.ops, by their names: of neither is there a list.
_PIXEL_BY_PIXEL = {
    *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Relu", "Relu6", "Sigmoid", "Silu", "Gelu"),
    *("HardSigmoid", "HardSilu", "Tanh", "Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise"),
    *("BatchNormalization", "LayerNormalization", "Normalization", "Rescaling", "Dense", "Identity", "LayerScale"),
    *("ZeroPadding2D", "Cropping2D", "Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Average", "Maximum"),
    *("Minimum", "Concatenate"),
}
_MULTIPLYING = {  # without weights that would tell; their arithmetic is not known here
    *("Matmul", "Einsum", "Dot", "Tensordot", "Vdot", "Inner", "Outer", "Conv", "ConvTranspose", "DepthwiseConv"),
    *("SeparableConv", "Attention", "AdditiveAttention", "DotProductAttention", "Lambda"),
}


def _through_window(layer: Any, field: _Field) -> _Field:
    size = layer.pool_size if isinstance(layer, _POOLS) else layer.kernel_size
    dilation = (1, 1) if isinstance(layer, _POOLS) else layer.dilation_rate
    assert field.step is not None
    grown = [field.size[axis] + (size[axis] - 1) * dilation[axis] * field.step[axis] for axis in (0, 1)]
    step = [field.step[axis] * layer.strides[axis] for axis in (0, 1)]
    return _Field((grown[0], grown[1]), (step[0], step[1]))


def _merged(fields: list[_Field]) -> _Field | None:
    """Return the field of values that are put together pixel by pixel; none where their pixels lie differently."""
    if len({field.step for field in fields}) > 1:
        return None
    return _Field((max(field.size[0] for field in fields), max(field.size[1] for field in fields)), fields[0].step)


def _multiply_adds(layer: Any, given: Shape, produced: Shape) -> int | None:
    """Return the multiply-adds of one call for one image; `None` where a side or the layer's arithmetic is not known.

    Args:
        layer: a layer, or an operation of `keras.ops`.
        given: of its first input, one image.
        produced: of its first output, one image.
    """
    kind = type(layer).__name__
    if isinstance(layer, _CONVOLUTIONS):
        return _product(_positions(layer, produced), layer.kernel.shape)
    if isinstance(layer, _SEPARABLE):
        kernels = prod(layer.depthwise_kernel.shape) + prod(layer.pointwise_kernel.shape)
        return _product(_positions(layer, produced), (kernels,))
    if isinstance(layer, _TRANSPOSED):
        return _product(_positions(layer, given), layer.kernel.shape)
    if isinstance(layer, keras.layers.Dense):
        return _product(given[:-1], layer.kernel.shape)
    if isinstance(layer, keras.layers.EinsumDense):
        return _product(_einsum_sides(layer, given))
    if isinstance(layer, keras.layers.TimeDistributed):
        each = _multiply_adds(layer.layer, given[1:], produced[1:])
        return None if each is None else _product(given[:1], (each,))
    matrices = any(len(weight.shape) > 1 for weight in getattr(layer, "weights", []))
    uncounted = isinstance(layer, keras.Model) or kind in _MULTIPLYING or (matrices and kind not in _PIXEL_BY_PIXEL)
    return None if uncounted else 0


def _product(*shapes: Shape) -> int | None:
    result = 1
    for side in (side for shape in shapes for side in shape):
        if side is None:
            return None
        result *= side
    return result


def _positions(layer: Any, shape: Shape) -> Shape:
    """Return the sides along which a kernel moves over its input or output."""
    return shape[1:] if layer.data_format == "channels_first" else shape[:-1]


def _einsum_sides(layer: Any, given: Shape) -> Shape:
    """Return the side of each letter of the equation, the batch's left out: each of them is a loop of products."""
    of_input, of_kernel = layer.equation.replace(" ", "").partition("->")[0].split(",")
    sides = dict(zip(of_kernel, layer.kernel.shape, strict=True))
    letters = of_input.removeprefix("...") if of_input.startswith("...") else of_input[1:]
    before = len(given) - len(letters)  # the sides that the dots stand for
    sides.update(zip(letters, given[before:], strict=True))
    return (*given[:before], *sides.values())
