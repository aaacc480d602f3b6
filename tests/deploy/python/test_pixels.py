"""What happens to an image before the blob."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from photographs import draw_photo

from trainkit.deploy.python._pixels import apply_before_blob, pad_to_aspect
from trainkit.errors import BundleError


@pytest.mark.parametrize(
    ("shape", "width", "height", "expected", "left", "top"),
    [
        ((40, 30), 32, 24, (40, 53), 11, 0),
        ((24, 64), 32, 24, (48, 64), 0, 12),
        ((24, 32), 32, 24, (24, 32), 0, 0),
        ((7, 4), 1, 1, (7, 7), 1, 0),
        ((4, 7), 1, 1, (7, 7), 0, 1),
        ((3, 1), 1, 2, (3, 2), 0, 0),  # 1.5 rounds up
    ],
)
def test_padding_is_centred(
    shape: tuple[int, int], width: int, height: int, expected: tuple[int, int], left: int, top: int
) -> None:
    image = draw_photo(1, (10, 20, 30), *shape)
    padded = pad_to_aspect(image, width, height, (255.0, 128.0, 0.0))
    assert padded.shape == (*expected, 3)
    inner = (slice(top, top + shape[0]), slice(left, left + shape[1]))
    np.testing.assert_array_equal(padded[inner], image)
    padded[inner] = (255, 128, 0)
    assert (padded == (255, 128, 0)).all()


def test_padding_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(BundleError, match=r"An image of 40000x1 padded to 3:2 has more than 268435456 pixels\. Cut it"):
        pad_to_aspect(np.zeros((1, 40000, 3), np.uint8), 3, 2, (0, 0, 0))


def test_steps_are_done_in_their_order(street_image: np.ndarray) -> None:
    pad, gray = {"step": "pad", "color_bgr": [255, 0, 0]}, {"step": "gray"}
    padded = apply_before_blob(street_image, [pad], (10, 10))
    assert padded.shape == (200, 200, 3)
    gray_padded = apply_before_blob(street_image, [pad, gray], (10, 10))
    np.testing.assert_array_equal(gray_padded, cv2.cvtColor(padded, cv2.COLOR_BGR2GRAY))
    assert apply_before_blob(street_image, [], (10, 10)) is street_image
