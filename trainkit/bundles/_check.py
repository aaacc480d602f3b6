"""Does the bundle answer as the Keras model does? Pixels first, then logits, then probabilities and labels."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from trainkit.bundles._find import EXPORTED, find_bundle
from trainkit.data._dataset import Part, take_evenly
from trainkit.data._sources import load_images, load_sample_images
from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._model import read_net
from trainkit.deploy.python._values import MAX_TOLERANCE, PROBABILITY_TOLERANCE
from trainkit.errors import BundleError, DataError, TrainkitError, UsageError
from trainkit.files import sha256_of
from trainkit.preprocessing import WHITE, Preprocessing, build_from_json
from trainkit.runs._run import EXPERIMENTS, Run, find_run

if TYPE_CHECKING:
    from trainkit.exporting._tracing import Traced

LOGIT_TOLERANCE = 1e-4  # of the standard deviation of all logits
_OWN_FACTOR = 4  # how much further off than onnxruntime on the same graph OpenCV may be
_CHUNK = 256  # images held in memory at a time
_BATCHES = (1, 3, 8, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far one runtime is from Keras, over all images and classes."""

    version: str
    top1_agreement: float  # the share of images with the same label
    max_abs_difference: float  # of probabilities
    max_relative_logit_difference: float  # divided by the standard deviation of Keras' logits

    def within(self, probability_tolerance: float, logit_tolerance: float) -> bool:
        """Whether all labels agree and the differences are within the tolerances; a NaN never is."""
        return (
            self.top1_agreement == 1
            and self.max_abs_difference <= probability_tolerance
            and self.max_relative_logit_difference <= logit_tolerance
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What a check found. The figures are the worst of all runtimes.

    The tolerances are 1e-5 for probabilities and 1e-4 of their standard deviation for logits. In a network that makes
    much of little, float32 alone costs more than that. How much, onnxruntime shows on the same graph: four times its
    own difference is then the tolerance, up to 1e-3.
    """

    images: int
    max_abs_pixel_difference: float  # training's tensor against the blob, in the blob's own terms
    runtimes: dict[str, Difference]
    probability_tolerance: float = PROBABILITY_TOLERANCE
    logit_tolerance: float = LOGIT_TOLERANCE

    @property
    def loosened(self) -> bool:
        """Whether onnxruntime's own difference set a tolerance that was needed."""
        opencv = self.runtimes["opencv"]
        return self.ok and not opencv.within(PROBABILITY_TOLERANCE, LOGIT_TOLERANCE)

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
        return self.max_abs_pixel_difference == 0 and all(
            difference.within(self.probability_tolerance, self.logit_tolerance) for difference in self.runtimes.values()
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON has them; one that is no number is `null`."""
        return {
            "images": self.images,
            "top1_agreement": self.top1_agreement,
            "max_abs_difference": _finite(self.max_abs_difference),
            "max_relative_logit_difference": _finite(self.max_relative_logit_difference),
            "max_abs_pixel_difference": _finite(self.max_abs_pixel_difference),
            "probability_tolerance": self.probability_tolerance,
            "logit_tolerance": self.logit_tolerance,
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
    unsafe: bool = False,
) -> Agreement:
    """Compare a bundle's answers with those of the Keras model it came from.

    Args:
        bundle: its folder, or its name in `exported`.
        data: a data set's name (its test part) or a folder of images; by default the test part of the run's own data.
        keras: the Keras model, where the run that the manifest names is not in `experiments` any more.
        experiments: where runs lie.
        exported: where bundles lie.
        max_images: compare on at most so many, spread over the part.
        unsafe: load a Keras model that holds code; see `trainkit.export`.

    Raises:
        BundleError: the bundle is damaged, or its Keras model is not to be found.
        DataError: there are no images to compare on.
    """
    client = Classifier(find_bundle(bundle, Path(exported)))
    source = client.manifest.get("source", {})
    path, run = find_keras_model(client, Path(keras) if keras else None, Path(experiments))
    part = _images_to_check(str(data) if data is not None else None, run, source)
    if max_images is not None:
        part = take_evenly([part], max_images)
    preprocessing = run.preprocessing if run else preprocessing_of(client)
    model = load_model(path, source, preprocessing, unsafe)

    from trainkit.exporting._tracing import finish_in_graph, trace

    traced = trace(model, from_logits=source.get("from_logits", False), finish=finish_in_graph(preprocessing))
    return compare(client, traced, part, preprocessing)


def compare(client: Classifier, traced: Traced, part: Part, preprocessing: Preprocessing) -> Agreement:
    """Compare an opened bundle with a Keras model on the images of a part.

    Args:
        client: the bundle.
        traced: the model that it came from, behind what the blob leaves over of the preprocessing.
        part: the images.
        preprocessing: how they become the model's input.
    """
    from trainkit.backend import keras as keras_package

    if traced.classes != len(client.class_names):
        raise BundleError(
            f"The Keras model has {traced.classes} classes; the bundle has {len(client.class_names)} class names."
        )
    with tempfile.TemporaryDirectory() as folder:
        runtimes = _open_runtimes(client, Path(folder))
        blobs: list[np.ndarray] = []
        reference: dict[str, list[np.ndarray]] = {"probabilities": [], "logits": []}
        answers: dict[tuple[str, str], list[np.ndarray]] = {key: [] for key in runtimes}
        pixel_difference = 0.0
        for start in range(0, len(part), _CHUNK):
            images = [part.images[i] for i in range(start, min(start + _CHUNK, len(part)))]
            pixels = [preprocessing.to_pixels(image) for image in images]
            blob = client.to_blob(images)
            pixel_difference = max(pixel_difference, _difference(preprocessing.to_blob(pixels), blob))
            for kind, answer in traced.predict(preprocessing.to_input(pixels)).items():
                reference[kind].append(answer)
            for key, run_blob in runtimes.items():
                answers[key].append(run_blob(blob))
            blobs += [blob] if start == 0 else []
    expected = {kind: np.concatenate(parts) for kind, parts in reference.items()}
    actual = {key: np.concatenate(parts) for key, parts in answers.items()}
    differences = {
        name: _compare_runtime(_version(name), expected, {kind: actual[name, kind] for kind in expected})
        for name in dict.fromkeys(name for name, _ in runtimes)
    }
    own = differences.get("onnxruntime")
    if own is None and not differences["opencv"].within(PROBABILITY_TOLERANCE, LOGIT_TOLERANCE):
        own = _difference_of_onnx(traced, blobs[0], {kind: parts[0] for kind, parts in reference.items()})
    keras_itself = Difference(
        version=keras_package.__version__,
        top1_agreement=1.0,
        max_abs_difference=0.0,
        max_relative_logit_difference=0.0,
    )
    return Agreement(
        images=len(part),
        max_abs_pixel_difference=pixel_difference,
        runtimes={"keras": keras_itself, **differences},
        probability_tolerance=_tolerance(PROBABILITY_TOLERANCE, None if own is None else own.max_abs_difference),
        logit_tolerance=_tolerance(LOGIT_TOLERANCE, None if own is None else own.max_relative_logit_difference),
    )


def _tolerance(usual: float, own: float | None) -> float:
    """Return what OpenCV may differ by: the usual, or four times what onnxruntime differs by on the same graph."""
    if own is None or not math.isfinite(own):
        return usual
    return max(usual, min(_OWN_FACTOR * own, MAX_TOLERANCE))


def _difference_of_onnx(traced: Traced, blob: np.ndarray, expected: dict[str, np.ndarray]) -> Difference:
    """Return how far onnxruntime is from Keras on the ONNX form of a graph, for the sake of its frozen form."""
    from trainkit.exporting._conversion import build_graph
    from trainkit.exporting._onnx_graph import save_logits_twin, save_onnx

    with tempfile.TemporaryDirectory() as folder:
        paths = {"probabilities": Path(folder, "model.onnx"), "logits": Path(folder, "twin.onnx")}
        save_onnx(build_graph(traced), traced.kind, paths["probabilities"], metadata={})
        save_logits_twin(paths["probabilities"], paths["logits"])
        answers = {kind: _onnxruntime_forward(path)(blob) for kind, path in paths.items()}
    return _compare_runtime(_version("onnxruntime"), expected, answers)


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
        from trainkit.exporting._onnx_graph import save_logits_twin
    else:
        from trainkit.exporting._frozen_graph import save_logits_twin
    save_logits_twin(model_path, twin)
    runtimes = {
        ("opencv", "probabilities"): _in_batches(client.forward),
        ("opencv", "logits"): _in_batches(_opencv_forward(client, twin)),
    }
    if model["format"] == "onnx":
        runtimes["onnxruntime", "probabilities"] = _onnxruntime_forward(model_path)
        runtimes["onnxruntime", "logits"] = _onnxruntime_forward(twin)
    return runtimes


def _in_batches(forward: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Run images alone and several at a time, in turn, on one net: a graph may be right for the first size only."""

    def run(blob: np.ndarray) -> np.ndarray:
        ends = [0]
        for size in itertools.cycle(_BATCHES):
            ends.append(min(ends[-1] + size, len(blob)))
            if ends[-1] == len(blob):
                break
        return np.concatenate([forward(blob[start:end]) for start, end in itertools.pairwise(ends)])

    return run


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
    from trainkit.models._loading import at_size, load_model_file, offering_unsafe

    if path is not None:
        with offering_unsafe():
            return at_size(load_model_file(path, unsafe=unsafe).model, preprocessing.shape)
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
        raise BundleError(f"The manifest of {client.folder} is damaged: {error}. Export it again.") from None


def _images_to_check(data: str | None, run: Run | None, source: dict[str, Any]) -> Part:
    if data is not None:
        return load_images(data)
    if run is not None:
        dataset = run.load_data()
        return dataset.parts[dataset.test_split or "train"]
    if "run" in source:
        raise DataError("With --keras FILE there is no run to take the data from. Name it with --data.")
    return load_sample_images()
