"""One folder of `experiments/`: what was trained, how, and what came of it. Nothing ever overwrites a run."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trainkit.config import Config, build_config, read_config
from trainkit.data.dataset import Dataset
from trainkit.data.sources import SOURCES, load_dataset
from trainkit.errors import DataError, RunError, TrainkitError, UsageError
from trainkit.files import cannot_write, make_folder, sha256_of, write_json
from trainkit.preprocessing import PREPROCESSING_FILE, Preprocessing, load_preprocessing, save_preprocessing

EXPERIMENTS = Path("experiments")
_LOCK_FILE = ".lock"
_TIME = "%Y%m%d-%H%M%S"


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder; its properties read the files in it when they are asked for."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name: `<date>-<time>-<name>`."""
        return self.path.name

    @property
    def config(self) -> Config:
        """The settings the run was made with."""
        try:
            return build_config(read_config(self.path / "config.toml"))
        except (TrainkitError, UsageError) as error:
            raise RunError(f"The run {self.name} is damaged: {error}") from None

    @property
    def preprocessing(self) -> Preprocessing:
        """How its images became the network's input."""
        try:
            return load_preprocessing(self.path)
        except (OSError, ValueError, TypeError, RecursionError, TrainkitError) as error:
            raise RunError(f"The run {self.name} is damaged: {PREPROCESSING_FILE}: {error}") from None

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, seed, commit and machine, as they were when it began."""
        try:
            return dict(json.loads(self._read("environment.json")))
        except (ValueError, TypeError, RecursionError) as error:
            raise RunError(f"The run {self.name} is damaged: environment.json: {error}") from None

    @property
    def class_names(self) -> list[str]:
        """The class names, in the order of the network's outputs."""
        return self._read("labels.txt").splitlines()

    @property
    def result(self) -> dict[str, Any]:
        """`result.json`: `status`, and what is known by then of `epochs`, `seconds`, `test_accuracy` and more."""
        try:
            result = {**_EMPTY_RESULT, **json.loads(self._read("result.json"))}
            for key in ("epochs", "seconds", "test_accuracy", "test_loss"):
                if not isinstance(result[key], (int, float, type(None))):
                    raise ValueError(f"`{key}` is no number")
            return result
        except (ValueError, TypeError, RecursionError) as error:
            raise RunError(f"The run {self.name} is damaged: result.json: {error}") from None

    @property
    def status(self) -> str:
        """`running`, `killed` where its process has gone, `finished`, `interrupted` or `failed`."""
        status = str(self.result["status"])
        return "killed" if status == "running" and not self.is_training() else status

    def load_data(self) -> Dataset:
        """Load the data that it was trained on.

        Raises:
            DataError: it is not where it was, or cannot be used any more.
        """
        data = self.config["data"]
        if data not in SOURCES and not os.path.exists(data):
            raise DataError(f"The images of the run {self.name} are no longer at {data}. Put them back there.")
        return load_dataset(data, validation=self.config["training.validation"])

    @property
    def model_path(self) -> Path:
        """The best weights, as a `.keras` file."""
        return self.path / "model.keras"

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"The run {self.name} is damaged: {name} cannot be read ({error}).") from None

    def set_result(self, **values: Any) -> None:
        """Change some values of `result.json`."""
        write_json(self.path / "result.json", {**self.result, **values})

    @contextmanager
    def training(self) -> Iterator[None]:
        """Hold the run's lock while it is trained; it goes with the process, however that ends.

        Raises:
            RunError: another process trains it.
        """
        try:
            # Not at once, because `is_training` holds it for a moment.
            with FileLock(self.path / _LOCK_FILE, timeout=1):
                yield
        except Timeout:
            raise RunError(
                f"The run {self.name} is being trained by another process. Wait for it, or end it."
            ) from None

    def is_training(self) -> bool:
        """Whether a process trains it now."""
        if not (self.path / _LOCK_FILE).exists():
            return False
        try:
            with FileLock(self.path / _LOCK_FILE, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a folder that cannot be written to: nobody trains there
            return False

    def check_resumable(self) -> None:
        """Raise unless training it can go on.

        Raises:
            RunError: it is finished.
        """
        if self.result["status"] == "finished":
            raise RunError(f"The run {self.name} is finished. Train anew, with more --epochs.")

    def check_usable(self) -> None:
        """Raise unless the run ended with a model that is as it was saved.

        Raises:
            RunError: it still runs, was killed, failed, or its model was changed.
        """
        result = self.result
        if result["status"] not in ("finished", "interrupted"):
            raise RunError(
                f"The run {self.name} is not finished (status: {self.status}). Expected a finished or interrupted one: "
                "`trainkit runs` lists them, `trainkit train --resume` goes on with one that was killed."
            )
        if not self.model_path.is_file() or sha256_of(self.model_path) != result["keras_sha256"]:
            raise RunError(f"The run {self.name} is damaged: model.keras is missing or was changed. Train it again.")

    def summary(self) -> dict[str, Any]:
        """Return the run as a row of the table of runs."""
        config, result = self.config, self.result
        return {
            "run": self.name,
            "path": str(self.path.absolute()),
            "data": config["data"],
            "model": config["model.name"],
            **{key: result[key] for key in ("epochs", "test_accuracy", "test_split", "seconds")},
            "status": self.status,
        }


_EMPTY_RESULT: dict[str, Any] = {
    "status": "running",
    "message": None,
    "epochs": 0,
    "best_epoch": None,
    "seconds": None,
    "test_split": None,
    "test_accuracy": None,
    "test_loss": None,
    "classes": [],
    "confusion_matrix": [],
    "keras_sha256": None,
}


def create_run(
    experiments: Path,
    *,
    config: Config,
    preprocessing: Preprocessing,
    class_names: list[str],
    environment: dict[str, Any],
    brought: Mapping[str, tuple[str, Callable[[Path], None]]] | None = None,
) -> Run:
    """Make the folder of a new run, whole or not at all, with status `running`.

    Args:
        experiments: the folder of runs.
        config: every setting.
        preprocessing: how images become the network's input.
        class_names: in the order of the network's outputs.
        environment: what else the run depended on.
        brought: copies to keep, by the setting that names them: the copy's name, and what writes it to a path.

    Raises:
        OutputError: the folder cannot be written.
    """
    make_folder(experiments)
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=experiments))
    try:
        temporary.chmod(0o755)
        for name, write in (brought or {}).values():
            write(temporary / name)
        copies = {key: name for key, (name, _) in (brought or {}).items()}
        (temporary / "config.toml").write_text(Config({**config.values, **copies}).to_toml(), encoding="utf-8")
        (temporary / "labels.txt").write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
        save_preprocessing(temporary, preprocessing)
        write_json(temporary / "environment.json", environment)
        write_json(temporary / "result.json", _EMPTY_RESULT)
        return Run(_rename_to_free_name(temporary, experiments, config["name"]))
    except OSError as error:
        raise cannot_write(temporary, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_to_free_name(temporary: Path, experiments: Path, name: str) -> Path:
    stem = f"{datetime.now().strftime(_TIME)}-{name}"
    for number in range(1, 1000):
        path = experiments / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()  # claims the name: a rename alone could not tell whether another process has it
        except FileExistsError:
            continue
        return temporary.replace(path)
    raise FileExistsError(17, "1000 runs of this name in one second", str(experiments))


def list_runs(experiments: str | Path = EXPERIMENTS) -> list[Run]:
    """Return the runs of a folder, oldest first."""
    folder = Path(experiments)
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if not path.name.startswith(".") and (path / "config.toml").is_file()]
    return [Run(path) for path in sorted(found, key=_age)]


def _age(path: Path) -> tuple[str, int]:
    """Sort by the time in the name, then by that of the config; a folder that was renamed comes before all others."""
    time = path.name[:15] if path.name[:8].isdigit() else ""
    return time, (path / "config.toml").stat().st_mtime_ns


def find_run(run: str | Path | Run, experiments: str | Path = EXPERIMENTS) -> Run:
    """Find a run by its path, its name, or `latest`.

    A name is the whole one, or the part behind the time; then the newest of that name is meant.

    Raises:
        RunError: there is none.
    """
    if isinstance(run, Run):
        return run
    runs = list_runs(experiments)
    if str(run) == "latest":
        if not runs:
            raise RunError(f"No runs in {experiments}. Make one with `trainkit train`.")
        return runs[-1]
    for path in (Path(run), Path(experiments, run)):
        if os.path.isfile(path / "config.toml"):  # unlike Path's, false for a name that is too long
            return Run(path)
    named = [found for found in runs if _given_name(found) == str(run)]
    if not named:
        near = get_close_matches(str(run), ["latest", *(found.name for found in runs)], n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise RunError(
            f"No run {run} in {experiments}.{hint} Expected a path, the name of a run, or latest: "
            "`trainkit runs` lists them."
        )
    return named[-1]


def _given_name(run: Run) -> str | None:
    """Return the part of a run's name that the user gave; a number may follow it in the folder's name."""
    try:
        return str(read_config(run.path / "config.toml").get("name"))
    except TrainkitError:
        return None


def summarize_runs(experiments: Path = EXPERIMENTS) -> list[dict[str, Any]]:
    """Return a row for each run, oldest first; one that cannot be read has the status `damaged`."""
    rows = []
    for run in list_runs(experiments):
        try:
            rows.append(run.summary())
        except RunError:
            nothing = dict.fromkeys(("data", "model", "epochs", "test_accuracy", "test_split", "seconds"))
            rows.append({"run": run.name, "path": str(run.path.absolute()), **nothing, "status": "damaged"})
    return rows
