"""Does the bundle answer as the Keras model does? Pixels first, then logits, then probabilities and labels."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainkit.bundles import EXPORTED, find_bundle
from trainkit.data.folders import inspect_folder
from trainkit.data.sources import SOURCES, FileImages, Part, load_dataset, take_evenly
from trainkit.deploy.classify import PROBABILITY_TOLERANCE, Classifier, read_net
from trainkit.errors import BundleError, DataError, TrainkitError, UsageError
from trainkit.files import sha256_of
from trainkit.preprocessing import WHITE, Preprocessing, build_from_json
from trainkit.runs import EXPERIMENTS, Run, find_run

LOGIT_TOLERANCE = 1e-4  # of the standard deviation of all logits
_CHUNK = 256  # images held in memory at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far one runtime is from Keras, over all images and classes."""

    version: str
    top1_agreement: float  # the share of images with the same label
    max_abs_difference: float  # of probabilities
    max_relative_logit_difference: float  # divided by the standard deviation of Keras' logits

    @property
    def ok(self) -> bool:
        """Whether all labels agree and the differences are within the tolerances; a NaN never is."""
        return (
            self.top1_agreement == 1
            and self.max_abs_difference <= PROBABILITY_TOLERANCE
            and self.max_relative_logit_difference <= LOGIT_TOLERANCE
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What a check found. The figures are the worst of all runtimes."""

    images: int
    max_abs_pixel_difference: float  # training's tensor against the blob, in the blob's own terms
    runtimes: dict[str, Difference]

    @property
    def top1_agreement(self) -> float:
        """The share of images with the label that Keras gives, 0 to 1."""
        return min(difference.top1_agreement for difference in self.runtimes.values())

    @property
    def max_abs_difference(self) -> float:
        """The largest difference of two probabilities."""
        return _worst(difference.max_abs_difference for difference in self.runtimes.values())

    @property
    def max_relative_logit_difference(self) -> float:
        """The largest difference of two logits, divided by the standard deviation of Keras' logits."""
        return _worst(difference.max_relative_logit_difference for difference in self.runtimes.values())

    @property
    def ok(self) -> bool:
        """Whether the pixels are equal and every runtime is within the tolerances."""
        return self.max_abs_pixel_difference == 0 and all(difference.ok for difference in self.runtimes.values())

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON has them; one that is no number is `null`."""
        return {
            "images": self.images,
            "top1_agreement": self.top1_agreement,
            "max_abs_difference": _finite(self.max_abs_difference),
            "max_relative_logit_difference": _finite(self.max_relative_logit_difference),
            "max_abs_pixel_difference": _finite(self.max_abs_pixel_difference),
            "runtimes": {
                name: {key: _finite(value) for key, value in asdict(difference).items()}
                for name, difference in self.runtimes.items()
            },
        }


def _worst(values: Iterator[float]) -> float:
    listed = list(values)
    return math.nan if any(map(math.isnan, listed)) else max(listed)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check(
    bundle: str | Path,
    *,
    data: str | Path | None = None,
    keras: str | Path | None = None,
    experiments: str | Path = EXPERIMENTS,
    exported: str | Path = EXPORTED,
    max_images: int | None = None,
) -> Agreement:
    """Compare a bundle's answers with those of the Keras model it came from.

    Args:
        bundle: its folder, or its name in `exported`.
        data: a data set's name (its test part) or a folder of images; by default the test part of the run's own data.
        keras: the Keras model, where the run that the manifest names is not in `experiments` any more.
        experiments: where runs lie.
        exported: where bundles lie.
        max_images: compare on at most so many, spread over the part.

    Raises:
        BundleError: the bundle is damaged, or its Keras model is not to be found.
        DataError: there are no images to compare on.
    """
    client = Classifier(find_bundle(bundle, Path(exported)))
    model_path, run = find_keras_model(client, Path(keras) if keras else None, Path(experiments))
    part = _images_to_check(str(data) if data is not None else None, run)
    if max_images is not None:
        part = take_evenly([part], max_images)
    preprocessing = run.preprocessing if run else _preprocessing_of(client)
    return compare(client, model_path, part, preprocessing)


def compare(client: Classifier, model_path: Path, part: Part, preprocessing: Preprocessing) -> Agreement:
    """Compare an opened bundle with a Keras model on the images of a part."""
    from trainkit.backend import keras as keras_package
    from trainkit.models.outputs import build_deployed, load_keras_model, predict_deployed

    model = load_keras_model(model_path)
    deployed = build_deployed(model)
    if deployed.output_shape[-1] != len(client.class_names):
        raise BundleError(
            f"{model_path} has {model.output_shape[-1]} outputs; the bundle has {len(client.class_names)} classes."
        )
    with tempfile.TemporaryDirectory() as folder:
        runtimes = _open_runtimes(client, Path(folder))
        reference: dict[str, list[np.ndarray]] = {"probabilities": [], "logits": []}
        answers: dict[tuple[str, str], list[np.ndarray]] = {key: [] for key in runtimes}
        pixel_difference = 0.0
        for start in range(0, len(part), _CHUNK):
            images = [part.images[i] for i in range(start, min(start + _CHUNK, len(part)))]
            pixels = [preprocessing.to_pixels(image) for image in images]
            blob = client.to_blob(images)
            pixel_difference = max(pixel_difference, _difference(preprocessing.to_blob(pixels), blob))
            for kind, answer in predict_deployed(deployed, preprocessing.to_input(pixels)).items():
                reference[kind].append(answer)
            for key, run_blob in runtimes.items():
                answers[key].append(run_blob(blob))
    expected = {kind: np.concatenate(parts) for kind, parts in reference.items()}
    actual = {key: np.concatenate(parts) for key, parts in answers.items()}
    return Agreement(
        images=len(part),
        max_abs_pixel_difference=pixel_difference,
        runtimes={
            "keras": Difference(
                version=keras_package.__version__,
                top1_agreement=1.0,
                max_abs_difference=0.0,
                max_relative_logit_difference=0.0,
            ),
            **{
                name: _compare_runtime(_version(name), expected, {kind: actual[name, kind] for kind in expected})
                for name in dict.fromkeys(name for name, _ in runtimes)
            },
        },
    )


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max()) if one.shape == other.shape else math.inf


def _compare_runtime(version: str, expected: dict[str, np.ndarray], actual: dict[str, np.ndarray]) -> Difference:
    labels = expected["probabilities"].argmax(1), actual["probabilities"].argmax(1)
    spread = max(float(expected["logits"].std()), float(np.finfo(np.float32).tiny))
    return Difference(
        version=version,
        top1_agreement=float((labels[0] == labels[1]).mean()),
        max_abs_difference=_difference(expected["probabilities"], actual["probabilities"]),
        max_relative_logit_difference=_difference(expected["logits"], actual["logits"]) / spread,
    )


def _version(runtime: str) -> str:
    import onnxruntime

    return str({"opencv": cv2, "onnxruntime": onnxruntime}[runtime].__version__)


def _open_runtimes(client: Classifier, folder: Path) -> dict[tuple[str, str], Callable[[np.ndarray], np.ndarray]]:
    """Return, by runtime and kind of output, what turns a blob into (N, classes).

    The logits come from a twin of the graph that ends before its last activation: OpenCV cannot be asked for an inner
    value where it has fused layers.
    """
    model = client.manifest["model"]
    model_path, twin = client.folder / model["file"], folder / model["file"]
    if model["format"] == "onnx":
        from trainkit.exporting.onnx_graph import save_logits_twin
    else:
        from trainkit.exporting.frozen_graph import save_logits_twin
    save_logits_twin(model_path, twin)
    runtimes = {
        ("opencv", "probabilities"): _one_by_one(client.forward),
        ("opencv", "logits"): _one_by_one(_opencv_forward(client, twin)),
    }
    if model["format"] == "onnx":
        runtimes["onnxruntime", "probabilities"] = _onnxruntime_forward(model_path)
        runtimes["onnxruntime", "logits"] = _onnxruntime_forward(twin)
    return runtimes


def _one_by_one(forward: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Run each image by itself, as `Classifier.predict` does."""
    return lambda blob: np.concatenate([forward(blob[i : i + 1]) for i in range(len(blob))])


def _opencv_forward(client: Classifier, twin: Path) -> Callable[[np.ndarray], np.ndarray]:
    net = read_net(
        twin.read_bytes(), client.manifest["model"]["format"], client.manifest.get("opencv", {}).get("engine")
    )

    def forward(blob: np.ndarray) -> np.ndarray:
        try:
            net.setInput(blob)
            return np.array(net.forward()).reshape(len(blob), -1)
        except (cv2.error, ValueError) as error:
            raise _does_not_take(blob, error) from None

    return forward


def _onnxruntime_forward(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def forward(blob: np.ndarray) -> np.ndarray:
        try:
            return np.concatenate([session.run(None, {name: blob[i : i + 32]})[0] for i in range(0, len(blob), 32)])
        except Exception as error:  # onnxruntime's errors share no class of their own
            raise _does_not_take(blob, error) from None

    return forward


def _does_not_take(blob: np.ndarray, error: Exception) -> BundleError:
    reason = " ".join(str(error).split())[:200]
    return BundleError(
        f"The model does not take the blob {blob.shape} that the manifest describes ({reason}). Export it again."
    )


def find_keras_model(client: Classifier, keras: Path | None, experiments: Path) -> tuple[Path, Run | None]:
    """Return the Keras model that the manifest names, and its run where that is still there.

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
    path = keras or (run.model_path if run else None)
    if path is None:
        raise BundleError(f"{missing} Then name its Keras model with --keras FILE.")
    if not path.is_file():
        raise BundleError(f"No Keras model at {path}. Name it with --keras FILE.")
    if sha256_of(path) != source.get("keras_sha256", sha256_of(path)):
        raise BundleError(
            f"{path} is not the model that the bundle came from: its sha256 differs. Name it with --keras FILE."
        )
    return path, run


def _preprocessing_of(client: Classifier) -> Preprocessing:
    if "preprocessing" not in client.manifest:
        raise BundleError(f"The manifest of {client.folder} has no `preprocessing` to compare with.")
    try:
        return build_from_json({"pad_color": list(WHITE), **client.manifest["preprocessing"]}, client.folder)
    except UsageError as error:
        raise BundleError(f"The manifest of {client.folder} is damaged: {error}. Export it again.") from None


def _images_to_check(data: str | None, run: Run | None) -> Part:
    if data is None:
        if run is None:
            raise DataError("With --keras FILE there is no run to take the data from. Name it with --data.")
        dataset = run.load_data()
        return dataset.parts[dataset.test_split or "train"]
    if data in SOURCES or (Path(data) / "train").is_dir():
        dataset = load_dataset(data)
        return dataset.parts[dataset.test_split or "train"]
    files = inspect_folder(Path(data))
    return Part(FileImages([file.path for file in files]), np.zeros(len(files), np.int64))
