"""What every part speaks of: the limits, what comes back, and what is raised."""

from __future__ import annotations

from typing import NamedTuple

try:
    from trainkit.errors import BundleError as BundleError
except ImportError:  # in a bundle, without trainkit

    class BundleError(Exception):  # type: ignore[no-redef]
        """A bundle, its manifest or its model is missing, damaged or not safe to load."""


SCHEMA = "trainkit/1"
SCHEMA_2 = "trainkit/2"  # the keys `output.reject_below` and `output.thresholds` more
MAX_WHOLE = 2**31 - 1
MAX_SIDE = 16384  # pixels; beyond it no classifier reads, and a hostile manifest would only fill the memory
MAX_PIXELS = 2**28  # of a padded image
MAX_DEPTH = 32  # of JSON: an object in an object is 2 deep
MAX_MANIFEST_BYTES = 16 * 2**20  # and of a text beside it: class names, a graph
MAX_MODEL_BYTES = 2**31 - 1  # no protobuf message is larger
MAX_MEAN_BYTES = 2**26
MAX_CLASSES = 10**6
PROBABILITY_TOLERANCE = 1e-5
MAX_TOLERANCE = 1e-3  # that a self-test may ask for; what is further off is another answer
OLDEST_OPENCV = "4.5.5"
NOTHING_FOUND = "nothing above the confidence asked for"
NONE_OF_THESE = "none of these"  # where a classifier is less sure than `output.reject_below`
MIN_DETECTION = 0.5  # confidence, where neither the caller nor the manifest says another
IMAGE_SUFFIXES = (".bmp", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)


class Prediction(NamedTuple):
    """A class name and its probability, 0 to 1.

    The label is None where no class is as likely as `output.reject_below` says: none of these. The probability is then
    that of the likeliest class.
    """

    label: str | None
    probability: float


class Box(NamedTuple):
    """Edges in pixels of the image as it was, from its upper left corner; within the image, and not empty."""

    left: float
    top: float
    right: float
    bottom: float


class Detection(NamedTuple):
    """What a detector found: a class name, how sure it is, 0 to 1, and where."""

    label: str
    confidence: float
    box: Box
