"""The Keras model that a bundle came from: found again by what the manifest names, and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainkit._progress import doing
from trainkit.deploy.python._classifier import Classifier
from trainkit.errors import BundleError, TrainkitError, UsageError
from trainkit.files import sha256_of
from trainkit.preprocessing import WHITE, Preprocessing, build_from_json
from trainkit.runs._run import Run, find_run


def find_keras_model(client: Classifier, keras: Path | None, experiments: Path) -> tuple[Path | None, Run | None]:
    """Return the Keras model that the manifest names, and its run where that is still there.

    The path is `None` where the model is one of keras.applications, which is built again.

    Raises:
        BundleError: it is not to be found, or not the one the bundle came from.
    """
    source = client.manifest.get("source", {})
    run, missing = None, f"The manifest of {client.folder} names no run."
    if "run" in source:
        try:
            run = find_run(source["run"], experiments)
        except TrainkitError as error:
            missing = f"{error} The bundle came from it."
    if "keras" in source:
        missing = f"The bundle came from {source['keras']}, which is no run's."
    path = keras or (run.model_path if run else None)
    if path is None and source.get("weights") == "imagenet":
        return None, None
    if path is None:
        raise BundleError(f"{missing} Then name its Keras model with --keras FILE.")
    if not path.is_file():
        raise BundleError(f"No Keras model at {path}. Name it with --keras FILE.")
    if sha256_of(path) != source.get("keras_sha256", sha256_of(path)):
        raise BundleError(
            f"{path} is not the model that the bundle came from: its sha256 differs. Name it with --keras FILE."
        )
    return path, run


def load_model(path: Path | None, source: dict[str, Any], preprocessing: Preprocessing, unsafe: bool = False) -> Any:
    """Load the Keras model that `find_keras_model` found, or build the one of keras.applications again."""
    from trainkit.models._applications import build_application, check_application
    from trainkit.models._file_checks import offering_unsafe
    from trainkit.models._loading import at_size, load_model_file

    if path is not None:
        with doing("Loading the network"), offering_unsafe():
            loaded = load_model_file(
                path,
                unsafe=unsafe,
                output=source.get("output"),
                from_logits=source.get("from_logits", False),
            )
            return at_size(loaded.model, preprocessing.shape)
    check_application(source["application"])
    return build_application(
        source["application"],
        width=preprocessing.width,
        height=preprocessing.height,
        weights="imagenet",
        alpha=source.get("alpha"),
    )


def preprocessing_of(client: Classifier) -> Preprocessing:
    """Return the preprocessing that a bundle's manifest describes.

    Raises:
        BundleError: it describes none, or an impossible one.
    """
    if "preprocessing" not in client.manifest:
        raise BundleError(f"The manifest of {client.folder} has no `preprocessing` to compare with.")
    try:
        return build_from_json({"pad_color": list(WHITE), **client.manifest["preprocessing"]}, client.folder)
    except UsageError as error:
        raise BundleError(f"The manifest of {client.folder} is damaged: {error}. Export it again.") from error
