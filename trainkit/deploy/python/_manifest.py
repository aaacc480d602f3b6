"""The manifest and the texts beside it, read from the folder of a bundle."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, List

from trainkit.deploy.python._json import parse_json
from trainkit.deploy.python._schema import check_against_names, check_manifest, is_text, make_whole
from trainkit.deploy.python._showing import harmless, shown
from trainkit.deploy.python._values import MAX_CLASSES, MAX_MANIFEST_BYTES, BundleError


def read_bytes(path: Path) -> bytes:
    """Return what is in a file of a bundle."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"Cannot read {path} ({error.strerror}). Copy the bundle again.") from error


def read_manifest(bundle: str | Path) -> Dict[str, Any]:
    """Read and check the manifest of a bundle, or one that was written by hand.

    Args:
        bundle: the folder, or its manifest.

    Returns:
        The manifest; where it names a file of class names, with the names that are in it.

    Raises:
        BundleError: there is none, it is no manifest of this schema, or its class names cannot be read.
    """
    path = Path(bundle)
    if os.path.isdir(path):
        path = path / "manifest.json"
    if not os.path.isfile(path):
        raise BundleError(f"No manifest at {path}. Expected the folder of a bundle, with manifest.json in it.")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} has more than {MAX_MANIFEST_BYTES} bytes: no manifest. Export the bundle again.")
    data = parse_manifest(read_bytes(path), path)
    output = data["output"]
    if isinstance(output["class_names"], str):
        output["class_names"] = read_class_names(path.parent, output["class_names"])
    check_against_names(output, path)
    return data


def parse_manifest(data: bytes, where: Any = "manifest") -> Dict[str, Any]:
    """Return the manifest that is in bytes; files that it names are not looked at.

    Raises:
        BundleError: it is no JSON, or no manifest of this schema.
    """
    try:
        manifest: Dict[str, Any] = parse_json(data)
    except ValueError as error:
        reason = harmless(str(error))
        raise BundleError(f"{where} is not valid JSON in UTF-8 ({reason}). Export the bundle again.") from error
    check_manifest(manifest, where)
    make_whole(manifest)
    return manifest


def read_beside(folder: Path, name: str, purpose: str, most: int | None = None) -> bytes:
    """Return the bytes of a file that a manifest names; see `find_beside`."""
    return read_bytes(find_beside(folder, name, purpose, most))


def find_beside(folder: Path, name: str, purpose: str, most: int | None = None) -> Path:
    """Return the path of a file that a manifest names; a link must not lead out of the folder.

    Raises:
        BundleError: there is none, or it has more bytes than there may be.
    """
    path = folder / name
    # Unlike Path's, `realpath` takes a link that leads to itself.
    if Path(os.path.realpath(path)).parent != Path(os.path.realpath(folder)):
        raise BundleError(f"{path} is a link that leaves the bundle. Put the file itself there.")
    if not os.path.isfile(path):
        raise BundleError(f"{path} is missing: the manifest names it as the {purpose}. Copy it there.")
    if most is not None and path.stat().st_size > most:
        raise BundleError(f"{path} has more than {most} bytes, too many for the {purpose}. Name another file.")
    return path


def read_class_names(folder: Path, name: str) -> List[str]:
    """Read class names from a text file in UTF-8, one a line.

    Where every line begins with a WordNet number, as in ImageNet's `synset_words.txt` (`n01440764 tench, Tinca tinca`),
    that column is left out. Names may repeat: ImageNet has two cranes.

    Raises:
        BundleError: says which line is no name.
    """
    path = folder / name
    try:
        text = read_beside(folder, name, "class names", MAX_MANIFEST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}). Convert it.") from error
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if all(re.match(r"n[0-9]+\s+\S", line) for line in lines):
        lines = [line.split(maxsplit=1)[1] for line in lines]
    if len(lines) > MAX_CLASSES:
        raise BundleError(f"{path} has {len(lines)} lines. Expected at most {MAX_CLASSES} class names.")
    for number, line in enumerate(lines, 1):
        if not is_text(line):
            raise BundleError(
                f"{path}: line {number} must be a class name of 1 to 3999 bytes without control characters. "
                f"Received: {shown(line)}"
            )
    return lines
