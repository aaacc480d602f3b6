"""What a `.keras` archive may hold, looked at before Keras is there: the members, what they grow to, the weights."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from pathlib import Path

from trainkit.errors import ModelError
from trainkit.models._hdf5_checks import WEIGHTS_MEMBER, check_stored_weights, may_grow_to

MAX_CONFIG_BYTES = 2**24  # NASNetLarge's has a tenth of it
_MEMBERS = ("metadata.json", "config.json", WEIGHTS_MEMBER)


class UnsafeModelError(ModelError):
    """A model's file would run code, which `unsafe` would let it."""


def check_archive(path: Path, unsafe: bool = False) -> None:
    """Raise unless a `.keras` archive has the members that Keras writes, and weights that lie in it.

    What its config builds is looked at by `_file_checks`.

    Raises:
        ModelError: names the member, or the weights.
    """
    with zipfile.ZipFile(path) as archive:
        _check_members(path, archive.infolist(), unsafe)
        check_stored_weights(path, archive)


def _check_members(path: Path, members: list[zipfile.ZipInfo], unsafe: bool) -> None:
    """Raise unless a `.keras` archive has the members that Keras writes, of possible sizes.

    Raises:
        ModelError: names the member.
    """
    names = Counter(member.filename for member in members)
    for member in members:
        name, whole = member.filename, member.file_size
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or ":" in name:
            raise ModelError(f"{path} has the member {name!r}, which points out of the file: it is not safe to load.")
        if names[name] > 1:
            raise ModelError(f"{path} has the member {name!r} twice: it is not safe to load.")
        if name.endswith(".json") and whole > MAX_CONFIG_BYTES:
            raise ModelError(f"{path} has {whole} bytes in {name!r}, more than any model needs: not safe to load.")
        if whole > may_grow_to(member.compress_size):
            raise ModelError(
                f"{path} has the member {name!r}, which would grow from {member.compress_size} to {whole} bytes: it is "
                "not safe to load."
            )
        if name not in _MEMBERS and not name.endswith("/") and not unsafe:
            raise UnsafeModelError(f"{path} has the member {name!r}. Expected {', '.join(_MEMBERS)} only.")
    if "config.json" not in names:
        raise ModelError(f"{path} has no config.json, so it is no .keras file. Save the whole model with model.save().")
