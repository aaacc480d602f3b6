"""The programs that a bundle may carry: each runs it with OpenCV alone, in a language of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trainkit.deploy
from trainkit.bundles._find import EXPORTED, find_folder
from trainkit.bundles._manifest import read_manifest
from trainkit.deploy._build import build_classify
from trainkit.errors import BundleError, OutputError, UsageError, unknown
from trainkit.files import building, cannot_write

_SOURCES = Path(trainkit.deploy.__file__).parent
# What is copied from the folder of `trainkit.deploy`; the first is built there, and stands in the bundle's own folder.
CLIENTS: dict[str, tuple[str, ...]] = {
    "python": ("classify.py",),
    "cpp": (
        *(
            "cpp/classify.cpp",
            "cpp/ahead.hpp",
            "cpp/trial.hpp",
            "cpp/network.hpp",
            "cpp/resizing.hpp",
            "cpp/headers.hpp",
            "cpp/graph.hpp",
            "cpp/onnx.hpp",
        ),
        *("cpp/manifest.hpp", "cpp/brightness.hpp", "cpp/schema.hpp", "cpp/json.hpp", "cpp/text.hpp"),
        "cpp/CMakeLists.txt",
    ),
    "node": (
        *("node/classify.mjs", "node/manifest.mjs", "node/network.mjs", "node/pictures.mjs", "node/package.json"),
        *("node/schema.cjs", "node/graph.cjs", "node/brightness.cjs"),
    ),
    "web": (
        *("web/index.html", "web/style.css", "web/page.js", "web/worker.js", "web/manifest.js", "web/network.js"),
        *("web/occlusion.js", "web/why.js"),
        *("web/pictures.js", "web/package.json", "web/schema.js", "web/graph.js"),
        "web/brightness.js",
    ),
}
# What two clients share, by the file that it becomes in each.
_SHARED = {
    **{"node/schema.cjs": "javascript/schema.js", "web/schema.js": "javascript/schema.js"},
    **{"node/graph.cjs": "javascript/graph.js", "web/graph.js": "javascript/graph.js"},
    **{"node/brightness.cjs": "javascript/brightness.js", "web/brightness.js": "javascript/brightness.js"},
}


def check_clients(clients: Sequence[str] | str) -> list[str]:
    """Return the names of clients, each once.

    Args:
        clients: names, or one text with commas between them.

    Raises:
        UsageError: there is no such client, or none is named.
    """
    names = clients.split(",") if isinstance(clients, str) else list(clients)
    names = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    for name in names:
        if name not in CLIENTS:
            raise unknown("client", name, CLIENTS)
    if not names:
        raise UsageError(f"Name at least one client: {', '.join(CLIENTS)}")
    return names


def add_clients(
    bundle: str | os.PathLike[str], clients: Sequence[str] | str, *, exported: str | Path = EXPORTED
) -> dict[str, Path]:
    """Put clients into a bundle that exists, or into the folder of a manifest that was written by hand.

    Args:
        bundle: a `Bundle`, its folder, or its name in `exported`.
        clients: `python`, `cpp`, `node`, `web`.
        exported: the folder of bundles.

    Returns:
        The file or folder of each client.

    Raises:
        UsageError: there is no such client.
        BundleError: the bundle is missing or damaged, or a client cannot do what its manifest says.
        OutputError: a client is there already, or cannot be written; then none is.
    """
    names = check_clients(clients)
    folder = find_folder(bundle, Path(exported))
    manifest = read_manifest(folder)
    for name in names:
        _check_able(name, manifest)
    targets = {name: folder / (CLIENTS[name][0] if name == "python" else name) for name in names}
    for target in targets.values():
        if os.path.lexists(target):
            raise OutputError(f"{target} exists already, and nothing is overwritten. Remove it to have it anew.")
    copy_clients(folder, names)
    return targets


def _check_able(client: str, manifest: dict[str, Any]) -> None:
    if client != "python" and isinstance(manifest["blob"]["mean"], str):
        raise BundleError(
            f"The mean of this manifest is a file, which the Python client alone reads. Received: --add {client}. "
            "Write the mean as numbers, or take the Python client."
        )
    if client == "web" and manifest["output"]["kind"] == "ssd":
        raise BundleError("The page classifies, and this manifest describes a detector. Take another client.")


def source_of(file: str) -> Path:
    """Return what a file of a client is copied from."""
    return _SOURCES / _SHARED.get(file, file)


def copy_clients(folder: Path, names: Sequence[str]) -> None:
    """Copy clients into a folder in which they are not yet, all of them or none.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        with building(folder) as temporary:
            for name in names:
                for file in CLIENTS[name]:
                    copy = temporary / file
                    copy.parent.mkdir(exist_ok=True)
                    if name == "python":
                        copy.write_bytes(build_classify().encode())
                    else:
                        shutil.copyfile(source_of(file), copy)
            for made in sorted(temporary.iterdir()):
                made.rename(folder / made.name)
    except OSError as error:
        raise cannot_write(folder, error) from error
