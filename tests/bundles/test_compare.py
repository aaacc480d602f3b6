"""In which portions images are compared."""

from __future__ import annotations

import numpy as np

from trainkit.bundles._compare import in_batches


def test_check_runs_images_in_batches_of_several_sizes() -> None:
    sizes: list[int] = []

    def forward(blob: np.ndarray) -> np.ndarray:
        sizes.append(len(blob))
        return blob * 2

    blob = np.arange(20.0).reshape(20, 1)
    assert (in_batches(forward, (1, 3, 8, 2))(blob) == blob * 2).all()
    assert sizes == [1, 3, 8, 2, 1, 3, 2]
