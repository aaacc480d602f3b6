from __future__ import annotations

import json
import re
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainkit.errors import OutputError, RunError, UsageError
from trainkit.files import sha256_of
from trainkit.preprocessing import build_preprocessing
from trainkit.runs._run import COLUMNS, Run, create_run, find_run, list_runs, summarize_runs
from trainkit.runs._settings import build_config

CLASS_NAMES = ["blue", 'café "x"', "back\\slash", " 猫 "]
PREPROCESSING = build_preprocessing("torch", height=24, width=32)


def make_run(experiments: Path, **given: Any) -> Run:
    """Create a run that has not been trained; `environment` and `class_names` go to `create_run`."""
    rest = {"class_names": CLASS_NAMES, "environment": {"seed": 0}}
    rest.update({key: given.pop(key) for key in rest.keys() & given.keys()})
    config = build_config({"data": "digits", **given})
    return create_run(experiments, config=config, preprocessing=PREPROCESSING, **rest)  # type: ignore[arg-type]


def finish(run: Run, status: str = "finished") -> Run:
    with zipfile.ZipFile(run.model_path, "w") as archive:  # as a .keras file is one
        archive.writestr("weights", b"weights")
    run.set_result(status=status, keras_sha256=sha256_of(run.model_path), epochs=3, test_accuracy=0.9)
    return run


def rename(run: Run, name: str) -> Run:
    return Run(run.path.rename(run.path.with_name(name)))


@pytest.fixture
def experiments(tmp_path: Path) -> Path:
    return tmp_path / "work" / "experiments"


def test_created_run_reads_back_what_it_was_made_of(experiments: Path) -> None:
    config = build_config({"data": "digits", "training.learning_rate": 1e-5, "preprocessing.size": "8x6"})
    run = create_run(
        experiments, config=config, preprocessing=PREPROCESSING, class_names=CLASS_NAMES, environment={"seed": 0}
    )
    assert run.config == config
    assert run.preprocessing == PREPROCESSING
    assert run.class_names == CLASS_NAMES
    assert run.result["status"] == "running"
    assert json.loads((run.path / "environment.json").read_text()) == {"seed": 0}
    assert run.name == run.path.name
    assert run.name.endswith("-digits-small-cnn")


def test_created_run_can_be_read_by_others(experiments: Path) -> None:
    assert make_run(experiments).path.stat().st_mode & 0o777 == 0o755


def test_runs_of_one_second_have_folders_of_their_own(experiments: Path) -> None:
    runs = [make_run(experiments, name="same", class_names=[str(number), "b"]) for number in range(3)]
    assert len({run.path for run in runs}) == 3
    assert [run.class_names[0] for run in runs] == ["0", "1", "2"]


def test_runs_created_at_the_same_time_have_folders_of_their_own(experiments: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda number: make_run(experiments, class_names=[str(number), "b"]), range(16)))
    assert [run.class_names[0] for run in runs] == [str(number) for number in range(16)]
    assert sorted(run.name for run in runs) == sorted(path.name for path in experiments.iterdir())


def test_creating_a_run_leaves_others_as_they_are(experiments: Path) -> None:
    first = finish(make_run(experiments, name="same"))
    before = {path.name: path.read_bytes() for path in first.path.iterdir()}
    make_run(experiments, name="same")
    assert {path.name: path.read_bytes() for path in first.path.iterdir()} == before


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"environment": {"seed": float("nan")}}, ValueError, "not JSON compliant"),
        ({"environment": {"seed": object()}}, TypeError, "not JSON serializable"),
        ({"class_names": ["\udcff", "b"]}, UnicodeEncodeError, "surrogates not allowed"),
    ],
)
def test_creating_a_run_that_fails_leaves_nothing(
    experiments: Path, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_run(experiments, **given)
    assert list(experiments.iterdir()) == []


def test_creating_a_run_below_a_file_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(OutputError, match=r"Cannot write .*experiments: Not a directory\. .*choose a place"):
        make_run(tmp_path / "file" / "experiments")
    assert (tmp_path / "file").read_text() == "here"


def test_set_result_keeps_the_rest(experiments: Path) -> None:
    run = make_run(experiments)
    run.set_result(epochs=3)
    run.set_result(status="finished", message="café")
    assert (run.result["epochs"], run.result["status"], run.result["message"]) == (3, "finished", "café")
    assert not [path.name for path in run.path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("status", ["finished", "interrupted"])
def test_finished_run_is_usable(experiments: Path, status: str) -> None:
    finish(make_run(experiments), status).check_usable()


@pytest.mark.parametrize("status", [None, ["finished"]])
def test_run_whose_status_is_no_text_is_damaged(experiments: Path, status: Any) -> None:
    run = finish(make_run(experiments), status)
    with pytest.raises(RunError, match=r"is damaged: result\.json: `status` must be a text\. Received: "):
        run.check_usable()


@pytest.mark.parametrize("status", ["running", "failed", "nonsense"])
def test_unfinished_run_is_not_usable(experiments: Path, status: Any) -> None:
    run = finish(make_run(experiments), status)
    with pytest.raises(RunError, match=r"is not finished \(status: .*`trainkit runs` lists them"):
        run.check_usable()


@pytest.mark.parametrize("damage", ["changed", "missing", "folder", "unknown"])
def test_run_with_another_model_is_not_usable(experiments: Path, damage: str) -> None:
    run = finish(make_run(experiments))
    if damage == "unknown":
        run.set_result(keras_sha256=None)
    else:
        run.model_path.unlink()
    if damage == "changed":
        run.model_path.write_bytes(b"Weights")
    if damage == "folder":
        run.model_path.mkdir()
    with pytest.raises(RunError, match=r"is damaged: model\.keras is missing or was changed\. Train it again"):
        run.check_usable()


def test_trained_run_is_usable_until_its_model_is_changed(trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    trained_run.check_usable()
    run = Run(shutil.copytree(trained_run.path, tmp_path / trained_run.name))
    with run.model_path.open("r+b") as file:
        file.seek(1000)
        file.write(b"\0\1\2\3")
    with pytest.raises(RunError, match=r"model\.keras is missing or was changed"):
        run.check_usable()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("config.toml", lambda run: run.config),
        ("preprocessing.json", lambda run: run.preprocessing),
        ("labels.txt", lambda run: run.class_names),
        ("result.json", lambda run: run.result),
        ("result.json", lambda run: run.check_usable()),
    ],
)
def test_run_whose_file_is_missing_or_no_text(experiments: Path, name: str, read: Any) -> None:
    run = finish(make_run(experiments))
    (run.path / name).write_bytes(b"\xff")
    with pytest.raises(RunError, match=rf"The run {run.name} is damaged: .*{name}"):
        read(run)
    (run.path / name).unlink()
    with pytest.raises(RunError, match=rf"The run {run.name} is damaged: .*{name}"):
        read(run)


@pytest.mark.parametrize("content", ["", "{", "[]", "5", "null", "not json", "[" * 100_000])
@pytest.mark.parametrize("name", ["preprocessing.json", "result.json"])
def test_run_whose_json_is_damaged(experiments: Path, name: str, content: str) -> None:
    run = make_run(experiments)
    (run.path / name).write_text(content)
    with pytest.raises(RunError, match=rf"The run {run.name} is damaged: {name}: "):
        assert run.result if name == "result.json" else run.preprocessing


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"height": 5}', "has the keys"),
        ('{"height": 0, "width": 4, "resize": "stretch", "color": "rgb", "mean": [0, 0, 0], "std": [1, 1, 1], '
         '"pad_color": [0, 0, 0]}', "`height` must be"),
        ('{"height": 3, "width": 4, "resize": "stretch", "color": "rgb", "mean": [NaN, 0, 0], "std": [1, 1, 1], '
         '"pad_color": [0, 0, 0]}', "`mean` needs 3 finite numbers"),
    ],
)  # fmt: skip
def test_run_whose_preprocessing_is_impossible(experiments: Path, content: str, message: str) -> None:
    run = make_run(experiments)
    (run.path / "preprocessing.json").write_text(content)
    with pytest.raises(RunError, match=rf"The run {run.name} is damaged: preprocessing\.json: .*{message}"):
        assert run.preprocessing


@pytest.mark.parametrize("content", ["data = ", "", 'data = "digits"\nnonsense = 1', 'data = "digits"\nname = 5'])
def test_run_whose_config_is_damaged(experiments: Path, content: str) -> None:
    run = make_run(experiments)
    (run.path / "config.toml").write_text(content)
    with pytest.raises(RunError, match=rf"The run {run.name} is damaged: "):
        assert run.config


@pytest.mark.parametrize("damage", [b"no array", None])
def test_run_whose_mean_image_is_damaged(experiments: Path, damage: bytes | None) -> None:
    config = build_config({"data": "digits"})
    mean = np.full((24, 32, 3), 7, np.float32)
    preprocessing = build_preprocessing("mean-image", height=24, width=32, mean_image=mean)
    run = create_run(experiments, config=config, preprocessing=preprocessing, class_names=["a", "b"], environment={})
    assert run.preprocessing == preprocessing
    (run.path / "mean_image.npy").unlink() if damage is None else (run.path / "mean_image.npy").write_bytes(damage)
    with pytest.raises(
        RunError, match=rf"The run {run.name} is damaged: .*mean_image\.npy holds no mean image of 32x24"
    ):
        assert run.preprocessing


def test_find_run_by_path_name_short_name_and_itself(experiments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(experiments, name="birds")
    make_run(experiments, name="fish")
    monkeypatch.chdir(experiments.parent)
    for given in (run, run.path, str(run.path), f"experiments/{run.name}", run.name, Path(run.name), "birds"):
        assert find_run(given, experiments).path.resolve() == run.path
    assert find_run(run.path, experiments.parent / "elsewhere") == run
    assert find_run("birds").path.resolve() == run.path


def test_find_run_by_its_short_name_takes_the_newest(experiments: Path) -> None:
    for time in ("20260102-000000", "20260103-000000", "20260101-000000"):
        rename(make_run(experiments, name="birds"), f"{time}-birds")
    assert find_run("birds", experiments).name == "20260103-000000-birds"
    assert find_run("20260101-000000-birds", experiments).name == "20260101-000000-birds"


def test_find_run_by_its_short_name_takes_the_newest_of_one_second(experiments: Path) -> None:
    runs = [make_run(experiments, name="birds") for _ in range(3)]
    assert find_run("birds", experiments) == runs[-1]


def test_find_run_takes_a_whole_short_name_only(experiments: Path) -> None:
    make_run(experiments, name="birds")
    with pytest.raises(RunError, match="No run bird in "):
        find_run("bird", experiments)


def test_find_run_latest_is_the_newest(experiments: Path) -> None:
    rename(make_run(experiments, name="z"), "20260101-000000-z")
    rename(make_run(experiments, name="a"), "20260102-000000-a")
    assert find_run("latest", experiments).name == "20260102-000000-a"


def test_find_run_latest_of_one_second(experiments: Path) -> None:
    runs = [make_run(experiments, name=name) for name in ("c", "b", "a", "a", "b", "c")]
    assert find_run("latest", experiments) == runs[-1]
    assert list_runs(experiments) == runs


@pytest.mark.parametrize("place", ["empty", "missing", "file"])
def test_find_run_latest_where_there_is_none(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"No runs in .*\. Make one with `trainkit train`"):
        find_run("latest", tmp_path / place)


@pytest.mark.parametrize("given", ["fish", "", "20260101-000000-birds", "birds/config.toml", "a\0b", "n" * 300])
def test_find_run_that_is_not_there(experiments: Path, given: str) -> None:
    make_run(experiments, name="birds")
    with pytest.raises(RunError, match=r"No run .* in .*\..* Expected a path, the name of a run, or latest: "):
        find_run(given, experiments)


def test_list_runs_ignores_strangers(experiments: Path) -> None:
    run = make_run(experiments)
    (experiments / "README.md").write_text("Runs go here.")
    (experiments / "empty").mkdir()
    (experiments / "notes").mkdir()
    (experiments / "notes" / "result.json").write_text("{}")
    shutil.copytree(run.path, experiments / ".new-abc")
    (experiments / "dangling").symlink_to(experiments / "nowhere")
    assert list_runs(experiments) == [run]
    assert [row["run"] for row in summarize_runs(experiments)] == [run.name]


@pytest.mark.parametrize("place", ["empty", "missing", "file"])
def test_summary_where_there_are_no_runs(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert summarize_runs(tmp_path / place) == []


def test_summary_of_a_run_is_a_row(experiments: Path) -> None:
    run = finish(make_run(experiments))
    run.set_result(seconds=1.5, test_split="test")
    assert tuple(run.summary()) == COLUMNS
    assert summarize_runs(experiments) == [
        {
            "run": run.name,
            "path": str(run.path),
            "data": "digits",
            "model": "small-cnn",
            "epochs": 3,
            "test_accuracy": 0.9,
            "test_split": "test",
            "seconds": 1.5,
            "status": "finished",
            "study": None,
        }
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.toml", b""),
        ("config.toml", b"\xff"),
        ("config.toml", b"data = "),
        ("result.json", b""),
        ("result.json", b"\xff"),
        ("result.json", b"[]"),
        ("result.json", b"[" * 100_000),
        ("result.json", None),
    ],
)
def test_summary_survives_a_damaged_run(experiments: Path, name: str, content: bytes | None) -> None:
    good, bad = finish(make_run(experiments, name="good")), finish(make_run(experiments, name="bad"))
    if content is None:
        (bad.path / name).unlink()
    else:
        (bad.path / name).write_bytes(content)
    rows = summarize_runs(experiments)
    assert [(row["run"], row["status"]) for row in rows] == [(good.name, "finished"), (bad.name, "damaged")]
    assert rows[0].keys() == rows[1].keys()
    assert rows[1]["path"] == str(bad.path)


@pytest.mark.parametrize("damage", ["gone", "folder", "cut off", "empty"])
def test_summary_says_that_a_model_is_damaged(experiments: Path, damage: str) -> None:
    run = finish(make_run(experiments))
    content = run.model_path.read_bytes()
    run.model_path.unlink()
    if damage == "folder":
        run.model_path.mkdir()
    elif damage != "gone":
        run.model_path.write_bytes(content[:-5] if damage == "cut off" else b"")
    (row,) = summarize_runs(experiments)
    assert (row["status"], row["epochs"], row["test_accuracy"]) == ("damaged", 3, 0.9)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_summary_of_a_run_without_a_model_is_as_it_was(experiments: Path, status: str) -> None:
    run = make_run(experiments)
    run.set_result(status=status)
    with run.training():
        assert [row["status"] for row in summarize_runs(experiments)] == [status]


def test_summary_of_a_run_whose_process_has_gone_says_killed(experiments: Path) -> None:
    run = make_run(experiments)
    run.set_result(status="running")
    (run.path / "metrics.csv").write_text("epoch,loss\n1,2.0\n2,1.0\n3")
    assert [(row["status"], row["epochs"]) for row in summarize_runs(experiments)] == [("killed", 3)]


def test_metrics_are_numbers_where_they_are_numbers(experiments: Path) -> None:
    run = make_run(experiments)
    assert run.metrics == []
    (run.path / "metrics.csv").write_text("epoch,phase,loss,val_loss\n1,head,0.5,nan\n2,training,0.25,\n3,trai\n,,,\n4")
    first, *rest = run.metrics
    assert (first["epoch"], first["phase"], first["loss"]) == (1, "head", 0.5)
    assert np.isnan(first["val_loss"])
    assert rest == [{"epoch": 2, "phase": "training", "loss": 0.25}, {"epoch": 3, "phase": "trai"}, {"epoch": 4}]


def test_metrics_that_are_no_text_say_so(experiments: Path) -> None:
    run = make_run(experiments)
    (run.path / "metrics.csv").write_bytes(b"epoch\xff")
    with pytest.raises(RunError, match=r"is damaged: metrics\.csv cannot be read"):
        assert run.metrics


@pytest.fixture
def several(experiments: Path, tmp_path: Path) -> Path:
    """Four runs, oldest first: a (0.5), b (0.9), c (interrupted, no figures), d (damaged)."""
    made = {}
    for name, data in (("a", "digits"), ("b", str(tmp_path / "photos")), ("c", "digits"), ("d", "digits")):
        made[name] = rename(make_run(experiments, name=name, data=data), f"2026010{'abcd'.index(name)}-000000-{name}")
    finish(made["a"]).set_result(test_accuracy=0.5, epochs=20)
    finish(made["b"]).set_result(seconds=12)
    made["c"].set_result(status="interrupted", epochs=1)
    (made["d"].path / "result.json").unlink()
    return experiments


def names(rows: list[dict[str, Any]]) -> str:
    return "".join(row["run"][-1] for row in rows)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "abcd"),
        ({"reverse": True}, "dcba"),
        ({"limit": 2}, "ab"),
        ({"reverse": True, "limit": 2}, "dc"),
        ({"sort": "test_accuracy"}, "abcd"),
        ({"sort": "test accuracy", "reverse": True}, "bacd"),
        ({"sort": "Epochs"}, "cbad"),
        ({"sort": "seconds", "reverse": True}, "bacd"),
        ({"sort": "status"}, "dabc"),
        ({"sort": "test-accuracy", "reverse": True, "limit": 1}, "b"),
        ({"filters": ["status=finished"]}, "ab"),
        ({"filters": ["status != finished"]}, "cd"),
        ({"filters": ["data=photos"]}, "b"),
        ({"filters": ["data=digits", "model=small-cnn"]}, "ac"),
        ({"filters": ["model=mobilenet"]}, ""),
        ({"filters": ["test_accuracy>=0.5"]}, "ab"),
        ({"filters": ["test_accuracy>0.5"]}, "b"),
        ({"filters": ["epochs<=3"]}, "bc"),
        ({"filters": ["epochs < 3"]}, "c"),
        ({"filters": ["epochs==20"]}, "a"),
        ({"filters": ["run>=20260102"]}, "cd"),
        ({"filters": ["test_accuracy!=0.5"]}, "bcd"),
        ({"filters": ["status=finished"], "sort": "test_accuracy", "reverse": True, "limit": 1}, "b"),
    ],
)
def test_summary_is_sorted_and_filtered(several: Path, given: dict[str, Any], expected: str) -> None:
    assert names(summarize_runs(several, **given)) == expected


def test_summary_is_filtered_by_a_whole_path(several: Path, tmp_path: Path) -> None:
    assert names(summarize_runs(several, filters=[f"data={tmp_path / 'photos'}"])) == "b"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sort": "accuracy"}, "Unknown column `accuracy`. Did you mean `test_accuracy`?"),
        ({"filters": ["modle=x"]}, "Unknown column `modle`. Did you mean `model`?"),
        ({"filters": ["model"]}, "A filter is COLUMN=VALUE, .* Received: model"),
        ({"filters": ["=x"]}, "A filter is COLUMN=VALUE, .* Received: =x"),
        ({"filters": ["epochs>=many"]}, "The column epochs has numbers. Received: epochs>=many"),
        ({"limit": 0}, "`limit` must be a whole number from 1. Received: 0"),
    ],
)
def test_summary_that_is_asked_for_wrongly(several: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message).replace(r"\.\*", ".*")):
        summarize_runs(several, **given)
