from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

import trainkit
from trainkit.backend import keras, tf
from trainkit.data._augmentation._settings import preprocessing_named
from trainkit.errors import UsageError
from trainkit.preprocessing import PREPROCESSINGS, build_preprocessing

Augmentation = trainkit.Augmentation


def numbers(least: float, most: float) -> st.SearchStrategy[float]:
    return st.one_of(st.floats(least, most), st.integers(int(np.ceil(least)), int(most)))


def pairs(least: float, most: float) -> st.SearchStrategy[Any]:
    pair = st.lists(numbers(least, most), min_size=2, max_size=2).map(sorted)
    return st.one_of(st.sampled_from([(), [], None, False, 0]), pair, pair.map(tuple))


shifts = st.one_of(numbers(0, 300), st.lists(numbers(-50, 50), max_size=4))
augmentations = st.fixed_dictionaries(
    {},
    optional={
        "engine": st.sampled_from(["opencv", "keras"]),
        "rotation_range": numbers(0, 360),
        "width_shift_range": shifts,
        "height_shift_range": shifts,
        "brightness_range": pairs(0, 100),
        "shear_range": numbers(0, 89),
        "zoom_range": st.one_of(numbers(0, 0.99), pairs(0.01, 100)),
        "channel_shift_range": numbers(0, 255),
        "fill_mode": st.sampled_from(["nearest", "reflect", "wrap", "constant"]),
        "cval": numbers(0, 255),
        "horizontal_flip": st.booleans(),
        "vertical_flip": st.sampled_from([0, 1]),
        "random_erasing": numbers(0, 1),
        "random_resized_crop": pairs(0.01, 1),
        "mixup": numbers(0, 100),
        "cutmix": numbers(0, 100),
        "preprocessing_function": st.sampled_from(["", "caffe", "tf", "torch", "symmetric"]),
    },
)


@settings(deadline=None)
@given(given_settings=augmentations)
def test_settings_go_into_toml_and_back(given_settings: dict[str, Any]) -> None:
    augmentation = Augmentation(**given_settings)
    read = tomllib.loads(tomli_w.dumps(augmentation.to_settings()))
    assert Augmentation.from_settings(read) == augmentation
    assert type(Augmentation(**read).width_shift_range) is type(augmentation.width_shift_range)
    hash(augmentation)


def test_nothing_happens_unless_it_is_said() -> None:
    assert not Augmentation().moves_pixels
    assert not Augmentation().mixes
    assert not Augmentation(fill_mode="reflect", cval=3, preprocessing_function="caffe").moves_pixels
    assert Augmentation(mixup=0.2).mixes and not Augmentation(mixup=0.2).moves_pixels


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rotation_range", 10),
        ("width_shift_range", [1, 2]),
        ("height_shift_range", 0.1),
        ("brightness_range", (0.5, 1)),
        ("shear_range", 5),
        ("zoom_range", 0.1),
        ("channel_shift_range", 20),
        ("horizontal_flip", True),
        ("vertical_flip", True),
        ("random_erasing", 0.5),
        ("random_resized_crop", (0.5, 1)),
    ],
)
def test_each_setting_moves_pixels(name: str, value: Any) -> None:
    assert Augmentation(**{name: value}).moves_pixels


def test_lists_and_arrays_are_kept_as_tuples() -> None:
    augmentation = Augmentation(
        zoom_range=[0.8, 1.2], width_shift_range=np.array([-3, 3]), rotation_range=np.float32(5)
    )
    assert augmentation.zoom_range == (0.8, 1.2)
    assert augmentation.width_shift_range == (-3, 3)
    assert augmentation == Augmentation(zoom_range=(0.8, 1.2), width_shift_range=(-3, 3), rotation_range=5)


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"rotation_range": -1}, "`rotation_range` must be degrees from 0 to 360. Received: -1"),
        ({"rotation_range": float("nan")}, "Received: nan"),
        ({"rotation_range": 10**400}, "degrees from 0 to 360"),
        ({"rotation_range": "20"}, "degrees from 0 to 360. Received: '20'"),
        ({"rotation_range": True}, "degrees from 0 to 360. Received: True"),
        ({"rotation_range": [10, 20]}, "degrees from 0 to 360"),
        ({"width_shift_range": -0.1}, "`width_shift_range` must be a share below 1, pixels from 1, or a list"),
        ({"height_shift_range": ["a"]}, "`height_shift_range` must be a share"),
        ({"brightness_range": 0.5}, "two factors from 0 to 100, the lesser first"),
        ({"brightness_range": [1.2, 0.8]}, "the lesser first"),
        ({"brightness_range": [1, 2, 3]}, "two factors"),
        ({"zoom_range": 1}, "a number from 0 to 0.99, or two factors"),
        ({"zoom_range": [0, 1]}, "two factors from 0.01 to 100"),
        ({"horizontal_flip": "yes"}, "true or false. Received: 'yes'"),
        ({"random_erasing": 1.5}, "a probability from 0 to 1"),
        ({"random_resized_crop": [0.5, 1.5]}, "two shares of the area from 0.01 to 1"),
        ({"mixup": -1}, "an alpha from 0"),
        ({"fill_mode": "mirror"}, "Unknown fill_mode `mirror`"),
        ({"fill_mode": ["nearest"]}, "Unknown fill_mode"),
        ({"engine": "opencv5"}, "Unknown engine `opencv5`. Did you mean `opencv`?"),
    ],
)
def test_impossible_value_is_explained(given_settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        Augmentation(**given_settings)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rotation", 20, "Unknown augmentation `rotation`. Did you mean `rotation_range`?"),
        ("rescale", 1 / 255, "`rescale` is a preprocessing: take `--preprocessing unit` for 1/255"),
        ("featurewise_center", True, "--preprocessing center"),
        ("featurewise_std_normalization", True, "--preprocessing standardize"),
        ("samplewise_center", True, "--preprocessing samplewise-center"),
        ("samplewise_std_normalization", True, "--preprocessing samplewise-standardize"),
        ("zca_whitening", True, "no deployment in OpenCV could repeat"),
        ("zca_epsilon", 1e-5, "no deployment could repeat"),
        ("validation_split", 0.2, "take `--validation`"),
        ("data_format", "channels_first", "can only be 'channels_last'"),
        ("interpolation_order", 3, "interpolated linearly"),
        ("dtype", "float64", "uint8 until the preprocessing"),
    ],
)
def test_what_is_no_augmentation_says_where_it_belongs(name: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        Augmentation.from_settings({name: value})
    assert message in str(raised.value)
    named = str(raised.value).partition("--preprocessing ")[2].split("`")[0]
    assert not named or named in PREPROCESSINGS


def test_defaults_of_keras_are_taken() -> None:
    generator = tf.keras.preprocessing.image.ImageDataGenerator()
    own = {
        "zca_epsilon": 1e-6,
        "validation_split": 0.0,
        **{name: value for name, value in vars(generator).items() if name in Augmentation().to_settings()},
        **{name: getattr(generator, name) for name in ("rescale", "data_format", "dtype", "interpolation_order")},
        **{name: getattr(generator, name) for name in ("featurewise_center", "samplewise_center", "zca_whitening")},
    }
    augmentation = Augmentation.from_settings(own)
    assert augmentation == Augmentation(zoom_range=(1, 1))  # which is what the generator makes of 0


def preprocess_inputs() -> dict[str, Any]:
    """Return every `preprocess_input` of `keras.applications` by the name of its module."""
    modules = {name: getattr(keras.applications, name) for name in dir(keras.applications)}
    return {name: module.preprocess_input for name, module in modules.items() if hasattr(module, "preprocess_input")}


@pytest.mark.parametrize("module", sorted(preprocess_inputs()))
def test_preprocessing_function_is_the_preprocessing_that_does_it(module: str) -> None:
    function = preprocess_inputs()[module]
    name = preprocessing_named(function)
    assert name == preprocessing_named(f"keras.applications.{module}.preprocess_input")
    assert (
        name
        == Augmentation(preprocessing_function=f"tf.keras.applications.{module}.preprocess_input").to_settings()[
            "preprocessing_function"
        ]
    )
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)  # BGR
    preprocessing = build_preprocessing(name, height=8, width=8, color="bgr" if name == "caffe" else "rgb")
    of_keras = np.asarray(function(pixels[..., ::-1].astype(np.float32)))
    np.testing.assert_allclose(preprocessing.to_input(pixels), of_keras, atol=1e-4)


@pytest.mark.parametrize(
    "function", [len, np.tanh, "my.module.preprocess", "keras.applications.nonsense.preprocess_input"]
)
def test_other_functions_are_refused(function: Any) -> None:
    with pytest.raises(UsageError, match=r"must be Keras' own, such as .* no deployment in OpenCV could repeat"):
        Augmentation(preprocessing_function=function)
