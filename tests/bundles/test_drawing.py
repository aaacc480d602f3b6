"""What is drawn on a photograph is drawn as it is written."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from photographs import draw_photo

from trainkit.bundles._drawing import draw_boxes, draw_lines


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u2028", "\ufeff"])
def test_marks_that_turn_or_break_a_line_are_written_out_in_pictures(mark: str) -> None:
    image = draw_photo(3, (200, 90, 40), 240, 400)
    name, written = f"a{mark}gnp", f"a\\u{ord(mark):04x}gnp"
    np.testing.assert_array_equal(draw_lines(image, [f"{name}  27.3%"]), draw_lines(image, [f"{written}  27.3%"]))
    box = (50, 60, 200, 200)
    np.testing.assert_array_equal(draw_boxes(image, [(name, 0.273, box)]), draw_boxes(image, [(written, 0.273, box)]))
    assert cv2.norm(draw_lines(image, [f"{name}  27.3%"]), draw_lines(image, ["agnp  27.3%"])) > 0
