"""Head, fine-tuning, and what is trained in which precision, on which devices, with which weights."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photographs import write_class_folders
from sklearn.datasets import load_digits

import trainkit
from trainkit.backend import keras
from trainkit.errors import ModelError, OutputError, TrainkitError, UsageError
from trainkit.models._outputs import load_keras_model
from trainkit.runs._recipes import find_recipe, list_recipes, recipe_for
from trainkit.runs._settings import build_config
from trainkit.training._averaging import averaged
from trainkit.training._compilation import choose_steps, class_weights, training_copy
from trainkit.training._learning_rate import STEPS, suggest
from trainkit.training._preparation import build_targets

pytestmark = pytest.mark.usefixtures("undrawn")


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 200 digits of 8x8 pixels, and what they are."""
    found = load_digits()
    return (found.images[:200] * 15.9375).round().astype(np.uint8), found.target[:200]


TINY = {"size": (24, 16), "batch_size": 8}


def rows(run) -> list[dict[str, str]]:  # type: ignore[no-untyped-def]
    with (run.path / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights of a small backbone."""
    keras.utils.set_random_seed(1)
    body = keras.applications.MobileNet(include_top=False, weights=None, alpha=0.25, input_shape=(32, 32, 3))
    for weight in body.weights:
        if "kernel" in weight.path:  # else nothing of an image would be left at the end, and no gradient
            weight.assign(weight * 3)
    path = tmp_path_factory.mktemp("backbone") / "mobilenet.weights.h5"
    body.save_weights(path)
    return path


def tune(data: Path, backbone: Path, experiments: Path, **settings: object):  # type: ignore[no-untyped-def]
    return trainkit.train(
        data,
        model="mobilenet",
        alpha=0.25,
        weights=backbone,
        size=(32, 32),
        epochs=2,
        batch_size=8,
        experiments=experiments,
        settings={"fine_tuning.epochs": 2, "fine_tuning.layers": 3, "fine_tuning.learning_rate": 1e-3, **settings},
    )


def test_fine_tuning_moves_the_top_and_no_normalization(tiny_dataset: Path, backbone: Path, tmp_path: Path) -> None:
    run = tune(tiny_dataset, backbone, tmp_path)
    assert [row["phase"] for row in rows(run)] == ["head", "head", "fine-tuning", "fine-tuning"]
    assert [row["epoch"] for row in rows(run)] == ["1", "2", "3", "4"]
    before = keras.applications.MobileNet(include_top=False, weights=None, alpha=0.25, input_shape=(32, 32, 3))
    before.load_weights(backbone)
    from trainkit.runs._run import Run
    from trainkit.training._state import STATE_FILE

    assert isinstance(run, Run)
    with np.load(run.path / STATE_FILE) as state:  # after the last epoch; the best one may be of the head
        arrays = [state[f"variable_{index:05}"] for index in range(len(state.files) - 1)]
    # In a state the variables are in the order of the layers, as they are in the backbone.
    moved = [
        weight.path
        for weight, value in zip(before.variables, arrays, strict=False)
        if not np.array_equal(weight, value)
    ]
    assert moved == ["conv_pw_12/kernel", "conv_dw_13/kernel", "conv_pw_13/kernel"]


@pytest.mark.slow
def test_fine_tuning_goes_on_after_a_break(tiny_dataset: Path, backbone: Path, tmp_path: Path) -> None:
    """Ended in each epoch of each phase, as a kill would: what is on the disk then is all that is left."""
    import shutil

    from trainkit.training._recorder import Interrupted, Recorder

    whole = tune(tiny_dataset, backbone, tmp_path / "whole")
    original = Recorder.on_epoch_end
    for last in (1, 2, 3):

        def end(self, epoch, logs=None, last=last):  # type: ignore[no-untyped-def]
            original(self, epoch, logs)
            if epoch + 1 == last:
                raise Interrupted

        Recorder.on_epoch_end = end  # type: ignore[method-assign]
        try:
            run = tune(tiny_dataset, backbone, tmp_path / str(last))
        finally:
            Recorder.on_epoch_end = original  # type: ignore[method-assign]
        assert run.result["status"] == "interrupted"
        assert run.result["epochs"] == last
        trainkit.resume(run)
        assert [row["loss"] for row in rows(run)] == [row["loss"] for row in rows(whole)]
        weights = [load_keras_model(one.model_path).get_weights() for one in (run, whole)]
        assert all(np.array_equal(one, other) for one, other in zip(*weights, strict=True))
        shutil.rmtree(tmp_path / str(last))


@pytest.mark.slow
def test_fine_tuning_goes_on_where_its_first_state_was_not_written(
    tiny_dataset: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when its first epoch, the best so far, is the model on the disk, and the state that of the head."""
    from trainkit.training import _recorder

    settings = {"training.validation": 0.0}  # the last epoch is the best
    whole = tune(tiny_dataset, backbone, tmp_path / "whole", **settings)
    save, killed = _recorder.save_state, OutputError("killed")

    def save_of_heads(path: Path, state: dict[str, np.ndarray]) -> None:
        if json.loads(state["progress"].tobytes())["phase_index"]:
            raise killed
        save(path, state)

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="killed"):
        patch.setattr(_recorder, "save_state", save_of_heads)
        tune(tiny_dataset, backbone, tmp_path / "killed", **settings)
    run = trainkit.resume(trainkit.list_runs(tmp_path / "killed")[0])
    assert [row["loss"] for row in rows(run)] == [row["loss"] for row in rows(whole)]
    weights = [load_keras_model(one.model_path).get_weights() for one in (run, whole)]
    assert all(np.array_equal(one, other) for one, other in zip(*weights, strict=True))


def test_fine_tuning_needs_a_pretrained_backbone(tiny_dataset: Path) -> None:
    with pytest.raises(UsageError, match="Fine-tuning needs a pretrained backbone"):
        build_config({"data": "digits", "model.name": "vgg16", "model.weights": "none", "fine_tuning.epochs": 1})
    with pytest.raises(UsageError, match=r"small-cnn has no pretrained backbone to tune\. Leave out `fine_"):
        build_config({"data": "digits", "model.name": "small-cnn", "fine_tuning.epochs": 1})


@pytest.mark.slow
def test_head_is_trained_on_the_whole_network_where_images_are_augmented(
    tiny_dataset: Path, backbone: Path, tmp_path: Path
) -> None:
    run = tune(tiny_dataset, backbone, tmp_path, **{"augmentation.horizontal_flip": True, "fine_tuning.epochs": 0})
    assert run.result["status"] == "finished"
    assert [row["phase"] for row in rows(run)] == ["head", "head"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["none", "bfloat16"])
def test_what_is_saved_is_float32(tiny_dataset: Path, tmp_path: Path, precision: str) -> None:
    settings = {"training.mixed_precision": precision, "training.ema": 0.5}
    run = trainkit.train(tiny_dataset, **TINY, epochs=4, settings=settings, experiments=tmp_path / "experiments")
    model = load_keras_model(run.model_path)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert run.result["test_accuracy"] > 0.6
    assert trainkit.export(run, exported=tmp_path / "exported").agreement.ok


def test_copy_in_another_precision_has_the_weights(tiny_dataset: Path) -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    model.layers[1].trainable = False
    copy = training_copy(model, "bfloat16")
    assert [layer.compute_dtype for layer in copy.layers] == ["float32", "bfloat16", "bfloat16", "float32"]
    assert [layer.trainable for layer in copy.layers] == [layer.trainable for layer in model.layers]
    assert {weight.dtype for weight in copy.weights} == {"float32"}
    batch = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(copy(batch), model(batch), atol=0.02)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_operations_that_are_no_layers_are_copied_in_another_precision(precision: str, tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.ops.relu6(keras.layers.Conv2D(4, 3)(inputs * 2.0))
    x = keras.layers.Conv2D(4, 1)(x)[:, 1:] + keras.ops.mean(x, axis=(1, 2), keepdims=True)
    x = keras.layers.GlobalAveragePooling2D()(keras.ops.clip(x, -1, 1))
    built = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    built.save(tmp_path / "model.keras")
    batch = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    for model in (built, load_keras_model(tmp_path / "model.keras")):
        copy = training_copy(model, precision)
        assert {layer.compute_dtype for layer in copy.layers if isinstance(layer, keras.layers.Conv2D)} == {precision}
        np.testing.assert_allclose(copy(batch), model(batch), atol=0.05)


def normalizing_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(layers.Conv2D(4, 3, use_bias=False)(inputs)))
    x = layers.BatchNormalization(scale=False)(layers.Conv2D(4, 3)(x))  # stays Keras' own
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def test_fused_normalization_trains_like_keras() -> None:
    generator = np.random.default_rng(0)
    batch, labels = generator.normal(2, 3, (16, 8, 8, 3)).astype(np.float32), generator.integers(0, 3, 16)
    model = normalizing_model()
    copy = training_copy(model, "none")
    assert [type(layer).__name__ for layer in copy.layers].count("FusedBatchNormalization") == 1
    for one in (model, copy):
        one.compile(keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
        one.fit(batch, labels, batch_size=8, epochs=3, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    np.testing.assert_allclose(model.predict(batch, verbose=0), copy.predict(batch, verbose=0), atol=2e-5)


@pytest.mark.slow
def test_what_is_saved_is_keras_own(tiny_dataset: Path, tmp_path: Path) -> None:
    run = trainkit.train(
        tiny_dataset,
        model="mobilenet",
        weights="none",
        alpha=0.25,
        size=(32, 32),
        epochs=1,
        settings={"training.mixed_precision": "bfloat16", "training.ema": 0.5},
        experiments=tmp_path / "experiments",
    )
    model = load_keras_model(run.model_path)
    assert {layer.__class__.__module__.split(".")[0] for layer in model.layers} == {"keras"}
    assert trainkit.evaluate(run)["test_accuracy"] == run.result["test_accuracy"]


def test_average_is_put_in_and_taken_out_exactly() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), loss="mse")
    for step in range(3):  # not `fit`, which puts the average in at its end
        model.train_on_batch(np.ones((8, 4)), np.full((8, 3), step))
    before = model.get_weights()
    with averaged(model):
        inside = model.get_weights()
    assert not np.array_equal(before[0], inside[0])
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    labels = np.array([0, 0, 0, 1, 2, 2])
    np.testing.assert_allclose(class_weights(labels, 3), compute_sample_weight("balanced", labels), rtol=1e-6)


def test_balanced_classes_raise_the_rare_one(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "photos", count=20)
    for path in sorted((folder / "green").iterdir())[5:]:
        path.unlink()
    losses = []
    for weights in ("none", "balanced"):
        run = trainkit.train(
            folder, **TINY, epochs=1, class_weights=weights, validation=0, experiments=tmp_path / "experiments"
        )
        assert run.config["training.class_weights"] == weights
        losses.append(rows(run)[0]["loss"])
    assert losses[0] != losses[1]


def test_targets_fit_the_last_layer() -> None:
    labels = np.array([1, 0])
    assert build_targets(labels, 1, shares=True).tolist() == [[1.0], [0.0]]
    assert build_targets(labels, 3, shares=False).tolist() == [1, 0]
    assert build_targets(labels, 3, shares=True).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert build_targets(np.array([[1, 1]], np.uint8), 2, shares=False).tolist() == [[1.0, 1.0]]


def test_many_steps_at_once_for_small_networks_only() -> None:
    small = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    large = keras.Sequential([keras.Input((224, 224, 64)), keras.layers.Conv2D(512, 3), keras.layers.Conv2D(512, 3)])
    assert choose_steps(small, 32) == 200
    assert choose_steps(large, 32) == 1


def test_steps_at_once_change_nothing(tiny_dataset: Path, tmp_path: Path) -> None:
    losses = []
    for steps in (1, 3):
        settings = {"training.steps_per_execution": steps}
        run = trainkit.train(tiny_dataset, **TINY, epochs=2, settings=settings, experiments=tmp_path)
        losses.append([(row["loss"], row["val_loss"]) for row in rows(run)])
    assert losses[0] == losses[1]


def test_tensorboard_gets_its_logs(tiny_dataset: Path, tmp_path: Path) -> None:
    run = trainkit.train(tiny_dataset, **TINY, epochs=1, tensorboard=True, experiments=tmp_path)
    assert list((run.path / "tensorboard" / "train").glob("events*"))


# A model of the user's own


def own_model(units: int = 3, last: str | None = "softmax") -> keras.Model:
    inputs = keras.Input((16, 24, 3))
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, strides=2, activation="relu")(inputs))
    return keras.Model(inputs, keras.layers.Dense(units, activation=last)(x), name="mine")


@pytest.mark.slow
def test_own_model_is_trained_and_stays_as_it_was(tiny_dataset: Path, tmp_path: Path) -> None:
    model = own_model()
    before = model.get_weights()
    run = trainkit.train(tiny_dataset, model=model, epochs=4, batch_size=8, experiments=tmp_path / "experiments")
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    assert run.config["preprocessing.size"] == [24, 16]
    assert run.result["test_accuracy"] > 0.6
    assert (run.path / "initial.keras").is_file()
    assert trainkit.export(run, exported=tmp_path / "exported").agreement.ok
    again = trainkit.train(config=run.path / "config.toml", experiments=tmp_path / "experiments")
    assert [row["loss"] for row in rows(again)] == [row["loss"] for row in rows(run)]


@pytest.mark.slow
def test_own_model_from_a_file_on_the_command_line(tiny_dataset: Path, tmp_path: Path) -> None:
    own_model(last=None).save(tmp_path / "mine.keras")
    command = [sys.executable, "-m", "trainkit", "train", str(tiny_dataset), "--model", "mine.keras", "--epochs", "1"]
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model = load_keras_model(Path(json.loads(done.stdout)["run"]) / "model.keras")
    assert model.layers[-1].activation.__name__ == "softmax"


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (own_model(units=5), ModelError, r"gives 5 values for an image, and the data has 3 classes.*of 3 units"),
        (42, UsageError, "must be a model's name, a .keras file or a Keras model. Received: int"),
    ],
)
def test_own_model_that_does_not_fit_is_refused(
    tiny_dataset: Path, tmp_path: Path, model: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        trainkit.train(tiny_dataset, model=model, experiments=tmp_path / "experiments")
    assert not (tmp_path / "experiments").exists()


# Recipes and the learning rate


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_recipes_are_legal(recipe) -> None:  # type: ignore[no-untyped-def]
    config = build_config({"data": "digits", **recipe.settings})
    assert all(config[key] == value for key, value in recipe.settings.items())
    assert recipe.description.endswith(".")
    assert recipe.accuracy
    assert recipe.time


def test_data_set_has_the_recipe_of_its_name() -> None:
    assert recipe_for("fashion-mnist", None) == find_recipe("fashion-mnist")
    assert recipe_for("fashion-mnist", "vgg16") is None
    assert recipe_for("photos", None) is None


def test_unknown_recipe_is_named() -> None:
    with pytest.raises(UsageError, match=r"Unknown recipe `fashion-mist`. Did you mean `fashion-mnist`"):
        trainkit.train("digits", recipe="fashion-mist")


def test_settings_win_over_the_recipe(tmp_path: Path) -> None:
    run = trainkit.train(
        "digits",
        recipe="fashion-mnist",
        epochs=1,
        settings={"training.schedule": "cosine", "preprocessing.size": "16x16"},
        experiments=tmp_path,
    )
    assert run.config["model.name"] == "fashion-mnist"
    assert run.config["training.schedule"] == "cosine"
    assert run.config["training.epochs"] == 1
    assert run.config["data"] == "digits"


@pytest.mark.slow
def test_suggested_learning_rate_trains(tmp_path: Path) -> None:
    found = trainkit.find_learning_rate("digits", out=tmp_path / "rates.png")
    assert 1e-4 < found.suggestion < 1e-1
    assert (tmp_path / "rates.png").stat().st_size > 5000
    assert found.rates == sorted(found.rates)
    assert len(found.losses) == len(found.rates)
    run = trainkit.train("digits", learning_rate=found.suggestion, epochs=2, experiments=tmp_path)
    assert run.result["test_accuracy"] > 0.85
    with pytest.raises(OutputError, match="exists already"):
        trainkit.find_learning_rate("digits", out=tmp_path / "rates.png")


def falling(rate: float) -> float:
    """Return a loss that falls from a rate of 1e-3 on, is lowest at 0.1, and explodes."""
    return float(2.3 - 2 / (1 + (0.01 / rate) ** 2) + (rate / 0.3) ** 4)


def test_suggestion_is_left_of_the_lowest_loss_and_nothing_where_none_falls() -> None:
    rates = np.geomspace(1e-6, 1.0, STEPS)
    noise = np.random.default_rng(0).normal(0, 0.05, STEPS)
    found = suggest(list(rates), [falling(rate) + one for rate, one in zip(rates, noise, strict=True)])
    assert found.suggestion is not None
    assert 0.003 < found.suggestion < 0.03
    # A first loss by chance the lowest, and a steep fall behind an explosion.
    assert suggest(list(rates), [0.5, *(0.69 + noise[1:-20]), *(9 + noise[-20:-5]), *[0.7] * 5]).suggestion is None


def test_learning_rate_of_ones_own_model_and_arrays(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    before = model.get_weights()
    found = trainkit.find_learning_rate(digits(), model=model, seed=1, batch_size=16, out=tmp_path / "rates.png")
    assert found.suggestion is not None
    assert 1e-4 < found.suggestion < 1
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": "digits", "class_names": ["a", "b"]}, "`class_names` go with arrays"),
        ({"data": [1, 2]}, r"`data` must be .* the tuple \(x, y\). Received: list"),
        ({"model": keras.Sequential([keras.layers.Dense(10)])}, "The model is not built.*keras.Input"),
    ],
)
def test_what_cannot_be_trained_on_is_one_sentence(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        trainkit.train(**({"data": digits()} | arguments), experiments=tmp_path)


def test_model_in_memory_that_runs_code_is_named_without_a_file(tmp_path: Path) -> None:
    layers = [keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: x), keras.layers.Flatten(), keras.layers.Dense(10)]
    with pytest.raises(ModelError, match=r"^The model: layer 1 `lambda\w*` is a Lambda.*Activation\)\.$"):
        trainkit.train(digits(), model=keras.Sequential(layers), experiments=tmp_path)


def test_names_of_the_classes_of_arrays_reach_the_run_and_its_repetition(tmp_path: Path) -> None:
    names = [f"number {digit}" for digit in range(10)]
    small = {"model.blocks": 1, "model.filters": 2}
    run = trainkit.train(digits(), class_names=names, epochs=1, settings=small, experiments=tmp_path)
    assert run.class_names == names
    assert trainkit.train(config=run.path / "config.toml", experiments=tmp_path).class_names == names


def test_resume_takes_no_settings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainkit", "train", "--resume", "x", "--epochs", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--resume takes the settings of the run. Received: --epochs" in done.stderr


def test_missing_tensorboard_is_said(monkeypatch: pytest.MonkeyPatch, tiny_dataset: Path, tmp_path: Path) -> None:
    from importlib.metadata import PackageNotFoundError

    from trainkit.training import _preparation as preparation

    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(preparation, "version", version)
    with pytest.raises(TrainkitError, match="pip install tensorboard"):
        trainkit.train(tiny_dataset, **TINY, tensorboard=True, experiments=tmp_path / "experiments")
