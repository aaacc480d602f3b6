"""Files of Keras 2: small ones that it wrote itself, with its answers, and configs as it writes them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras2_files import answers, classified, entry, functional, node, operation, sigmoid, write

from trainkit.backend import keras
from trainkit.errors import ModelError
from trainkit.models._keras2._building import hard_sigmoid_of_keras_2
from trainkit.models._keras2._operations import name_of_operation
from trainkit.models._keras2._parts import Part
from trainkit.models._keras2._weights import assign_archive
from trainkit.models._loading import at_size, load_model_file

FILES = Path(__file__).parents[1] / "data" / "keras2"
PIXELS = "preprocessing_of_resnet_inside"  # takes 0 to 255; the others -1 to 1
layers = keras.layers


def images(name: str) -> np.ndarray:
    """Return four images as a file's model takes them."""
    pixels = np.load(FILES / "images.npz")["images"].astype(np.float32)
    return pixels if name.startswith(PIXELS) else pixels / np.float32(127.5) - 1


@pytest.mark.parametrize("name", sorted(np.load(FILES / "answers.npz")))
def test_file_answers_as_keras_2_did(name: str) -> None:
    expected = np.load(FILES / "answers.npz")[name]
    model = load_model_file(FILES / name).model
    assert expected.std(axis=0).max() > 1e-2
    np.testing.assert_allclose(model.predict(images(name), verbose=0), expected, atol=2e-6)


def test_every_small_file_has_its_answers() -> None:
    written = {path.name for path in FILES.iterdir() if path.suffix in (".h5", ".keras")}
    assert written == set(np.load(FILES / "answers.npz"))


@pytest.mark.shared
def test_files_of_transfer_learning_answer_as_keras_2_did(shared: Path) -> None:
    files = sorted(path for path in (shared / "cases" / "keras2").iterdir() if path.suffix in (".h5", ".keras"))
    assert files
    for path in files:
        stored = np.load(path.with_suffix(".npz"))
        found = load_model_file(path).model.predict(stored["x"], verbose=0)
        np.testing.assert_allclose(found, stored["y"], atol=2e-6, err_msg=path.name)


# Configs by hand


@pytest.mark.parametrize(
    ("function", "named", "expected"),
    [
        ("math.truediv", {"y": 127.5, "name": None}, lambda x: x / 127.5),
        ("math.subtract", {"y": 1.5}, lambda x: x - 1.5),
        ("__operators__.add", {"y": [1.0, 2.0, 3.0]}, lambda x: x + np.float32([1, 2, 3])),
        ("math.subtract", {"y": [10, 20, 30], "name": None}, lambda x: x - np.float32([10, 20, 30])),
        ("nn.bias_add", {"bias": [1, 0, -2]}, lambda x: x + np.float32([1, 0, -2])),
        ("clip_by_value", {"clip_value_min": [0, -1, 0], "clip_value_max": 1}, lambda x: np.clip(x, [0, -1, 0], 1)),
        ("math.multiply", {"y": ["images", 0, 0]}, lambda x: x * x),
        ("compat.v1.floor_div", {"y": 0.5}, lambda x: x // 0.5),
        ("math.floormod", {"y": 0.75}, lambda x: x % 0.75),
        ("compat.v1.reduce_mean", {"axis": 1, "keepdims": True, "keep_dims": None}, lambda x: x.mean(1, keepdims=True)),
        ("compat.v1.pad", {"paddings": [[0, 0], [1, 0], [0, 2], [0, 0]], "mode": "REFLECT", "constant_values": 0},
         lambda x: np.pad(x, [(0, 0), (1, 0), (0, 2), (0, 0)], mode="reflect")),
        ("image.resize", {"size": [6, 8], "method": "bilinear", "preserve_aspect_ratio": False}, lambda x: x),
        ("linalg.matmul", {"b": ["images", 0, 0], "transpose_a": True, "adjoint_b": False, "output_type": None},
         lambda x: x.swapaxes(2, 3) @ x),
        ("math.pow", {"y": 2.0}, lambda x: x**2),
        ("nn.bias_add", {"bias": [-1.0, 0.5, 2.0], "data_format": "NHWC"}, lambda x: x + np.float32([-1, 0.5, 2])),
        ("nn.relu6", {}, lambda x: np.clip(x, 0, 6)),
        ("nn.leaky_relu", {}, lambda x: np.where(x > 0, x, 0.2 * x)),
        ("nn.silu", {}, lambda x: x * sigmoid(x)),
        ("math.sigmoid", {}, sigmoid),
        ("clip_by_value", {"clip_value_min": -0.5, "clip_value_max": 0.7}, lambda x: np.clip(x, -0.5, 0.7)),
        ("math.reduce_max", {"axis": [1, 2], "keepdims": True}, lambda x: x.max((1, 2), keepdims=True)),
        ("reshape", {"shape": [-1, 12, 4, 3]}, lambda x: x.reshape(-1, 12, 4, 3)),
        ("transpose", {"perm": [0, 2, 1, 3]}, lambda x: x.transpose(0, 2, 1, 3)),
        ("reverse", {"axis": [3]}, lambda x: x[..., ::-1]),
        ("image.flip_up_down", {}, lambda x: x[:, ::-1]),
        (
            "math.l2_normalize",
            {"axis": -1},
            lambda x: x / np.sqrt(np.maximum((x**2).sum(-1, keepdims=True), 1e-12)),
        ),
        (
            "__operators__.getitem",
            {"slice_spec": [{"class_name": "__ellipsis__"}, {"start": None, "stop": None, "step": -1}]},
            lambda x: x[..., ::-1],
        ),
        (
            "__operators__.getitem",
            {"slice_spec": [{"start": None, "stop": None, "step": None}, {"start": 1, "stop": -1, "step": 2}]},
            lambda x: x[:, 1:-1:2],
        ),
        ("pad", {"paddings": [[0, 0], [1, 0], [0, 2], [0, 0]], "constant_values": 3.0},
         lambda x: np.pad(x, [(0, 0), (1, 0), (0, 2), (0, 0)], constant_values=3)),
    ],
)  # fmt: skip
def test_operation_of_tensorflow_is_computed(
    tmp_path: Path, function: str, named: dict[str, Any], expected: Any
) -> None:
    config = functional(operation("tf.op", function, node("images", **named)))
    x, found = answers(write(tmp_path / "model.h5", config))
    np.testing.assert_allclose(found, classified(expected(x)), atol=1e-6)


@pytest.mark.parametrize("first", [1.0, [1, 2, 3]])
def test_constant_may_come_first(tmp_path: Path, first: Any) -> None:
    config = functional(operation("tf.math.subtract", "math.subtract", node(first, y=["images", 0, 0])))
    if isinstance(first, list):
        config["config"]["layers"][1]["inbound_nodes"] = [["_CONSTANT_VALUE", -1, first, {"y": ["images", 0, 0]}]]
    x, found = answers(write(tmp_path / "model.h5", config))
    np.testing.assert_allclose(found, classified(np.float32(first) - x), atol=1e-6)


def test_operation_that_joins_takes_a_list(tmp_path: Path) -> None:
    named = {"axis": 1}
    config = functional(operation("tf.concat", "concat", [["images", 0, 0, named], ["images", 0, 0, named]]))
    x, found = answers(write(tmp_path / "model.h5", config))
    np.testing.assert_allclose(found, classified(np.concatenate([x, x], 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("op", "constants", "attributes", "expected"),
    [
        ("RealDiv", {"1": 127.5}, {}, lambda x: x / 127.5),
        ("Sub", {"0": 1.0}, {}, lambda x: 1 - x),
        ("AddV2", {"1": [1.0, 2.0, 3.0]}, {}, lambda x: x + np.float32([1, 2, 3])),
        ("Relu", {}, {}, lambda x: np.maximum(x, 0)),
        ("Mean", {"1": [1, 2]}, {"keep_dims": {"b": True}}, lambda x: x.mean((1, 2), keepdims=True)),
        (
            "StridedSlice",
            {"1": [0, 0], "2": [0, -1], "3": [1, -1]},
            {"begin_mask": {"i": "2"}, "end_mask": {"i": "2"}, "ellipsis_mask": {"i": "1"}},
            lambda x: x[..., ::-1],
        ),
        (
            "StridedSlice",
            {"1": [0, 2], "2": [0, 5], "3": [1, 1]},
            {"begin_mask": {"i": "1"}, "end_mask": {"i": "1"}},
            lambda x: x[:, 2:5],
        ),
        ("Transpose", {"1": [0, 2, 1, 3]}, {}, lambda x: x.transpose(0, 2, 1, 3)),
    ],
)
def test_node_of_tensorflow_is_computed(
    tmp_path: Path, op: str, constants: dict[str, Any], attributes: dict[str, Any], expected: Any
) -> None:
    definition = {"name": op, "op": op, "input": ["images"], "attr": {"T": {"type": "DT_FLOAT"}, **attributes}}
    part = entry(f"tf_op_layer_{op}", "TensorFlowOpLayer", "images", node_def=definition, constants=constants)
    x, found = answers(write(tmp_path / "model.h5", functional(part), "2.3.0-tf"))
    np.testing.assert_allclose(found, classified(expected(x)), atol=1e-6)


def test_node_that_joins_takes_its_tensors_in_their_order(tmp_path: Path) -> None:
    definition = {"name": "concat", "op": "ConcatV2", "input": ["a", "b", "axis"], "attr": {}}
    negative = entry("negative", "TensorFlowOpLayer", "images", node_def={"op": "Neg"}, constants={})
    joined = entry("joined", "TensorFlowOpLayer", "negative", "images", node_def=definition, constants={"2": 1})
    x, found = answers(write(tmp_path / "model.h5", functional(negative, joined)))
    np.testing.assert_allclose(found, classified(np.concatenate([-x, x], 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("function", "named", "message"),
    [
        ("nn.space_to_depth", {"block_size": 2}, r"layer 1 `tf.op` is a TFOpLambda.*'nn.space_to_depth'.*Rescaling"),
        ("eval", {}, r"layer 1 `tf.op` is a TFOpLambda.*'eval'"),
        (
            "nn.softmax",
            {"axis": -1, "strange": 1},
            r"`tf.op` calls tf.nn.softmax with strange=1, which is not known here. Build .* and load its weights",
        ),
        ("nn.bias_add", {"bias": [1.0], "data_format": "NCHW"}, "tf.nn.bias_add has channels first"),
        (
            "image.resize",
            {"size": [4, 4], "method": "mitchellcubic"},
            "has method='mitchellcubic', and Keras 3 knows bilinear, .* compare some answers",
        ),
        (
            "image.resize",
            {"size": [4, 4], "preserve_aspect_ratio": True},
            "calls tf.image.resize with preserve_aspect_ratio=True, which is not known",
        ),
        ("compat.v1.image.resize", {"size": [4, 4]}, r"'compat.v1.image.resize'.*nothing that is known here"),
    ],
)
def test_operation_that_is_not_known_is_named(
    tmp_path: Path, function: str, named: dict[str, Any], message: str
) -> None:
    config = functional(operation("tf.op", function, node("images", **named)))
    with pytest.raises(ModelError, match=message):
        load_model_file(write(tmp_path / "model.h5", config), unsafe=True)


def test_no_operation_is_found_by_a_name_that_is_not_in_the_tables() -> None:
    assert name_of_operation({"class_name": "ClassMethod", "config": {"function": "math.add"}}) is None
    assert name_of_operation({"class_name": "TensorFlowOpLayer", "config": {}}) is None
    assert name_of_operation({"class_name": "TFOpLambda", "config": {"function": "math.add"}}) == "tf.math.add"


@pytest.mark.parametrize(
    ("kind", "config", "argument"),
    [
        ("DepthwiseConv2D", {"kernel_size": 3, "groups": 2}, "groups=2"),
        ("LSTM", {"units": 3, "time_major": True}, "time_major=True"),
        ("Dense", {"units": 3, "temperature": 0.5}, "temperature=0.5"),
    ],
)
def test_argument_that_could_change_an_answer_is_refused(
    tmp_path: Path, kind: str, config: dict[str, Any], argument: str
) -> None:
    path = write(tmp_path / "model.h5", functional(entry("odd", kind, "images", **config)))
    with pytest.raises(ModelError, match=rf"The layer `odd` \({kind}\) has {argument}, for which Keras 3 has no word"):
        load_model_file(path)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("SpatialDropout2D", {"rate": 0.5, "noise_shape": None, "trainable": True}),
        ("RandomFlip", {"mode": "horizontal", "seed": 3, "rng_type": "stateless"}),
        ("RandomHeight", {"factor": 0.1, "interpolation": "bilinear", "seed": None}),
        ("GaussianNoise", {"stddev": 0.1, "dynamic": False, "brand_new": None}),
        ("Dropout", {"rate": 0.5, "noise_shape": None, "seed": None}),
    ],
)
def test_layer_that_does_nothing_outside_a_training_does_nothing(
    tmp_path: Path, kind: str, config: dict[str, Any]
) -> None:
    x, found = answers(write(tmp_path / "model.h5", functional(entry("noise", kind, "images", **config))))
    np.testing.assert_allclose(found, classified(x), atol=1e-6)


def test_way_of_resizing_that_keras_3_has_not_is_refused(tmp_path: Path) -> None:
    part = entry("resize", "Resizing", "images", height=4, width=4, interpolation="gaussian")
    with pytest.raises(ModelError, match=r"`resize` \(Resizing\) has interpolation='gaussian', for which Keras 3"):
        load_model_file(write(tmp_path / "model.h5", functional(part)))


def test_model_that_is_called_at_each_step_is_built(tmp_path: Path) -> None:
    negative = entry("cut", "ReLU", batch_input_shape=[None, 8, 3], max_value=0.5)
    inner = {"class_name": "Sequential", "config": {"name": "inner", "layers": [negative]}}
    path = write(tmp_path / "model.h5", functional(entry("steps", "TimeDistributed", "images", layer=inner)))
    x, found = answers(path)
    np.testing.assert_allclose(found, classified(np.clip(x, 0, 0.5)), atol=1e-6)


def test_cells_of_an_archive_get_their_weights(tmp_path: Path) -> None:
    rnn = layers.RNN([layers.LSTMCell(2), layers.GRUCell(3), layers.LSTMCell(2)], name="rnn")
    rnn.build((None, 4, 5))
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        for number, (cell, key) in enumerate(
            zip(rnn.cell.cells, ("lstm_cell", "gru_cell", "lstm_cell_1"), strict=True)
        ):
            group = file.create_group(f"layers/rnn/cell/cells/{key}/vars")
            for place, weight in enumerate(cell.weights):
                group[str(place)] = np.full(weight.shape, number, np.float32)
        assign_archive(Part("model", "Sequential", None, parts=[Part("rnn", "RNN", rnn)]), file)
    assert [float(np.max(cell.get_weights()[0])) for cell in rnn.cell.cells] == [0, 1, 2]


def test_layer_that_keras_3_has_no_more_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", functional(entry("local", "LocallyConnected2D", "images", filters=3)))
    with pytest.raises(ModelError, match=r"`local` is a LocallyConnected2D. Keras 3 has no LocallyConnected2D layer"):
        load_model_file(path)


@pytest.mark.parametrize("kind", ["ThresholdedReLU", "LeakyReLU"])
def test_layer_of_another_name_or_argument_is_the_same(tmp_path: Path, kind: str) -> None:
    config = {"theta": 0.4} if kind == "ThresholdedReLU" else {"alpha": {"type": "ndarray", "value": 0.3}}
    x, found = answers(write(tmp_path / "model.h5", functional(entry("cut", kind, "images", **config)), "2.1.6"))
    expected = np.where(x > 0.4, x, 0) if kind == "ThresholdedReLU" else np.where(x > 0, x, np.float32(0.3) * x)
    np.testing.assert_allclose(found, classified(expected), atol=1e-6)


def test_hard_sigmoid_is_that_of_keras_2_and_stays_it_in_a_copy(tmp_path: Path) -> None:
    config = functional(entry("hard", "Activation", "images", activation="hard_sigmoid"))
    config["config"]["layers"][0]["config"]["batch_input_shape"] = [None, None, None, 3]
    model = at_size(load_model_file(write(tmp_path / "model.h5", config)).model, (6, 8, 3))
    x = np.random.default_rng(4).uniform(-4, 4, (3, 6, 8, 3)).astype(np.float32)
    expected = classified(np.clip(0.2 * x + 0.5, 0, 1))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)
    assert model.get_layer("hard").activation is hard_sigmoid_of_keras_2


def test_random_crop_takes_the_middle_as_in_keras_2(tmp_path: Path) -> None:
    config = functional(entry("crop", "RandomCrop", "images", height=3, width=8, seed=None))
    x, found = answers(write(tmp_path / "model.h5", config))
    np.testing.assert_allclose(found, classified(x[:, 1:4]), atol=1e-6)


def test_names_with_slashes_find_their_weights(tmp_path: Path) -> None:
    part = entry("block1/conv", "Conv2D", "images", filters=3, kernel_size=[1, 1], use_bias=False)
    path = write(tmp_path / "model.h5", functional(part))
    kernel = np.float32([[0, 1, 0], [2, 0, 0], [0, 0, -1]]).reshape(1, 1, 3, 3)
    with h5py.File(path, "r+") as file:
        group = file["model_weights"].create_group("block1/conv")
        group.create_dataset("block1/conv/kernel:0", data=kernel)
        group.attrs["weight_names"] = [b"block1/conv/kernel:0"]
    x, found = answers(path)
    np.testing.assert_allclose(found, classified(x @ kernel[0, 0]), atol=1e-6)


@pytest.mark.parametrize("version", ["2.1.6", "2.2.4"])
def test_sequential_knows_its_input_from_its_first_layer(tmp_path: Path, version: str) -> None:
    first = entry("pool", "GlobalAveragePooling2D", batch_input_shape=[None, 6, 8, 3], data_format="channels_last")
    stack = [first, entry("classes", "Dense", units=3, activation="softmax")]
    inner = stack if version == "2.1.6" else {"name": "model", "layers": stack}
    x, found = answers(write(tmp_path / "model.h5", {"class_name": "Sequential", "config": inner}, version))
    np.testing.assert_allclose(found, classified(x), atol=1e-6)


def test_functional_model_of_a_class_of_the_user_is_its_layers(tmp_path: Path) -> None:
    config = {**functional(), "class_name": "OwnTraining"}
    x, found = answers(write(tmp_path / "model.h5", config))
    np.testing.assert_allclose(found, classified(x), atol=1e-6)


def test_gru_of_the_first_keras_2_resets_before(tmp_path: Path) -> None:
    weights = {"gru__kernel": (24, 9), "gru__recurrent_kernel": (3, 9), "gru__bias": (9,)}
    values = {name: np.random.default_rng(1).normal(0, 1, shape) for name, shape in weights.items()}
    rows = entry("rows", "Reshape", "images", target_shape=[6, 24])
    gru = entry("gru", "GRU", "rows", units=3, return_sequences=True, implementation=1)
    spread = entry("spread", "Reshape", "gru", target_shape=[6, 1, 3])
    path = write(tmp_path / "model.h5", functional(rows, gru, spread), "2.1.6", **values)
    assert load_model_file(path).model.get_layer("gru").reset_after is False


def test_lists_of_names_may_be_cut_in_pieces(tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", functional())
    with h5py.File(path, "r+") as file:
        group = file["model_weights/classes"]
        names = group.attrs.pop("weight_names")
        group.attrs["weight_names0"], group.attrs["weight_names1"] = names[:1], names[1:]
    x, found = answers(path)
    np.testing.assert_allclose(found, classified(x), atol=1e-6)


def test_two_nested_models_with_the_same_names_keep_their_own_weights(tmp_path: Path) -> None:
    """The outer group has both, the frozen ones last: no name tells them apart, the order does."""

    def scaling(name: str, trainable: bool) -> dict[str, Any]:
        shape = {"batch_input_shape": [None, 6, 8, 3]}
        conv = entry("conv", "DepthwiseConv2D", kernel_size=1, use_bias=False, trainable=trainable, **shape)
        return {
            **entry(name, "Sequential"),
            "config": {"name": name, "trainable": trainable, "layers": [conv], "build_input_shape": [None, 6, 8, 3]},
        }

    inner = [scaling("frozen", False), scaling("free", True)]
    whole = {"class_name": "Sequential", "name": "both", "config": {"name": "both", "layers": inner}}
    whole["inbound_nodes"] = [[["images", 0, 0, {}]]]
    config = functional(whole)
    config["config"]["layers"][2]["inbound_nodes"] = [[["both", 1, 0, {}]]]
    path = write(tmp_path / "model.h5", config)
    with h5py.File(path, "r+") as file:
        group = file["model_weights"].create_group("both")
        for name, values in (("free/conv", [1, 2, 3]), ("frozen/conv", [10, 20, 30])):
            group.create_dataset(f"{name}/depthwise_kernel:0", data=np.float32(values).reshape(1, 1, 3, 1))
        group.attrs["weight_names"] = [b"free/conv/depthwise_kernel:0", b"frozen/conv/depthwise_kernel:0"]
    loaded = load_model_file(path).model.get_layer("both")
    assert [layer.get_weights()[0].ravel().tolist() for layer in loaded.layers] == [[10, 20, 30], [1, 2, 3]]


@pytest.mark.parametrize("lost", ["classes__bias", "extra"])
def test_weights_that_do_not_fit_the_layers_are_refused(tmp_path: Path, lost: str) -> None:
    more = {"classes__gamma": np.ones(3, np.float32)} if lost == "extra" else {}
    path = write(tmp_path / "model.h5", functional(), **more)
    if lost != "extra":
        with h5py.File(path, "r+") as file:
            file["model_weights/classes"].attrs["weight_names"] = [b"classes/kernel:0"]
    with pytest.raises(ModelError, match=r"`classes` \(Dense\) takes 2 weights, and the file has [13] for it"):
        load_model_file(path)


def test_calls_that_wait_for_each_other_are_refused(tmp_path: Path) -> None:
    config = functional(entry("one", "ReLU", "other"), entry("other", "ReLU", "one"))
    with pytest.raises(ModelError, match=r"The calls of the layers `one`, `other`, .* wait for each other"):
        load_model_file(write(tmp_path / "model.h5", config))


def test_what_cannot_be_built_is_refused_with_advice_for_keras_2(tmp_path: Path) -> None:
    config = functional(entry("conv", "Conv2D", "images", filters=-3, kernel_size=3))
    with pytest.raises(ModelError, match=r"was written by Keras 2, and cannot .*model.load_weights\(\), and give"):
        load_model_file(write(tmp_path / "model.h5", config))


def test_advice_to_load_the_weights_in_keras_3_can_be_followed() -> None:
    name = "functional_in_functional-2.2.h5"
    rebuilt = keras.models.clone_model(load_model_file(FILES / name).model)
    rebuilt.load_weights(FILES / name)
    np.testing.assert_allclose(
        rebuilt.predict(images(name), verbose=0), np.load(FILES / "answers.npz")[name], atol=2e-6
    )


@pytest.mark.parametrize(("version", "warned"), [("2.4.0", True), ("2.11.0", False)])
def test_random_crop_of_the_first_versions_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, version: str, warned: bool
) -> None:
    config = functional(entry("crop", "RandomCrop", "images", height=4, width=4, seed=None))
    load_model_file(write(tmp_path / "model.h5", config, version))
    assert ("The layer `crop` (RandomCrop) answers a little otherwise than in Keras 2.4.0" in caplog.text) is warned


# What is not safe


@keras.saving.register_keras_serializable("test_keras2")
class Tripled(keras.layers.Layer):  # type: ignore[misc]
    """A class of the user, who had not registered it in Keras 2."""

    def call(self, inputs: Any) -> Any:
        return inputs * 3


def test_class_of_the_user_is_built_where_it_is_trusted(tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", functional(entry("three", "Tripled", "images")))
    with pytest.raises(ModelError, match="layer 1 `three` needs 'Tripled', which is not Keras' own"):
        load_model_file(path)
    x, found = answers(path, unsafe=True)
    np.testing.assert_allclose(found, classified(3 * x), atol=1e-6)


def lambda_entry(code: str, **config: Any) -> dict[str, Any]:
    dropped = {"function_type": "lambda", "module": "__main__", "output_shape_type": "raw", "output_shape": None}
    return entry("twice", "Lambda", "images", function=[code, None, None], arguments={}, **dropped, **config)


def test_lambda_is_built_where_it_is_trusted(tmp_path: Path) -> None:
    code = layers.Lambda(lambda x: x * 2).get_config()["function"]["config"]["code"]
    path = write(tmp_path / "model.h5", functional(lambda_entry(code)))
    with pytest.raises(ModelError, match="layer 1 `twice` is a Lambda, which runs code from the file"):
        load_model_file(path)
    x, found = answers(path, unsafe=True)
    np.testing.assert_allclose(found, classified(2 * x), atol=1e-6)


def test_lambda_of_another_python_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", functional(lambda_entry("4wEAAAAA\n")))
    with pytest.raises(ModelError, match=r"`twice` holds the code of another Python, which Python 3\.\d+ cannot run"):
        load_model_file(path, unsafe=True)


def test_name_that_a_lambda_does_not_find_is_named(tmp_path: Path) -> None:
    code = layers.Lambda(lambda x: x * unknown_factor).get_config()["function"]["config"]["code"]  # type: ignore[name-defined] # noqa: F821
    path = write(tmp_path / "model.h5", functional(lambda_entry(code)))
    with pytest.raises(ModelError, match=r"a Lambda that uses the name 'unknown_factor', .*are lent to it"):
        load_model_file(path, unsafe=True)


def archive_of(folder: Path, change: Any) -> Path:
    """Copy a `.keras` of Keras 2 with another config."""
    source = next(FILES.glob("*.keras"))
    target = folder / source.name
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, json.dumps(change(json.loads(data))) if name == "config.json" else data)
    return target


def test_class_of_the_user_by_a_name_of_keras_is_not_taken_for_keras_own(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        config["config"]["layers"][-1].update(module=None, registered_name="Custom>Dense")
        return config

    with pytest.raises(ModelError, match="needs 'Dense', which is not Keras' own"):
        load_model_file(archive_of(tmp_path, change))


@pytest.mark.parametrize("module", ["os", "keras.src.utils.file_utils"])
def test_config_of_an_archive_that_reaches_beyond_keras_is_refused(tmp_path: Path, module: str) -> None:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        part = {"module": module, "class_name": "get_file", "config": {"fname": "x", "origin": "file:///etc/passwd"}}
        config["config"]["layers"][-1]["config"]["kernel_initializer"] = part
        return config

    with pytest.raises(ModelError, match="needs 'get_file', which is not Keras' own"):
        load_model_file(archive_of(tmp_path, change))


def test_weights_of_an_archive_that_are_a_link_are_refused(tmp_path: Path) -> None:
    source = next(FILES.glob("*.keras"))
    weights = tmp_path / "model.weights.h5"
    with h5py.File(weights, "w") as file:
        file["layers"] = h5py.ExternalLink("other.h5", "/secret")
    target = tmp_path / source.name
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, weights.read_bytes() if name == weights.name else old.read(name))
    with pytest.raises(ModelError, match="the weights 'layers' are a link out of the file"):
        load_model_file(target)


@pytest.mark.parametrize(
    ("home", "numbers"),
    [
        ("_layer_checkpoint_dependencies", (0, 2, 5)),
        ("_layer_checkpoint_dependencies", (0, 1, 3)),
        ("layers", (0, 1, 3)),
    ],
)
def test_layers_of_an_archive_are_found_by_how_its_version_counted(
    tmp_path: Path, home: str, numbers: tuple[int, ...]
) -> None:
    """TensorFlow 2.13 counted layers with weights twice; the third layer here has none."""
    stack = [layers.Dense(2, name=f"dense{number}") for number in range(4)]
    stack[2] = layers.Dense(2)  # not built: without weights
    for layer in (stack[0], stack[1], stack[3]):
        layer.build((None, 2))
    model = Part("model", "Sequential", keras.Sequential(), parts=[Part(one.name, "Dense", one) for one in stack])
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        for number in numbers:
            group = file.create_group(f"{home}/dense_{number}/vars" if number else f"{home}/dense/vars")
            group["0"], group["1"] = np.full((2, 2), number, np.float32), np.zeros(2, np.float32)
        assign_archive(model, file)
    assert [int(layer.get_weights()[0].max()) for layer in (stack[0], stack[1], stack[3])] == list(numbers)


def test_archive_without_the_weights_of_a_layer_is_refused(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        config["config"]["layers"][-1]["class_name"] = "EinsumDense"
        inner = config["config"]["layers"][-1]["config"]
        kept = {key: inner[key] for key in ("name", "trainable", "dtype")}
        config["config"]["layers"][-1]["config"] = {**kept, "equation": "ab,bc->ac", "output_shape": 4}
        return config

    with pytest.raises(ModelError, match=r"\(EinsumDense\) takes 1 weights, and the file has 0 for it"):
        load_model_file(archive_of(tmp_path, change))
