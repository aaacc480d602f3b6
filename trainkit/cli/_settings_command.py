"""A command whose options are settings: their help is the table's, and the field's other names for them are known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from typer.core import TyperCommand

from trainkit.errors import UsageError

# What other tools call an option of ours. Names of settings are not here: the table has them.
_OPTIONS = {
    "--lr": "--learning-rate",
    "--rate": "--learning-rate",
    "--batch": "--batch-size",
    "--bs": "--batch-size",
    "--batchsize": "--batch-size",
    "--img": "--size",
    "--imgsz": "--size",
    "--img-size": "--size",
    "--image-size": "--size",
    "--input-size": "--size",
    "--input-shape": "--size",
    "--target-size": "--size",
    "--resolution": "--size",
    "--pretrained": "--weights",
    "--checkpoint": "--weights",
    "--arch": "--model",
    "--architecture": "--model",
    "--backbone": "--model",
    "--network": "--model",
    "--net": "--model",
    "--width-multiplier": "--alpha",
    "--val": "--validation",
    "--val-split": "--validation",
    "--validation-split": "--validation",
    "--colour": "--color",
    "--color-mode": "--color",
    "--channels": "--color",
    "--class-weight": "--class-weights",
    "--gpus": "--distribute",
    "--strategy": "--distribute",
    "--random-seed": "--seed",
    "--random-state": "--seed",
    "--num-epochs": "--epochs",
    "--n-epochs": "--epochs",
    "--normalize": "--preprocessing",
    "--rescale": "--preprocessing",
    "--continue": "--resume",
    "--output": "--experiments",
    "--output-dir": "--experiments",
    "--project": "--experiments",
}
_SETTINGS = {
    "--augment": "augmentation.rotation_range",
    "--augmentation": "augmentation.rotation_range",
    "--flip": "augmentation.horizontal_flip",
    "--rotation": "augmentation.rotation_range",
    "--zoom": "augmentation.zoom_range",
    "--amp": "training.mixed_precision",
    "--precision": "training.mixed_precision",
    "--patience": "training.early_stopping",
    "--scheduler": "training.schedule",
    "--lr-schedule": "training.schedule",
    "--lr-scheduler": "training.schedule",
    "--warmup-epochs": "training.warmup",
    "--wd": "training.weight_decay",
    "--clipnorm": "training.clip_norm",
    "--fine-tune": "fine_tuning.epochs",
    "--freeze": "fine_tuning.layers",
}


class SettingsCommand(TyperCommand):
    """`train` or `find-lr`. The table of settings is imported when the command is used: `trainkit --help` is quick."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, with the help that the table of settings has for them."""
        from trainkit.runs._settings_list import list_settings

        settings = {setting.option: setting for setting in list_settings()}
        for parameter in self.params:
            setting = settings.get(parameter.opts[0])
            if setting is not None and not getattr(parameter, "help", None):
                parameter.help = help_of(setting)  # type: ignore[attr-defined]
        return super().get_params(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as ever; where an option is unknown, say what it is called here.

        Raises:
            UsageError: the option has another name here, or its value is no number where it must be one.
        """
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # of typer's own copy of click, which it does not export
            _check_value(error, given)
            if not hasattr(error, "possibilities"):
                raise
            other = self._other_name(error.option_name) or next(iter(error.possibilities or ()), None)  # type: ignore[attr-defined]
            if other is None:
                raise
            raise UsageError(f"No such option: {error.option_name}. Did you mean {other}?") from error  # type: ignore[attr-defined]

    def _other_name(self, option: str) -> str | None:
        """Return what to write instead of an option that is not one, `None` where nobody knows."""
        from trainkit.runs._rules import RULES

        name = option.replace("_", "-").lower()
        own = {name for parameter in self.params for name in parameter.opts}
        if _OPTIONS.get(name) in own:
            return _OPTIONS[name]
        if name in own:
            return name
        keys = [_SETTINGS.get(name, ""), *(key for key in RULES if key.partition(".")[2] == name[2:].replace("-", "_"))]
        found = next((key for key in keys if key), None)
        return f"--set {found}=VALUE" if found else None


def _check_value(error: Exception, args: Sequence[str]) -> None:
    """Say of an option's value what the table of settings says of it, where the option is a setting's.

    Raises:
        UsageError: says so.
    """
    from trainkit.runs._rules import RULES, checked

    options = getattr(getattr(error, "param", None), "opts", ())
    for key, rule in RULES.items():
        if rule.option in options:
            words = [word.partition("=")[2] for word in args if word.startswith(f"{rule.option}=")]
            words += [value for option, value in pairwise(args) if option == rule.option]
            for value in words:
                checked(key, value)


def help_of(setting: Any) -> str:
    """Return what the help of an option says: what it means, what it takes, and what holds without it."""
    return f"{setting.help} Takes {setting.expected}. Default: {setting.default}."
