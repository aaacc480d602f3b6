"""How sure a network is of a class, as a number that does not saturate: the logarithm of the odds."""

from __future__ import annotations

import numpy as np

_LEAST = 1e-38  # the smallest normal float32: no probability of a network is smaller


def log_odds(probabilities: np.ndarray, index: int, *, multi_label: bool) -> np.ndarray:
    """Return `log p - log q` of a class, `q` being the sum of the other classes' probabilities.

    Beside a probability of 1.0, in which float32 drowns, those of the other classes still say how sure the network is.
    Where every class is a question of its own, `q` is `1 - p`: the logarithm of the odds is then the logit.

    Args:
        probabilities: float `(N, classes)`; two classes for a single sigmoid.
        index: of the class.
        multi_label: whether every class is a question of its own.

    Returns:
        float64 `(N,)`.
    """
    p = np.asarray(probabilities[:, index], np.float64)
    if multi_label or probabilities.shape[1] == 1:
        others = np.maximum(1 - p, np.finfo(probabilities.dtype).epsneg)
    else:
        others = np.delete(probabilities, index, axis=1).sum(axis=1, dtype=np.float64)
    return np.asarray(np.log(np.maximum(p, _LEAST)) - np.log(np.maximum(others, _LEAST)))
