"""What a Keras model cannot say itself: how pixels become its input, what its outputs mean, what to try it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from trainkit.bundles._labels import read_labels
from trainkit.data._dataset import ColorImages, Part
from trainkit.data._sources import load_images
from trainkit.deploy.python._manifest import read_manifest
from trainkit.deploy.python._pixels import check_image
from trainkit.errors import BundleError, DataError, ModelError, UsageError, unknown
from trainkit.preprocessing import (
    PREPROCESSINGS,
    Color,
    Preprocessing,
    Resize,
    build_from_json,
    build_preprocessing,
    needs_mean_image,
    needs_statistics,
    parse_size,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the user says about a model, each value possible; whether they fit the model is seen with the model."""

    preprocessing: Preprocessing | str | None
    size: tuple[int, int] | None  # width, height
    color: Color | None
    resize: Resize | None
    class_names: list[str] | None
    images: Part | None  # None: photographs that scikit-learn carries
    from_logits: bool
    output: str | None = None  # which of several

    def preprocessing_for(self, shape_hwc: tuple[int | None, int | None, int]) -> Preprocessing:
        """Return the preprocessing for a model's input; `None` stands for a side that the model leaves open.

        Raises:
            UsageError: the model needs a size, or the preprocessing is not one for these channels.
            ModelError: the options contradict the model.
        """
        height, width, channels = shape_hwc
        if isinstance(self.preprocessing, Preprocessing):
            built = self.preprocessing
        else:
            size = self.size or (width, height)
            if size[0] is None or size[1] is None:
                raise UsageError("The model takes images of any size. Choose one with --size WIDTHxHEIGHT.")
            color = self.color or ("gray" if channels == 1 else "rgb")
            built = build_preprocessing(
                str(self.preprocessing), height=size[1], width=size[0], resize=self.resize or "stretch", color=color
            )
        if built.channels != channels or height not in (None, built.height) or width not in (None, built.width):
            raise ModelError(
                f"The model takes {_shown(width)}x{_shown(height)} with {channels} channels. Received: "
                f"{built.width}x{built.height} {built.color}. Leave --size and --color out, or say what fits."
            )
        return built


def _shown(side: int | None) -> str:
    return "any" if side is None else str(side)


def build_description(
    *,
    preprocessing: Preprocessing | str | None = None,
    size: tuple[int, int] | str | None = None,
    color: str | None = None,
    resize: str | None = None,
    class_names: Sequence[str] | str | Path | None = None,
    manifest: str | Path | None = None,
    data: str | Path | None = None,
    images: Sequence[np.ndarray] | None = None,
    from_logits: bool = False,
    output: str | None = None,
) -> Description:
    """Check what the user says about a model, and read the files that are named.

    Raises:
        UsageError: a value is impossible, or two of them exclude each other.
        BundleError: the manifest is not one.
        DataError: the labels or the images cannot be read.
    """
    if data is not None and images is not None:
        raise UsageError("Images come from `data` or from `images`. Received: both.")
    if isinstance(preprocessing, Preprocessing) or manifest is not None:
        named = [name for name, value in (("size", size), ("color", color), ("resize", resize)) if value is not None]
        if manifest is not None:
            named += [name for name, value in (("preprocessing", preprocessing), ("labels", class_names)) if value]
        if named:
            whole = "A `Preprocessing`" if manifest is None else "The manifest"
            raise UsageError(f"{whole} says {' and '.join(named)} already. Leave the one or the other out.")
    if manifest is not None:
        preprocessing, class_names = _from_manifest(Path(manifest))
    return Description(
        preprocessing=preprocessing if isinstance(preprocessing, Preprocessing) else _check_name(preprocessing, color),
        size=parse_size(size),
        color=_one_of("color", color, get_args(Color)),
        resize=_one_of("resize", resize, get_args(Resize)),
        class_names=_to_class_names(class_names),
        images=_to_part(data, images),
        from_logits=from_logits,
        output=output,
    )


def _one_of(kind: str, value: Any, known: tuple[str, ...]) -> Any:
    if value is not None and value not in known:
        raise unknown(kind, str(value), known)
    return value


def _check_name(name: str | None, color: str | None) -> str | None:
    if name is None:
        return None
    if name not in PREPROCESSINGS:
        raise unknown("preprocessing", name, PREPROCESSINGS)
    if needs_statistics(name) or needs_mean_image(name):
        raise UsageError(
            f"`{name}` needs what was measured on the training images. Give the --manifest of a bundle that has it, "
            "or in Python a Preprocessing with mean and std."
        )
    if name == "caffe" and color is None:
        raise UsageError(
            "`caffe` comes in two orders of colour. Say --color bgr where the model was trained with Keras' "
            "preprocess_input, or --color rgb."
        )
    return name


def _from_manifest(path: Path) -> tuple[Preprocessing, list[str]]:
    manifest = read_manifest(path)
    names = [str(name) for name in manifest["output"]["class_names"]]
    try:
        if "preprocessing" in manifest:
            return build_from_json({"pad_color": [255.0] * 3, **manifest["preprocessing"]}, path.parent), names
        return _from_blob(manifest), names
    except UsageError as error:
        raise BundleError(f"The manifest {path} describes no preprocessing that trainkit knows: {error}") from error


def _from_blob(manifest: dict[str, Any]) -> Preprocessing:
    """Return what a manifest without `preprocessing` says by its blob and the steps before it."""
    blob = manifest["blob"]
    if isinstance(blob["mean"], str):
        raise UsageError(f"its mean is the file {blob['mean']}. Write the numbers there.")
    steps = {step["step"]: step for step in manifest.get("before_blob", [])}
    if "pad" in steps and blob["crop"]:
        raise UsageError("it pads and crops.")
    gray = "gray" in steps
    channels = 1 if gray else 3
    mean = [float(value) for value in blob["mean"][:channels]]
    return Preprocessing(
        width=blob["size"][0],
        height=blob["size"][1],
        resize="pad" if "pad" in steps else "crop" if blob["crop"] else "stretch",
        color="gray" if gray else "rgb" if blob["swapRB"] else "bgr",
        mean=tuple(mean + [0.0] * (channels - len(mean))),
        std=(1 / blob["scalefactor"],) * channels,
        pad_color=tuple(reversed(steps["pad"]["color_bgr"])) if "pad" in steps else (255.0, 255.0, 255.0),
    )


def _to_class_names(class_names: Sequence[str] | str | Path | None) -> list[str] | None:
    if class_names is None:
        return None
    names = read_labels(Path(class_names)) if isinstance(class_names, (str, Path)) else list(class_names)
    if not all(isinstance(name, str) for name in names):
        raise UsageError(f"`class_names` must be texts. Received: {names[:3]!r}")
    if len(names) < 2:
        raise DataError(f"A classifier has two classes or more. Received: {names!r}")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"The class names must differ. Received twice: {', '.join(twice[:5])}")
    return names


def _to_part(data: str | Path | None, images: Sequence[np.ndarray] | None) -> Part | None:
    if data is not None:
        return load_images(str(data))
    if images is None:
        return None
    for image in images:
        check_image(image)
    if not len(images):
        raise UsageError("`images` needs at least one image. Received none.")
    return Part(ColorImages(list(images)), np.zeros(len(images), np.int64))
