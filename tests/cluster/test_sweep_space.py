from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FixedTrial

from trainkit.cluster._sweep_space import (
    Choices,
    Range,
    build_space,
    check_space,
    default_space,
    flatten_space,
    read_space,
    stored_defaults,
    suggest,
)
from trainkit.errors import TrainkitError, UsageError
from trainkit.models._builders import BUILDERS
from trainkit.runs._settings import build_config


def base(model: str = "small-cnn", **settings: Any) -> dict[str, Any]:
    return build_config({"data": "digits", "model.name": model, "training.monitor": "accuracy", **settings}).values


def test_space_is_read_as_the_manual_writes_it(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "past-one-machine.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"```toml\n(.*?)```", manual, flags=re.S)
    path = tmp_path / "space.toml"
    path.write_text(written, encoding="utf-8")
    space = build_space(read_space(path))
    assert space["training.learning_rate"] == Range(1e-4, 1e-2, log=True)
    assert space["model.filters"] == Range(8, 64, log=True) and space["model.filters"].is_whole
    assert space["training.batch_size"] == Choices((16, 32, 64))
    assert space["training.warmup"] == Range(0.0, 3.0, step=0.5)
    check_space(space, {model: base(model) for model in ("small-cnn", "small-resnet")}, monitor="accuracy")


def test_dotted_and_nested_keys_are_the_same() -> None:
    nested = {"training": {"learning_rate": {"low": 1, "high": 2}}, "model": {"dropout": [0.1]}}
    assert flatten_space(nested) == {"training.learning_rate": {"low": 1, "high": 2}, "model.dropout": [0.1]}
    assert flatten_space(flatten_space(nested)) == flatten_space(nested)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({}, r"names no setting\. Expected a range such as \{low = 1e-4"),
        ({"training.learning_rates": [1]}, r"Unknown setting `training\.learning_rates`\. Did you mean `training\.l"),
        ({"training.epochs": 5}, r"`training\.epochs` in the space must be a range .* Received: 5"),
        ({"training.epochs": []}, r"`training\.epochs` in the space must be a range .* Received: \[\]"),
        ({"training.learning_rate": {"low": 1}}, r"must be a range .* Received: \{'low': 1\}"),
        ({"training.learning_rate": {"low": 1, "high": 2, "step_size": 1}}, r"must be a range .*step_size"),
        ({"training.learning_rate": {"low": "1", "high": "2"}}, r"must be a range .*'1'"),
        ({"training.batch_size": {"low": 1.5, "high": 4}}, r"`training\.batch_size` must be a whole number from 1"),
        ({"training.batch_size": {"low": 8, "high": 64, "step": 0.5}}, r"takes whole numbers, and so must its `step`"),
        ({"training.learning_rate": {"low": 0.01, "high": 0.001}}, r"from `low` to a higher `high`"),
        ({"training.warmup": {"low": 0, "high": 1, "log": True}}, r"with `log = true` from above 0"),
        ({"training.warmup": {"low": 0, "high": 1, "step": 0}}, r"a `step`, which is above 0"),
        ({"training.optimizer": ["adamm"]}, r"Unknown optimizer `adamm`\. Did you mean `adam`"),
        ({"training.batch_size": [16, 16]}, r"has a choice twice\. Received: \[16, 16\]"),
        ({"preprocessing.size": {"low": 8, "high": 16}}, r"preprocessing\.size"),
        ({"training.monitor": ["loss", "accuracy"]}, r"`training\.monitor` is the same for all trials of a sweep"),
        ({"reading.fold": [1, 2]}, r"`reading\.fold` is the same for all trials"),
        ({"training.learning_rate": [1, 1.0]}, r"has a choice twice\. Received: \[1, 1\.0\]"),
        ({"preprocessing.size": ["8x8", [8, 8]]}, r"has a choice twice\. Received: \['8x8', \[8, 8\]\]"),
        ({"training.warmup": {"low": 0, "high": 3, "step": math.nan}}, r"`step` of `training\.warmup` must be at most"),
        ({"training.warmup": {"low": 0, "high": 3, "step": 4}}, r"must be at most `high` less `low`\. Received"),
    ],
)
def test_wrong_space_is_refused_with_its_setting(written: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_space(written)


@pytest.mark.parametrize(
    ("written", "monitor", "message"),
    [
        ({"model.width": [16, 32]}, "accuracy", r"The model small-cnn has no setting `width`"),
        ({"fine_tuning.layers": [5]}, "accuracy", r"The model small-cnn has no pretrained backbone"),
        ({"model.weights": ["imagenet"]}, "accuracy", r"There are no ImageNet weights for small-cnn"),
        ({"training.label_smoothing": [0.0, 0.1]}, "loss", r"losses under different ones cannot be compared"),
    ],
)
def test_space_that_does_not_suit_the_model_is_refused(written: Any, monitor: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_space(build_space(written), {"small-cnn": base()}, monitor=monitor)


def test_file_that_is_no_space_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainkitError, match=r"Cannot read .*none\.toml: No such file .*Expected a space of settings"):
        read_space(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("training.epochs = [", encoding="utf-8")
    with pytest.raises(TrainkitError, match=r"bad\.toml is not valid TOML"):
        read_space(tmp_path / "bad.toml")


@pytest.mark.parametrize("model", BUILDERS)
def test_default_space_is_a_legal_one_with_the_defaults_in_it(model: str) -> None:
    settings = {"model.weights": "imagenet", "fine_tuning.epochs": 3} if BUILDERS[model].pretrained else {}
    own = base(model, **settings)
    space = build_space(default_space(own))
    check_space(space, {model: own}, monitor="accuracy")
    assert stored_defaults(space, {model: own}) == {key: own[key] for key in space}
    assert ("fine_tuning.layers" in space) == BUILDERS[model].pretrained


def test_setting_that_a_model_has_not_is_drawn_for_the_others_only() -> None:
    space = build_space({"model.name": ["small-cnn", "small-resnet"], "model.filters": [4], "training.epochs": [2, 3]})
    bases = {model: base(model) for model in ("small-cnn", "small-resnet")}
    drawn = {"model.name": "small-resnet", "training.epochs": 3}
    settings = suggest(FixedTrial(drawn), space, bases)  # type: ignore[arg-type]
    assert settings == {**bases["small-resnet"], **drawn}
    drawn = {"model.name": "small-cnn", "training.epochs": 2, "model.filters": 4}
    assert suggest(FixedTrial(drawn), space, bases) == {**bases["small-cnn"], **drawn}  # type: ignore[arg-type]


def test_choices_that_are_lists_are_stored_as_text() -> None:
    choices = Choices(([0.8, 1.2], [0.9, 1.1]))
    stored = choices.stored([0.9, 1.1])
    assert stored == "[0.9, 1.1]" and choices.read(stored) == [0.9, 1.1]
    assert choices.stored([1.0, 1.0]) is None


def test_setting_that_is_named_twice_is_refused() -> None:
    twice = {"training": {"epochs": [1]}, "training.epochs": [2]}
    with pytest.raises(UsageError, match=r"`training\.epochs` is in the space twice, by its dotted key and in a table"):
        flatten_space(twice)


def test_choices_are_what_a_run_has() -> None:
    written = {
        "preprocessing.size": ["32x32", "48x48"],
        "training.ema": ["0.5", 0],
        "model.name": ["own.keras", "vgg16"],
    }
    space = build_space(written)
    assert space["preprocessing.size"] == Choices(([32, 32], [48, 48]))
    assert space["training.ema"] == Choices((0.5, 0.0))
    assert space["model.name"] == Choices((str(Path("own.keras").absolute()), "vgg16"))
    assert stored_defaults(space, {"small-cnn": base()})["preprocessing.size"] == "[32, 32]"


@pytest.mark.parametrize(
    "domain", [Range(0, 5, step=1), Range(0.0, 1.0), Range(1e-4, 1e-2, log=True), Choices((True, "a", [1, 2]))]
)
def test_domain_is_read_as_it_is_written(domain: Range | Choices) -> None:
    written = domain.to_json()
    assert (Choices(tuple(written)) if isinstance(written, list) else Range(**written)) == domain


def test_range_stores_what_is_in_it() -> None:
    assert [Range(0.0, 0.6, step=0.1).stored(value) for value in (0.3, 0.35)] == [0.3, None]  # 0.3 % 0.1 is not 0
    assert Range(1, 9, step=2).stored(3) == 3
    assert [Range(1, 9, step=2).stored(value) for value in (2, 11, True, "3")] == [None] * 4
