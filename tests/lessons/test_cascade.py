from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

from trainkit.lessons import _cascade as cascade
from trainkit.lessons._cascade import _uncovered, find_candidates

ASTRONAUT = np.ascontiguousarray(skimage.data.astronaut()[..., ::-1])
CROWD = np.tile(cv2.resize(ASTRONAUT[:250, 100:350], (120, 120), interpolation=cv2.INTER_AREA), (3, 5, 1))


def by_the_package(image_bgr: np.ndarray) -> list[dict]:
    from mtcnn import MTCNN

    return MTCNN().detect_faces(np.ascontiguousarray(image_bgr[..., ::-1]))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("image", "count"),
    [
        (CROWD, 15),
        (CROWD[:, :431], 12),
        (np.ascontiguousarray(skimage.data.chelsea()[..., ::-1]), 0),
        (np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8), 0),
    ],
    ids=["crowd", "cut", "cat", "noise"],
)
def test_candidates_are_those_of_the_package(image: np.ndarray, count: int) -> None:
    found = find_candidates(image)
    assert len(found) == count
    assert found == by_the_package(image)


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = find_candidates(CROWD)
    monkeypatch.setattr(cascade, "_STRIP_PIXELS", 5_000)
    monkeypatch.setattr(cascade, "_CANDIDATES", (7, 2))
    monkeypatch.setattr(cascade, "_COMPARED", 3)
    in_pieces = find_candidates(CROWD)
    assert [face["box"] for face in in_pieces] == [face["box"] for face in whole]
    for one, other in zip(in_pieces, whole, strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)
        assert one["keypoints"] == other["keypoints"]


@pytest.mark.parametrize("of_the_smaller", [False, True])
@pytest.mark.parametrize("covered", [0.3, 0.7])
def test_covered_boxes_are_those_of_the_package(covered: float, of_the_smaller: bool) -> None:
    from mtcnn.utils.bboxes import smart_nms_from_bboxes

    generator = np.random.default_rng(1)
    corners = generator.uniform(0, 150, (400, 2))
    sides = generator.choice([12, 20, 60], (400, 1)) * generator.uniform(0.8, 1.2, (400, 2))
    boxes = np.column_stack([np.zeros(400), corners, corners + sides, np.linspace(1, 0, 400)])
    method = "min" if of_the_smaller else "union"
    wanted = smart_nms_from_bboxes(boxes, threshold=covered, method=method, initial_sort=False)
    assert 0 < len(wanted) < 400
    np.testing.assert_array_equal(boxes[_uncovered(boxes, covered, of_the_smaller=of_the_smaller)], wanted)


def test_boxes_without_area_cover_nothing() -> None:
    boxes = np.array([[0, 5, 5, 5, 5, 0.9], [0, 5, 5, 5, 5, 0.8]])
    assert _uncovered(boxes, 0.5).tolist() == [True, True]
    assert _uncovered(np.empty((0, 6)), 0.5).tolist() == []


@pytest.mark.shared
@pytest.mark.slow
def test_candidates_on_photographs_are_those_of_the_package(shared) -> None:  # type: ignore[no-untyped-def]
    faces = 0
    for path in sorted((shared / "data/photos").iterdir()):
        image = cv2.imread(str(path))
        if image is not None:
            found = find_candidates(np.asarray(image))
            assert found == by_the_package(np.asarray(image)), path
            faces += len(found)
    assert faces > 15
