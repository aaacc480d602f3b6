"""What is to be explained, found by its path or its name, and opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trainkit.bundles._find import EXPORTED, find_manifest
from trainkit.errors import BundleError, RunError, TrainkitError, UsageError, unknown
from trainkit.explaining._explainer import METHODS, Explainer, explainer_of
from trainkit.explaining._networks import open_bundle, open_run
from trainkit.runs._run import EXPERIMENTS, Run, find_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Of which network, how, and for which class; the fields are the arguments of `explain`."""

    network: str | os.PathLike[str] | Run
    method: str = "occlusion"
    label: str | None = None
    experiments: str | os.PathLike[str] = EXPERIMENTS
    exported: str | os.PathLike[str] = EXPORTED


def open_explainer(question: Question) -> Explainer:
    """Open a bundle, a manifest or a run.

    Raises:
        BundleError: the bundle is damaged, or a detector.
        RunError: the run is unfinished or damaged.
        UsageError: there is no such method or class, or it is not to be had of this network.
    """
    if question.method not in METHODS:  # before anything is loaded
        raise unknown("method", question.method, METHODS)
    found = _find(question)
    network = open_run(found) if isinstance(found, Run) else open_bundle(found)
    return explainer_of(network, question.method, question.label)


def name_of(network: str | os.PathLike[str] | Run) -> str:
    """Return what the folder is called that explanations of a bundle, a manifest or a run go to."""
    path = Path(network)
    return (path.parent if path.suffix == ".json" else path).resolve().name


def _find(question: Question) -> Path | Run:
    """Return a manifest, its folder, or a run.

    Raises:
        BundleError: there is nothing of this name.
        UsageError: there are both.
    """
    if isinstance(question.network, Run):
        return question.network
    here = Path(question.network)
    if os.path.isfile(here / "config.toml") and not os.path.lexists(here / "manifest.json"):
        return Run(here)
    run = None if os.path.lexists(here) else _run(question)
    bundle = _bundle(question)
    if run is not None and isinstance(bundle, Path):
        raise UsageError(
            f"`{os.fspath(question.network)}` is a bundle, {bundle}, and a run, {run.path}. Name the path of the one "
            "that is meant."
        )
    if run is not None:
        return run
    if isinstance(bundle, Path):
        return bundle
    raise BundleError(
        f"No bundle and no run {os.fspath(question.network)}. Expected the path of either, a manifest, the name of a "
        f"bundle in {question.exported} or of a run in {question.experiments}, or latest."
    ) from bundle


def _run(question: Question) -> Run | None:
    try:
        return find_run(question.network, question.experiments)
    except RunError:
        return None


def _bundle(question: Question) -> Path | TrainkitError:
    try:
        return find_manifest(question.network, Path(question.exported))
    except BundleError as error:
        return error
