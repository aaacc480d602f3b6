"""A network by its name, its file or its run, layer by layer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainkit._progress import doing
from trainkit.data._sources import SOURCES
from trainkit.errors import RunError, UsageError
from trainkit.models._applications import APPLICATIONS
from trainkit.models._builders import BUILDERS
from trainkit.models._listing import list_models
from trainkit.preprocessing import parse_size
from trainkit.runs._notebook import heading_html, table_html
from trainkit.runs._run import EXPERIMENTS, Run, find_run
from trainkit.runs._settings import FOLDER_SIZE

if TYPE_CHECKING:
    from trainkit.models._summary import LayerShape

COLUMNS = ("layer", "kind", "output", "parameters", "multiply-adds", "receptive field")
_FILES = (".keras", ".h5")
_KERAS_NAMES = {keras_name: own for own, keras_name in APPLICATIONS.items()}


@dataclass(frozen=True, slots=True, repr=False)
class Shapes:
    """A network's layers, in the order in which the image comes by."""

    model: str
    layers: list[LayerShape]

    @property
    def parameters(self) -> int:
        """All of them, trainable or not."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of all layers that could be counted, for one image."""
        return sum(layer.multiply_adds or 0 for layer in self.layers)

    @property
    def uncounted(self) -> list[str]:
        """The layers whose multiply-adds are not known."""
        return [layer.name for layer in self.layers if layer.multiply_adds is None]

    def __repr__(self) -> str:
        """Return `Shapes(mobilenet: 92 layers, 4,253,864 parameters, 568,740,352 multiply-adds)`."""
        return f"Shapes({self.model}: {self._sums()})"

    def _repr_html_(self) -> str:
        return heading_html(f"{self.model}: {self._sums()}") + table_html(COLUMNS, as_rows(self.layers))

    def _sums(self) -> str:
        unknown = f" and {len(self.uncounted)} layers that were not counted" if self.uncounted else ""
        work = f"{self.multiply_adds:,} multiply-adds{unknown}"
        return f"{len(self.layers):,} layers, {self.parameters:,} parameters, {work}"

    def to_json(self) -> dict[str, Any]:
        """Return layers and sums as JSON has them."""
        return {
            "model": self.model,
            "layers": [layer.to_json() for layer in self.layers],
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "uncounted": self.uncounted,
        }


def shapes(
    source: str | Path | Run | Any,
    *,
    size: tuple[int, int] | str | None = None,
    color: str | None = None,
    classes: int | None = None,
    alpha: float | None = None,
    experiments: str | Path = EXPERIMENTS,
) -> Shapes:
    """Return the layers of a network with their shapes, parameters, multiply-adds and receptive fields.

    Args:
        source: a model's name, here or in Keras, a `.keras` or `.h5` file, a run (its path, its name, or `latest`), or
            a Keras model. A network of `keras.applications` comes with its 1,000 classes of ImageNet where `classes`
            is not given.
        size: (width, height) of the image in pixels, or "WxH"; default: the network's own.
        color: `gray`, or `rgb` and `bgr`, which are three channels either way; default: the network's own.
        classes: how many; default 10.
        alpha: the width of mobilenet, mobilenet-v2 or mobilenet-v3.
        experiments: the folder of runs.

    Raises:
        TrainkitError: there is no such model, file or run, or it cannot be used.
        UsageError: the model does not come so.
    """
    sides = parse_size(size)
    _check_choices(color, classes, alpha)
    if not isinstance(source, (str, Path, Run)):
        return _shapes_of_model(source, sides)
    name = "" if isinstance(source, Run) else _KERAS_NAMES.get(str(source), str(source))
    if name in BUILDERS:
        return _shapes_of_name(name, sides, color, classes, alpha)
    if any(value is not None for value in (color, classes, alpha)):
        raise UsageError("A file or a run knows its colours and classes. Leave out --color, --classes and --alpha.")
    if name.endswith(_FILES):
        from trainkit.models._loading import load_model_file

        return replace(_shapes_of_model(load_model_file(Path(name)).model, sides), model=name)
    return _shapes_of_run(source, Path(experiments))


def _check_choices(color: str | None, classes: int | None, alpha: float | None) -> None:
    if color not in (None, "gray", "rgb", "bgr"):
        raise UsageError(f"Unknown color `{color}`. Expected one of: bgr, gray, rgb")
    if classes is not None and classes < 2:
        raise UsageError(f"`classes` must be at least 2. Received: {classes}")
    if alpha is not None and not 0 < alpha <= 4:
        raise UsageError(f"`alpha` must be above 0 and at most 4. Received: {alpha:g}")


def _shapes_of_model(model: Any, sides: tuple[int, int] | None) -> Shapes:
    from trainkit.backend import keras
    from trainkit.models._summary import trace_shapes

    if not isinstance(model, keras.Model):
        kind = type(model).__name__
        raise UsageError(f"Expected a model's name, a file, a run or a Keras model. Received: {kind}")
    if isinstance(model, keras.Sequential) and not model.built:
        raise UsageError(f"{model.name} does not know its image yet. Begin it with keras.Input((height, width, 3)).")
    if not getattr(model, "inputs", None):
        raise UsageError(
            f"{model.name} is not made of layers that can be followed. Build it with keras.Sequential or "
            "keras.Model(inputs, outputs)."
        )
    return Shapes(model.name, trace_shapes(model, input_shape=_with_sides(model, sides)))


def _shapes_of_name(
    name: str, sides: tuple[int, int] | None, color: str | None, classes: int | None, alpha: float | None
) -> Shapes:
    from trainkit.backend import tf
    from trainkit.models._summary import trace_shapes

    try:
        with doing("Building the network"):
            model = _build_named(name, sides, color, classes, alpha)
    except tf.errors.ResourceExhaustedError as error:
        raise UsageError(
            f"{name} has more parameters than fit into memory at this size. Take a smaller --size."
        ) from error
    return Shapes(name, trace_shapes(model))


def _build_named(
    name: str, sides: tuple[int, int] | None, color: str | None, classes: int | None, alpha: float | None
) -> Any:
    """Build a network of keras.applications as it comes, or one of trainkit's, with random weights."""
    if name in APPLICATIONS and classes is None and color != "gray":
        from trainkit.models._applications import build_application

        width, height = sides or (None, None)
        return build_application(name, width=width, height=height, weights="none", alpha=alpha)
    return _build(name, sides, color, classes or 10, alpha)


def _shapes_of_run(source: str | Path | Run, experiments: Path) -> Shapes:
    from trainkit.models._outputs import load_keras_model
    from trainkit.models._summary import trace_shapes

    try:
        run = find_run(source, experiments)
    except RunError as error:
        near = get_close_matches(os.fspath(source).lower(), BUILDERS, n=1)
        hint = f" Did you mean the model `{near[0]}`?" if near else f" Models are: {list_models(BUILDERS)}."
        raise RunError(f"{error}{hint}") from error
    run.check_usable()
    return Shapes(run.name, trace_shapes(load_keras_model(run.model_path), input_shape=run.preprocessing.shape))


def _with_sides(model: Any, sides: tuple[int, int] | None) -> tuple[int, int, int] | None:
    """Return the (height, width, channels) of a model's image, where its own leaves something open.

    Raises:
        UsageError: it leaves its sides open, and there is no size; or it has another one.
    """
    own = tuple(model.inputs[0].shape[1:]) if getattr(model, "inputs", None) else ()
    if len(own) != 3:
        if sides:
            raise UsageError(f"{model.name} takes no images, so it has no size. Leave out --size.")
        return None
    if sides is None:
        if None in own[:2]:
            raise UsageError(f"{model.name} takes images of any size. Say which: --size 224x224, for one.")
        return None
    if any(mine not in (None, side) for mine, side in zip(own[:2], sides[::-1], strict=True)):
        raise UsageError(f"{model.name} takes images of {own[1]}x{own[0]}. Leave out --size.")
    return sides[1], sides[0], own[2]


def _build(name: str, sides: tuple[int, int] | None, color: str | None, classes: int, alpha: float | None) -> Any:
    """Build one of trainkit's networks with random weights, in the size and colour that it is mostly used with."""
    builder = BUILDERS[name]
    source = SOURCES.get(name)  # a network that is made for a data set has its name
    width, height = sides or builder.size or (source.size if source else None) or FOLDER_SIZE
    settings: dict[str, Any] = dict(builder.settings)
    if alpha is not None:
        if "alpha" not in settings:
            raise UsageError(f"{name} comes in one width. Received: --alpha {alpha:g}. Leave it out.")
        settings["alpha"] = alpha
    color = color or builder.color or (source.color if source else None) or "rgb"
    settings["weights"] = "none"
    return builder.build((height, width, 1 if color == "gray" else 3), classes, **settings)


def as_rows(layers: Sequence[LayerShape]) -> list[list[str]]:
    """Return the rows of a table: name, kind, output, parameters, multiply-adds, receptive field (width x height)."""
    return [
        [
            layer.name,
            layer.kind,
            "x".join("?" if side is None else str(side) for side in layer.output_shape) or "1",
            "shared" if layer.shared else f"{layer.parameters:,}",
            "?" if layer.multiply_adds is None else f"{layer.multiply_adds:,}",
            "?" if layer.receptive_field is None else f"{layer.receptive_field[1]}x{layer.receptive_field[0]}",
        ]
        for layer in layers
    ]
