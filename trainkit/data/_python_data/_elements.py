"""Image and label, in an element of a data set: a pair, or a mapping of names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trainkit.data._tables._columns import column_meaning
from trainkit.errors import DataError


def pair_in(name: str, warnings: list[str]) -> Callable[[Any], tuple[Any, Any]]:
    """Return what takes image and label, or batches of them, out of an element of a data set.

    Args:
        name: of the data set, for messages.
        warnings: get a word about what was passed over, once.
    """
    known: dict[tuple[Any, ...], tuple[Any, Any] | None] = {}

    def pair(element: Any) -> tuple[Any, Any]:
        if isinstance(element, Mapping):
            if (keys := tuple(element)) not in known:
                known[keys] = _keys_of(name, element, warnings)
            if meant := known[keys]:
                return element[meant[0]], element[meant[1]]
            received = f"a mapping of {', '.join(map(str, element))}"
        elif isinstance(element, (tuple, list)) and len(element) == 2 and not isinstance(element[0], (Mapping, tuple)):
            return element[0], element[1]
        elif isinstance(element, (tuple, list)):
            received = f"{len(element)} things"
        else:
            received = "an image alone"
        raise DataError(f"{name} must have (image, label) in each element. Received: {received}")

    return pair


def _keys_of(name: str, element: Mapping[Any, Any], warnings: list[str]) -> tuple[Any, Any] | None:
    """Return the names of image and label; `None` where one is missing.

    Raises:
        DataError: several could be meant.
    """
    images = [key for key in element if column_meaning(str(key)) == "image" and np.ndim(element[key]) >= 2]
    labels = [key for key in element if column_meaning(str(key)) == "label"]
    if not (images and labels):
        return None
    image, label = _exact(images, "image"), _exact(labels, "label")
    if image is None or label is None:
        role, found = ("image", images) if image is None else ("label", labels)
        pair = images[0] if image is None else image, labels[0] if label is None else label
        raise DataError(
            f"{name}: {' and '.join(f'`{key}`' for key in found)} may each be the {role}. Say which: "
            f".map(lambda element: (element[{pair[0]!r}], element[{pair[1]!r}]))"
        )
    for chosen, others in ((image, images), (label, labels)):
        if passed := [key for key in others if key != chosen]:
            meant = (passed[0], label) if chosen == image else (image, passed[0])
            warnings.append(
                f"{name}: `{chosen}` is taken, not {', '.join(f'`{key}`' for key in passed)}: "
                f".map(lambda element: (element[{meant[0]!r}], element[{meant[1]!r}])) takes these."
            )
    return image, label


def _exact(keys: list[Any], role: str) -> Any:
    """Return the only key, or the one that is called exactly so; `None` where several are left."""
    return keys[0] if len(keys) == 1 else next((key for key in keys if key == role), None)
