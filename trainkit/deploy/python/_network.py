"""A manifest and its network, opened: from images to what the network answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import cv2
import numpy as np

from trainkit.deploy.python._manifest import read_beside, read_manifest
from trainkit.deploy.python._mean import read_mean
from trainkit.deploy.python._model import read_model, read_net, reason_of
from trainkit.deploy.python._opencv import check_opencv, find_unusual_backend
from trainkit.deploy.python._pixels import apply_before_blob, check_image
from trainkit.deploy.python._values import MAX_MANIFEST_BYTES, BundleError


class Network:
    """A manifest and its network, opened. Use one in each thread: a `cv2.dnn.Net` must not be shared between threads.

    Args:
        bundle: the folder that `trainkit export` wrote, one with a manifest written by hand, or the manifest.
        engine: see `read_net`; by default what the manifest says.
        backend: see `find_backend`; by default OpenCV's own.
        target: the same; by default the CPU.

    Raises:
        BundleError: a file is missing, changed or damaged, this OpenCV is too old for it, the engine is another than
            the one that the manifest names, or backend and target are not to be had here.
        ValueError: there is no such engine, backend or target.
    """

    def __init__(
        self,
        bundle: str | Path,
        engine: str | None = None,
        *,
        backend: str | None = None,
        target: str | None = None,
    ) -> None:
        path = Path(bundle)
        self.manifest = read_manifest(path)
        self.folder = path if os.path.isdir(path) else path.parent
        opencv = self.manifest.get("opencv", {})
        self._check_kind(self.manifest["output"]["kind"])
        check_opencv(opencv, engine)
        computing = find_unusual_backend(backend, target)
        self._mean, self._mean_image = self._read_mean()
        model = self.manifest["model"]
        graph = read_beside(self.folder, model["graph"], "graph", MAX_MANIFEST_BYTES) if "graph" in model else None
        data = read_model(self.folder, model)
        if computing and engine is None:
            engine = opencv.get("engine", "classic")  # the new one of OpenCV 5 computes on the CPU only
        self._net = read_net(data, model["format"], engine or opencv.get("engine"), graph=graph)
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
        return apply_before_blob(image_bgr, self.manifest.get("before_blob", []), self.manifest["blob"]["size"])

    def to_blob(self, images_bgr: Sequence[np.ndarray]) -> np.ndarray:
        """Return the float32 `(N, C, H, W)` input of the network for N images.

        Raises:
            BundleError: OpenCV cannot bring an image to this size.
        """
        images = [self.prepare(image) for image in images_bgr]
        try:
            blob = np.asarray(cv2.dnn.blobFromImages(images, **self._blob_arguments()))
        except cv2.error as error:
            raise BundleError(
                f"OpenCV cannot make a blob of this image ({reason_of(error)}). Cut or scale it."
            ) from error
        if self._mean_image is None:
            return blob
        return np.asarray((blob - self._mean_image) * np.float32(self.manifest["blob"]["scalefactor"]))

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
        try:
            self._net.setInput(blob_nchw)
            output = self._net.forward()
        except cv2.error as error:
            raise BundleError(
                f"OpenCV {cv2.__version__} cannot run the model ({reason_of(error)}). Copy or export the bundle again."
            ) from error
        return np.array([] if output is None else output, np.float32)  # a copy: the net writes over its own

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
