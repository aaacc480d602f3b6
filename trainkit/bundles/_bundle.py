"""A bundle: all that a machine with only OpenCV needs to run a classifier, and the proof that it answers as Keras."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainkit._progress import doing
from trainkit.bundles._agreement import Agreement
from trainkit.bundles._choices import choose
from trainkit.bundles._clients import copy_clients
from trainkit.bundles._compare import compare, inputs_of
from trainkit.bundles._exportable import Exportable
from trainkit.bundles._find import check_free
from trainkit.bundles._folder import Bundle
from trainkit.bundles._manifest import build_manifest, check_class_names, embedded_manifest, save_manifest
from trainkit.bundles._originals import without_metadata
from trainkit.bundles._small_weights import Small, Storage, shrunk
from trainkit.data._dataset import Part
from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._opencv import has_engines, version_of
from trainkit.deploy.python._selftest import selftest
from trainkit.deploy.python._values import OLDEST_OPENCV
from trainkit.errors import BundleError, ExportError
from trainkit.exporting._conversion import BROADCASTS_SINCE, build_graph
from trainkit.exporting._frozen_graph import save_frozen_graph
from trainkit.exporting._graph import INPUT, OUTPUT
from trainkit.exporting._onnx_graph import opset_of, save_onnx, to_onnx
from trainkit.exporting._tracing import Traced, after_blob_in_graph, trace
from trainkit.files import building, cannot_write, make_folder, sha256_of, write_json, write_text
from trainkit.preprocessing import MEAN_IMAGE_FILE, Preprocessing, save_mean_image

log = logging.getLogger("trainkit")

FILES = {"onnx": "model.onnx", "frozen-graph": "model.pb"}
# What reads a format rightly, as the matrix of the manual has measured it: the oldest OpenCV, and in OpenCV 5 the
# engine, where not every one will do.
READERS: dict[str, dict[str, str]] = {
    "onnx": {"minimum": "4.5.5"},
    "frozen-graph": {"minimum": "4.5.5", "engine": "classic"},
}


def write_bundle(
    exportable: Exportable,
    *,
    model_format: str,
    name: str,
    exported: Path,
    opencv: str = OLDEST_OPENCV,
    clients: Sequence[str] = ("python",),
    originals: bool = True,
    storage: Storage | None = None,
) -> Bundle:
    """Build a bundle in a temporary folder, check it, and only then rename it into `exported`.

    Args:
        exportable: what leaves.
        model_format: `onnx` or `frozen-graph`.
        name: of the folder.
        exported: the folder of bundles.
        opencv: the oldest version that has to read it.
        clients: what runs it, see `trainkit.bundles._clients`.
        originals: whether the self-test also has the files that its images came from, without their metadata.
        storage: how the weights are stored.

    Raises:
        OutputError: the folder exists already or cannot be written.
        ExportError: the model cannot leave in this format, or its answers differ from those of Keras.
    """
    check_reader(model_format)
    check_class_names(exportable.class_names)
    target = exported / name
    check_free(target)
    was_there = exported.exists()
    make_folder(exported)
    try:
        with building(exported) as temporary:
            agreement = _fill(temporary, exportable, model_format, opencv, originals, name, storage or Storage())
            copy_clients(temporary, clients)
            check_free(target)
            temporary.rename(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        if not was_there:
            with suppress(OSError):  # there is a bundle in it now
                exported.rmdir()
    return Bundle(path=target, format=model_format, agreement=agreement)


def check_reader(model_format: str) -> None:
    """Raise unless the installed OpenCV is one that reads a format: what is not read cannot be checked.

    Raises:
        ExportError: says what the format needs.
    """
    needs = READERS[model_format]
    too_old = version_of(cv2.__version__) < version_of(needs["minimum"])
    if model_format == "frozen-graph":
        has_engine = not has_engines() or hasattr(cv2.dnn, f"ENGINE_{needs['engine'].upper()}")
        if not hasattr(cv2.dnn, "readNetFromTensorflow") or not has_engine:
            raise ExportError(
                f"OpenCV {cv2.__version__} does not read frozen graphs any more: that needs OpenCV "
                f"{needs['minimum']} or later with the {needs['engine']} engine. Take --format onnx."
            )
    if too_old:
        raise ExportError(
            f"The format {model_format} needs OpenCV {needs['minimum']} or later. Received: {cv2.__version__}. "
            "Upgrade OpenCV."
        )


def _fill(
    folder: Path,
    exportable: Exportable,
    model_format: str,
    opencv: str,
    originals: bool,
    name: str,
    storage: Storage,
) -> Agreement:
    """Write all but the clients into a folder, and hold what is there against Keras."""
    preprocessing = exportable.preprocessing
    traced = trace(
        exportable.model,
        from_logits=exportable.from_logits,
        after_blob=after_blob_in_graph(preprocessing),
        images=lambda: inputs_of(exportable.images, preprocessing),
    )
    exportable, traced = choose(exportable, traced)
    with shrunk(exportable, traced, storage, broadcast=_broadcasts(model_format, opencv)) as small:
        manifest = _save_graph(folder, exportable, traced, model_format, opencv, small)
        agreement = _check_folder(folder, manifest, exportable, traced, originals)
    manifest["opencv"]["verified"] = {
        cv2.__version__: {
            "images": agreement.images,
            "top1_agreement": agreement.top1_agreement,
            "max_abs_difference": agreement.max_abs_difference,
        }
    }
    # Not in the graph file, which stays the same whatever the bundle is called.
    manifest["extra"] = {"name": name, **manifest.get("extra", {})}
    save_manifest(folder / "manifest.json", manifest)
    return agreement


def _check_folder(
    folder: Path, manifest: dict[str, Any], exportable: Exportable, traced: Traced, originals: bool
) -> Agreement:
    """Write what stands beside the graph, and hold all of it against Keras."""
    preprocessing, part = exportable.preprocessing, exportable.selftest_images
    traced.check_answers(inputs_of(part, preprocessing))
    _write_beside(folder, manifest, exportable)
    with doing("Running the network on the self-test"):
        cases = _selftest_cases(exportable, traced)
    with _explaining_failures(manifest["model"]["format"]):
        agreement = compare(Classifier(folder), traced, exportable.images, preprocessing)
    files = [_original(part, index) if originals else None for index in range(len(part))]
    _write_selftest(folder / "selftest", part, cases, files, agreement.probability_tolerance)
    with doing("Running the bundle's self-test"):
        _check_agreement(folder, agreement)
    return agreement


@contextmanager
def _explaining_failures(model_format: str) -> Iterator[None]:
    """Say of a graph that was just written, and that OpenCV cannot run, what its user can do about it."""
    try:
        yield
    except BundleError as error:
        reason = re.sub(r"\s*(Copy or export|Export) the bundle again\.?$", "", str(error)).rstrip(".")
        advice = " Export --format onnx." if model_format != "onnx" else ""
        raise ExportError(f"What was exported cannot be used, so nothing was written. {reason}.{advice}") from error


def _broadcasts(model_format: str, opencv: str) -> bool:
    return model_format == "onnx" and tuple(map(int, opencv.split("."))) >= BROADCASTS_SINCE


def _save_graph(
    folder: Path, exportable: Exportable, traced: Traced, model_format: str, opencv: str, small: Small | None
) -> dict[str, Any]:
    """Write the graph, and return the manifest that describes it."""
    if small is None:
        with doing("Converting the graph"):
            broadcast = _broadcasts(model_format, opencv)
            graph = build_graph(traced, broadcast=broadcast, channels_last=model_format != "onnx")
    else:
        graph = small.graph
    path = folder / FILES[model_format]
    opset = {"opset": opset_of(graph)} if model_format == "onnx" else {}
    model = {"file": path.name, "format": model_format, "input": INPUT, "output": OUTPUT, **opset}
    manifest = _describe(exportable, traced, model, opencv)
    if small is not None:
        float_graph = to_onnx(small.float_graph, traced.activation, embedded_manifest(manifest))
        measured = {**small.measured, "bytes_float32": float_graph.ByteSize()}
        manifest = _describe(exportable, traced, {**model, "weights": measured["weights"]}, opencv, measured)
    with doing(f"Writing {path.name}"):
        if model_format == "onnx":
            kernels = None if small is None else small.kernels
            save_onnx(graph, traced.activation, path, metadata=embedded_manifest(manifest), kernels=kernels)
        else:
            save_frozen_graph(graph, traced.activation, path)
    manifest["model"] |= {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    return manifest


def _describe(
    exportable: Exportable,
    traced: Traced,
    model: dict[str, Any],
    opencv: str,
    small_weights: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the manifest, but for what only the written file knows."""
    return build_manifest(
        model=model,
        preprocessing=exportable.preprocessing,
        output=_describe_output(traced, exportable),
        source=exportable.source,
        opencv={**READERS[model["format"]], "minimum": opencv},
        extra=_present(training_pixels=exportable.training_pixels, **exportable.chosen, small_weights=small_weights),
    )


def _write_beside(folder: Path, manifest: dict[str, Any], exportable: Exportable) -> None:
    """Write what stands beside the graph: manifest, labels, mean image, and the file of OpenCV's samples."""
    save_manifest(folder / "manifest.json", manifest)
    write_text(folder / "labels.txt", "".join(f"{label}\n" for label in exportable.class_names))
    if exportable.preprocessing.mean_image is not None:  # for `trainkit check`; the graph has it inside
        save_mean_image(folder / MEAN_IMAGE_FILE, exportable.preprocessing.mean_image)
    if reason := why_not_for_samples(manifest):
        log.info("Left out models.yml: %s", reason)
    else:
        write_text(folder / "models.yml", describe_for_samples(manifest))


def _describe_output(traced: Traced, exportable: Exportable) -> dict[str, Any]:
    decided = _present(reject_below=exportable.reject_below, thresholds=exportable.thresholds)
    return {
        "kind": traced.kind,
        "class_names": exportable.class_names,
        **_present(multi_label=traced.multi_label or None),
        **decided,
    }


def _present(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _check_agreement(folder: Path, agreement: Agreement) -> None:
    if not agreement.ok or not selftest(folder)["ok"]:
        raise ExportError(
            f"The exported graph does not answer as Keras does in OpenCV {cv2.__version__}, so nothing was written: "
            f"{agreement.top1_agreement:.2%} of {agreement.images} labels agree, probabilities differ by up to "
            f"{agreement.max_abs_difference:.1e}, logits by {agreement.max_relative_logit_difference:.1e} of their "
            f"standard deviation, pixels by {agreement.max_abs_pixel_difference:g}."
        )


def why_not_for_samples(manifest: dict[str, Any]) -> str | None:
    """Return why OpenCV's own `samples/dnn/classification` cannot do what a manifest says, `None` where it can."""
    steps = [step["step"] for step in manifest["before_blob"]]
    if steps:
        return f"OpenCV's sample cannot do what comes before the blob ({', '.join(steps)})."
    if manifest["blob"]["crop"]:
        return "OpenCV's sample crops only when it is told so by --crop, which the file cannot say."
    return None


def describe_for_samples(manifest: dict[str, Any]) -> str:
    """Return the `models.yml` that OpenCV's own `samples/dnn/classification` reads with `--zoo`.

    Its keys are those of OpenCV's file: `labels` since 4.11, `classes` before. The sample subtracts `mean`, multiplies
    by `scale` and divides by `std`. Its C++ form reads `scale` with six decimals.
    """
    blob, model = manifest["blob"], manifest["model"]
    mean = ", ".join(repr(float(value)) for value in blob["mean"][:3])
    return (
        "%YAML 1.0\n---\nclassifier:\n"
        f'  model: "{model["file"]}"\n'
        f"  mean: [{mean}]\n"
        f"  scale: {blob['scalefactor']!r}\n"
        "  std: [1.0, 1.0, 1.0]\n"  # the default of the sample's Python form is 0, by which it would divide
        f"  width: {blob['size'][0]}\n"
        f"  height: {blob['size'][1]}\n"
        f"  rgb: {str(blob['swapRB']).lower()}\n"
        '  classes: "labels.txt"\n'
        '  labels: "labels.txt"\n'
        '  sample: "classification"\n'
    )


def _selftest_cases(exportable: Exportable, traced: Traced) -> list[dict[str, Any]]:
    """Return what Keras makes of the images that the bundle carries."""
    part, preprocessing = exportable.selftest_images, exportable.preprocessing
    pixels = [preprocessing.to_pixels(part.images[index]) for index in range(len(part))]
    answers = traced.predict(preprocessing.to_input(pixels))
    if not np.isfinite(answers["logits"]).all():
        raise ExportError(
            f"The model {traced.model.name} answers with numbers that are not finite. Train it at a lower rate."
        )
    return [
        {
            "pixel_sha256": _pixel_sha256(image, preprocessing),
            "label": exportable.class_names[int(probabilities.argmax())],
            "logits": logits.tolist(),
            "probabilities": probabilities.tolist(),
        }
        for image, logits, probabilities in zip(pixels, answers["logits"], answers["probabilities"], strict=True)
    ]


def _original(part: Part, index: int) -> tuple[str, bytes] | None:
    """Return the suffix and the bytes, without metadata, of the file that an image came from, where there is one."""
    path = part.path(index)
    data = None if path is None else without_metadata(path.read_bytes())
    return None if path is None or data is None else (path.suffix.lower(), data)


def _write_selftest(
    folder: Path,
    part: Part,
    cases: list[dict[str, Any]],
    originals: list[tuple[str, bytes] | None],
    tolerance: float,
) -> None:
    """Write some images, decoded as PNG and as they were, with what Keras makes of them."""
    folder.mkdir()
    documents = []
    for index, case in enumerate(cases):
        files = {"png": f"{index + 1}.png"}
        if not cv2.imwrite(str(folder / files["png"]), part.images[index]):
            raise ExportError(f"OpenCV cannot write {folder / files['png']}.")
        if original := originals[index]:
            files["original"] = f"{index + 1}-original{original[0]}"
            (folder / files["original"]).write_bytes(original[1])
        documents.append({**files, **case})
    write_json(folder / "selftest.json", {"tolerance": tolerance, "images": documents})


def _pixel_sha256(pixels: np.ndarray, preprocessing: Preprocessing) -> str:
    """Return the checksum that `pixel_sha256` must find."""
    plain = replace(preprocessing, mean=(0.0,) * preprocessing.channels, std=(1.0,) * preprocessing.channels)
    blob = plain.to_blob([pixels]).astype(np.uint8)
    return hashlib.sha256(np.ascontiguousarray(blob).tobytes()).hexdigest()
