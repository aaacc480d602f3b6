"""One folder of `experiments/`: what was trained, how, and what came of it. Nothing ever overwrites a run."""

from __future__ import annotations

import operator
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from trainkit.data._dataset import Dataset
from trainkit.data._sources import SOURCES, load_dataset
from trainkit.deploy.python._showing import harmless
from trainkit.errors import DataError, RunError, TrainkitError, UsageError, unknown
from trainkit.files import building, cannot_write, make_folder, sha256_of, write_json
from trainkit.preprocessing import PREPROCESSING_FILE, Preprocessing, load_preprocessing, save_preprocessing
from trainkit.runs._config_file import CHOSEN_LATER
from trainkit.runs._documents import MAX_BYTES, parse_environment, parse_metrics, parse_result
from trainkit.runs._figures import ALSO_CHOSE, accuracy_in_words, accuracy_interval, interval_in_words, side_in_words
from trainkit.runs._notebook import epochs_html, figures_html
from trainkit.runs._settings import Config, build_config, read_config

EXPERIMENTS = Path("experiments")
_LOCK_FILE = ".lock"
Parsed = TypeVar("Parsed")
_TIME = "%Y%m%d-%H%M%S"
_MAX_MODEL_BYTES = 2**32  # a file of holes may say that it has any number, and would be read to its end


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """A run's folder; its properties read the files in it when they are asked for.

    It stands for its folder wherever a path does: `Path(run)`.
    """

    path: Path

    def __fspath__(self) -> str:
        """Return the folder."""
        return str(self.path)

    def __repr__(self) -> str:
        """Return `Run(20261129-101500-digits: small-cnn on digits, finished, test accuracy 0.989)`."""
        row = _row_of(self)
        network = f"{row['model']} on {Path(row['data']).name}, " if row["model"] else ""
        accuracy = row["test_accuracy"]
        figures = "" if accuracy is None else f", {self._name_of_share()} {accuracy:.3f}"
        return harmless(f"Run({self.name}: {network}{row['status']}{figures})")

    def _repr_html_(self) -> str:
        row = _row_of(self)
        figures: dict[str, Any] = {name: row[name] for name in _SHOWN}
        if row["test_accuracy"] is not None:
            figures[self._name_of_share()] = row["test_accuracy"]
        figures["seconds"] = row["seconds"]
        if row["test_accuracy"] is not None and (interval := accuracy_interval(self.result)):
            figures["95% interval"] = interval_in_words(interval)
        if row["test_split"] == "val":
            figures["measured on"] = ALSO_CHOSE
        return figures_html(f"Run {self.name}", figures) + _curves_html(self)

    def _name_of_share(self) -> str:
        """Return what `test_accuracy` is called, and on which images."""
        result = self.result
        return f"{side_in_words(result['test_split'])} {accuracy_in_words(result)}"

    @property
    def name(self) -> str:
        """The folder's name: `<date>-<time>-<name>`."""
        return self.path.name

    @property
    def argument(self) -> str:
        """What a command takes for it, without --experiments: its name, or its path where that is elsewhere."""
        return self.name if self.path.parent == Path(EXPERIMENTS) else str(self.path)

    @property
    def config(self) -> Config:
        """The settings the run was made with."""
        self._check_file("config.toml")
        try:
            # A run of before there was a choice goes on as it began.
            unchosen = dict.fromkeys(CHOSEN_LATER)
            return build_config({**unchosen, **read_config(self.path / "config.toml")})
        except TrainkitError as error:
            raise RunError(f"The run {self.name} is damaged: {error}") from error

    @property
    def preprocessing(self) -> Preprocessing:
        """How its images became the network's input."""
        try:
            return load_preprocessing(self.path)
        except (OSError, ValueError, TypeError, OverflowError, RecursionError, TrainkitError) as error:
            raise RunError(f"The run {self.name} is damaged: {PREPROCESSING_FILE}: {error}") from error

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, seed, commit and machine, as they were when it began."""
        return self._parse("environment.json", parse_environment)

    @property
    def class_names(self) -> list[str]:
        """The class names, in the order of the network's outputs."""
        return self._read("labels.txt").splitlines()

    @property
    def result(self) -> dict[str, Any]:
        """`result.json`: `status`, and what is known by then of `epochs`, `seconds`, `test_accuracy` and more."""
        return {**_EMPTY_RESULT, **self._parse("result.json", parse_result)}

    @property
    def status(self) -> str:
        """`running`, `killed` where its process has gone, `finished`, `interrupted`, `failed`, `pruned`, or `damaged`.

        A trial of a study is pruned where others promised more. A run is damaged where the model has gone or was cut
        off. That every byte is as it was saved, a table cannot wait for: `check_usable` sees to it.
        """
        status, model = str(self.result["status"]), self.result["keras_sha256"]
        if model and not zipfile.is_zipfile(self.model_path):  # looks at the end of the file only
            return "damaged"
        return "killed" if status == "running" and not self.is_training() else status

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """`metrics.csv`: a row an epoch by its columns, numbers as such; none before the first epoch has ended.

        Which columns there are depends on the version and the data. A row that was not written to its end is left out.
        """
        if not (self.path / "metrics.csv").is_file():
            return []
        return self._parse("metrics.csv", parse_metrics)

    def load_data(self) -> Dataset:
        """Load the data that it was trained on.

        Raises:
            DataError: it is not where it was, or cannot be used any more.
        """
        data = self.config["data"]
        if data not in SOURCES and not os.path.exists(data):
            raise DataError(f"The images of the run {self.name} are no longer at {data}. Put them back there.")
        return load_dataset(data, validation=self.config.training.validation, reading=self.config.reading)

    def check_classes(self, dataset: Dataset) -> None:
        """Raise unless the data still has the classes that the network answers with.

        Raises:
            DataError: it has others; says how the folders are read as they were, where that is the reason.
        """
        if dataset.class_names == self.class_names:
            return
        data = Path(self.config.data)
        as_before = (
            f' Folders of these names are there: `sides = "none"` below `[reading]` in {self.path / "config.toml"} '
            "takes them for classes, as this run did."
        )
        read_otherwise = all((data / name).is_dir() for name in self.class_names) and self.config.reading.sides is None
        raise DataError(
            f"The classes of {data} are no longer those of {self.name}: {', '.join(self.class_names)}. Received: "
            f"{', '.join(dataset.class_names)}.{as_before if read_otherwise else ''}"
        )

    @property
    def model_path(self) -> Path:
        """The best weights, as a `.keras` file."""
        return self.path / "model.keras"

    def _parse(self, name: str, parse: Callable[[str], Parsed]) -> Parsed:
        try:
            return parse(self._read(name))
        except ValueError as error:
            raise RunError(f"The run {self.name} is damaged: {name}: {error}") from error

    def _read(self, name: str) -> str:
        self._check_file(name)
        path = self.path / name
        try:
            if path.stat().st_size > MAX_BYTES:
                raise RunError(f"The run {self.name} is damaged: {name} has more than {MAX_BYTES} bytes.")
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"The run {self.name} is damaged: {name} cannot be read ({error}).") from error

    def _check_file(self, name: str) -> None:
        path = self.path / name
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise RunError(f"The run {self.name} is damaged: {name} is no file.")

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
        except Timeout as error:
            raise RunError(
                f"The run {self.name} is being trained by another process. Wait for it, or end it."
            ) from error

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
            raise RunError(
                f"The run {self.name} is finished. Train anew with more epochs: `--epochs`, or `epochs=` in Python."
            )

    def check_usable(self) -> None:
        """Raise unless the run ended with a model that is as it was saved.

        Raises:
            RunError: it still runs, was killed, failed, or its model was changed.
        """
        result = self.result
        if result["status"] not in ("finished", "interrupted", "pruned"):
            raise RunError(
                f"The run {self.name} is not finished (status: {self.status}). Expected a finished or interrupted one: "
                "`trainkit runs` lists them, `trainkit train --resume` goes on with one that was killed."
            )
        if result["classes"] and [row["label"] for row in result["classes"]] != self.class_names:
            raise RunError(
                f"The run {self.name} is damaged: labels.txt does not have the classes of result.json. Train it again."
            )
        whole = self.model_path.is_file() and self.model_path.stat().st_size <= _MAX_MODEL_BYTES
        if not whole or sha256_of(self.model_path) != result["keras_sha256"]:
            raise RunError(f"The run {self.name} is damaged: model.keras is missing or was changed. Train it again.")

    def summary(self) -> dict[str, Any]:
        """Return the run as a row of the table of runs."""
        config, result = self.config, self.result
        row = {
            "run": self.name,
            "path": str(self.path.absolute()),
            "data": config["data"],
            "model": config["model.name"],
            **{key: result[key] for key in ("epochs", "test_accuracy", "test_split", "seconds")},
            "status": self.status,
            "study": result["study"],
        }
        if row["status"] in ("running", "killed"):
            row["epochs"] = len(self.metrics)  # `result.json` is as old as the start of the training
        return row


_SHOWN = ("model", "data", "status", "epochs")


def _curves_html(run: Run) -> str:
    """Return loss and accuracy of each epoch; nothing where they cannot be read."""
    try:
        return epochs_html(run.metrics, {"loss": "loss", "accuracy": accuracy_in_words(run.result)})
    except RunError:
        return ""


_EMPTY_RESULT: dict[str, Any] = {
    "status": "running",
    "message": None,
    "epochs": 0,
    "best_epoch": None,
    "monitor": None,
    "seconds": None,
    "test_split": None,
    "test_accuracy": None,
    "test_loss": None,
    "classes": [],
    "confusion_matrix": [],
    "test_images": None,
    "keras_sha256": None,
    "study": None,
    "trial": None,
}


def create_run(
    experiments: Path,
    *,
    config: Config,
    preprocessing: Preprocessing,
    class_names: list[str],
    environment: dict[str, Any],
    copies: Mapping[str, tuple[str, Callable[[Path], None]]] | None = None,
    trial: tuple[str, int] | None = None,
) -> Run:
    """Make the folder of a new run, whole or not at all, with status `running`.

    Args:
        experiments: the folder of runs.
        config: every setting.
        preprocessing: how images become the network's input.
        class_names: in the order of the network's outputs.
        environment: what else the run depended on.
        copies: what to keep, by the setting that names it: the copy's name, and what writes it to a path.
        trial: of a study, where it is one: the study's name, and its number there.

    Raises:
        OutputError: the folder cannot be written.
    """
    make_folder(experiments)
    try:
        with building(experiments) as temporary:
            for name, write in (copies or {}).values():
                write(temporary / name)
            names = {key: name for key, (name, _) in (copies or {}).items()}
            (temporary / "config.toml").write_text(config.replace(names).to_toml(), encoding="utf-8")
            (temporary / "labels.txt").write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
            save_preprocessing(temporary, preprocessing)
            write_json(temporary / "environment.json", environment)
            study, number = trial or (None, None)
            write_json(temporary / "result.json", {**_EMPTY_RESULT, "study": study, "trial": number})
            return Run(_rename_to_free_name(temporary, experiments, config["name"]))
    except OSError as error:
        raise cannot_write(experiments, error) from error


def _rename_to_free_name(temporary: Path, experiments: Path, name: str) -> Path:
    stem = f"{datetime.now().strftime(_TIME)}-{name}"
    for number in range(1, 1000):
        path = experiments / (stem if number == 1 else f"{stem}-{number}")
        try:
            return temporary.rename(path)  # in one step, which fails where there is a run: no run's folder is empty
        except OSError:
            if not os.path.lexists(path):
                raise
    raise FileExistsError(17, "1000 runs of this name in one second", str(experiments))


def list_runs(experiments: str | os.PathLike[str] = EXPERIMENTS) -> list[Run]:
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


def find_run(run: str | os.PathLike[str] | Run, experiments: str | os.PathLike[str] = EXPERIMENTS) -> Run:
    """Find a run by its path, its name, or `latest`; a `Run` is itself.

    A name is the whole one, or the part behind the time; then the newest of that name is meant.

    Raises:
        RunError: there is none.
    """
    if isinstance(run, Run):
        return run
    runs, name = list_runs(experiments), os.fspath(run)
    if name == "latest":
        if not runs:
            raise RunError(f"No runs in {Path(experiments)}. Make one with `trainkit train`.")
        return runs[-1]
    for path in (Path(name), Path(experiments, name)):
        if os.path.isfile(path / "config.toml"):  # unlike Path's, false for a name that is too long
            return Run(path)
    named = [found for found in runs if _given_name(found) == name]
    if not named:
        near = get_close_matches(name, ["latest", *(found.name for found in runs)], n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise RunError(
            f"No run {name} in {Path(experiments)}.{hint} Expected a path, the name of a run, or latest: "
            "`trainkit runs` lists them."
        )
    return named[-1]


def _given_name(run: Run) -> str | None:
    """Return the part of a run's name that the user gave; a number may follow it in the folder's name."""
    try:
        return str(read_config(run.path / "config.toml").get("name"))
    except TrainkitError:
        return None


COLUMNS = ("run", "path", "data", "model", "epochs", "test_accuracy", "test_split", "seconds", "status", "study")
_NUMBERS = ("epochs", "test_accuracy", "seconds")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def summarize_runs(
    experiments: str | Path = EXPERIMENTS,
    *,
    sort: str | None = None,
    reverse: bool = False,
    filters: Sequence[str] = (),
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each run, oldest first; one that cannot be read has the status `damaged`.

    Args:
        experiments: the folder of runs.
        sort: the column to sort by; rows that have nothing there come last, in either direction.
        reverse: the other way round.
        filters: what a row must be, each as `column=value`, or with `!=`, `>=`, `<=`, `>` or `<`. The last part of
            the path is enough for `data`.
        limit: how many rows, the first ones.

    Raises:
        UsageError: there is no such column, a filter is not one, or `limit` is below 1.
    """
    column = None if sort is None else _column(sort)
    tests = [_parse_filter(text) for text in filters]
    if limit is not None and limit < 1:
        raise UsageError(f"`limit` must be a whole number from 1. Received: {limit}")
    rows = [row for row in map(_row_of, list_runs(experiments)) if all(test(row) for test in tests)]
    last = [row for row in rows if column and row[column] is None]
    first = [row for row in rows if row not in last]
    if column:
        first.sort(key=lambda row: row[column] if column in _NUMBERS else str(row[column]))
    return [*(reversed(first) if reverse else first), *last][:limit]


def _row_of(run: Run) -> dict[str, Any]:
    try:
        return run.summary()
    except RunError:
        nothing = dict.fromkeys(("data", "model", "epochs", "test_accuracy", "test_split", "seconds"))
        return {"run": run.name, "path": str(run.path.absolute()), **nothing, "status": "damaged", "study": None}


def _column(name: str) -> str:
    """Return the column of this name, which may be written as the table has it: `test accuracy`."""
    column = name.strip().lower().replace("-", "_").replace(" ", "_")
    if column not in COLUMNS:
        raise unknown("column", name, COLUMNS)
    return column


def _parse_filter(text: str) -> Callable[[dict[str, Any]], bool]:
    """Return what tells whether a row is what `column>=value` says; a row that has nothing there is not."""
    found = re.fullmatch(r"([^=!<>]+)(!=|>=|<=|==?|>|<)(.*)", text, re.DOTALL)
    if found is None:
        raise UsageError(
            f"A filter is COLUMN=VALUE, or with !=, >=, <=, > or <, such as test_accuracy>=0.9. Received: {text}"
        )
    column, holds = _column(found[1]), _COMPARISONS[found[2].replace("==", "=")]
    wanted: float | str = found[3].strip()
    if column in _NUMBERS:
        try:
            wanted = float(wanted)
        except ValueError as error:
            raise UsageError(f"The column {column} has numbers. Received: {text}") from error

    def test(row: dict[str, Any]) -> bool:
        value = row[column]
        if value is None:
            return found[2] == "!="
        if column == "data" and "/" not in str(wanted) and "\\" not in str(wanted):
            value = Path(value).name
        return holds(value if column in _NUMBERS else str(value), wanted)

    return test
