"""What may be done to a training image: `ImageDataGenerator`'s parameters, by their names and with their meaning.

Keras documents them at `tf.keras.preprocessing.image.ImageDataGenerator`. Four are ours: `random_erasing`,
`random_resized_crop`, `mixup` and `cutmix`. What is no augmentation there (`rescale`, `featurewise_*`, ...) is a
`Preprocessing` here, and the error names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from trainkit.errors import UsageError, unknown

Engine = Literal["opencv", "keras"]
FillMode = Literal["nearest", "reflect", "wrap", "constant"]

_PREPROCESSING_MODES = {"caffe": "caffe", "torch": "torch", "tf": "symmetric", "symmetric": "symmetric", "none": "none"}
# Which mode `preprocess_input` has in each module of `keras.applications`.
_MODES_OF_MODULES = {
    **dict.fromkeys(("imagenet_utils", "resnet", "resnet50", "vgg16", "vgg19"), "caffe"),
    **dict.fromkeys(("inception_resnet_v2", "inception_v3", "mobilenet", "mobilenet_v2"), "symmetric"),
    **dict.fromkeys(("nasnet", "resnet_v2", "xception"), "symmetric"),
    "densenet": "torch",
    **dict.fromkeys(("convnext", "efficientnet", "efficientnet_v2", "mobilenet_v3"), "none"),
}
_ELSEWHERE = {
    "rescale": "is a preprocessing: take `--preprocessing unit` for 1/255, or another that `trainkit train` has",
    "featurewise_center": "is a preprocessing: take `--preprocessing center`",
    "featurewise_std_normalization": "is a preprocessing: take `--preprocessing standardize`",
    "samplewise_center": "is a preprocessing: take `--preprocessing samplewise-center`",
    "samplewise_std_normalization": "is a preprocessing: take `--preprocessing samplewise-standardize`",
    "zca_whitening": "is a matrix over all pixels of an image, which no deployment in OpenCV could repeat: leave it "
    "out, or take `--preprocessing standardize`",
    "validation_split": "is a share of the data, no augmentation: take `--validation`",
}
# ImageDataGenerator's settings that have one right value here: that value, and why.
_FIXED: dict[str, tuple[tuple[Any, ...], str]] = {
    "data_format": ((None, "channels_last"), "every array has the shape (height, width, channels)"),
    "interpolation_order": ((1,), "images are interpolated linearly, as OpenCV does it in the deployment"),
    "dtype": ((None, "float32"), "pixels are uint8 until the preprocessing makes them float32"),
    "zca_epsilon": ((None, 1e-6), "it belongs to `zca_whitening`, which no deployment could repeat"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What happens to a training image, drawn anew in each epoch; by default, nothing.

    Lists may be given for tuples; 0, False and an empty list or tuple mean off.

    Raises:
        UsageError: on construction, when a value is impossible; an object that exists is a legal one.
    """

    engine: Engine = "opencv"  # what warps: OpenCV, or Keras' own ImageDataGenerator
    rotation_range: float = 0.0  # degrees, to either side
    # Below 1 a share of the width, from 1 on pixels; a whole number n gives the whole numbers between -n and n, a list
    # its values with either sign. Keras documents it so, and shifts along the other axis.
    width_shift_range: float | Sequence[float] = 0.0
    height_shift_range: float | Sequence[float] = 0.0
    brightness_range: Sequence[float] = ()  # (least, most) factor
    shear_range: float = 0.0  # degrees, to either side
    zoom_range: float | Sequence[float] = 0.0  # z for (1 - z, 1 + z); below 1 things grow; each axis draws its own
    channel_shift_range: float = 0.0  # grey levels, the same for every channel
    fill_mode: FillMode = "nearest"  # what is beyond the edge
    cval: float = 0.0  # the grey level there, for "constant"
    horizontal_flip: bool = False  # left for right, for half of the images
    vertical_flip: bool = False
    random_erasing: float = 0.0  # the share of the images that lose a rectangle
    random_resized_crop: Sequence[float] = ()  # (least, most) share of the area that is cut out and enlarged
    mixup: float = 0.0  # alpha of the beta distribution
    cutmix: float = 0.0
    preprocessing_function: str = ""  # Keras' own, by name; kept as the name of the preprocessing that does it

    def __post_init__(self) -> None:
        for name, choices in (("engine", Engine), ("fill_mode", FillMode)):
            if getattr(self, name) not in get_args(choices):
                raise unknown(name, str(getattr(self, name)), get_args(choices))
        for name, (expected, convert) in _RULES.items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, convert(value.tolist() if hasattr(value, "tolist") else value))
            except (TypeError, ValueError, OverflowError) as error:
                raise UsageError(f"`{name}` must be {expected}. Received: {value!r}") from error
        object.__setattr__(self, "preprocessing_function", preprocessing_named(self.preprocessing_function))

    @property
    def moves_pixels(self) -> bool:
        """Whether an image is warped, brightened or erased: whether `augment_batch` has anything to do."""
        off = Augmentation()
        idle = ("engine", "fill_mode", "cval", "mixup", "cutmix", "preprocessing_function")
        return any(
            getattr(self, field.name) != getattr(off, field.name) for field in fields(self) if field.name not in idle
        )

    @property
    def warps(self) -> bool:
        """Whether a pixel may come to stand between two others, or Keras' own engine is asked for."""
        moved = ("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range")
        off = Augmentation()
        names = (*moved, "random_resized_crop")
        return self.engine != "opencv" or any(getattr(self, name) != getattr(off, name) for name in names)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with others: whether `mix_batch` has anything to do."""
        return bool(self.mixup or self.cutmix)

    def to_settings(self) -> dict[str, Any]:
        """Return numbers, booleans, strings and lists, as TOML has them; `from_settings` is the way back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Augmentation:
        """Build from names and values, also from the whole of what an `ImageDataGenerator` was called with.

        Raises:
            UsageError: a name is unknown, or a value impossible; or it is no augmentation, and says where it belongs.
        """
        known = {field.name for field in fields(cls)}
        own: dict[str, Any] = {}
        for name, value in settings.items():
            if name in known:
                own[name] = () if value is None else value
            elif name in _FIXED:
                values, reason = _FIXED[name]
                if value not in values:
                    raise UsageError(f"`{name}` can only be {values[-1]!r}: {reason}. Received: {value!r}")
            elif name in _ELSEWHERE:
                if value:
                    raise UsageError(f"`{name}` {_ELSEWHERE[name]}.")
            else:
                raise unknown("augmentation", name, known)
        return cls(**own)


def preprocessing_named(function: str | Callable[..., Any]) -> str:
    """Return which of `PREPROCESSINGS` a `preprocess_input` of `keras.applications` is.

    "caffe" is for the colour order `bgr`, the others are for `rgb`.

    Args:
        function: the function, its dotted name (`keras.applications.vgg16.preprocess_input`), or its mode (`caffe`,
            `tf` or `torch`); empty for none.

    Raises:
        UsageError: it is another function, of which nobody could tell what a deployment has to do.
    """
    if not function:
        return ""
    name = function if isinstance(function, str) else f"{function.__module__}.{function.__qualname__}"
    if name in _PREPROCESSING_MODES:
        return _PREPROCESSING_MODES[name]
    module = re.fullmatch(r"(?:\w+\.)*applications\.(\w+)\.preprocess_input", name)
    if module and module[1] in _MODES_OF_MODULES:
        return _MODES_OF_MODULES[module[1]]
    raise UsageError(
        "`preprocessing_function` must be Keras' own, such as keras.applications.vgg16.preprocess_input, or caffe, tf "
        f"or torch: what another function does, no deployment in OpenCV could repeat. Received: {name}"
    )


def expected(name: str) -> str:
    """Return in words what a field of `Augmentation` may be."""
    choices = {"engine": Engine, "fill_mode": FillMode}
    return f"one of {', '.join(get_args(choices[name]))}" if name in choices else _RULES[name][0]


def _number(value: Any, least: float, most: float) -> float:
    value = value or 0  # None, False and () are off
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    number = float(value)
    if not least <= number <= most:  # nor is NaN
        raise ValueError
    return number


def _range(least: float, most: float) -> Callable[[Any], float]:
    return lambda value: _number(value, least, most)


def _pair(least: float, most: float) -> Callable[[Any], tuple[float, ...]]:
    def convert(value: Any) -> tuple[float, ...]:
        if not _is_list(value):
            if value:
                raise TypeError
            return ()
        if not value:
            return ()
        low, high = (_number(one, least, most) for one in value)
        if low > high:
            raise ValueError
        return low, high

    return convert


def _zoom(value: Any) -> float | tuple[float, ...]:
    return _pair(0.01, 100)(value) if _is_list(value) and value else _number(value, 0, 0.99)


def _shift(value: Any) -> float | tuple[float, ...]:
    if _is_list(value):
        shifts = tuple(_number(one, -_MOST_SHIFT, _MOST_SHIFT) for one in value)
        return shifts or 0.0
    number = _number(value, 0, _MOST_SHIFT)
    return int(value) if isinstance(value, int) and value else number  # 2 and 2.0 differ, as they do in Keras


def _switch(value: Any) -> bool:
    if not isinstance(value, bool) and value not in (0, 1, ()):
        raise TypeError
    return bool(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


_MOST_SHIFT = 16384  # pixels
_SHIFT = (
    "a share below 1, pixels from 1, or a list of either (a whole number n gives the whole numbers between -n and n)"
)
_ALPHA = "an alpha from 0 (off) to 100"
_RULES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "rotation_range": ("degrees from 0 to 360", _range(0, 360)),
    "width_shift_range": (_SHIFT, _shift),
    "height_shift_range": (_SHIFT, _shift),
    "brightness_range": ("two factors from 0 to 100, the lesser first, or [] for none", _pair(0, 100)),
    "shear_range": ("degrees from 0 to 89", _range(0, 89)),
    "zoom_range": (
        "a number from 0 to 0.99, or two factors from 0.01 to 100, the lesser first",
        _zoom,
    ),
    "channel_shift_range": ("grey levels from 0 to 255", _range(0, 255)),
    "cval": ("a grey level from 0 to 255", _range(0, 255)),
    "horizontal_flip": ("true or false", _switch),
    "vertical_flip": ("true or false", _switch),
    "random_erasing": ("a probability from 0 to 1", _range(0, 1)),
    "random_resized_crop": ("two shares of the area from 0.01 to 1, the lesser first, or [] for none", _pair(0.01, 1)),
    "mixup": (_ALPHA, _range(0, 100)),
    "cutmix": (_ALPHA, _range(0, 100)),
}
