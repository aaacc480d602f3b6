"""Two images become one, and so do their labels: mixup and cutmix.

The partner of an image is drawn from the whole data set, by (seed, epoch, index) like everything else: if it came from
the same batch, the picture would depend on the batch size. So each batch reads its partners as well.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainkit.data._augmentation._draws import draw_mixes
from trainkit.data._augmentation._settings import Augmentation


def mix_batch(
    inputs: np.ndarray,
    labels: np.ndarray,
    augmentation: Augmentation,
    *,
    seed: int,
    epoch: int,
    indices: np.ndarray,
    count: int,
    read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Mix each image of a batch with another of its data set.

    mixup blends them: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018. cutmix puts a rectangle of the
    other into the image: Yun et al., "CutMix", 2019. The labels are mixed in the same shares. Where both are on,
    half of the images get the one, half the other.

    Args:
        inputs: float32 `(N, height, width, channels)`, what the network is fed with; they stay as they are.
        labels: float32 `(N, classes)`, one-hot or already smoothed.
        augmentation: `mixup` and `cutmix` are the alpha of the beta distribution of the shares.
        seed: of the training.
        epoch: from 0.
        indices: `(N,)`, the images' places in their data set.
        count: images in the data set.
        read: returns inputs and labels of other images by their places, `(N,)`, augmented as they are in this epoch.

    Returns:
        Inputs and labels, of the same shapes.
    """
    if not augmentation.mixes or not len(inputs):
        return inputs, labels
    _, height, width, _ = inputs.shape
    mixes = draw_mixes(augmentation, seed=seed, epoch=epoch, indices=indices, count=count, height=height, width=width)
    others, other_labels = read(mixes.partners)
    share = mixes.share.astype(np.float32)
    blended = inputs * share[:, None, None, None] + others * (1 - share)[:, None, None, None]
    for position, (top, left, bottom, right) in enumerate(mixes.rectangle):
        if mixes.cut[position]:
            blended[position] = inputs[position]
            blended[position, top:bottom, left:right] = others[position, top:bottom, left:right]
    return blended, mix_labels(labels, other_labels, share)


def mix_labels(labels: np.ndarray, others: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return float32 `(N, classes)`: labels, each mixed with another one.

    Args:
        labels: float32 `(N, classes)`.
        others: of the same shape.
        share: float32 `(N,)`, of the first of the two.
    """
    return np.asarray(labels * share[:, None] + others * (1 - share)[:, None])
