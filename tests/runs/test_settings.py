from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainkit.errors import TrainkitError, UsageError
from trainkit.models._builders import BUILDERS
from trainkit.preprocessing import PREPROCESSINGS
from trainkit.runs._settings import Config, build_config, parse_assignment, read_config
from trainkit.training._train import train

FOLDERS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=120)


def write_config(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("data", "model", "expected"),
    [
        ("digits", None, {"model.name": "small-cnn", "preprocessing.size": [32, 32], "preprocessing.color": "gray"}),
        ("digits", None, {"name": "digits-small-cnn", "training.epochs": 20, "training.batch_size": 32}),
        ("fashion-mnist", None, {"model.name": "fashion-mnist", "preprocessing.size": [28, 28]}),
        ("fashion-mnist", None, {"name": "fashion-mnist", "preprocessing.color": "gray", "training.batch_size": 64}),
        ("photos", None, {"name": "photos-small-cnn", "preprocessing.size": [96, 96], "preprocessing.color": "rgb"}),
        ("photos", None, {"model.blocks": 0, "model.filters": 32, "model.dropout": 0.25, "model.weights": "none"}),
        ("photos", "vgg16", {"preprocessing.name": "caffe", "preprocessing.color": "bgr", "model.dense": 256}),
        ("digits", "vgg16", {"preprocessing.size": [224, 224], "preprocessing.color": "bgr"}),
        ("digits", "mobilenet", {"preprocessing.name": "symmetric", "preprocessing.color": "rgb", "model.alpha": 1.0}),
        ("mobilenet", "mobilenet", {"name": "mobilenet", "model.weights": "imagenet"}),
        ("a folder/of: photos!", None, {"name": "of-photos-small-cnn"}),
        ("!!!", None, {"name": "data-small-cnn"}),
        ("/", None, {"name": "data-small-cnn"}),
        ("x" * 150, None, {"name": f"{'x' * 60}-small-cnn"}),
    ],
)
def test_defaults_suit_the_data_and_the_model(data: str, model: str | None, expected: dict[str, Any]) -> None:
    config = build_config({"data": data, **({"model.name": model} if model else {})})
    assert {key: config[key] for key in expected} == expected


@pytest.mark.parametrize("model", BUILDERS)
def test_defaults_of_every_model(model: str) -> None:
    config = build_config({"data": "digits", "model.name": model})
    assert config["training.seed"] == 0
    assert config["training.validation"] == 0.1
    assert config["preprocessing.resize"] == "stretch"
    assert config.section("model") == BUILDERS[model].settings


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("data", "fashion-mnist", "fashion-mnist"),
        ("name", "Vögel_2.1-neu", "Vögel_2.1-neu"),
        ("name", "x" * 100, "x" * 100),
        ("model.blocks", "3", 3),
        ("model.filters", 8.0, 8),
        ("model.dropout", 0, 0.0),
        ("preprocessing.name", "torch", "torch"),
        ("preprocessing.size", "64x48", [64, 48]),
        ("preprocessing.size", "64X48", [64, 48]),
        ("preprocessing.size", (64, 48), [64, 48]),
        ("preprocessing.size", [16384, 1], [16384, 1]),
        ("preprocessing.color", "bgr", "bgr"),
        ("preprocessing.resize", "pad", "pad"),
        ("training.epochs", 1, 1),
        ("training.learning_rate", "1e-3", 0.001),
        ("training.seed", 0, 0),
        ("training.seed", 2**31 - 1, 2**31 - 1),
        ("training.validation", "0", 0.0),
    ],
)
def test_value_comes_in_its_own_type(key: str, given: Any, value: Any) -> None:
    found = build_config({"data": "digits", key: given})[key]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        *[("name", value, "letters, digits") for value in ("", "a b", "../a", "-a", ".a", "a\n", "x" * 101, "latest")],
        *[("name", value, "letters, digits") for value in (5, None, ["a"])],
        *[("model.blocks", value, "a whole number from 0 to 12") for value in (-1, 13, 1.5, "", "one", True, None)],
        *[("model.blocks", value, "a whole number from 0 to 12") for value in (float("nan"), float("inf"), 10**400)],
        *[("model.filters", value, "a whole number from 1 to 4096") for value in (0, 4097, [32])],
        *[("model.dropout", value, "a share from 0 to below 1") for value in (-0.1, 1, 1.0, "half", False, None)],
        *[("model.dropout", value, "a share from 0 to below 1") for value in (float("nan"), 10**400, [0.5])],
        ("preprocessing.size", "32", "WIDTHxHEIGHT"),
        *[("training.epochs", value, "a whole number from 1") for value in (0, -1, 0.5, "many", "1e0", True, 2**31)],
        *[("training.batch_size", value, "a whole number from 1") for value in (0, "1" * 5000)],
        *[("training.learning_rate", value, "a number above 0") for value in (0, -1e-3, "fast", True, float("inf"))],
        *[("training.seed", value, "a whole number from 0") for value in (-1, 2**31, 0.5)],
        *[("training.validation", value, "a share from 0 to below 1") for value in (-0.1, 1, "nan", True)],
    ],
)
def test_impossible_value_is_refused(key: str, value: Any, expected: str) -> None:
    with pytest.raises(UsageError, match=f"`{key}` must be {expected}.* Received: "):
        build_config({"data": "digits", key: value})


@pytest.mark.parametrize(
    ("model", "key", "value", "expected"),
    [
        ("vgg16", "model.dense", 0, "a whole number from 1 to 65536"),
        ("vgg16", "model.dense", 65537, "a whole number from 1 to 65536"),
        ("mobilenet", "model.alpha", 0, "a width above 0, at most 4"),
        ("mobilenet", "model.alpha", 4.1, "a width above 0, at most 4"),
    ],
)
def test_impossible_value_of_a_model_is_refused(model: str, key: str, value: Any, expected: str) -> None:
    with pytest.raises(UsageError, match=f"`{key}` must be {expected}"):
        build_config({"data": "digits", "model.name": model, key: value})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.name", "mobilnet", "Unknown model `mobilnet`. Did you mean `mobilenet`?"),
        ("model.name", "VGG16", "Unknown model `VGG16`. Did you mean `vgg16`?"),
        (
            "model.name",
            "zzz",
            "Unknown model `zzz`. Expected one of: small-cnn, small-resnet, fashion-mnist, vgg16/19, ",
        ),
        ("model.name", None, "Unknown model `None`."),
        ("model.name", ["vgg16"], "Unknown model"),
        ("preprocessing.name", "standardise", "Did you mean `standardize`?"),
        ("preprocessing.color", "RGB", "Did you mean `rgb`?"),
        ("preprocessing.color", "grey", "Did you mean `gray`?"),
        ("preprocessing.resize", "streched", "Did you mean `stretch`?"),
        ("preprocessing.resize", 5, "Expected one of: crop, pad, stretch"),
        ("training.epoch", 3, "Unknown setting `training.epoch`. Did you mean `training.epochs`?"),
        ("epochs", 3, "Unknown setting `epochs`. Did you mean `training.epochs`?"),
        ("nonsense", 3, "Unknown setting `nonsense`. Expected one of: augmentation.brightness_range, "),
        ("training", {"epochs": 3}, "Unknown setting `training`."),
    ],
)
def test_unknown_name_is_answered_with_the_nearest(key: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match="Expected one of: ") as caught:
        build_config({"data": "digits", key: value})
    assert message in str(caught.value)


@pytest.mark.parametrize(("model", "key"), [("small-cnn", "model.alpha"), ("mobilenet", "model.blocks")])
def test_setting_of_another_model_is_refused(model: str, key: str) -> None:
    with pytest.raises(UsageError, match=f"The model {model} has no setting `{key[6:]}`. It has: "):
        build_config({"data": "digits", "model.name": model, key: 1})


@pytest.mark.parametrize("model", ["small-cnn", "fashion-mnist"])
def test_imagenet_weights_are_refused_where_there_are_none(model: str) -> None:
    with pytest.raises(UsageError, match=f"no ImageNet weights for {model}. Expected --weights none or a file"):
        build_config({"data": "digits", "model.name": model, "model.weights": "imagenet"})


@pytest.mark.parametrize("given", [{}, {"data": ""}, {"data": None}, {"model.name": "vgg16"}])
def test_config_without_data_is_refused(given: dict[str, Any]) -> None:
    expected = "Expected DATA: digits, fashion-mnist, a folder of class folders, a .csv or an .npz file."
    with pytest.raises(UsageError, match=f"^{re.escape(expected)}$"):
        build_config(given)


def test_files_and_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = build_config({"data": "photos/birds", "model.weights": "mine.weights.h5"})
    assert config["data"] == str(tmp_path / "photos/birds")
    assert config["model.weights"] == str(tmp_path / "mine.weights.h5")


@pytest.mark.parametrize("data", ["digits", "fashion-mnist"])
def test_named_data_and_no_weights_stay_names(data: str) -> None:
    config = build_config({"data": data, "model.weights": "none"})
    assert (config["data"], config["model.weights"]) == (data, "none")


def test_section_has_short_keys_and_no_name() -> None:
    config = build_config({"data": "digits", "preprocessing.size": "8x6"})
    assert config.section("preprocessing") == {"size": [8, 6], "color": "gray", "resize": "stretch"}
    assert {"epochs", "batch_size", "learning_rate", "seed", "validation"} < set(config.section("training"))
    assert config.section("nothing") == {}


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Any config that `build_config` lets through."""
    sides = st.integers(1, 16384)
    given: dict[str, Any] = {
        "data": draw(st.sampled_from(["digits", "fashion-mnist"]) | FOLDERS),
        "model.name": draw(st.sampled_from(sorted(BUILDERS))),
        "model.weights": draw(st.just("none") | FOLDERS.filter(lambda text: text != "imagenet")),
        "preprocessing.name": draw(st.sampled_from(PREPROCESSINGS)),
        "preprocessing.size": draw(st.tuples(sides, sides)),
        "training.epochs": draw(st.integers(1, 2**31 - 1)),
        "training.learning_rate": draw(st.floats(0, exclude_min=True, allow_infinity=False)),
        "training.validation": draw(st.floats(0, 1, exclude_max=True)),
    }
    name = draw(st.none() | st.from_regex(r"[\w][\w.-]{0,99}", fullmatch=True).filter(lambda text: text != "latest"))
    return build_config(given if name is None else {**given, "name": name})


@settings(max_examples=100, deadline=None, derandomize=True)
@given(configs())
def test_config_as_toml_is_read_back(tmp_path_factory: pytest.TempPathFactory, config: Config) -> None:
    path = write_config(tmp_path_factory.getbasetemp(), config.to_toml())
    assert build_config(read_config(path)).values == config.values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.blocks=1", ("model.blocks", 1)),
        (" model.blocks = 1 ", ("model.blocks", 1)),
        ("training.learning_rate=1e-3", ("training.learning_rate", 0.001)),
        ("model.dropout=.5", ("model.dropout", ".5")),
        ("preprocessing.size=[64, 48]", ("preprocessing.size", [64, 48])),
        ("preprocessing.size=64x48", ("preprocessing.size", "64x48")),
        ("model.weights=none", ("model.weights", "none")),
        ("model.weights=dir/a=b.h5", ("model.weights", "dir/a=b.h5")),
        ("name='quoted'", ("name", "quoted")),
        ("name=", ("name", "")),
        ("name=2026-13-45", ("name", "2026-13-45")),
        ("a=true", ("a", True)),
    ],
)
def test_assignment_is_taken_apart(text: str, expected: tuple[str, Any]) -> None:
    found = parse_assignment(text)
    assert found == expected
    assert type(found[1]) is type(expected[1])


@pytest.mark.parametrize("text", ["", "model.blocks", "=1", " = 1"])
def test_assignment_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--set takes key=value, such as model\.blocks=1\. Received: "):
        parse_assignment(text)


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 100_000])
def test_assignment_that_toml_cannot_read_stays_text(value: str) -> None:
    assert parse_assignment(f"name={value}") == ("name", value)


@pytest.mark.parametrize("value", ["5", "2026-11-20"])
def test_name_may_look_like_another_type(value: str) -> None:
    key, found = parse_assignment(f"name={value}")
    assert build_config({"data": "digits", key: found})["name"] == value


def test_config_file_is_flattened(tmp_path: Path) -> None:
    path = write_config(tmp_path, 'data = "digits"\n[model]\nname = "small-cnn"\nblocks = 1\n[training]\nseed = 7\n')
    expected = {"data": "digits", "model.name": "small-cnn", "model.blocks": 1, "training.seed": 7}
    assert read_config(path) == expected


@pytest.mark.parametrize(
    "content",
    [
        "data = ",
        "[model",
        "data = 'a'\ndata = 'b'",
        "\ufeffdata = 'digits'",
        b"data = '\xff'",
        b"\x00",
        f"x = {'1' * 5000}",
        f"x = {'[' * 100_000}",
    ],
)
def test_config_file_that_is_damaged(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(TrainkitError, match=r"config\.toml is not valid TOML: "):
        read_config(write_config(tmp_path, content))


@pytest.mark.parametrize("name", ["missing.toml", "", "config.toml/below", "n" * 300])
def test_config_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    write_config(tmp_path, "")
    with pytest.raises(TrainkitError, match=r"Cannot read .*: .*\. Expected the config\.toml of a run, or one like it"):
        read_config(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected DATA"),
        ('[data]\nfolder = "a"', "Expected DATA"),
        ('data = "digits"\nmodel = "vgg16"', "Unknown setting `model`"),
        ('data = "digits"\n[model]\nnmae = "vgg16"', "Did you mean `model.name`"),
        ('data = "digits"\n[training.steps]\nmany = 3', "Unknown setting `training.steps`"),
        ('data = "digits"\n[training]\nepochs = "many"', "`training.epochs` must be"),
        ('data = "digits"\n[training]\nepochs = 2026-11-20', "`training.epochs` must be"),
    ],
)
def test_config_file_with_a_wrong_setting_starts_nothing(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(config=write_config(tmp_path, text), experiments=tmp_path / "experiments")
    assert not (tmp_path / "experiments").exists()


def test_arguments_override_the_config_file(tmp_path: Path) -> None:
    path = write_config(tmp_path, 'data = "nowhere"\n[training]\nepochs = "many"\n')
    with pytest.raises(TrainkitError, match=r"No such folder: .*elsewhere"):
        train("elsewhere", epochs=1, config=path, experiments=tmp_path / "experiments")
    assert not (tmp_path / "experiments").exists()


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("[model", 1, "config.toml is not valid TOML: "),
        ('data = "digits"\n[training]\nepochs = 0', 2, "`training.epochs` must be a whole number from 1. Received: 0"),
    ],
)
def test_command_with_a_wrong_config_file_says_one_line(tmp_path: Path, text: str, code: int, message: str) -> None:
    command = [sys.executable, "-m", "trainkit", "train", "--config", str(write_config(tmp_path, text))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert message in done.stderr
