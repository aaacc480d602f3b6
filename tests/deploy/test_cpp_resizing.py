"""Resizing in the C++ client, for machines on which OpenCV resizes otherwise than on x86."""

from __future__ import annotations

from pathlib import Path

import cpp_client
import pytest

from trainkit.deploy.python._resizing import RESIZES_AS_ON_X86


@pytest.mark.skipif(not RESIZES_AS_ON_X86, reason="what OpenCV does on x86 is the measure")
def test_pixels_are_those_of_opencv_on_x86(tmp_path: Path) -> None:
    assert cpp_client.run_with_opencv("resize", tmp_path) == "1200 equal\n"
