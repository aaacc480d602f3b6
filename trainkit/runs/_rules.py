"""The one table of rules: what every setting may be, what it means, and which option of the command line sets it.

It checks the sections of `_sections`, writes the help of `trainkit train`, and is what `trainkit settings` lists.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from trainkit.data import _reading
from trainkit.data._augmentation import _settings as _augmentation
from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._reading import Reading
from trainkit.data._sources import DATA_EXPECTED
from trainkit.errors import UsageError, unknown
from trainkit.models._builders import BUILDERS, Builder
from trainkit.models._listing import list_models, unknown_model
from trainkit.models._own import build_own_model
from trainkit.preprocessing import PREPROCESSINGS, SIZE_EXPECTED, Color, Resize, read_size

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "nadam", "lamb", "lion", "adafactor", "muon", "muon-conv")
PRECISIONS = ("none", "float16", "bfloat16", "auto")
SCHEDULES = ("constant", "cosine", "one-cycle", "plateau")
MONITORS = ("auto", "accuracy", "balanced-accuracy", "loss", "mean-average-precision")
MODEL_SUFFIX = ".keras"  # a model of the user's own is named by its file
_OR_FILE = f", or a {MODEL_SUFFIX} file"
_OWN_MODEL = Builder(build=build_own_model, preprocessing="unit")
MOST_LETTERS = 100  # of a run's name
_NAME = re.compile(rf"[\w][\w.-]{{0,{MOST_LETTERS - 1}}}")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a setting may be, and what it means."""

    expected: str  # in words, after "must be"
    convert: Callable[[Any], Any]  # returns the value, or raises ValueError or TypeError
    help: str = ""  # one sentence
    option: str | None = None  # of `trainkit train`; every setting can be set by `--set` too


def builder_of(model: str) -> Builder:
    """Return what builds a model: one of `BUILDERS`, or what loads a `.keras` file."""
    return _OWN_MODEL if model.endswith(MODEL_SUFFIX) else BUILDERS[model]


def checked(key: str, value: Any) -> Any:
    """Return the value of a setting in its own type.

    Raises:
        UsageError: the setting cannot be that.
    """
    rule = RULES[key]
    try:
        return rule.convert(value)
    except UsageError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"`{key}` must be {rule.expected}. Received: {value!r}") from error


def check_section(name: str, section: Any) -> None:
    """Bring every field of a section into its own type; `None` stays, where it says that the model has no such setting.

    Raises:
        UsageError: a field cannot be what it is.
    """
    for field in fields(section):
        value = getattr(section, field.name)
        if value is not None or field.default is not None:
            object.__setattr__(section, field.name, checked(f"{name}.{field.name}", value))


def _integer(least: int, most: int = 2**31 - 1) -> Rule:
    def convert(value: Any) -> int:
        if isinstance(value, bool) or int(value) != float(value) or not least <= int(value) <= most:
            raise ValueError
        return int(value)

    return Rule(f"a whole number from {least}" + (f" to {most}" if most < 2**31 - 1 else ""), convert)


def _number(expected: str, holds: Callable[[float], bool]) -> Rule:
    def convert(value: Any) -> float:
        if isinstance(value, bool) or not math.isfinite(float(value)) or not holds(float(value)):
            raise ValueError
        return float(value)

    return Rule(expected, convert)


def _choice(kind: str, known: Collection[str]) -> Rule:
    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise unknown(kind, str(value), known)
        return value

    return Rule(f"one of {', '.join(known)}", convert)


def _or_none(rule: Rule) -> Rule:
    return replace(rule, convert=lambda value: None if value is None else rule.convert(value))


def _model(value: Any) -> str:
    if isinstance(value, str) and value.endswith(MODEL_SUFFIX):
        return _text(value)
    if not isinstance(value, str) or value not in BUILDERS:
        raise unknown_model(str(value), BUILDERS, otherwise=_OR_FILE)
    return value


def _size(value: Any) -> tuple[int, int]:
    return read_size(value, name="preprocessing.size")


def _name(value: Any) -> str:
    if not _NAME.fullmatch(value) or len(value.encode()) > 200 or value == "latest":
        raise ValueError
    return str(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any) -> str:
    str(value).encode()  # a UnicodeEncodeError is a ValueError: TOML has no letters that UTF-8 has not
    return str(value)


_SHARE = _number("a share from 0 to below 1", lambda value: 0 <= value < 1)
_RATE = _number("a number above 0", lambda value: value > 0)
_FROM_0 = _number("a number from 0", lambda value: value >= 0)
_BELOW_1 = _number("a number from 0 to below 1", lambda value: 0 <= value < 1)
_SWITCH = Rule("true or false", _switch)


def _rule(rule: Rule, help: str, option: str | None = None, *, expected: str | None = None) -> Rule:
    return replace(rule, help=help, option=option, expected=expected or rule.expected)


_ROOT: dict[str, Rule] = {
    "data": Rule(
        f"{DATA_EXPECTED}, in UTF-8",
        _text,
        "The images: a data set's name, a folder of class folders, a table or arrays.",
        "DATA",
    ),
    "name": Rule(
        "letters, digits, - _ and . (at most 100, and not `latest`)", _name, "The end of the run's name.", "--name"
    ),
}
_MODEL: dict[str, Rule] = {
    "name": Rule(f"one of {list_models(BUILDERS)}{_OR_FILE}", _model, "What is trained.", "--model"),
    "blocks": _rule(_integer(0, 12), "Blocks of the network; 0 in small-cnn: as many as fit, at most three."),
    "first_blocks": _rule(_integer(0, 12), "Residual blocks of the first stage, where the picture is large."),
    "filters": _rule(_integer(1, 4096), "Filters of the first block; each further block has twice as many."),
    "width": _rule(_integer(1, 1024), "Filters of the first stage."),
    "dense": _rule(_integer(1, 65536), "Units of the dense layer before the classes."),
    "dropout": _rule(_SHARE, "The share of the features that is dropped before the classes."),
    "alpha": _rule(
        _number("a width above 0, at most 4", lambda value: 0 < value <= 4),
        "The width of mobilenet, mobilenet-v2 or mobilenet-v3.",
        "--alpha",
    ),
    "weights": Rule(
        "imagenet, none or a file, in UTF-8", _text, "The weights that the training begins with.", "--weights"
    ),
}
_PREPROCESSING: dict[str, Rule] = {
    "name": _rule(
        _choice("preprocessing", PREPROCESSINGS), "How pixels become the network's input.", "--preprocessing"
    ),
    "size": Rule(SIZE_EXPECTED, _size, "The network's input.", "--size"),
    "color": _rule(_choice("color", get_args(Color)), "What the network sees.", "--color"),
    "resize": _rule(_choice("resize", get_args(Resize)), "How an image is brought to that size.", "--resize"),
}
_TRAINING: dict[str, Rule] = {
    "epochs": _rule(_integer(1), "Passes over the training images.", "--epochs"),
    "batch_size": _rule(_integer(1), "Images a step.", "--batch-size"),
    "optimizer": _rule(_choice("optimizer", OPTIMIZERS), "What changes the weights."),
    "learning_rate": _rule(_RATE, "The learning rate; under a schedule, the highest one.", "--learning-rate"),
    "schedule": _rule(
        _choice("schedule", SCHEDULES),
        "How the learning rate changes; plateau: times 0.3 after two epochs that are no better.",
    ),
    "warmup": _rule(
        _FROM_0,
        "Epochs in which the learning rate rises; 0 for none, and in one-cycle for 0.3 of all.",
        expected="a number of epochs from 0",
    ),
    "weight_decay": _rule(
        _BELOW_1, "Each step the kernels shrink by this share, times the rate; under muon-conv those of convolutions."
    ),
    "label_smoothing": _rule(_SHARE, "The share of each target that is spread over all classes."),
    "clip_norm": _rule(
        _FROM_0,
        "The largest norm of the gradient over all weights; a larger one is scaled down to it.",
        expected="a number from 0; 0 for none",
    ),
    "ema": _rule(
        _BELOW_1,
        "The momentum of the weights' moving average, which is then what is kept.",
        expected="a momentum from 0 to below 1; 0 for none",
    ),
    "early_stopping": _rule(_integer(0), "Epochs without a better validation loss before it ends; 0 for never."),
    "monitor": _rule(
        _or_none(_choice("monitor", MONITORS)),
        "By what the best epoch is chosen, on the validation images; auto: by what suits classes and weights.",
    ),
    "mixed_precision": _rule(
        _choice("precision", PRECISIONS),
        "The precision of the computation; auto: a 16-bit one where the CPU or GPU is faster in it.",
    ),
    "class_weights": _rule(
        _choice("class weights", ("none", "balanced")),
        "balanced: every class weighs the same in the loss.",
        "--class-weights",
    ),
    "steps_per_execution": _rule(_integer(0), "Steps that Keras makes at once; 0: by the network's size."),
    "deterministic": _rule(
        _or_none(_SWITCH),
        "On a GPU: whether it is asked for the same bits each time, as a resumed run needs; false: faster.",
    ),
    "plain_epochs": _rule(
        _or_none(_integer(0)),
        "Epochs at the end, of all phases together, that see the images as they are, after others that saw them "
        "augmented; early stopping may come before them.",
    ),
    "distribute": _rule(
        _choice("distribution", ("none", "mirrored", "workers")),
        "mirrored: on all GPUs of this machine; workers: on all processes that TF_CONFIG or Slurm names.",
        "--distribute",
    ),
    "tensorboard": _rule(_SWITCH, "Whether TensorBoard's logs are written into the run.", "--tensorboard"),
    "seed": _rule(_integer(0, 2**31 - 1), "The seed of every random draw.", "--seed"),
    "validation": _rule(_SHARE, "The share of the training images that is held out; 0 for none.", "--validation"),
}
_FINE_TUNING: dict[str, Rule] = {
    "epochs": _rule(_integer(0), "Epochs after the head's, in which the top of the backbone learns too; 0 for none."),
    "layers": _rule(_integer(1), "How many of the backbone's last layers learn then."),
    "learning_rate": _rule(_RATE, "The highest learning rate of these epochs: a low one."),
}
# What `Augmentation` does not say of its own fields in a sentence.
_AUGMENTATION_HELP = {
    "engine": "What warps the images; keras: its own ImageDataGenerator.",
    "rotation_range": "By how much an image is turned, to either side.",
    "width_shift_range": "By how much it is shifted across.",
    "height_shift_range": "By how much it is shifted up or down.",
    "brightness_range": "The least and the greatest factor on its brightness.",
    "shear_range": "By how much it is sheared, to either side.",
    "zoom_range": "z for 1 - z to 1 + z, or the least and the greatest factor.",
    "channel_shift_range": "Grey levels up or down, the same for every channel.",
    "fill_mode": "What fills the space beyond the edge of an image that was moved.",
    "cval": "The grey level of that space, for constant.",
    "horizontal_flip": "Whether half of the images are mirrored, left for right.",
    "vertical_flip": "Whether half of the images are turned upside down.",
    "random_erasing": "The share of the images that lose a rectangle.",
    "random_resized_crop": "The least and the greatest share of the area that is cut out and enlarged.",
    "mixup": "Alpha of the blending with another image.",
    "cutmix": "Alpha of the pasting of another image.",
}


def _augmentation_rule(name: str, help: str) -> Rule:
    """Let `Augmentation` say what it takes; an error of its own says more than a rule could."""

    def convert(value: Any) -> Any:
        return getattr(Augmentation.from_settings({name: value}), name)

    option = "--augment-engine" if name == "engine" else None
    return Rule(_augmentation.expected(name), convert, help, option)


def _reading_rule(name: str, help: str) -> Rule:
    """Let `Reading` say what it takes."""

    def convert(value: Any) -> Any:
        return getattr(Reading(**{name: value}), name)

    option = None if name == "held_out" else f"--{name.replace('_', '-')}"
    return Rule(_reading.EXPECTED[name], convert, help, option)


def _with_prefix(section: str, rules: Mapping[str, Rule]) -> dict[str, Rule]:
    return {f"{section}.{name}": rule for name, rule in rules.items()}


RULES: dict[str, Rule] = {
    **_ROOT,
    **_with_prefix("reading", {name: _reading_rule(name, text) for name, text in _reading.HELP.items()}),
    **_with_prefix("model", _MODEL),
    **_with_prefix("preprocessing", _PREPROCESSING),
    **_with_prefix("augmentation", {name: _augmentation_rule(name, text) for name, text in _AUGMENTATION_HELP.items()}),
    **_with_prefix("training", _TRAINING),
    **_with_prefix("fine_tuning", _FINE_TUNING),
}
