"""What trainkit raises when something is wrong that the user can put right.

    Exception
    └── TrainkitError        exit code 1: something in the world is wrong
        ├── DataError        the images
        ├── WeightsError     pretrained weights
        ├── ModelError       a Keras model
        ├── RunError         a folder of `experiments/`
        ├── TrainingError    training itself
        ├── ExportError      a graph that cannot be made
        ├── BundleError      a folder of `exported/`, a manifest, its model
        ├── OutputError      what is to be written
        ├── MissingPackageError   a package that is not installed; an `ImportError` too
        └── UsageError       exit code 2: an argument is wrong; a `ValueError` too

All of them are exported by `trainkit`. What they were raised for is their `__cause__`; TRAINKIT_DEBUG=1 shows it on the
command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class TrainkitError(Exception):
    """The root: something in the world is wrong, a file, the data, a bundle. The command line exits with 1."""


class DataError(TrainkitError):
    """The images cannot be used as they are."""


class WeightsError(TrainkitError):
    """Pretrained weights are missing or do not fit the model."""


class ModelError(TrainkitError):
    """A Keras model is missing, damaged, not safe to load, or no classifier of images."""


class RunError(TrainkitError):
    """A run is missing, unfinished or damaged."""


class TrainingError(TrainkitError):
    """Training could not go on."""


class ExportError(TrainkitError):
    """A model cannot leave as the graph that was asked for."""


class BundleError(TrainkitError):
    """A bundle, its manifest or its model is missing, damaged or not safe to load."""


class OutputError(TrainkitError):
    """A file or folder cannot be written, or exists already."""


class MissingPackageError(TrainkitError, ImportError):
    """A package that is needed for what was asked is not installed."""


class UsageError(TrainkitError, ValueError):
    """An argument is wrong. The command line exits with 2."""


def unknown(kind: str, value: str, known: Iterable[str], *, listed: str | None = None) -> UsageError:
    """Say that `value` is no `kind`, with the nearest name that is one.

    Args:
        kind: in a word.
        value: what came.
        known: the names that are one.
        listed: these names in other words, where they are many.
    """
    names = sorted(known)
    near = get_close_matches(value.lower(), names, n=3, cutoff=0.5)
    swapped = [name for name in near if sorted(name) == sorted(value.lower())]  # vgg61 is vgg16, not vgg19
    hint = f" Did you mean `{[*swapped, *near][0]}`?" if near else ""
    return UsageError(f"Unknown {kind} `{value}`.{hint} Expected one of: {listed or ', '.join(names)}")


# By the name that Python imports, the package that pip installs.
_PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "filelock": "filelock",
    "fontTools": "fonttools",
    "h5py": "h5py",
    "jinja2": "jinja2",
    "keras": "keras",
    "markupsafe": "jinja2",
    "matplotlib": "matplotlib",
    "mtcnn": "mtcnn",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "rich": "rich",
    "sklearn": "scikit-learn",
    "tensorflow": "tensorflow",
    "tf2onnx": "tf2onnx",
    "tomli_w": "tomli-w",
    "typer": "typer",
}


@contextmanager
def naming_missing_packages() -> Iterator[None]:
    """Say which package is missing where an import fails in the block: trainkit is useful without most of its own.

    Raises:
        MissingPackageError: a package that trainkit names is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = _PACKAGES.get((error.name or "").partition(".")[0])
        if package is None:
            raise
        raise MissingPackageError(
            f"This needs the package {package}, which is not installed. Install it, or, with `pip install .` in a "
            f"checkout of trainkit, all that trainkit needs: pip install {package}"
        ) from error
