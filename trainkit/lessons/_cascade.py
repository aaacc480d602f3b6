"""The three networks of MTCNN (Zhang et al. 2016, arXiv:1604.02878), run in pieces.

Networks, weights and formulas are those of the package mtcnn, and so are the answers. Its own `MTCNN.detect_faces`
holds the image as float64, the first network's layers over all of it, and a table that compares each candidate with
each other: 4 GB for a crowd on 3 megapixels, and more than a machine has for one on 12. Here the first network takes
strips of the image, the others some candidates at a time, and a candidate is compared with those at its own height.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

# As the package has them: the smallest face in pixels, the step between the sizes of the image, the confidence a
# candidate needs after each network, and how much of it a surer one may cover.
_SMALLEST_FACE, _STEP = 20, 0.709
_CONFIDENCE = (0.6, 0.7, 0.8)
_COVERED_IN_ONE_SIZE, _COVERED = 0.5, 0.7
# The first network looks at windows of 12x12, 2 pixels apart.
_WINDOW, _STRIDE = 12, 2
_STRIP_PIXELS = 2**18
_CANDIDATES = (512, 128)  # that the second and the third network take at a time
_COMPARED = 64  # candidates that are compared with their neighbours at a time


def find_candidates(image_bgr: np.ndarray) -> list[dict[str, Any]]:
    """Return what `mtcnn.MTCNN().detect_faces` finds on the image's RGB: `{"box", "confidence", "keypoints"}` a face.

    The memory it takes grows by 30 bytes a pixel, above the 0.7 GB of TensorFlow.

    Args:
        image_bgr: uint8 `(height, width, 3)`.
    """
    from trainkit.backend import tf

    networks = _networks()
    from mtcnn.utils.bboxes import limit_bboxes, to_json

    with tf.device("CPU:0"):
        image = tf.constant(_normalize(image_bgr)[np.newaxis])
        candidates = _propose(networks[0], image)
        if len(candidates):
            candidates = _refine(networks[1], image, candidates)
        if len(candidates):
            candidates = _finish(networks[2], image, candidates)
        if not len(candidates):
            return []
        within = limit_bboxes(candidates, np.array([image_bgr.shape]), limit_landmarks=False)
        (found,) = to_json(within, images_count=1)
    return list(found)


@cache
def _networks() -> tuple[Any, Any, Any]:
    """Return the networks that propose, refine and finish."""
    from importlib.resources import files

    from trainkit.backend import silent_stderr

    with silent_stderr():
        from mtcnn.stages import StageONet, StagePNet, StageRNet

        # By their whole path: by its name alone the package takes a file of the current folder, and unpickles it.
        weights = files("mtcnn") / "assets" / "weights"
        stages = [(StagePNet, "pnet.lz4"), (StageRNet, "rnet.lz4"), (StageONet, "onet.lz4")]
        propose, refine, finish = (stage(weights=str(weights / name)).model for stage, name in stages)
    return propose, refine, finish


def _normalize(image_bgr: np.ndarray) -> np.ndarray:
    """Return float32 RGB, -1 to 1; exact, and thus what the package has in float64."""
    image = image_bgr[..., ::-1].astype(np.float32)
    image -= 127.5
    image /= 128
    return image


def _propose(network: Any, image: Any) -> np.ndarray:
    """Return the squares where the first network, on each size of the image, sees a face."""
    from mtcnn.utils.bboxes import generate_bounding_box, resize_to_square
    from mtcnn.utils.images import build_scale_pyramid, scale_images

    height, width = image.shape[1:3]
    found = [np.empty((0, 6))]
    for scale in build_scale_pyramid(width, height, min_face_size=_SMALLEST_FACE, scale_factor=_STEP):
        boxes = generate_bounding_box(*_in_strips(network, scale_images(image, scale)), _CONFIDENCE[0])
        boxes[:, 1:5] /= scale
        found.append(boxes[_uncovered(boxes, _COVERED_IN_ONE_SIZE)])
    return np.asarray(resize_to_square(_best(np.concatenate(found), _COVERED)))


def _in_strips(network: Any, image: Any) -> list[Any]:
    """Run the first network over `(1, height, width, 3)`; it has an answer for each window, so strips lose nothing."""
    from trainkit.backend import tf

    height, width = image.shape[1:3]
    rows = max(1, _STRIP_PIXELS // (width * _STRIDE))
    answers = [
        network(image[:, top : top + (rows - 1) * _STRIDE + _WINDOW])
        for top in range(0, height - _WINDOW + 1, rows * _STRIDE)
    ]
    return [tf.concat(strips, axis=1) for strips in zip(*answers, strict=True)]


def _refine(network: Any, image: Any, candidates: np.ndarray) -> np.ndarray:
    """Return the squares that the second network, with a closer look, still takes for faces."""
    from mtcnn.utils.bboxes import adjust_bboxes, pick_matches, replace_confidence, resize_to_square

    offsets, confidences = _in_batches(network, image, candidates, side=24, batch=_CANDIDATES[0])
    candidates = adjust_bboxes(replace_confidence(candidates, confidences), offsets)
    return np.asarray(resize_to_square(_best(pick_matches(candidates, score_threshold=_CONFIDENCE[1]), _COVERED)))


def _finish(network: Any, image: Any, candidates: np.ndarray) -> np.ndarray:
    """Return the boxes that the third network takes for faces, with their landmarks: `(N, 16)`."""
    from mtcnn.utils.bboxes import adjust_bboxes, pick_matches, replace_confidence
    from mtcnn.utils.landmarks import adjust_landmarks

    offsets, landmarks, confidences = _in_batches(network, image, candidates, side=48, batch=_CANDIDATES[1])
    landmarks = adjust_landmarks(landmarks, candidates)
    candidates = adjust_bboxes(replace_confidence(candidates, confidences), offsets)
    faces = pick_matches(np.concatenate([candidates, landmarks], axis=1), 5, _CONFIDENCE[2])
    return _best(faces, _COVERED, of_the_smaller=True)


def _in_batches(network: Any, image: Any, candidates: np.ndarray, *, side: int, batch: int) -> list[Any]:
    """Run a network over what the candidates cut out of the image, resized to `side` pixels."""
    from mtcnn.utils.images import extract_patches

    from trainkit.backend import tf

    starts = range(0, len(candidates), batch)
    answers = [network(extract_patches(image, candidates[start : start + batch], (side, side))) for start in starts]
    return [tf.concat(parts, axis=0) for parts in zip(*answers, strict=True)]


def _best(boxes: np.ndarray, covered: float, *, of_the_smaller: bool = False) -> np.ndarray:
    """Return the boxes without those that a surer one covers, the surest first."""
    from mtcnn.utils.bboxes import sort_by_scores

    surest_first = sort_by_scores(boxes, scores=boxes[:, 5], ascending=False)
    return np.asarray(surest_first[_uncovered(surest_first, covered, of_the_smaller=of_the_smaller)])


def _uncovered(boxes: np.ndarray, covered: float, *, of_the_smaller: bool = False) -> np.ndarray:
    """Tell which boxes no earlier one covers, itself covered or not.

    Args:
        boxes: `(N, 5 or more)`: a number, left, top, right, bottom; the surest first.
        covered: the most that two boxes may have in common, of their union or of the smaller one.
        of_the_smaller: which of these.

    Returns:
        bool `(N,)`.
    """
    edges = boxes[:, 1:5].T
    areas = (edges[2] - edges[0]) * (edges[3] - edges[1])
    keep = np.ones(len(boxes), bool)
    for some, near in _neighbours(edges):
        left, top = (np.maximum(edges[i, some, np.newaxis], edges[i, near]) for i in (0, 1))
        right, bottom = (np.minimum(edges[i, some, np.newaxis], edges[i, near]) for i in (2, 3))
        common = np.maximum(0, right - left) * np.maximum(0, bottom - top)
        if of_the_smaller:
            whole = np.minimum(areas[some, np.newaxis], areas[near])
        else:
            whole = areas[some, np.newaxis] + areas[near] - common
        with np.errstate(divide="ignore", invalid="ignore"):  # a box may have no area
            covers = (common / whole > covered) & (near < some[:, np.newaxis])
        keep[some] = ~covers.any(axis=1)
    return keep


def _neighbours(edges: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the indices of all boxes, some at a time, each time with those of the boxes that may touch them."""
    _, top, _, bottom = edges
    from_the_top = np.argsort(top)
    for start in range(0, len(top), _COMPARED):
        some = from_the_top[start : start + _COMPARED]
        yield some, np.flatnonzero((top <= bottom[some].max()) & (bottom >= top[some].min()))
