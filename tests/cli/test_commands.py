"""The command line as a contract: documents, exit codes, one line on standard error."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from commands import trainkit
from photographs import write_class_folders

from trainkit.cli import app
from trainkit.cli._settings_command import _OPTIONS, _SETTINGS
from trainkit.models._builders import BUILDERS
from trainkit.models._listing import list_models
from trainkit.preprocessing import PREPROCESSINGS
from trainkit.runs import list_settings
from trainkit.runs._rules import RULES


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which digits were trained and exported."""
    folder = tmp_path_factory.mktemp("workplace")
    trained = trainkit("train", "digits", "--epochs", 8, "--name", "digits", "--json", cwd=folder)
    (folder / "train.json").write_text(trained.stdout)
    (folder / "train.err").write_text(trained.stderr)
    exported = trainkit("export", "latest", "--name", "digits", "--json", cwd=folder)
    (folder / "export.json").write_text(exported.stdout)
    assert exported.stderr == "Left out models.yml: OpenCV's sample cannot do what comes before the blob (gray).\n"
    return folder


def test_train_prints_one_document(workplace: Path) -> None:
    document = json.loads((workplace / "train.json").read_text())
    assert set(document) == {"run", "test_accuracy", "test_loss", "test_split", "epochs", "seconds", "status"}
    assert Path(document["run"]).is_absolute()
    assert Path(document["run"]).parent == workplace / "experiments"
    assert document["test_accuracy"] > 0.9
    assert (document["test_split"], document["epochs"]) == ("test", 8)


def test_train_says_only_what_is_its_own(workplace: Path) -> None:
    lines = (workplace / "train.err").read_text().splitlines()
    assert len(lines) == 1 + 8
    assert lines[-1].startswith("epoch 8/8  loss ")


def test_export_prints_one_document(workplace: Path) -> None:
    document = json.loads((workplace / "export.json").read_text())
    assert document["bundle"] == str(workplace / "exported" / "digits")
    assert (document["format"], document["top1_agreement"]) == ("onnx", 1.0)
    assert document["max_abs_difference"] <= 1e-5


def test_check_prints_one_document(workplace: Path) -> None:
    document = json.loads(trainkit("check", "digits", "--data", "digits", "--json", cwd=workplace).stdout)
    assert (document["images"], document["top1_agreement"], document["max_abs_pixel_difference"]) == (360, 1.0, 0)
    assert document["max_relative_logit_difference"] <= 1e-4
    assert set(document["runtimes"]) == {"keras", "opencv", "onnxruntime"}


def test_check_of_a_disagreement_ends_with_1(workplace: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(workplace / "exported" / "digits", tmp_path / "changed")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["blob"]["scalefactor"] *= 1.5
    (copy / "manifest.json").write_text(json.dumps(manifest))
    ended = trainkit("check", copy, "--json", cwd=workplace, code=1)
    assert json.loads(ended.stdout)["max_abs_pixel_difference"] > 0
    assert ended.stderr.count("\n") == 1
    assert "does not answer as Keras does" in ended.stderr


def test_predict_prints_one_document(workplace: Path) -> None:
    images = sorted((workplace / "exported" / "digits" / "selftest").glob("*.png"))[:2]
    ended = trainkit("predict", "digits", *images, "--top", 3, "--json", cwd=workplace)
    document = json.loads(ended.stdout)
    assert [entry["image"] for entry in document] == [str(path) for path in images]
    for entry in document:
        probabilities = [found["probability"] for found in entry["predictions"]]
        assert len(probabilities) == 3
        assert probabilities == sorted(probabilities, reverse=True)
    assert re.fullmatch(r"2 images in .* images/s\n", ended.stderr)


def test_predict_classifies_what_it_can(workplace: Path, tmp_path: Path) -> None:
    image = workplace / "exported" / "digits" / "selftest" / "1.png"
    (tmp_path / "notes.jpg").write_text("no image")
    (tmp_path / "empty").mkdir()
    inputs = (image, tmp_path / "notes.jpg", tmp_path / "empty")
    ended = trainkit("predict", "digits", *inputs, "--json", cwd=workplace, code=1)
    assert [entry["image"] for entry in json.loads(ended.stdout)] == [str(image)]
    speed, problems = ended.stderr.splitlines()
    assert speed.startswith("1 image in ")
    assert problems.startswith("Left out 2 of 3 images: No images in ")
    assert "notes.jpg is no image" in problems


def test_predict_prints_any_class_name_into_any_pipe(workplace: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(workplace / "exported" / "digits", tmp_path / "cats")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["output"]["class_names"][1] = "猫 🐱"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    command = [sys.executable, "-m", "trainkit", "predict", str(copy), str(copy / "selftest" / "1.png")]
    for more in ([], ["--json"]):
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        ended = subprocess.run([*command, *more], capture_output=True, text=True, env=environment, check=False)
        assert (ended.returncode, ended.stderr.count("\n")) == (0, 1)
    assert "猫 🐱" in [found["label"] for found in json.loads(ended.stdout)[0]["predictions"]]


def test_predict_leaves_out_what_is_not_likely(workplace: Path) -> None:
    image = workplace / "exported" / "digits" / "selftest" / "1.png"
    ended = trainkit("predict", "digits", image, "--min-confidence", 0.6, "--json", cwd=workplace)
    assert len(json.loads(ended.stdout)[0]["predictions"]) <= 1


def test_runs_and_evaluate_print_one_document(workplace: Path) -> None:
    (row,) = json.loads(trainkit("runs", "--json", cwd=workplace).stdout)
    assert (row["data"], row["model"], row["epochs"], row["status"]) == ("digits", "small-cnn", 8, "finished")
    figures = json.loads(trainkit("evaluate", "digits", "--json", cwd=workplace).stdout)
    assert figures["test_accuracy"] == row["test_accuracy"]
    assert len(figures["classes"]) == 10


def test_commands_print_tables(workplace: Path) -> None:
    assert "digits  small-cnn" in trainkit("runs", cwd=workplace).stdout
    assert "test accuracy" in trainkit("evaluate", "latest", cwd=workplace).stdout
    image = workplace / "exported" / "digits" / "selftest" / "1.png"
    assert str(image) in trainkit("predict", "digits", image, cwd=workplace).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train"], 2, "Expected DATA: digits, fashion-mnist, a folder of class folders, a .csv or an .npz file."),
        (["train", "digits", "--set", "augmentation.brightness_range=()"], 2, "the lesser first, or [] for none. "),
        (["data", "check", "none.csv"], 1, "Cannot read none.csv: No such file or directory."),
        (["train", "digits", "--epoch", "3"], 2, "--epochs"),
        (["train", "digits", "--epochs", "0"], 2, "`training.epochs` must be a whole number from 1. Received: 0"),
        (["train", "digits", "--epochs", "ten"], 2, "`training.epochs` must be a whole number from 1. Received: 'ten'"),
        (["find-lr", "digits", "--alpha=x"], 2, "`model.alpha` must be a width above 0, at most 4. Received: 'x'"),
        (["train", "none.csv"], 1, "/none.csv. Expected digits, fashion-mnist, a folder of class folders"),
        (["train", "digits", "--model", "vgg61"], 2, "Did you mean `vgg16`?"),
        (["train", "digits", "--set", "model.block=1"], 2, "Did you mean `model.blocks`?"),
        (["train", "digits", "--set", "model.blocks"], 2, "--set takes key=value"),
        (["train", "digits", "--alpha", "0.5"], 2, "small-cnn has no setting `alpha`"),
        (["train", "digits", "--weights", "imagenet"], 2, "no ImageNet weights for small-cnn"),
        (["train", "digits", "--size", "32"], 2, "WIDTHxHEIGHT"),
        (["train", "digits", "--preprocessing", "units"], 2, "Did you mean `unit`?"),
        (["train", "fashon-mnist"], 1, "Did you mean `fashion-mnist`?"),
        (["train", "digits", "--config", "missing.toml"], 1, "Cannot read missing.toml"),
        (["train", "digits", "--weights", "missing.h5"], 1, "No such weights file"),
        (["trian"], 2, "Did you mean 'train'?"),
        (["export", "missing"], 1, "No run missing in experiments"),
        (["evaluate", "latest"], 1, "No runs in experiments"),
        (["check", "missing"], 1, "No bundle missing"),
        (["predict", "missing"], 2, "Name images, folders or videos, or a camera"),
        (["predict", "missing", "missing.jpg"], 1, "No bundle missing"),
        (["predict", "missing", "x.jpg", "--top", "0"], 2, "--top"),
        (["predict", "missing", "x.jpg", "--min-confidence", "2"], 2, "--min-confidence"),
    ],
)
def test_mistake_is_one_line(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    ended = trainkit(*arguments, cwd=tmp_path, code=code)
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder.mkdir(), "No class folders in"),
        (lambda folder: write_class_folders(folder, count=3, colors=("blue",)), "Only one class in"),
        (lambda folder: (write_class_folders(folder, count=3), (folder / "none").mkdir()), "No images in"),
        (lambda folder: write_class_folders(folder, count=2), "Expected at least 3"),
    ],
)
def test_data_that_cannot_be_used_is_one_line(tmp_path: Path, make, message: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "photos")
    ended = trainkit("train", "photos", cwd=tmp_path, code=1)
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.slow
def test_files_that_cannot_be_used_are_named_and_counted(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "photos", count=8)
    (folder / "blue" / "empty.jpg").touch()
    (folder / "blue" / "notes.txt").write_text("no image")
    ended = trainkit("train", "photos", "--size", "16x16", "--epochs", 1, "--json", cwd=tmp_path)
    json.loads(ended.stdout)
    assert "Left out 2 of 10 files in" in ended.stderr
    assert "empty.jpg is empty; notes.txt is no image" in ended.stderr


def fastest(*arguments: object, cwd: Path) -> float:
    """Return the shortest of three runs, in seconds: what else the machine does only ever adds to it."""
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        trainkit(*arguments, cwd=cwd)
        seconds.append(time.monotonic() - started)
    return min(seconds)


def test_version_is_the_installed_one(tmp_path: Path) -> None:
    from importlib.metadata import version

    assert trainkit("--version", cwd=tmp_path).stdout == f"trainkit {version('trainkit')}\n"


TELLS_WHEN_TENSORFLOW_IS_IMPORTED = """
import os, sys
from trainkit.cli import main

teller = int(sys.argv.pop(1))

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow.python":
            os.write(teller, b".")

sys.meta_path.insert(0, Finder())
main()
"""


def test_ctrl_c_before_training_leaves_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", TELLS_WHEN_TENSORFLOW_IS_IMPORTED, str(writer), "train", "digits"],
        pass_fds=[writer],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests themselves run in the background, a shell has Ctrl-C ignored for all their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        assert told.read(1) == b"."
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=300)
    assert (process.returncode, printed, said) == (130, "", "Interrupted.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timing
def test_help_is_there_at_once(tmp_path: Path) -> None:
    assert fastest("--help", cwd=tmp_path) < 0.6  # 0.25 on an idle machine


def help_of_options(command: str) -> dict[str, str]:
    """Return the help of a command's options by their names, as `--help` prints it."""
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    return {
        option.name: option.help for option in found.get_params(found.make_context(command, [], resilient_parsing=True))
    }


def test_the_argument_of_train_is_what_data_may_be() -> None:
    from trainkit.data._sources import DATA_EXPECTED

    assert help_of_options("train")["data"] == f"{DATA_EXPECTED}."


def test_help_of_train_names_every_model_and_preprocessing() -> None:
    options = help_of_options("train")
    assert list_models(BUILDERS) in options["model"]
    assert ", ".join(PREPROCESSINGS) in options["preprocessing"]


@pytest.mark.parametrize("command", ["train", "find-lr"])
def test_every_option_that_is_a_setting_says_what_it_takes_and_its_default(command: str) -> None:
    options, settings = help_of_options(command), {one.option: one for one in list_settings() if one.option}
    assert all(options.values())
    shared = [one for option, one in settings.items() if option[2:].replace("-", "_") in options]
    assert len(shared) >= 5
    for setting in shared:
        text = options[setting.option[2:].replace("-", "_")]  # type: ignore[index]
        assert text.startswith("As for train") or text == (
            f"{setting.help} Takes {setting.expected}. Default: {setting.default}."
        )
    assert set(settings) - {f"--{name.replace('_', '-')}" for name in help_of_options("train")} == {"DATA"}


def test_help_of_train_says_what_holds_how_to_augment_and_where_all_settings_are(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "trainkit", "train", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
        check=True,
    )
    for sentence in ("MobileNet, pretrained on ImageNet", "small-cnn from scratch", "Default: 20;", "Default: 0.1."):
        assert sentence in ended.stdout
    assert " --set augmentation.horizontal_flip=true " in ended.stdout
    assert "`trainkit settings` lists every setting" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_settings_are_listed_for_80_columns(tmp_path: Path) -> None:
    lines = trainkit("settings", cwd=tmp_path).stdout.splitlines()
    assert max(map(len, lines)) < 80
    heads = [line.split() for line in lines if not line.startswith(" ")]
    assert [head[0] for head in heads] == list(RULES)
    assert {head[0]: head[1] for head in heads if len(head) > 1} == {
        key: rule.option for key, rule in RULES.items() if rule.option
    }
    words = " ".join(" ".join(lines).split())
    for setting in list_settings():
        assert f"{setting.help} Takes {setting.expected}. Default: {setting.default}." in words


def test_settings_print_one_document(tmp_path: Path) -> None:
    document = json.loads(trainkit("settings", "--model", "mobilenet", "--json", cwd=tmp_path).stdout)
    assert all(set(entry) == {"key", "expected", "default", "help", "option"} for entry in document)
    defaults = {entry["key"]: entry["default"] for entry in document}
    assert (defaults["training.epochs"], defaults["model.alpha"], defaults["preprocessing.size"]) == (
        "20",
        "1",
        "224x224",
    )
    assert "model.filters" not in defaults


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--lr", "--learning-rate"),
        ("--learning_rate", "--learning-rate"),
        ("--batch", "--batch-size"),
        ("--img-size", "--size"),
        ("--pretrained", "--weights"),
        ("--epoch", "--epochs"),
        ("--optimizer", "--set training.optimizer=VALUE"),
        ("--rotation-range", "--set augmentation.rotation_range=VALUE"),
        ("--patience", "--set training.early_stopping=VALUE"),
    ],
)
def test_other_names_of_an_option_are_known(tmp_path: Path, option: str, name: str) -> None:
    ended = trainkit("train", "digits", option, 3, cwd=tmp_path, code=2)
    assert ended.stderr == f"No such option: {option}. Did you mean {name}?\n"


def test_every_other_name_leads_to_an_option_or_a_setting() -> None:
    options = {f"--{name.replace('_', '-')}" for name in help_of_options("train")}
    assert set(_OPTIONS.values()) <= options
    assert set(_SETTINGS.values()) <= set(RULES)
    assert not options & (set(_OPTIONS) | set(_SETTINGS))


@pytest.mark.slow
def test_train_ends_with_the_next_command(tmp_path: Path) -> None:
    few = ("digits", "--epochs", 1, "--size", "8x8", "--set", "model.filters=1")
    last = trainkit("train", *few, "--experiments", "my runs", cwd=tmp_path).stdout.splitlines()[-1]
    (run,) = (tmp_path / "my runs").iterdir()
    assert last == f"Next: trainkit export {run.name} --experiments 'my runs'"
    trainkit(*shlex.split(last)[2:], cwd=tmp_path)
    assert len(list((tmp_path / "exported").iterdir())) == 1


def test_predict_needs_no_tensorflow(workplace: Path) -> None:
    code = (
        "import sys\nfor name in ('tensorflow', 'keras', 'onnx'):\n    sys.modules[name] = None\n"
        "from trainkit.cli import main\nmain()"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "predict",
        "digits",
        workplace / "exported" / "digits" / "selftest" / "1.png",
    ]
    ended = subprocess.run(command, cwd=workplace, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.timing
def test_predict_does_not_wait_for_tensorflow(workplace: Path) -> None:
    image = workplace / "exported" / "digits" / "selftest" / "1.png"
    assert fastest("predict", "digits", image, cwd=workplace) < 1.0


def test_predict_survives_a_reader_that_goes_away(workplace: Path) -> None:
    image = workplace / "exported" / "digits" / "selftest" / "1.png"
    shell = f"'{sys.executable}' -m trainkit predict digits '{image}' --json | true"
    ended = subprocess.run(
        ["sh", "-c", shell], cwd=workplace, capture_output=True, text=True, env=os.environ, check=False
    )
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of somebody else, with its labels beside it."""
    from trainkit.backend import keras

    folder = tmp_path_factory.mktemp("foreign")
    inputs = keras.Input((24, 32, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(inputs))
    keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(features)).save(folder / "birds.keras")
    (folder / "labels.txt").write_text("robin\nwren\nowl\n")
    return folder / "birds.keras"


def test_export_of_a_file_prints_one_document(keras_file: Path) -> None:
    folder = keras_file.parent
    said = ("--preprocessing", "unit", "--resize", "pad", "--labels", "labels.txt", "--opencv", "4.10", "--json")
    ended = trainkit("export", "birds.keras", *said, cwd=folder)
    document = json.loads(ended.stdout)
    assert document["bundle"] == str(folder / "exported" / "birds-onnx")
    assert ended.stderr == "Left out models.yml: OpenCV's sample cannot do what comes before the blob (pad).\n"
    told = ("--manifest", "exported/birds-onnx/manifest.json", "--opencv", "4.10", "--name", "b")
    ended = trainkit("export", "birds.keras", *told, cwd=folder)
    assert "Wrote exported/b (onnx)." in ended.stdout
    assert ended.stdout.splitlines()[1] == "This bundle needs OpenCV 4.10.0 or later."
    again = trainkit("check", "birds-onnx", "--keras", "birds.keras", "--json", cwd=folder)
    assert json.loads(again.stdout)["images"] == 16


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Export needs a run, a .keras or .h5 file"),
        (("birds.keras",), 2, "How do pixels become this model's input? Say --preprocessing"),
        (("birds.keras", "--preprocessing", "unit"), 2, "Give --labels FILE"),
        (("birds.keras", "--preprocessing", "unit", "--labels", "no.txt"), 1, "The labels no.txt cannot be read"),
        (("other.h5", "--preprocessing", "unit"), 1, "No Keras model at other.h5"),
        (("--model", "mobilenet", "--weights", "none"), 2, "Expected --weights imagenet or a file"),
        (("birds.keras", "--opencv", "3.4.1"), 2, "`opencv` must be 4.5.5 or later"),
    ],
)
def test_export_of_what_cannot_be_is_one_line(
    keras_file: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ended = trainkit("export", *arguments, cwd=keras_file.parent, code=code)
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
