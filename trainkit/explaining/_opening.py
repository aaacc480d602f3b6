"""What is to be explained, found by its path or its name, and opened."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from trainkit.bundles._find import EXPORTED, find_manifest
from trainkit.errors import BundleError, RunError, unknown
from trainkit.explaining._explainer import METHODS, Explainer, explainer_of
from trainkit.explaining._networks import open_bundle, open_run
from trainkit.runs._run import EXPERIMENTS, Run, find_run

log = logging.getLogger("trainkit")


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
    """Return a manifest, its folder, or a run: what lies at the path, or else what has the name.

    Where a bundle and a run have it, which mostly are one network, occlusion takes the bundle, a class activation map
    the run.

    Raises:
        BundleError: there is nothing of this name.
    """
    if isinstance(question.network, Run):
        return question.network
    here = Path(question.network)
    bundle = _bundle(question)
    at_the_path = os.path.lexists(here) and not isinstance(bundle, BundleError)
    run = None if at_the_path and not os.path.isfile(here / "config.toml") else _run(question)
    if run is not None and (isinstance(bundle, BundleError) or question.method != "occlusion"):
        return run
    if isinstance(bundle, BundleError):
        raise BundleError(
            f"No bundle and no run {os.fspath(question.network)}. Expected the path of either, a manifest, the name of "
            f"a bundle in {question.exported} or of a run in {question.experiments}, or latest."
        ) from bundle
    if run is not None:
        log.info("`%s` is a bundle and a run: explaining the bundle %s.", os.fspath(question.network), bundle)
    return bundle


def _run(question: Question) -> Run | None:
    try:
        return find_run(question.network, question.experiments)
    except RunError:
        return None


def _bundle(question: Question) -> Path | BundleError:
    try:
        return find_manifest(question.network, Path(question.exported))
    except BundleError as error:
        return error
