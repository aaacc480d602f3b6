from __future__ import annotations

import cv2
import numpy as np
import pytest

from trainkit.explaining._geometry import Framing, interpolate
from trainkit.preprocessing import Preprocessing


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(90, 160), (170, 90), (64, 64), (31, 40), (300, 7)])
def test_a_map_lies_where_the_picture_was_seen(resize: str, shape: tuple[int, int]) -> None:
    """The input itself, brought back as a map, is the picture, as far as it was seen."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    picture = (50 + 150 * (rows / shape[0] + columns / shape[1]) / 2).astype(np.uint8)
    preprocessing = Preprocessing(
        height=60,
        width=90,
        resize=resize,
        color="gray",
        mean=(0.0,),
        std=(1.0,),  # type: ignore[arg-type]
    )
    seen = preprocessing.to_pixels(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))[..., 0]
    back = Framing.of_preprocessing(preprocessing).to_picture(seen, shape[1], shape[0])
    assert back.shape == shape
    inside = back > 0
    assert inside.all() if resize != "crop" else inside.mean() == pytest.approx(_share_seen(*shape), abs=0.05)
    inner = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    edge = (slice(3, -3), slice(3, -3)) if min(shape) > 10 else (slice(None), slice(3, -3))
    difference = np.abs(back - picture)[edge][inner[edge]]
    assert difference.max(initial=0) < (6 if min(shape) > 10 else 40)


def _share_seen(rows: int, columns: int) -> float:
    scale = max(60 / rows, 90 / columns)
    return 60 * 90 / (rows * columns * scale**2)


def test_between_cells_it_is_bilinear() -> None:
    cells = np.array([[0.0, 2.0], [4.0, 6.0]])
    places = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    found = interpolate(cells, places, places)
    assert found[2].tolist() == [2, 2, 3, 4, 4]
    assert found[:, 2].tolist() == [1, 1, 3, 5, 5]


def test_a_map_of_one_cell_is_the_same_everywhere() -> None:
    assert (interpolate(np.array([[3.0]]), np.arange(4.0), np.arange(5.0)) == np.full((5, 4), 3)).all()
