"""Which OpenCV this is, and what computes in it: versions, engines, backends, targets."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Tuple

import cv2

from trainkit.deploy.python._values import OLDEST_OPENCV, BundleError


def version_of(text: str) -> List[int]:
    """Return a version as three numbers."""
    return [int("".join(filter(str.isdigit, part)) or 0) for part in text.split("-")[0].split(".")[:3]]


def describe_needs(opencv: Dict[str, Any]) -> str:
    """Say in sentences what a manifest's `opencv` asks for beyond any OpenCV since 4.5.5; mostly nothing."""
    needs = []
    if version_of(opencv.get("minimum", OLDEST_OPENCV)) > version_of(OLDEST_OPENCV):
        needs.append(f"This bundle needs OpenCV {opencv['minimum']} or later.")
    if "engine" in opencv:
        needs.append(f"In OpenCV 5 this bundle needs the {opencv['engine']} engine.")
    return " ".join(needs)


def check_opencv(opencv: Dict[str, Any], engine: str | None) -> None:
    """Raise unless this OpenCV, with the engine that is asked for, is one that the manifest takes."""
    minimum = opencv.get("minimum", OLDEST_OPENCV)
    if version_of(cv2.__version__) < version_of(minimum):
        raise BundleError(f"This bundle needs OpenCV {minimum} or later. Received: {cv2.__version__}. Upgrade OpenCV.")
    if has_engines() and engine is not None and engine != opencv.get("engine", engine):
        raise BundleError(
            f"In OpenCV 5 this bundle needs the {opencv['engine']} engine. Received: {engine}. Leave the engine out."
        )


def has_engines() -> bool:
    """Whether this OpenCV has engines to choose from, as 5.0 has."""
    return hasattr(cv2.dnn, "ENGINE_CLASSIC")


def find_backend(backend: str | None, target: str | None = None) -> Tuple[int, int]:
    """Return OpenCV's numbers of what computes (a backend) and on what (a target).

    Args:
        backend: OpenCV's name, such as `OPENCV`, `CUDA` or `INFERENCE_ENGINE`; with `DNN_BACKEND_` before it or
            without. None: OpenCV's own.
        target: the same, such as `CPU`, `OPENCL` or `CUDA_FP16`. None: the first one that the backend has here.

    Raises:
        BundleError: this OpenCV was built without them, or the machine lacks what they need.
        ValueError: OpenCV knows no such name.
    """
    backends, targets = _named("DNN_BACKEND_"), _named("DNN_TARGET_")
    backend = "OPENCV" if backend is None else backend
    number = _number_of(backend, "backend", backends)
    wanted = None if target is None else _number_of(target, "target", targets)
    there = {name: [int(one) for one in cv2.dnn.getAvailableTargets(value)] for name, value in backends.items()}
    usable = next(there[name] for name, value in backends.items() if value == number)
    if usable and wanted in (None, *usable):
        return number, usable[0] if wanted is None else wanted
    names = {value: name for name, value in reversed(list(targets.items()))}
    has = [f"{name} on {', '.join(names[value] for value in values)}" for name, values in there.items() if values]
    asked = f"{backend}{'' if target is None else f' on {target}'}"
    raise BundleError(
        f"OpenCV {cv2.__version__} cannot compute with {asked} on this machine. It has: {'; '.join(has)}. Choose one "
        "of these, or leave backend and target out."
    )


def find_unusual_backend(backend: str | None, target: str | None) -> Tuple[int, int] | None:
    """Return what a network must be told: nothing where it is what OpenCV does anyway."""
    if backend is target is None:
        return None
    found = find_backend(backend, target)
    usual = (cv2.dnn.DNN_BACKEND_DEFAULT, cv2.dnn.DNN_BACKEND_OPENCV)
    return None if found[0] in usual and found[1] == cv2.dnn.DNN_TARGET_CPU else found


def _named(prefix: str) -> Dict[str, int]:
    return {name[len(prefix) :]: int(getattr(cv2.dnn, name)) for name in dir(cv2.dnn) if name.startswith(prefix)}


def _number_of(name: str, purpose: str, known: Dict[str, int]) -> int:
    plain = re.sub(f"^DNN_{purpose}_", "", name, flags=re.IGNORECASE).upper()
    if plain not in known:
        raise ValueError(f"OpenCV {cv2.__version__} knows no {purpose} {name!r:.80}. It knows: {', '.join(known)}")
    return known[plain]
