"""How public names are found: loaded when they are first used, and under an old name with a warning.

A package's `__init__` says what it promises and where each name lives. Nothing is imported before it is asked for, so
that `trainkit --help` and `Classifier` never wait for TensorFlow.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import Any

from trainkit.errors import naming_missing_packages


def attach(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__`.

    Args:
        package: its `__name__`.
        homes: by public name, the module that defines it.
    """

    def load(name: str) -> Any:
        if name in homes:
            with naming_missing_packages():
                return getattr(import_module(homes[name]), name)
        if package in _MERGED and not name.startswith("__"):
            return _from_old_module(package, name)
        raise AttributeError(f"module `{package}` has no attribute `{name}`")

    def names() -> list[str]:
        return sorted({*homes, *(name for name in vars(sys.modules[package]) if name.startswith("__"))})

    return load, names


def _from_old_module(package: str, name: str) -> Any:
    """Return what was in the module that a package of the same name has taken the place of."""
    for home in _MERGED[package]:
        found = getattr(import_module(home), name, _MISSING)
        if found is not _MISSING:
            _warn(f"{package}.{name}", f"{home}.{name}", stacklevel=4)
            return found
    raise AttributeError(f"module `{package}` has no attribute `{name}`")


def _warn(old: str, new: str, stacklevel: int) -> None:
    public = "take what `trainkit.__all__` or a package's own `__all__` names instead"
    warnings.warn(
        f"{old} is now {new}, and goes with trainkit 0.3: {public}.", DeprecationWarning, stacklevel=stacklevel
    )


_MISSING = object()
# Packages that stand where a module stood: what it defined is looked for here.
_MERGED = {
    "trainkit.bundles": ("trainkit.bundles._find",),
    "trainkit.cli": ("trainkit.cli._main",),
    "trainkit.exporting": ("trainkit.bundles._export",),
    "trainkit.models": ("trainkit.models._builders",),
    "trainkit.runs": ("trainkit.runs._run",),
    "trainkit.training": (
        "trainkit.training._train",
        "trainkit.runs._evaluation",
    ),
}
# Modules of version 0.1 that live elsewhere.
_MOVED = {
    "trainkit.benchmark": "trainkit.bundles._bench",
    "trainkit.cascade": "trainkit.lessons._cascade",
    "trainkit.checks": "trainkit.bundles._check",
    "trainkit.cli.convolution": "trainkit.cli._convolution",
    "trainkit.cli.data": "trainkit.cli._data",
    "trainkit.cli.exporting": "trainkit.cli._exporting",
    "trainkit.cli.networks": "trainkit.cli._networks",
    "trainkit.cli.output": "trainkit.cli._output",
    "trainkit.cli.prediction": "trainkit.cli._prediction",
    "trainkit.cli.reports": "trainkit.cli._reports",
    "trainkit.cli.runs": "trainkit.cli._runs",
    "trainkit.cli.training": "trainkit.cli._training",
    "trainkit.clients": "trainkit.bundles._clients",
    "trainkit.config": "trainkit.runs._settings",
    "trainkit.convolution": "trainkit.lessons._convolution",
    "trainkit.data.arrays": "trainkit.data._arrays._labelled",
    "trainkit.data.augmentation": "trainkit.data._augmentation._settings",
    "trainkit.data.augmenting": "trainkit.data._augmentation._warping",
    "trainkit.data.cache": "trainkit.data._cache",
    "trainkit.data.check": "trainkit.data._check",
    "trainkit.data.dataset": "trainkit.data._dataset",
    "trainkit.data.draws": "trainkit.data._augmentation._draws",
    "trainkit.data.folders": "trainkit.data._folders._listing",
    "trainkit.data.inspection": "trainkit.data._inspection",
    "trainkit.data.likeness": "trainkit.data._repeats._fingerprints",
    "trainkit.data.measuring": "trainkit.data._data_statistics",
    "trainkit.data.mixing": "trainkit.data._augmentation._mixing",
    "trainkit.data.pipeline": "trainkit.data._pipeline",
    "trainkit.data.repeats": "trainkit.data._repeats._duplicates",
    "trainkit.data.sources": "trainkit.data._sources",
    "trainkit.data.split": "trainkit.data._split",
    "trainkit.data.statistics": "trainkit.data._statistics",
    "trainkit.data.tables": "trainkit.data._tables._table",
    "trainkit.data.transforms": "trainkit.data._augmentation._transforms",
    "trainkit.demo": "trainkit.cli._demo",
    "trainkit.deploy.classify": "trainkit.deploy.python",
    "trainkit.detection": "trainkit.bundles._detect",
    "trainkit.drawing": "trainkit.bundles._drawing",
    "trainkit.exporting.bundle": "trainkit.bundles._bundle",
    "trainkit.exporting.conversion": "trainkit.exporting._conversion",
    "trainkit.exporting.description": "trainkit.bundles._description",
    "trainkit.exporting.exportable": "trainkit.bundles._exportable",
    "trainkit.exporting.folding": "trainkit.exporting._folding",
    "trainkit.exporting.frozen_graph": "trainkit.exporting._frozen_graph",
    "trainkit.exporting.graph": "trainkit.exporting._graph",
    "trainkit.exporting.lowering": "trainkit.exporting._lowering",
    "trainkit.exporting.onnx_graph": "trainkit.exporting._onnx_graph",
    "trainkit.exporting.operations": "trainkit.exporting._operations._table",
    "trainkit.exporting.tracing": "trainkit.exporting._tracing",
    "trainkit.faces": "trainkit.lessons._faces",
    "trainkit.inputs": "trainkit.bundles._inputs",
    "trainkit.layer_table": "trainkit.runs._layer_table",
    "trainkit.manifest": "trainkit.bundles._manifest",
    "trainkit.models.applications": "trainkit.models._applications",
    "trainkit.models.backbones": "trainkit.models._backbones",
    "trainkit.models.fashion_mnist": "trainkit.models._fashion_mnist",
    "trainkit.models.layers": "trainkit.models._layers",
    "trainkit.models.loading": "trainkit.models._loading",
    "trainkit.models.outputs": "trainkit.models._outputs",
    "trainkit.models.own": "trainkit.models._own",
    "trainkit.models.shapes": "trainkit.models._summary",
    "trainkit.models.small_cnn": "trainkit.models._small_cnn",
    "trainkit.models.small_resnet": "trainkit.models._small_resnet",
    "trainkit.prediction": "trainkit.bundles._predict",
    "trainkit.recipes": "trainkit.runs._recipes",
    "trainkit.recognition": "trainkit.lessons._imagenet",
    "trainkit.reports.answers": "trainkit.reports._answers",
    "trainkit.reports.augmentations": "trainkit.reports._augmentations",
    "trainkit.reports.calibration": "trainkit.runs._calibration",
    "trainkit.reports.comparison": "trainkit.reports._comparison",
    "trainkit.reports.convolutions": "trainkit.lessons._kernel_pictures",
    "trainkit.reports.data_check": "trainkit.reports._data_check",
    "trainkit.reports.findings": "trainkit.reports._findings",
    "trainkit.reports.page": "trainkit.reports._page",
    "trainkit.reports.pictures": "trainkit.reports._pictures",
    "trainkit.reports.plots": "trainkit.reports._plots",
    "trainkit.reports.report": "trainkit.reports._report",
    "trainkit.reports.templates": "trainkit.reports._templates",
    "trainkit.training.adam": "trainkit.training._adam",
    "trainkit.training.averaging": "trainkit.training._averaging",
    "trainkit.training.compilation": "trainkit.training._compilation",
    "trainkit.training.environment": "trainkit.training._environment",
    "trainkit.training.evaluation": "trainkit.runs._evaluation",
    "trainkit.training.feeding": "trainkit.training._feeding",
    "trainkit.training.fit": "trainkit.training._fit",
    "trainkit.training.learning_rate": "trainkit.training._learning_rate",
    "trainkit.training.normalization": "trainkit.training._normalization",
    "trainkit.training.phases": "trainkit.training._phases",
    "trainkit.training.plateau": "trainkit.training._plateau",
    "trainkit.training.preparation": "trainkit.training._preparation",
    "trainkit.training.progress": "trainkit.training._progress",
    "trainkit.training.recorder": "trainkit.training._recorder",
    "trainkit.training.schedules": "trainkit.training._schedules",
    "trainkit.training.sharing": "trainkit.training._sharing",
    "trainkit.training.state": "trainkit.training._state",
}
# What they defined, and has another name now.
_RENAMED = {
    "trainkit.data.likeness": {
        "Look": "Fingerprint",
        "look_at": "compute_fingerprint",
        "group_alike": "group_near_duplicates",
    },
    "trainkit.data.repeats": {"Repeats": "Duplicates", "find_repeats": "find_duplicates"},
    "trainkit.training.evaluation": {"evaluate_run": "evaluate"},
}


class _MovedModules(MetaPathFinder, Loader):
    """Finds the modules of version 0.1 under their old names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load an old name, `None` for any other."""
        return ModuleSpec(fullname, self) if fullname in _MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module itself, so that there is one of it under both names."""
        _warn(spec.name, _MOVED[spec.name], stacklevel=3)
        module = import_module(_MOVED[spec.name])
        for old, new in _RENAMED.get(spec.name, {}).items():
            setattr(module, old, getattr(module, new))
        spec.loader_state = module.__spec__
        return module

    def get_code(self, fullname: str) -> CodeType | None:
        """Return a module's code, for `python -m`."""
        spec = find_spec(_MOVED[fullname])
        return spec.loader.get_code(spec.name) if spec and isinstance(spec.loader, InspectLoader) else None

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it is: the machinery has written the old name's spec on it."""
        spec = module.__spec__
        if spec is not None and spec.loader is self:
            module.__spec__ = spec.loader_state


sys.meta_path.append(_MovedModules())
