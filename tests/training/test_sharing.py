"""Several devices train like one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trainkit
from trainkit.backend import keras, tf
from trainkit.data._dataset import FileImages, Part
from trainkit.data._share import Share, share_of_part
from trainkit.training._compilation import training_copy
from trainkit.training._feeding import Feed
from trainkit.training._sharing import shared_kind, working_on

pytestmark = pytest.mark.usefixtures("undrawn")

CASES = {
    "small": {
        "model": "fashion-mnist",
        "size": (8, 8),
        "settings": {"training.optimizer": "sgd", "training.ema": 0.9},
    },
    "second": {"model": "fashion-mnist", "size": (16, 16), "settings": {"training.optimizer": "sgd"}},  # other shapes
    "noisy": {
        "model": "small-cnn",
        "batch_size": 50,
        "settings": {"model.filters": 8, "model.dropout": 0.4, "training.weight_decay": 0.001},
    },
    "weighed": {
        "model": "small-cnn",
        "batch_size": 50,
        "class_weights": "balanced",
        "settings": {"model.filters": 8, "training.clip_norm": 1.0, "augmentation.mixup": 0.2},
    },
    "normalised": {
        "model": "small-resnet",
        "size": (32, 32),
        "batch_size": 64,
        "learning_rate": 0.001,
        "settings": {"training.optimizer": "sgd", "model.width": 8, "model.dropout": 0.3},
    },
}
TRAIN = f"""
import sys
from trainkit.backend import tf
devices = int(sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
import trainkit
for name, case in {CASES!r}.items():
    trainkit.train(
        "digits", **case, epochs=2, validation=0.3, name=f"{{name}}-on-{{devices}}", experiments=sys.argv[2],
        distribute="mirrored" if devices > 1 else "none",
    )
settings = {{"model.filters": 4, "training.distribute": "mirrored" if devices > 1 else "none"}}
print(trainkit.find_learning_rate("digits", model="small-cnn", settings=settings).suggestion)
"""


@pytest.mark.slow
def test_two_and_three_devices_train_like_one(tmp_path: Path) -> None:
    suggestions = []
    for devices in ("1", "2", "3"):
        command = [sys.executable, "-c", TRAIN, devices, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        suggestions.append(done.stdout)
    assert suggestions[0] == suggestions[1] == suggestions[2] != ""
    for name in CASES:
        one, *others = (losses(f"{name}-on-{devices}", tmp_path) for devices in (1, 2, 3))
        for several in others:
            np.testing.assert_allclose(several, one, rtol=0, atol=1e-4, err_msg=name)


EXACT = """
import sys
from trainkit.backend import keras, tf
keras.config.set_floatx("float64")
devices = int(sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
import trainkit
distribute = "mirrored" if devices > 1 else "none"
trainkit.train(
    "digits", model="small-cnn", epochs=3, name=f"exact-on-{devices}", experiments=sys.argv[2], distribute=distribute
)
"""


@pytest.mark.slow
@pytest.mark.long
def test_what_devices_differ_by_is_the_rounding_of_float32_alone(tmp_path: Path) -> None:
    """In float64 nothing is left of the 3e-4 by which the losses of the same three epochs differ in float32."""
    for devices in ("1", "2", "3"):
        command = [sys.executable, "-c", EXACT, devices, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    one, *others = (losses(f"exact-on-{devices}", tmp_path) for devices in (1, 2, 3))
    for several in others:
        np.testing.assert_allclose(several, one, rtol=0, atol=1e-8)  # the weight of an image of 29 is a float32


def losses(name: str, experiments: Path) -> list[tuple[float, float]]:
    return [(float(row["loss"]), float(row["val_loss"])) for row in trainkit.find_run(name, experiments).metrics]


@pytest.mark.slow
@pytest.mark.parametrize("class_weights", [pytest.param("none", marks=pytest.mark.slow), "balanced"])
def test_one_device_is_enough_to_be_mirrored(tmp_path: Path, class_weights: str) -> None:
    labels = np.arange(60) % 4 // 2  # two classes
    labels[:20] = 0
    images = np.random.default_rng(0).integers(0, 100, (60, 12, 16, 3), np.uint8) + (100 * labels)[
        :, None, None, None
    ].astype(np.uint8)
    for distribute in ("none", "mirrored"):
        trainkit.train(
            (images, labels),
            model="small-cnn",
            epochs=2,
            batch_size=8,
            class_weights=class_weights,
            distribute=distribute,
            name=distribute,
            experiments=tmp_path,
            settings={"model.filters": 4, "model.blocks": 1},
        )
    np.testing.assert_allclose(losses("mirrored", tmp_path), losses("none", tmp_path), rtol=0, atol=1e-4)


@given(st.integers(1, 70), st.integers(1, 32), st.integers(2, 5), st.booleans())
def test_the_sum_of_the_devices_parts_is_the_mean_of_all(
    count: int, batch_size: int, devices: int, weighed: bool
) -> None:
    values = np.random.default_rng(0).normal(size=count).astype(np.float32)
    own = np.random.default_rng(1).uniform(0.5, 2, count).astype(np.float32) if weighed else None
    feed = Feed(
        examples=values[:, None],
        targets=np.arange(count),
        to_input=np.asarray,
        input_shape=(1,),
        batch_size=batch_size,
        weights=own,
        share=Share(0, devices, devices),
    )
    parts = list(feed.batches())
    assert len(parts) == feed.steps * devices
    for number in range(feed.steps):
        real = np.arange(count)[number * batch_size : (number + 1) * batch_size]
        expected = np.mean(values[real] * (1 if own is None else own[real]))
        found = []
        for device, (inputs, targets, shared) in enumerate(parts[number * devices : (number + 1) * devices]):
            weights, places, whole = shared.T
            found.append(np.sum(inputs[:, 0] * weights))
            assert (whole == len(real)).all()
            there = weights > 0
            assert there.all() or (len(there) == 1 and not inputs.any()), "what fills a part up is no image"
            assert targets[there].tolist() == [index for index in real if index % devices == device]
            assert real[places[there].astype(int)].tolist() == targets[there].tolist()
        assert np.sum(found) == pytest.approx(expected, abs=1e-5)


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 3))
def test_every_example_is_in_one_share(count: int, workers: int, devices: int) -> None:
    of = workers * devices
    shares = [Share(worker * devices, devices, of) for worker in range(workers)]
    assert sorted(index for share in shares for index in share.indices(count)) == list(range(count))
    for share in shares:
        own = share.indices(count)
        assert share.rows(own).tolist() == list(range(len(own)))


def test_a_share_of_files_keeps_their_contents(tmp_path: Path) -> None:
    part = Part(FileImages([tmp_path / f"{n}" for n in range(5)], [f"sum {n}" for n in range(5)]), np.arange(5))
    own = share_of_part(part, Share(1, 1, 2))
    assert isinstance(own.images, FileImages)
    assert [path.name for path in own.images.paths] == ["1", "3"] and own.images.contents == ["sum 1", "sum 3"]
    assert own.labels.tolist() == [1, 3]


@pytest.mark.parametrize("devices", [2, 3])
@pytest.mark.parametrize("kind", ["Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout"])
def test_an_image_gets_the_same_draws_whoever_shares_the_batch(kind: str, devices: int) -> None:
    batch = np.random.default_rng(0).normal(size=(13, 4, 4, 8)).astype(np.float32)
    plain = getattr(keras.layers, kind)(0.4, seed=7)
    expected = np.asarray(plain(batch, training=True))
    found = np.zeros_like(expected)
    order = np.random.default_rng(1).permutation(100)[:13]  # examples of a data set, as an epoch brings them
    for device in range(devices):
        places = np.flatnonzero(order % devices == device)
        layer = shared_kind(type(plain))(0.4, seed=7)
        shared = np.stack([np.ones(len(places)), places, np.full(len(places), 13)], axis=1).astype(np.float32)
        with working_on(tf.constant(shared)):
            found[places] = np.asarray(layer(batch[places], training=True))
    assert np.array_equal(found, expected)


def test_layers_of_nested_models_are_shared_and_stay_frozen() -> None:
    inner = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(2, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
        ],
        name="inner",
    )
    inner.layers[0].trainable = False
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.GaussianNoise(0.1)(inner(keras.layers.Conv2D(2, 3)(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x)))
    copy = training_copy(model, "bfloat16", shared=True)
    convolution, normalisation, dropout = copy.get_layer("inner").layers
    assert type(normalisation).__name__ == "SharedBatchNormalization" and type(dropout).__name__ == "ForWholeBatch"
    assert type(copy.layers[3]).__name__ == "ForWholeBatch"
    assert not convolution.trainable and normalisation.trainable
    assert convolution.compute_dtype == "bfloat16" and copy.layers[-1].compute_dtype == "float32"
    assert all(np.array_equal(a, b) for a, b in zip(copy.get_weights(), model.get_weights(), strict=True))
