"""How TensorFlow is set up: with oneDNN wherever it can be had, and right without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainkit.backend import onednn_is_on
from trainkit.training._environment import describe_environment, differences

SETTING = "TF_ENABLE_ONEDNN_OPTS"
STATE = """
import json, os
from trainkit.backend import onednn_is_on, tf
from trainkit.training._environment import describe_environment
print(json.dumps([
    os.environ["TF_ENABLE_ONEDNN_OPTS"], onednn_is_on(), describe_environment(seed=1)["machine"]["onednn"],
    tf.config.optimizer.get_experimental_options().get("remapping"),
]))
"""
# Grouped convolutions as Grappler fuses them: with a bias and an activation behind, or a normalisation.
GROUPED = """
import sys
import numpy as np
import trainkit
from trainkit.backend import keras
layers = keras.layers
image = keras.Input((8, 8, 3))
x = layers.Conv2D(6, 3, padding="same")(image)
for kernel, activation in ((1, "relu"), (3, "relu6"), (3, None), (1, "elu")):
    x = layers.Conv2D(6, kernel, groups=3, activation=activation, padding="same", bias_initializer="ones")(x)
x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(6, 3, groups=2, use_bias=False)(x)))
model = keras.Model(image, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x)), name="grouped")
inputs = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
model.compile("sgd", "sparse_categorical_crossentropy")
model.fit(inputs, np.array([0, 1, 0, 1]), verbose=0)
bundle = trainkit.export(model, class_names=["a", "b"], preprocessing="unit", exported=sys.argv[1], name="grouped")
assert model.predict(inputs, verbose=0).shape == (4, 2)
print(bundle.agreement.runtimes["opencv"].max_abs_difference)
"""


def python(code: str, *arguments: str, onednn: str | None) -> str:
    """Run code in a Python of its own, with oneDNN's setting in the environment, or without any."""
    environment = {key: value for key, value in os.environ.items() if key != SETTING}
    environment.update({} if onednn is None else {SETTING: onednn})
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "1"),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (("0", "0"), ("", "1"), ("1", "1"))),
    ],
)
def test_onednn_is_on_unless_the_environment_says_otherwise(before: str | None, after: str) -> None:
    setting, is_on, stored, remapping = json.loads(python(STATE, onednn=before))
    assert setting == after
    assert stored == str(int(is_on))
    assert remapping is (None if is_on else False)
    if after == "0" or sys.platform == "linux":
        assert stored == after


def test_environment_says_what_holds_and_not_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "0" if onednn_is_on() else "1")  # too late: TensorFlow is running
    assert describe_environment(seed=1)["machine"]["onednn"] == str(int(onednn_is_on()))


@pytest.mark.parametrize(("before", "count"), [("0", 1), ("1", 0), ("default", 0)])
def test_resuming_with_other_arithmetic_is_said(before: str, count: int) -> None:
    now: dict[str, Any] = describe_environment(seed=1)
    now["machine"]["onednn"] = "1"
    began = {**now, "machine": {**now["machine"], "onednn": before}}
    found = differences(began, now)
    assert found == ["This training began with oneDNN 0, and goes on with 1"][:count]


@pytest.mark.slow
@pytest.mark.parametrize("onednn", ["0", "1"])
def test_grouped_convolutions_are_trained_exported_and_run(tmp_path: Path, onednn: str) -> None:
    assert float(python(GROUPED, str(tmp_path), onednn=onednn)) < 1e-5
