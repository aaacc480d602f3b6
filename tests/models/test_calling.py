"""What is raised while a stranger's model is run becomes one sentence, and what trainkit does wrong does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainkit
from trainkit.backend import keras, tf
from trainkit.errors import ExportError, ModelError, TrainingError, TrainkitError
from trainkit.exporting._tracing import trace
from trainkit.models._calling import calling, cause_of
from trainkit.models._summary import trace_shapes
from trainkit.preprocessing import build_preprocessing
from trainkit.runs._evaluation import predict_pixels
from trainkit.training._recorder import Interrupted

layers = keras.layers
TABLE = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant([0, 1], tf.int64), [0.5, 1.5]), 0.0)
COUNT = tf.Variable(tf.ones((4,)))
UNIT = build_preprocessing("unit", height=12, width=16)
# Transposed convolutions with a dilation, for which TensorFlow has no kernel of its own on a CPU.
WITHOUT_A_KERNEL = """
import sys
import cv2
import numpy as np
import trainkit
from dataclasses import replace
from pathlib import Path
from trainkit.backend import keras
from trainkit.errors import TrainkitError
layers = keras.layers
image = keras.Input((12, 16, 3))
x = layers.Conv2DTranspose(4, 3, dilation_rate=2, name="widening")(layers.Conv2D(4, 3)(image))
model = keras.Model(image, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x)), name="wide")
work = Path(sys.argv[1])
for name in "ab":
    (work / "photos" / name).mkdir(parents=True)
    for number in range(6):
        picture = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
        cv2.imwrite(str(work / "photos" / name / f"{number}.png"), picture)
named = {"class_names": ["a", "b"], "preprocessing": "unit"}
for attempt in (
    lambda: trainkit.export(model, exported=work / "exported", **named),
    lambda: trainkit.train(work / "photos", model=model, epochs=1, experiments=work / "experiments"),
):
    try:
        attempt()
    except TrainkitError as error:
        print(type(error).__name__, error)
print(sorted(path.name for path in work.iterdir()))
"""


class Particular(layers.Layer):  # type: ignore[misc]
    """A layer that can be built with, and not called."""

    def call(self, images: Any) -> Any:
        if not isinstance(images, keras.KerasTensor):
            raise ValueError("Not to my taste.\nNor is anything else.")
        return images

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


class Callback(layers.Layer):  # type: ignore[misc]
    """A layer that calls Python back from the graph, and fails there."""

    def call(self, images: Any) -> Any:
        def fail(values: np.ndarray) -> np.ndarray:
            raise RuntimeError("The meter is broken")

        seen = tf.numpy_function(fail, [images], tf.float32)
        seen.set_shape(images.shape)
        return seen

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


class Choosy(layers.Layer):  # type: ignore[misc]
    """A layer that cannot say what comes out of it."""

    def call(self, images: Any) -> Any:
        return images

    def compute_output_spec(self, images: Any) -> Any:
        if images.shape[1] != 12:
            raise TypeError("Twelve rows are all that I know")
        return keras.KerasTensor(images.shape, images.dtype)


def around(layer: Any, sides: tuple[int | None, int | None] = (12, 16)) -> Any:
    image = keras.Input((*sides, 3))
    x = layers.GlobalAveragePooling2D()(layer(layers.Conv2D(4, 3, padding="same")(image)))
    return keras.Model(image, layers.Dense(2, activation="softmax")(x), name="odd")


def test_name_that_a_function_in_a_file_lacks_is_said(tmp_path: Path) -> None:
    function = eval("lambda images: jnp.abs(images)", {})  # whoever wrote it had imported JAX
    model = around(layers.Lambda(function, output_shape=(12, 16, 4), name="strength"))
    model.save(tmp_path / "odd.keras")
    named: dict[str, Any] = {"class_names": ["a", "b"], "preprocessing": "unit", "exported": tmp_path / "exported"}
    message = (
        r"^The layer `strength` \(Lambda\) of the model odd cannot be traced: expected one that TensorFlow computes on "
        r"this machine\. Received: NameError: name 'jnp' is not defined\. "
        r".*\(tf, keras, K, .* are lent to it\).* write it with keras.ops between the layers"
    )
    with pytest.raises(ModelError, match=message) as caught:
        trainkit.export(tmp_path / "odd.keras", unsafe=True, **named)
    assert isinstance(caught.value.__cause__, NameError)
    assert not (tmp_path / "exported").exists()
    # As the sentence advises.
    advised = around(lambda x: layers.Multiply()([x, keras.ops.mean(x, axis=-1, keepdims=True)]))
    advised.save(tmp_path / "advised.keras")
    assert trainkit.export(tmp_path / "advised.keras", **named).agreement.max_abs_difference < 1e-5


def test_function_whose_shape_cannot_be_told_is_refused_with_advice(tmp_path: Path) -> None:
    image = keras.Input((12, 16, 3))
    function = eval("lambda images: kops.abs(images)", {"kops": keras.ops})
    x = layers.GlobalAveragePooling2D()(layers.Lambda(function)(image))
    keras.Model(image, layers.Dense(2, activation="softmax")(x)).save(tmp_path / "odd.keras")
    with pytest.raises(ModelError, match=r"a Lambda that uses the name 'kops', .* write it with keras\.ops"):
        trainkit.export(tmp_path / "odd.keras", unsafe=True, class_names=["a", "b"], preprocessing="unit")


def test_what_a_layer_raises_in_tracing_names_it() -> None:
    model = around(Particular(name="taste"))
    message = (
        r"^The layer `taste` \(Particular\) of the model odd cannot be traced: .* Received: ValueError: Not to my "
        r"taste\. Where the model was built, tf.function\(model\)\(tf.zeros\(\(1, 12, 16, 3\)\)\) says the same"
    )
    with pytest.raises(ModelError, match=message):
        trace(model)
    with pytest.raises(ValueError, match="Not to my taste"):
        tf.function(model)(tf.zeros((1, 12, 16, 3)))


def test_what_a_model_raises_as_it_runs_is_one_sentence() -> None:
    model = around(Callback(name="meter"))
    message = r"^The layer `meter` \(Callback\) .* cannot be run: .* RuntimeError: The meter is broken\. Where"
    with pytest.raises(ModelError, match=message):
        predict_pixels(model, np.zeros((3, 12, 16, 3), np.uint8), UNIT)
    with pytest.raises(ModelError, match=message):
        trace(model).predict(np.zeros((3, 12, 16, 3), np.float32))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda images: images * float(images[0, 0, 0, 0]),
            r"^The layer `odd_one` .* cannot be traced: .* float\(\) argument",
        ),
        (
            lambda images: images if images[0, 0, 0, 0] > 0 else -images,
            r"cannot be traced: .* as a Python `bool` is not",
        ),
        (
            lambda images: images * COUNT.assign_add(tf.ones((4,))),
            r"`odd_one` .* cannot be converted: expected one whose operations tf2onnx",
        ),
        (lambda images: TABLE.lookup(tf.cast(images, tf.int64)), r"reads what is outside of its layers: `.*`, a table"),
        (lambda images: tf.cast(tf.cast(images, tf.bfloat16) * 2, tf.float32), r"cannot be converted to ONNX \(.*Mul"),
    ],
)
def test_function_that_no_graph_can_hold_is_one_sentence(tmp_path: Path, function: Any, message: str) -> None:
    model = around(layers.Lambda(function, output_shape=(12, 16, 4), name="odd_one"))
    with pytest.raises(TrainkitError, match=message) as caught:
        trainkit.export(model, class_names=["a", "b"], preprocessing="unit", exported=tmp_path)
    assert re.search(r"write it with keras\.ops|Replace .* by convolutions, ", str(caught.value))
    assert "\n" not in str(caught.value)


def test_what_a_layer_raises_for_another_size_is_one_sentence() -> None:
    model = around(Choosy(name="rows"), (12, None))
    message = (
        r"^The layer `rows` \(Choosy\) .* cannot be followed for \(10, 16, 3\): expected one that takes it\. "
        r"Received: TypeError: Twelve rows are all that I know\. Take the size that it was built for\."
    )
    with pytest.raises(ModelError, match=message):
        trace_shapes(model, input_shape=(10, 16, 3))


@pytest.mark.slow
def test_what_has_no_kernel_without_onednn_is_said_before_anything_is_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_KERNEL, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
    )
    assert done.returncode == 0, done.stderr
    exporting, training, left = done.stdout.splitlines()
    said = (
        "The layer `widening` (Conv2DTranspose) of the model {} cannot be {}: expected one that TensorFlow computes on "
        "this machine. Received: InvalidArgumentError: Current CPU implementations do not yet support dilation rates "
        "larger than 1. Turn oneDNN on, which has more kernels and is off now: set TF_ENABLE_ONEDNN_OPTS=1."
    )
    assert exporting == f"{ModelError.__name__} {said.format('wide', 'run')}"
    assert training.startswith(f"{TrainingError.__name__} The layer `widening` (Conv2DTranspose) of the model ")
    assert training.endswith(said.partition(" cannot be {}")[2])
    assert left == "['experiments', 'photos']"


def test_what_trainkit_does_wrong_keeps_its_traceback() -> None:
    model = around(layers.ReLU())
    with pytest.raises(Exception) as caught, calling(model, "run"):
        UNIT.to_input("no pixels at all")  # type: ignore[arg-type]
    assert not isinstance(caught.value, TrainkitError)
    with pytest.raises(Exception) as caught:  # in a thread of TensorFlow that feeds the model
        predict_pixels(model, np.array([["no pixels"]]), replace(UNIT, samplewise="center"))
    assert not isinstance(caught.value, TrainkitError)


def test_sentences_of_trainkit_pass() -> None:
    with pytest.raises(ExportError, match=r"^Enough\.$"), calling(around(layers.ReLU()), "run"):
        raise ExportError("Enough.")


def test_filtering_of_tracebacks_stays_as_it_was() -> None:
    assert keras.config.is_traceback_filtering_enabled()
    with pytest.raises(ModelError), calling(around(layers.ReLU()), "run"):
        assert not keras.config.is_traceback_filtering_enabled()
        raise ValueError("no")
    assert keras.config.is_traceback_filtering_enabled()


@pytest.mark.parametrize(
    ("operation", "place"),
    [
        ("odd_1/one_1/convolution", "The layer `one` "),
        ("odd_1/two/convolution", "The layer `two` "),
        ("odd_1/one_2_1/convolution", "The layer `one_2` "),
        ("odd_1/one_2/convolution", "The model odd "),  # `one`, called for the second time, or `one_2`?
        ("odd_1/three/convolution", "The model odd "),
    ],
)
def test_layer_of_an_operation_is_named_where_there_is_no_doubt(operation: str, place: str) -> None:
    model = keras.Sequential(
        [keras.Input((4,)), *(layers.Dense(2, name=name) for name in ("one", "one_2", "two"))], name="odd"
    )
    message = f"Graph execution error:\n\nDetected at node {operation} defined at (most recent call last):\nNo.\n"
    with pytest.raises(ModelError, match=f"^{place}"), calling(model, "run"):
        raise tf.errors.InternalError(None, None, f"{message}\t [[{{{{node {operation}}}}}]]")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ValueError(""), "ValueError"),
        (ValueError("one\ntwo"), "ValueError: one"),
        (NameError("name 'tf' is not defined"), "NameError: name 'tf' is not defined"),
        (
            ValueError(
                "Exception encountered when calling Dense.call().\n\n\x1b[1mIncompatible: 3 and 4\x1b[0m\n\n"
                "Arguments received by Dense.call():\n  • args=(1,)"
            ),
            "ValueError: Incompatible: 3 and 4",
        ),
        (
            RuntimeError('in user code:\n\n    File "a.py", line 1, in f\n        x = y\n\n    NameError: no y\n'),
            "NameError: no y",
        ),
        (
            tf.errors.UnimplementedError(
                None, None, "{{function_node __wrapped__Conv2D_device_/job:localhost}} Only NHWC. [Op:Conv2D] name: "
            ),
            "UnimplementedError: Only NHWC.",
        ),
        (
            tf.errors.ResourceExhaustedError(
                None,
                None,
                "Graph execution error:\n\nNode: 'a/b'\n2 root error(s) found.\n  (0) RESOURCE_EXHAUSTED: "
                "OOM when allocating\n\t [[{{node a/b}}]]\n0 successful operations.",
            ),
            "ResourceExhaustedError: OOM when allocating",
        ),
        (
            TypeError("<class> could not be deserialized.\n\nconfig={}.\n\nException encountered: No Sub"),
            "TypeError: No Sub",
        ),
        (ValueError("a" * 500), f"ValueError: {'a' * 240}..."),
        (ValueError("words " * 90), f"ValueError: {'words ' * 39}words..."),
        (ValueError(f"This matters. {'This does not ' * 30}"), "ValueError: This matters."),
    ],
)
def test_cause_is_the_line_that_tells(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause


@pytest.mark.parametrize("debug", [False, True])
def test_debugging_shows_the_chain(tmp_path: Path, debug: bool) -> None:
    (tmp_path / "model.keras").write_bytes(b"no model")
    command = [sys.executable, "-m", "trainkit", "shapes", "model.keras"]
    environment = {key: value for key, value in os.environ.items() if key != "TRAINKIT_DEBUG"}
    environment.update({"TRAINKIT_DEBUG": "1"} if debug else {})
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1
    assert ("Traceback (most recent call last)" in done.stderr) == debug
    assert done.stderr.splitlines()[-1].startswith("model.keras is no Keras model.")


def test_an_exception_of_trainkit_stays_what_it_is() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()], name="plain")
    with pytest.raises(Interrupted), calling(model, "trained"):
        raise Interrupted
