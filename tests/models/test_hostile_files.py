"""Files made to do harm, as a run's model, as weights, and as a file to export; Keras' own safe mode is off here."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from trainkit.backend import keras
from trainkit.errors import ModelError, RunError, TrainkitError, WeightsError
from trainkit.models._layers import check_weights_file, load_weights
from trainkit.models._loading import load_model_file
from trainkit.models._outputs import load_best_weights, load_keras_model

layers = keras.layers


@pytest.fixture(autouse=True)
def trusting_keras() -> Iterator[None]:
    """Switch Keras' safe mode off, so that only our own checks hold."""
    state = keras.src.backend.common.global_state
    before = state.get_global_attribute("safe_mode_saving")
    keras.config.enable_unsafe_deserialization()
    yield
    state.set_global_attribute("safe_mode_saving", before)


def build() -> Any:
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)])


def load_into_another(path: Path) -> Any:
    load_best_weights(build(), path)


READERS: dict[str, Callable[[Path], Any]] = {
    "export FILE": load_model_file,
    "a run's model": load_keras_model,
    "the best weights": load_into_another,
    "--weights": lambda path: load_weights(build(), str(path)),
}
BUILDERS = {name: READERS[name] for name in ("export FILE", "a run's model")}
each_reader = pytest.mark.parametrize("read", READERS.values(), ids=READERS)
each_builder = pytest.mark.parametrize("read", BUILDERS.values(), ids=BUILDERS)


def write_archive(path: Path, *, config: Any = None, weights: bytes | None = None, deflate: bool = False) -> Path:
    """Write a `.keras` file with another config or other weights than `build` has."""
    whole = path.with_name("whole.keras")
    build().save(whole)
    with (
        zipfile.ZipFile(whole) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as new,
    ):
        new.writestr("metadata.json", old.read("metadata.json"))
        new.writestr("config.json", old.read("config.json") if config is None else json.dumps(config))
        new.writestr("model.weights.h5", old.read("model.weights.h5") if weights is None else weights)
    return path


def weights_with(folder: Path, change: Callable[[h5py.File], None]) -> bytes:
    """Return the weights of `build` after a change."""
    path = folder / "changed.weights.h5"
    build().save_weights(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path.read_bytes()


def external(file: h5py.File) -> None:
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_dataset("0", (72, 3), np.float32, external=[("/etc/passwd", 0, 864)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((72, 3), np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (72, 3))
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_virtual_dataset("0", layout)


def external_link(file: h5py.File) -> None:
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.ExternalLink("/tmp/other.h5", "/secret")


def external_group(file: h5py.File) -> None:
    del file["layers/dense"]
    file["layers/dense"] = h5py.ExternalLink("/tmp/other.h5", "/")


def soft_link(file: h5py.File) -> None:
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.SoftLink("/layers/conv2d/vars/0")


def named_type(file: h5py.File) -> None:
    file["layers/dense/kind"] = np.dtype("f4")


def objects(file: h5py.File) -> None:
    file["layers/dense"].create_dataset("texts", data=["a", "b"], dtype=h5py.string_dtype())


def references(file: h5py.File) -> None:
    file["layers/dense"].create_dataset("texts", data=[file.ref], dtype=h5py.ref_dtype)


def huge(file: h5py.File) -> None:
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_dataset("0", (2**40,), np.float32, chunks=(2**10,))


def zipped(file: h5py.File) -> None:
    del file["layers/dense/vars/0"]
    zeros = {"shape": (2**24,), "dtype": np.float32, "chunks": (2**20,), "compression": "gzip"}
    file["layers/dense/vars"].create_dataset("0", data=np.zeros(2**24, np.float32), **zeros)


def many_small(file: h5py.File) -> None:
    for number in range(40):
        file["layers/dense"].create_dataset(f"a{number}", (2**21,), np.float32, chunks=(2**10,))


ATTACKS = {
    external: r"the weights '0' are a link out of the file",
    virtual: r"the weights '0' are a link out of the file",
    external_link: r"the weights '0' are a link out of the file",
    external_group: r"the weights 'dense' are a link out of the file",
    soft_link: r"the weights '0' are a link out of the file",
    named_type: r"'kind' is neither a group nor weights",
    objects: r"the weights 'texts' are no numbers \(object\)",
    references: r"the weights 'texts' are no numbers \(object\)",
    huge: r"the weights '0' would grow to 4398046511104 bytes",
    zipped: r"the weights '0' would grow to 67108864 bytes",
    many_small: r"the weights 'a\d+' would grow to \d+ bytes",
}
each_attack = pytest.mark.parametrize(
    ("change", "message"), ATTACKS.items(), ids=[change.__name__ for change in ATTACKS]
)


@each_reader
@each_attack
def test_weights_in_an_archive(
    tmp_path: Path, read: Callable[[Path], Any], change: Callable[[h5py.File], None], message: str
) -> None:
    path = write_archive(tmp_path / "model.keras", weights=weights_with(tmp_path, change))
    with pytest.raises(TrainkitError, match=message):
        read(path)


@pytest.mark.parametrize("name", ["some.weights.h5", "some.h5"])
@each_attack
def test_weights_in_a_file(tmp_path: Path, name: str, change: Callable[[h5py.File], None], message: str) -> None:
    path = tmp_path / name
    path.write_bytes(weights_with(tmp_path, change))
    with pytest.raises(WeightsError, match=message):
        load_weights(build(), str(path))


@each_attack
def test_weights_in_a_whole_model_of_hdf5(tmp_path: Path, change: Callable[[h5py.File], None], message: str) -> None:
    build().save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        file.create_dataset("layers/dense/vars/0", data=np.zeros((72, 3), np.float32))
        change(file)
    with pytest.raises(ModelError, match=message):
        load_model_file(tmp_path / "model.h5")


def test_weights_that_were_compressed_are_looked_at_too(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "model.keras", weights=weights_with(tmp_path, external), deflate=True)
    with pytest.raises(ModelError, match=r"the weights '0' are a link out of the file"):
        load_model_file(path)


def test_zeros_of_any_length_are_not_searched(tmp_path: Path) -> None:
    path = tmp_path / "some.weights.h5"
    with path.open("wb") as file:
        file.truncate(2**35)
    began = time.perf_counter()
    with pytest.raises(WeightsError, match="signature not found"):
        check_weights_file(str(path))
    assert time.perf_counter() - began < 5


@each_reader
def test_good_file_is_read(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    read(write_archive(tmp_path / "model.keras", deflate=True))


def test_group_that_holds_itself_is_looked_at_once(tmp_path: Path) -> None:
    def loop(file: h5py.File) -> None:
        file["layers/dense/again"] = file["layers"]

    path = tmp_path / "some.weights.h5"
    path.write_bytes(weights_with(tmp_path, loop))
    assert check_weights_file(str(path)) == path


def test_weights_in_very_many_groups(tmp_path: Path) -> None:
    def crowd(file: h5py.File) -> None:
        for number in range(26_000):
            file.create_group(f"layers/{number}")

    path = tmp_path / "some.weights.h5"
    path.write_bytes(weights_with(tmp_path, crowd))
    with pytest.raises(WeightsError, match="more than 25000 groups and weights"):
        check_weights_file(str(path))


@each_reader
def test_member_that_would_fill_the_memory(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    path = write_archive(tmp_path / "model.keras", weights=bytes(2**26), deflate=True)
    with pytest.raises(TrainkitError, match=r"'model.weights.h5', which would grow from \d+ to 67108864 bytes"):
        read(path)


@each_reader
def test_member_that_points_out_of_the_file(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    path = write_archive(tmp_path / "model.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../outside", b"x")
    with pytest.raises(TrainkitError, match=r"the member '../outside', which points out of the file"):
        read(path)


CODE = {
    "TorchModuleWrapper": {"module": "AAAA", "name": "t"},
    "TFSMLayer": {"filepath": "/tmp/somewhere", "name": "t"},
    "Lambda": {"function": {"class_name": "__lambda__", "config": {"value": ""}}, "name": "t"},
    "JaxLayer": {"call_fn": {"class_name": "__lambda__", "config": {"value": ""}}, "name": "t"},
    "FlaxLayer": {"module": {"class_name": "__lambda__", "config": {"value": ""}}, "name": "t"},
    "__lambda__": {"value": ""},
}


@each_builder
@pytest.mark.parametrize(("name", "config"), CODE.items(), ids=CODE)
def test_code_at_the_top(tmp_path: Path, read: Callable[[Path], Any], name: str, config: dict[str, Any]) -> None:
    top = {"module": "keras.layers", "class_name": name, "config": config, "registered_name": None}
    with pytest.raises(TrainkitError, match=rf"the model is a {name}, which runs code from the file"):
        read(write_archive(tmp_path / "model.keras", config=top))


@each_builder
@pytest.mark.parametrize(("name", "config"), CODE.items(), ids=CODE)
def test_code_in_a_layer(tmp_path: Path, read: Callable[[Path], Any], name: str, config: dict[str, Any]) -> None:
    code = {"module": "keras.layers", "class_name": name, "config": config, "registered_name": None}
    whole = build().get_config()
    whole["layers"][2]["config"]["kernel_initializer"] = {
        "module": "keras.layers",
        "class_name": "TimeDistributed",
        "config": {"layer": code},
        "registered_name": None,
    }
    model = {"module": "keras", "class_name": "Sequential", "config": whole, "registered_name": None}
    with pytest.raises(TrainkitError, match=rf"layer 2 `\w+` is a {name}, which runs code from the file"):
        read(write_archive(tmp_path / "model.keras", config=model))


@each_builder
@pytest.mark.parametrize("name", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_layer_that_would_read_another_file(tmp_path: Path, read: Callable[[Path], Any], name: str) -> None:
    part = {"module": "keras.layers", "class_name": name, "config": {"vocabulary": "/etc/passwd"}}
    whole = {"name": "whole", "layers": [part]}
    model = {"module": "keras", "class_name": "Sequential", "config": whole, "registered_name": None}
    with pytest.raises(TrainkitError, match=rf"is a {name} that reads its words from another file"):
        read(write_archive(tmp_path / "model.keras", config=model))


# What is too large is refused before it is built


def sequential_of(*parts: Any) -> dict[str, Any]:
    config = {"name": "whole", "trainable": True, "layers": list(parts)}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}


def one_layer(number: int = 0, kind: str = "Activation", **config: Any) -> dict[str, Any]:
    named = {"name": f"layer_{number}", "trainable": True, "dtype": "float32", **config}
    return {"module": "keras.layers", "class_name": kind, "config": named, "registered_name": None}


def first_layer(*shape: int) -> dict[str, Any]:
    return one_layer(0, "InputLayer", batch_shape=[None, *shape])


@each_builder
def test_model_of_very_many_layers(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    many = [one_layer(number, activation="relu") for number in range(20_000)]
    path = write_archive(tmp_path / "model.keras", config=sequential_of(first_layer(8, 8, 1), *many))
    began = time.perf_counter()
    with pytest.raises(TrainkitError, match="more than 5000 layers, which no classifier of images has"):
        read(path)
    assert time.perf_counter() - began < 5  # a second, where the machine is idle


@each_builder
def test_model_of_very_many_parts(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    zeros = [{"class_name": "Zeros", "config": {}}] * 200_000
    path = write_archive(tmp_path / "model.keras", config=sequential_of(one_layer(activation=zeros)))
    with pytest.raises(TrainkitError, match="more than 100000 parts of layers"):
        read(path)


@each_builder
@pytest.mark.parametrize("kind", ["Dense", "Embedding"])
def test_few_digits_do_not_fill_the_memory(tmp_path: Path, read: Callable[[Path], Any], kind: str) -> None:
    size = {"units": 10**9} if kind == "Dense" else {"input_dim": 10**9, "output_dim": 64}
    path = write_archive(tmp_path / "model.keras", config=sequential_of(first_layer(8), one_layer(1, kind, **size)))
    began = time.perf_counter()
    with pytest.raises(TrainkitError, match=r"its layers ask for at least \d{11,} bytes of weights"):
        read(path)
    assert time.perf_counter() - began < 5


@each_builder
@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, '{"class_name": "Sequential", "config": 1' + "0" * 5000 + "}", "[1, 2]", "null"],
    ids=["lists", "objects", "digits", "a list", "null"],
)
def test_config_that_is_none(tmp_path: Path, read: Callable[[Path], Any], text: str) -> None:
    path = write_archive(tmp_path / "model.keras")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "other.keras", "w") as new:
        for name in old.namelist():
            new.writestr(name, text if name == "config.json" else old.read(name))
    with pytest.raises(TrainkitError, match=r"other\.keras cannot be loaded as a Keras model"):
        read(tmp_path / "other.keras")


@each_builder
@pytest.mark.parametrize("name", ["config.json", "metadata.json"])
def test_member_of_json_that_is_no_object(tmp_path: Path, read: Callable[[Path], Any], name: str) -> None:
    path = write_archive(tmp_path / "model.keras")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "other.keras", "w") as new:
        for member in old.namelist():
            new.writestr(member, "[1, 2]" if member == name else old.read(member))
    with pytest.raises(TrainkitError, match=rf"expected an object in {name}\. Received: \[1, 2\]"):
        read(tmp_path / "other.keras")


def test_error_of_a_run_says_what_to_do(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "model.keras", weights=weights_with(tmp_path, external))
    with pytest.raises(RunError, match=r"not safe to load\. Train it again, or name another file\."):
        load_keras_model(path)


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x89HDF\r\n\x1a\n" + bytes(50)])
@pytest.mark.parametrize("name", ["some.keras", "some.weights.h5", "some.h5"])
def test_weights_that_are_damaged(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"The weights in .*{name} cannot be read \("):
        check_weights_file(str(tmp_path / name))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "message"),
    [("top_torch.keras", "the model is a TorchModuleWrapper"), ("bomb_member.keras", "which would grow from 613452")],
)
@each_builder
def test_case_that_was_found(shared: Path, read: Callable[[Path], Any], name: str, message: str) -> None:
    with pytest.raises(TrainkitError, match=message):
        read(shared / "cases" / "hostile" / name)


@pytest.mark.shared
def test_weights_that_were_found(shared: Path) -> None:
    with pytest.raises(WeightsError, match="the weights '0' are a link out of the file"):
        check_weights_file(str(shared / "cases" / "hostile" / "w_ext_storage.weights.h5"))


@each_reader
def test_heap_on_which_the_library_of_hdf5_would_hang_is_a_sentence(
    read: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / ("model.h5" if read is load_model_file else "model.weights.h5")
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "a text of any length lies in the heap" * 3
    data = bytearray(path.read_bytes())
    free = data.index(b"GCOL") + 16
    while number := data[free]:
        length = int.from_bytes(data[free + 8 : free + 16], "little")
        free += 16 + (length + 7) // 8 * 8
        assert number < 5
    data[free + 8 : free + 16] = bytes(8)  # the length of what is free
    path.write_bytes(data)
    if read in (load_keras_model, load_into_another):
        path = write_archive(tmp_path / "model.keras", weights=bytes(data))
    with pytest.raises((ModelError, RunError, WeightsError), match="an entry of its heap has no length"):
        read(path)
