"""What can become a bundle: a run, a Keras file of others, a model in memory, a network of keras.applications."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainkit.bundles._brightness import measure_training_pixels
from trainkit.bundles._choices import Choices, held_out_for
from trainkit.bundles._description import Description
from trainkit.data._dataset import ChosenImages, Dataset, Part, take_evenly
from trainkit.data._sources import SOURCES, load_sample_images
from trainkit.errors import ModelError, UsageError
from trainkit.files import sha256_of
from trainkit.models._adapting import as_classifier, check_whole_levels, output_names, takes_whole_levels
from trainkit.models._applications import build_application, load_imagenet_names
from trainkit.models._builders import BUILDERS
from trainkit.models._file_checks import offering_unsafe
from trainkit.models._loading import (
    at_size,
    class_units,
    image_shape,
    load_model_file,
)
from trainkit.models._losses import LoadedModel, completed, describe_loss, ends_linear, loss_for
from trainkit.models._outputs import check_outputs, load_keras_model
from trainkit.preprocessing import Preprocessing, build_preprocessing
from trainkit.runs._run import Run

log = logging.getLogger("trainkit")
_CHECKED_IMAGES = 64
_SELFTEST_IMAGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Exportable:
    """A classifier with all that its bundle says about it."""

    model: Any  # Keras: float32 (N, height, width, channels) in, (N, classes) or (N, 1) out
    preprocessing: Preprocessing
    class_names: list[str]
    source: dict[str, Any]  # of the manifest
    images: Part  # to compare the bundle with Keras on
    selftest_images: Part  # what the bundle carries of them
    rounding_images: Part  # small weights are rounded so that these keep their answers
    measured_images: Part  # what small weights cost is measured on these
    from_logits: bool = False  # whether the model ends without its softmax or sigmoid
    training_pixels: dict[str, Any] | None = None  # `extra.training_pixels` of the manifest
    reject_below: float | None = None  # `output.reject_below`, and so of trainkit/2
    thresholds: list[float] | None = None  # `output.thresholds`, likewise
    choices: Choices = field(default_factory=Choices)  # what is chosen on the images that were held out
    held_out: dict[str, Part] = field(default_factory=dict)  # for that: `val`, and `test` where there are such
    chosen: dict[str, Any] = field(default_factory=dict)  # of `extra`: how it was chosen
    measured_on: str = "images"  # `val` where `measured_images` are validation images
    measured_labels: bool = False  # whether their labels are those of the model's classes


def exportable_from_run(run: Run, choices: Choices | None = None) -> Exportable:
    """Take the best weights of a run, and its own images; where those are gone, photographs that scikit-learn has.

    Args:
        run: a finished one.
        choices: what is chosen on its validation images.

    Raises:
        RunError: the run is unfinished or damaged.
        DataError: its images are there, but cannot be used any more; or something is chosen on them, and they are not.
        UsageError: a choice means nothing for what the run tells apart.
    """
    run.check_usable()
    dataset = _load_data_unless_gone(run)
    held_out = held_out_for(choices, run, dataset) if choices else {}
    model = load_keras_model(run.model_path)
    check_outputs(model, run.class_names)
    images = _images_of(None) if dataset is None else _images_of_run(dataset)
    return Exportable(
        model=model,
        preprocessing=run.preprocessing,
        class_names=run.class_names,
        source={"run": run.name, "keras_sha256": sha256_of(run.model_path)},
        training_pixels=None if dataset is None else measure_training_pixels(dataset.parts["train"], run.preprocessing),
        choices=choices or Choices(),
        held_out=held_out,
        **images,
    )


def _load_data_unless_gone(run: Run) -> Dataset | None:
    data = run.config["data"]
    if data in SOURCES or os.path.exists(data):
        return run.load_data()
    log.warning(
        "The images of the run %s are no longer at %s. The bundle is checked on other photographs, carries those for "
        "its self-test, and does not say how dark and light the training images were.",
        run.name,
        data,
    )
    return None


def _images_of_run(dataset: Dataset) -> dict[str, Any]:
    measured_on = "val" if len(dataset.parts.get("val", ())) else "images"
    return {
        "images": dataset.sample(_CHECKED_IMAGES),
        "selftest_images": dataset.sample(_SELFTEST_IMAGES),
        "rounding_images": dataset.parts["train"],
        "measured_images": dataset.parts["val" if measured_on == "val" else "train"],
        "measured_on": measured_on,
        "measured_labels": True,
    }


def exportable_from_file(path: Path, description: Description, *, unsafe: bool = False) -> Exportable:
    """Take a model from a `.keras` or `.h5` file.

    Raises:
        ModelError: the file is missing, damaged, not safe to load, or the model is no classifier of such images.
        UsageError: the model needs a size.
    """
    with offering_unsafe():
        loaded = load_model_file(path, unsafe=unsafe, output=description.output, from_logits=description.from_logits)
    source = {"keras": path.name, "keras_sha256": sha256_of(path), **_said(description)}
    return _exportable(loaded, description, source=source)


def _said(description: Description) -> dict[str, Any]:
    """Return what whoever exports says about a model's end, for the manifest."""
    chosen = {"output": description.output} if description.output is not None else {}
    return {**chosen, **({"from_logits": True} if description.from_logits else {})}


def exportable_from_model(model: Any, description: Description, *, source: dict[str, Any] | None = None) -> Exportable:
    """Take a Keras model.

    Args:
        model: with one input, an image, and an output with a value for each class.
        description: what the model cannot say; `preprocessing` and `class_names` are needed.
        source: of the manifest.

    Raises:
        ModelError: the model is no classifier of such images, or the class names are not as many as its outputs.
        UsageError: the model needs a size, has no such output, or takes whole grey levels.
    """
    classifier = as_classifier(model, output=description.output)
    names = output_names(model) if description.output is not None else []
    loss = loss_for(describe_loss(getattr(model, "loss", None)), description.output, names)
    loaded = completed(classifier, loss, from_logits=description.from_logits)
    loaded = replace(loaded, whole_levels=takes_whole_levels(model))
    return _exportable(loaded, description, source={**(source or {}), **_said(description)})


def _exportable(loaded: LoadedModel, description: Description, *, source: dict[str, Any]) -> Exportable:
    model = loaded.model
    preprocessing = description.preprocessing_for(image_shape(model))
    if loaded.whole_levels:
        check_whole_levels(model.name, preprocessing)
    fixed = at_size(model, preprocessing.shape)
    names = list(description.class_names or [])
    expected = max(2, class_units(fixed))
    if len(names) != expected:
        raise ModelError(
            f"The model {model.name} has {expected} classes. Received: {len(names)} class names. Give one for each, "
            "in the order of its outputs."
        )
    if loaded.from_logits and not ends_linear(fixed):
        raise UsageError(
            f"--from-logits is for a model without a last activation; {model.name} ends in one. Leave it out."
        )
    if loaded.unclear_loss is not None:
        _check_reading(model.name, len(names), loaded.unclear_loss, description.from_logits)
    from_logits = {"from_logits": True} if loaded.from_logits else {}
    return Exportable(
        model=fixed,
        preprocessing=preprocessing,
        class_names=names,
        source={**source, **from_logits},
        from_logits=loaded.from_logits,
        **_images_of(description.images),
    )


def _check_reading(name: str, count: int, loss: str, from_logits: bool) -> None:
    """Say that logits of several outputs can be read in two ways, where no loss says in which."""
    labels = "put keras.layers.Activation('sigmoid') behind the model, and leave out --from-logits"
    if not from_logits:
        raise ModelError(
            f"The model {name} was compiled with {loss} on logits, which does not say what its {count} outputs are. "
            f"For one class an image, say --from-logits: a softmax follows. For several labels at once, {labels}."
        )
    log.warning(
        "A softmax follows the %d logits of the model %s: one class an image. For several labels at once, %s.",
        count,
        name,
        labels,
    )


def exportable_from_application(
    name: str, description: Description, *, weights: str, alpha: float | None
) -> Exportable:
    """Take a whole network of keras.applications, with what its weights were trained with.

    Raises:
        UsageError: the network does not come so.
        WeightsError: the weights or the class names cannot be had.
        ModelError: other class names than the network has.
    """
    builder = BUILDERS[name]
    width, height = description.size or builder.size or (224, 224)
    preprocessing = build_preprocessing(
        builder.preprocessing,
        width=width,
        height=height,
        color=builder.color or "rgb",
        resize=description.resize or "stretch",
    )
    model = build_application(name, width=width, height=height, weights=weights, alpha=alpha)
    named_weights = weights if weights == "imagenet" else Path(weights).name
    whole = replace(
        description,
        preprocessing=preprocessing,
        size=None,
        resize=None,
        class_names=description.class_names or load_imagenet_names(),
    )
    source = {"application": name, "weights": named_weights, **({} if alpha is None else {"alpha": alpha})}
    return _exportable(LoadedModel(model, False), whole, source=source)


def _images_of(chosen: Part | None) -> dict[str, Any]:
    images = chosen or load_sample_images()
    if chosen is None:  # the two photographs come first, with pieces of them behind
        selftest = Part(_first(images, _SELFTEST_IMAGES), images.labels[:_SELFTEST_IMAGES])
    else:
        selftest = take_evenly([images], _SELFTEST_IMAGES)
    return {
        "images": take_evenly([images], _CHECKED_IMAGES),
        "selftest_images": selftest,
        "rounding_images": images,
        "measured_images": images,
    }


def _first(images: Part, count: int) -> ChosenImages:
    return ChosenImages([(images.images, index) for index in range(count)])
