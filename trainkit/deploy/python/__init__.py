"""The Python client in parts of one idea each, from which `trainkit.deploy._build` builds a bundle's `classify.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.deploy.python._classifier import Classifier
    from trainkit.deploy.python._command import main
    from trainkit.deploy.python._detector import Detector
    from trainkit.deploy.python._manifest import read_class_names, read_manifest
    from trainkit.deploy.python._mean import read_mean
    from trainkit.deploy.python._media import is_utf8, is_video, list_files, read_frames, read_image
    from trainkit.deploy.python._model import read_net
    from trainkit.deploy.python._network import Network
    from trainkit.deploy.python._opencv import describe_needs, find_backend, has_engines, version_of
    from trainkit.deploy.python._pixels import apply_before_blob, check_image, pad_to_aspect, padding_to_aspect
    from trainkit.deploy.python._prediction import describe_speed, in_batches, open_bundle
    from trainkit.deploy.python._schema import check_manifest
    from trainkit.deploy.python._selftest import describe_file_check, pixel_sha256, selftest
    from trainkit.deploy.python._values import (
        IMAGE_SUFFIXES,
        MAX_CLASSES,
        MAX_MANIFEST_BYTES,
        MAX_MEAN_BYTES,
        MAX_PIXELS,
        MAX_SIDE,
        MAX_TOLERANCE,
        MAX_WHOLE,
        MIN_DETECTION,
        NONE_OF_THESE,
        NOTHING_FOUND,
        OLDEST_OPENCV,
        PROBABILITY_TOLERANCE,
        SCHEMA,
        SCHEMA_2,
        VIDEO_SUFFIXES,
        Box,
        BundleError,
        Detection,
        Prediction,
    )

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_CLASSES",
    "MAX_MANIFEST_BYTES",
    "MAX_MEAN_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MAX_TOLERANCE",
    "MAX_WHOLE",
    "MIN_DETECTION",
    "NONE_OF_THESE",
    "NOTHING_FOUND",
    "OLDEST_OPENCV",
    "PROBABILITY_TOLERANCE",
    "SCHEMA",
    "SCHEMA_2",
    "VIDEO_SUFFIXES",
    "Box",
    "BundleError",
    "Classifier",
    "Detection",
    "Detector",
    "Network",
    "Prediction",
    "apply_before_blob",
    "check_image",
    "check_manifest",
    "describe_file_check",
    "describe_needs",
    "describe_speed",
    "find_backend",
    "has_engines",
    "in_batches",
    "is_utf8",
    "is_video",
    "list_files",
    "main",
    "open_bundle",
    "pad_to_aspect",
    "padding_to_aspect",
    "pixel_sha256",
    "read_class_names",
    "read_frames",
    "read_image",
    "read_manifest",
    "read_mean",
    "read_net",
    "selftest",
    "version_of",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Box": "trainkit.deploy.python._values",
        "BundleError": "trainkit.deploy.python._values",
        "Classifier": "trainkit.deploy.python._classifier",
        "Detection": "trainkit.deploy.python._values",
        "Detector": "trainkit.deploy.python._detector",
        "IMAGE_SUFFIXES": "trainkit.deploy.python._values",
        "MAX_CLASSES": "trainkit.deploy.python._values",
        "MAX_MANIFEST_BYTES": "trainkit.deploy.python._values",
        "MAX_MEAN_BYTES": "trainkit.deploy.python._values",
        "MAX_PIXELS": "trainkit.deploy.python._values",
        "MAX_SIDE": "trainkit.deploy.python._values",
        "MAX_TOLERANCE": "trainkit.deploy.python._values",
        "MAX_WHOLE": "trainkit.deploy.python._values",
        "MIN_DETECTION": "trainkit.deploy.python._values",
        "NONE_OF_THESE": "trainkit.deploy.python._values",
        "NOTHING_FOUND": "trainkit.deploy.python._values",
        "Network": "trainkit.deploy.python._network",
        "OLDEST_OPENCV": "trainkit.deploy.python._values",
        "PROBABILITY_TOLERANCE": "trainkit.deploy.python._values",
        "Prediction": "trainkit.deploy.python._values",
        "SCHEMA": "trainkit.deploy.python._values",
        "SCHEMA_2": "trainkit.deploy.python._values",
        "VIDEO_SUFFIXES": "trainkit.deploy.python._values",
        "apply_before_blob": "trainkit.deploy.python._pixels",
        "check_image": "trainkit.deploy.python._pixels",
        "check_manifest": "trainkit.deploy.python._schema",
        "describe_file_check": "trainkit.deploy.python._selftest",
        "describe_needs": "trainkit.deploy.python._opencv",
        "describe_speed": "trainkit.deploy.python._prediction",
        "find_backend": "trainkit.deploy.python._opencv",
        "has_engines": "trainkit.deploy.python._opencv",
        "in_batches": "trainkit.deploy.python._prediction",
        "is_utf8": "trainkit.deploy.python._media",
        "is_video": "trainkit.deploy.python._media",
        "list_files": "trainkit.deploy.python._media",
        "main": "trainkit.deploy.python._command",
        "open_bundle": "trainkit.deploy.python._prediction",
        "pad_to_aspect": "trainkit.deploy.python._pixels",
        "padding_to_aspect": "trainkit.deploy.python._pixels",
        "pixel_sha256": "trainkit.deploy.python._selftest",
        "read_class_names": "trainkit.deploy.python._manifest",
        "read_frames": "trainkit.deploy.python._media",
        "read_image": "trainkit.deploy.python._media",
        "read_manifest": "trainkit.deploy.python._manifest",
        "read_mean": "trainkit.deploy.python._mean",
        "read_net": "trainkit.deploy.python._model",
        "selftest": "trainkit.deploy.python._selftest",
        "version_of": "trainkit.deploy.python._opencv",
    },
)
