from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import trainkit
from trainkit.backend import keras
from trainkit.errors import ModelError, RunError, UsageError
from trainkit.models._applications import APPLICATIONS
from trainkit.models._builders import BUILDERS
from trainkit.runs._layer_table import as_rows

pytestmark = pytest.mark.usefixtures("undrawn")


def lesson() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((256, 256, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def test_network_of_the_lesson_as_one_computes_it_by_hand() -> None:
    found = trainkit.shapes(lesson())
    assert [layer.output_shape for layer in found.layers[1:]] == [(254, 254, 32), (127, 127, 32), (516128,), (1,)]
    assert [layer.parameters for layer in found.layers[1:]] == [320, 0, 0, 516129]
    assert [layer.multiply_adds for layer in found.layers[1:]] == [254 * 254 * 32 * 9, 0, 0, 516128]
    assert [layer.receptive_field for layer in found.layers[1:]] == [(3, 3), (4, 4), (256, 256), (256, 256)]
    assert found.parameters == 516449


@pytest.mark.parametrize(
    ("name", "options", "parameters", "multiply_adds"),
    [
        ("vgg16", {}, 138_357_544, 15_470_264_320),  # Simonyan and Zisserman 2014, table 2: 138 million
        ("mobilenet", {}, 4_253_864, None),  # Howard et al. 2017, table 8: 4.2 million, 569 million multiply-adds
        ("mobilenet", {"alpha": 0.25}, 475_544, None),
        ("fashion-mnist", {}, 542_230, 736_488),
    ],
)
def test_known_networks_have_their_known_sizes(
    name: str, options: dict[str, float], parameters: int, multiply_adds: int | None
) -> None:
    found = trainkit.shapes(name, **options)  # type: ignore[arg-type]
    assert found.parameters == parameters
    assert multiply_adds in (None, found.multiply_adds)
    assert found.uncounted == []
    if (name, options) == ("mobilenet", {}):
        assert round(found.multiply_adds / 1e6) in (568, 569)


def test_names_build_what_train_builds_where_classes_are_given() -> None:
    assert trainkit.shapes("mobilenet", classes=3, size="64x96").layers[0].output_shape == (96, 64, 3)
    assert trainkit.shapes("mobilenet", classes=3).layers[-1].output_shape == (3,)
    assert trainkit.shapes("small-cnn").layers[0].output_shape == (96, 96, 3)
    assert trainkit.shapes("small-cnn", color="gray", size=(28, 20)).layers[0].output_shape == (20, 28, 1)
    assert trainkit.shapes("mobilenet", color="gray").layers[0].output_shape == (224, 224, 1)
    assert set(BUILDERS) & set(APPLICATIONS) >= {"vgg16", "mobilenet"}


def test_a_file_and_a_run_are_shown(tmp_path: Path) -> None:
    model = lesson()
    model.save(tmp_path / "model.keras")
    assert trainkit.shapes(tmp_path / "model.keras").parameters == 516449
    run = trainkit.train("digits", epochs=1, name="small", experiments=tmp_path)
    found = trainkit.shapes("small", experiments=tmp_path)
    assert found.model == run.name
    assert found.layers[-1].output_shape == (10,)
    assert found == trainkit.shapes(run)


def test_sides_that_a_model_leaves_open_are_asked_for() -> None:
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs)))
    with pytest.raises(UsageError, match=r"takes images of any size. Say which: --size"):
        trainkit.shapes(model)
    assert trainkit.shapes(model, size="40x30").layers[1].output_shape == (28, 38, 4)
    with pytest.raises(UsageError, match=r"takes images of 256x256. Leave out --size"):
        trainkit.shapes(lesson(), size="40x30")


def test_model_that_cannot_be_followed_is_refused() -> None:
    class Own(keras.Model):
        def call(self, inputs):  # type: ignore[no-untyped-def]
            return inputs

    with pytest.raises(UsageError, match=r"does not know its image yet. Begin it with keras.Input"):
        trainkit.shapes(keras.Sequential([keras.layers.Conv2D(3, 3)]))
    with pytest.raises(UsageError, match=r"Build it with keras.Sequential or keras.Model\(inputs"):
        trainkit.shapes(Own())
    with pytest.raises(UsageError, match=r"Expected a model's name, a file, a run or a Keras model. Received: int"):
        trainkit.shapes(3)


def test_name_of_keras_means_the_same_and_open_sides_are_those_of_its_weights() -> None:
    found = trainkit.shapes("MobileNetV3Small", alpha=0.75)
    network = keras.applications.MobileNetV3Small(alpha=0.75, weights=None)
    assert (found.model, found.parameters) == ("mobilenet-v3-small", network.count_params())
    assert found.layers[0].output_shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ("mobilnet", {}, RunError, "No run mobilnet .*Did you mean the model `mobilenet`"),
        ("no.keras", {}, ModelError, "No Keras model at no.keras"),
        ("no.keras", {"classes": 3}, UsageError, "Leave out --color, --classes and --alpha"),
        ("small-cnn", {"alpha": 0.5}, UsageError, "small-cnn comes in one width"),
        ("vgg16", {"alpha": 0.5}, UsageError, "vgg16 comes in one width"),
        ("small-cnn", {"size": "0x5"}, UsageError, "must be WIDTHxHEIGHT"),
        ("small-cnn", {"size": "large"}, UsageError, "must be WIDTHxHEIGHT"),
        ("small-cnn", {"color": "blue"}, UsageError, "Unknown color `blue`"),
        ("small-cnn", {"classes": 1}, UsageError, "at least 2"),
        ("small-cnn", {"classes": 0}, UsageError, "at least 2"),
        ("mobilenet", {"alpha": float("nan"), "classes": 3}, UsageError, "above 0 and at most 4. Received: nan"),
        pytest.param(
            *("vgg16", {"size": "16384x16384"}, UsageError, "more parameters than fit into memory at this size"),
            marks=pytest.mark.slow,
        ),
        ("inception-v3", {"size": "20x20"}, UsageError, "does not come so"),
    ],
)
def test_what_cannot_be_shown(source: str, options: dict, error: type, message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        trainkit.shapes(source, experiments=tmp_path, **options)


def test_table_has_a_row_a_layer() -> None:
    rows = as_rows(trainkit.shapes(lesson()).layers)
    assert rows[1][1:] == ["Conv2D", "254x254x32", "320", "18,580,608", "3x3"]


@pytest.mark.slow
def test_command_prints_the_sums_and_one_document() -> None:
    command = [sys.executable, "-m", "trainkit", "shapes", "fashion-mnist"]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert table.splitlines()[-1].split() == ["all", "542,230", "736,488"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["parameters"] == 542_230
    assert done.stderr == ""
