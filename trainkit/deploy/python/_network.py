"""A manifest and its network, opened: from images to what the network answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import cv2
import numpy as np

from trainkit.deploy.python._brightness import compare_brightness, measure_brightness, read_training_pixels
from trainkit.deploy.python._graph import check_graph
from trainkit.deploy.python._manifest import read_beside, read_manifest
from trainkit.deploy.python._mean import read_mean
from trainkit.deploy.python._model import load_net, read_model, reason_of, run_net
from trainkit.deploy.python._onnx import OnnxModel
from trainkit.deploy.python._opencv import check_opencv, find_unusual_backend
from trainkit.deploy.python._pixels import apply_before_blob, check_image
from trainkit.deploy.python._resizing import fit_to_blob
from trainkit.deploy.python._trial import Trial
from trainkit.deploy.python._values import MAX_MANIFEST_BYTES, BundleError
from trainkit.deploy.python._vouching import vouches_for


class Network:
    """A manifest and its network, opened. Use one in each thread: a `cv2.dnn.Net` must not be shared between threads.

    Args:
        bundle: the folder that `trainkit export` wrote, one with a manifest written by hand, or the manifest.
        engine: see `read_net`; by default what the manifest says.
        backend: see `find_backend`; by default OpenCV's own.
        target: the same; by default the CPU.
        trial: whether a network that is not of the forms that trainkit writes is first tried in a process of its own,
            for each size of batch once. False is for files that you trust.

    Raises:
        BundleError: a file is missing, changed or damaged, this OpenCV is too old for it, the engine is another than
            the one that the manifest names, or backend and target are not to be had here; or the network would end the
            process or reads other files, or no process can be started to try it.
        ValueError: there is no such engine, backend or target.
    """

    def __init__(
        self,
        bundle: str | Path,
        engine: str | None = None,
        *,
        backend: str | None = None,
        target: str | None = None,
        trial: bool = True,
    ) -> None:
        path = Path(bundle)
        self.manifest = read_manifest(path)
        self.folder = path if os.path.isdir(path) else path.parent
        opencv = self.manifest.get("opencv", {})
        self._check_kind(self.manifest["output"]["kind"])
        check_opencv(opencv, engine)
        computing = find_unusual_backend(backend, target)
        self._mean, self._mean_image = self._read_mean()
        self._tables: np.ndarray | None = None
        model = self.manifest["model"]
        graph = read_beside(self.folder, model["graph"], "graph", MAX_MANIFEST_BYTES) if "graph" in model else None
        data = read_model(self.folder, model)
        if computing and engine is None:
            engine = opencv.get("engine", "classic")  # the new one of OpenCV 5 computes on the CPU only
        engine = engine or opencv.get("engine")
        onnx = check_graph(data, model["format"], graph, str(self.folder / model["file"]))
        self._trial = self._try(onnx, data, graph, engine) if trial else None
        self._net = load_net(data, model["format"], engine, graph=graph)
        if computing:
            self._compute_with(*computing)

    def _compute_with(self, backend: int, target: int) -> None:
        try:
            self._net.setPreferableBackend(backend)
            self._net.setPreferableTarget(target)
        except cv2.error as error:
            raise BundleError(
                f"OpenCV {cv2.__version__} takes no such backend or target for this network ({reason_of(error)}). "
                "Leave them out."
            ) from error

    def _try(self, onnx: OnnxModel | None, data: bytes, graph: bytes | None, engine: str | None) -> Trial | None:
        """Return what has tried the network, None where nothing is left to be tried."""
        model, (width, height) = self.manifest["model"], self.manifest["blob"]["size"]
        channels = 1 if {"step": "gray"} in self.manifest.get("before_blob", []) else 3
        name = str(self.folder / model["file"])
        if onnx is not None and vouches_for(onnx, (channels, height, width), name):
            return None
        trial = Trial(data, model["format"], engine, graph=graph, model_name=name, values=self._extremes())
        trial.load((1, channels, height, width))
        return trial

    def _extremes(self) -> Tuple[float, float]:
        """Return what black and white become in the first channel of a blob."""
        mean, scale = float(self._mean[0]), float(self.manifest["blob"]["scalefactor"])
        return -mean * scale, (255 - mean) * scale

    def _check_kind(self, kind: str) -> None:
        """Raise where the manifest describes another kind of network."""

    def _read_mean(self) -> Tuple[Tuple[float, ...], np.ndarray | None]:
        """Return the mean as numbers, and as an image where there is one of the blob's own size."""
        blob = self.manifest["blob"]
        if not isinstance(blob["mean"], str):
            return tuple(blob["mean"]), None
        mean = read_mean(self.folder, blob["mean"], swap=blob["swapRB"])
        channels = 1 if {"step": "gray"} in self.manifest.get("before_blob", []) else 3
        if len(mean) != channels:
            raise BundleError(
                f"{self.folder / blob['mean']} is a mean of {len(mean)} channels. The model sees {channels}."
            )
        if mean.shape[1:] == (blob["size"][1], blob["size"][0]):
            return (0.0,) * 4, mean
        return tuple(float(value) for value in mean.mean(axis=(1, 2), dtype=np.float64)), None

    @property
    def class_names(self) -> List[str]:
        """The class names, by their numbers in the output."""
        return list(self.manifest["output"]["class_names"])

    def prepare(self, image_bgr: np.ndarray) -> np.ndarray:
        """Do what must happen before `cv2.dnn.blobFromImage`; mostly nothing."""
        check_image(image_bgr)
        blob = self.manifest["blob"]
        image = apply_before_blob(image_bgr, self.manifest.get("before_blob", []), blob["size"])
        return fit_to_blob(image, blob["size"], crop=blob["crop"])

    def to_blob(self, images_bgr: Sequence[np.ndarray]) -> np.ndarray:
        """Return the float32 `(N, C, H, W)` input of the network for N images.

        Raises:
            BundleError: OpenCV cannot bring an image to this size.
        """
        images = [self.prepare(image) for image in images_bgr]
        try:
            blob = np.asarray(cv2.dnn.blobFromImages(images, **self._blob_arguments()))
        except cv2.error as error:
            raise self._no_blob(error) from error
        return blob if self._mean_image is None else self._less_mean_image(blob)

    def _no_blob(self, error: cv2.error) -> BundleError:
        return BundleError(f"OpenCV cannot make a blob of this image ({reason_of(error)}). Cut or scale it.")

    def _less_mean_image(self, blob: np.ndarray) -> np.ndarray:
        return np.asarray((blob - self._mean_image) * np.float32(self.manifest["blob"]["scalefactor"]))

    def to_blob_and_levels(self, image_bgr: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Return what `to_blob` makes of one image, and its resized levels, uint8 `(1, C, H, W)`: resized only once.

        Raises:
            BundleError: OpenCV cannot bring an image to this size.
        """
        blob = dict(self._blob_arguments(), scalefactor=1.0, mean=(0, 0, 0, 0), ddepth=cv2.CV_8U)
        try:
            levels = np.asarray(cv2.dnn.blobFromImage(self.prepare(image_bgr), **blob))
        except cv2.error as error:
            raise self._no_blob(error) from error
        if self._mean_image is not None:
            return self._less_mean_image(levels.astype(np.float32)), levels
        planes = [cv2.LUT(plane, table) for plane, table in zip(levels[0], self._level_tables())]
        return np.stack(planes)[np.newaxis], levels

    def _level_tables(self) -> np.ndarray:
        """Return what OpenCV makes of each level in each channel of a blob, float32 `(C, 1, 256)`, by asking it."""
        if self._tables is None:
            levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
            is_gray = {"step": "gray"} in self.manifest.get("before_blob", [])
            image = levels if is_gray else np.stack([levels] * 3, axis=2)
            blob = np.asarray(cv2.dnn.blobFromImage(image, **dict(self._blob_arguments(), size=(16, 16))))
            self._tables = blob.reshape(-1, 1, 256)
        return self._tables

    def to_pixels(self, image_bgr: np.ndarray) -> np.ndarray:
        """Return the resized pixels of an image before mean and scale, `(1, C, H, W)`, whole levels as float32."""
        blob = dict(self._blob_arguments(), scalefactor=1.0, mean=(0, 0, 0, 0))
        return np.asarray(cv2.dnn.blobFromImage(self.prepare(image_bgr), **blob))

    def brightness_warning(self, image_bgr: np.ndarray, *, inverted: bool = False) -> str | None:
        """Say where an image is much darker or lighter than those that the network was trained on.

        Args:
            image_bgr: as `predict` takes it, not inverted.
            inverted: whether `255 - image_bgr` is what is predicted.

        Returns:
            A sentence; None where the image is like them, or the manifest has no `extra.training_pixels`.
        """
        if read_training_pixels(self.manifest) is None:
            return None
        return self.warning_of(self.to_pixels(255 - image_bgr if inverted else image_bgr), inverted=inverted)

    def warning_of(self, levels: np.ndarray, *, inverted: bool = False) -> str | None:
        """Return what `brightness_warning` says of an image, of its resized levels `(1, C, H, W)`."""
        training = read_training_pixels(self.manifest)
        if training is None:
            return None
        in_bgr = list(levels[0][::-1] if self.manifest["blob"]["swapRB"] else levels[0])
        return compare_brightness(measure_brightness(in_bgr), training, inverted=inverted)

    def _blob_arguments(self) -> Dict[str, Any]:
        # A bare number would reach only the first channel, and a list is no Scalar in every version.
        blob = dict(self.manifest["blob"], mean=self._mean, size=tuple(self.manifest["blob"]["size"]))
        if {"step": "gray"} in self.manifest.get("before_blob", []):
            blob["swapRB"] = False  # there is nothing to swap, but OpenCV 4.6 swaps the means even so
        return blob if self._mean_image is None else dict(blob, scalefactor=1.0)  # the mean is taken off before

    def run(self, blob_nchw: np.ndarray) -> np.ndarray:
        """Run the network on `(N, C, H, W)` and return what comes out of it, as it is, float32.

        Raises:
            BundleError: the network fails, or nothing comes out.
        """
        if self._trial is not None:
            self._trial.run(blob_nchw.shape)
        return run_net(self._net, blob_nchw)

    def forward(self, blob_nchw: np.ndarray) -> np.ndarray:
        """Run the network on `(N, C, H, W)` and return what its kind makes of it."""
        return self.run(blob_nchw)

    def _forward_many(self, blob_nchw: np.ndarray) -> List[np.ndarray]:
        """Return the answer to all images of a blob; to each by itself where the network takes no more."""
        try:
            return [self.forward(blob_nchw)]
        except BundleError:
            if len(blob_nchw) == 1:
                raise
        return [self.forward(blob_nchw[i : i + 1]) for i in range(len(blob_nchw))]
