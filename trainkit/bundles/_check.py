"""Does the bundle answer as the Keras model does? Pixels first, then logits, then probabilities and labels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trainkit.bundles._agreement import LOGIT_TOLERANCE, Agreement, Difference
from trainkit.bundles._choices import temperature_of
from trainkit.bundles._compare import compare, inputs_of
from trainkit.bundles._find import EXPORTED, find_folder
from trainkit.bundles._keras_model import find_keras_model, load_model, preprocessing_of
from trainkit.bundles._small_weights import restored
from trainkit.data._dataset import Part, take_evenly
from trainkit.data._sources import load_images, load_sample_images
from trainkit.deploy.python._classifier import Classifier
from trainkit.errors import DataError
from trainkit.runs._run import EXPERIMENTS, Run

__all__ = [  # what `trainkit.bundles._check` held
    "LOGIT_TOLERANCE",
    "Agreement",
    "Difference",
    "check",
    "compare",
    "find_keras_model",
    "load_model",
    "preprocessing_of",
]


def check(
    bundle: str | os.PathLike[str],
    *,
    data: str | Path | None = None,
    keras: str | Path | None = None,
    experiments: str | Path = EXPERIMENTS,
    exported: str | Path = EXPORTED,
    max_images: int | None = None,
    unsafe: bool = False,
) -> Agreement:
    """Compare a bundle's answers with those of the Keras model it came from.

    Args:
        bundle: a `Bundle`, its folder, or its name in `exported`.
        data: a data set's name (its test part) or a folder of images; by default the test part of the run's own data.
        keras: the Keras model, where the run that the manifest names is not in `experiments` any more.
        experiments: where runs lie.
        exported: where bundles lie.
        max_images: compare on at most this many, spread over the part.
        unsafe: load a Keras model that holds code; see `trainkit.export`.

    Raises:
        BundleError: the bundle is damaged, or its Keras model is not to be found.
        DataError: there are no images to compare on.
    """
    client = Classifier(find_folder(bundle, Path(exported)))
    source = client.manifest.get("source", {})
    path, run = find_keras_model(client, Path(keras) if keras else None, Path(experiments))
    part = _images_to_check(str(data) if data is not None else None, run, source)
    if max_images is not None:
        part = take_evenly([part], max_images)
    preprocessing = run.preprocessing if run else preprocessing_of(client)
    model = load_model(path, source, preprocessing, unsafe)

    from trainkit.exporting._tracing import after_blob_in_graph, trace
    from trainkit.models._losses import ends_linear

    traced = trace(
        model,
        from_logits=source.get("from_logits", False) and ends_linear(model),
        after_blob=after_blob_in_graph(preprocessing),
        images=lambda: inputs_of(part, preprocessing),
    )
    temperature = temperature_of(client.manifest, client.folder)
    traced = traced.calibrated(temperature)
    with restored(client, traced):
        return compare(client, traced, part, preprocessing)


def _images_to_check(data: str | None, run: Run | None, source: dict[str, Any]) -> Part:
    if data is not None:
        return load_images(data)
    if run is not None:
        dataset = run.load_data()
        return dataset.parts[dataset.test_split or "train"]
    if "run" in source:
        raise DataError("With --keras FILE there is no run to take the data from. Name it with --data.")
    return load_sample_images()
