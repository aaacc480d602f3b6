"""The folders in `exported/`: finding one. What a bundle is made of stands in `trainkit.bundles._bundle`."""

from __future__ import annotations

import os
from pathlib import Path

from trainkit.errors import BundleError, OutputError

EXPORTED = Path("exported")


def find_folder(bundle: str | os.PathLike[str], exported: str | os.PathLike[str] = EXPORTED) -> Path:
    """Find a bundle and return its folder.

    Args:
        bundle: a `Bundle`, its folder or manifest, or its name in `exported`.
        exported: the folder of bundles.

    Raises:
        BundleError: there is none.
    """
    folder = Path(exported)
    for path in (Path(bundle), folder / bundle):
        if path.name == "manifest.json" and os.path.isfile(path):
            return path.parent
        if os.path.isfile(path / "manifest.json"):  # unlike Path's, false for a name that is too long
            return path
    known = sorted(path.parent.name for path in folder.glob("[!.]*/manifest.json"))
    there = f" There are: {', '.join(known[:10])}." if known else ""
    raise BundleError(
        f"No bundle {Path(bundle)} (a folder with manifest.json), and none of this name in {exported}.{there} "
        "A run becomes one by `trainkit export RUN`."
    )


def find_manifest(manifest: str | os.PathLike[str], exported: Path = EXPORTED) -> Path:
    """Find what `Classifier` and `Detector` open: a bundle as `find_folder` does, or any `.json` file.

    Raises:
        BundleError: there is none.
    """
    path = Path(manifest)
    return path if path.suffix == ".json" and os.path.isfile(path) else find_folder(manifest, exported)


def check_free(target: Path) -> None:
    """Raise if there is anything at the place of a new bundle.

    Raises:
        OutputError: nothing is overwritten.
    """
    if os.path.lexists(target):
        raise OutputError(f"{target} exists already, and nothing is overwritten. Choose another --name, or remove it.")
