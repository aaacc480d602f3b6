"""All commands: each module adds its own to `app` as it is imported."""

from trainkit.cli import (
    _caching,
    _convolution,
    _cross_validation,
    _data,
    _explaining,
    _exporting,
    _label_errors,
    _networks,
    _prediction,
    _reports,
    _runs,
    _sweeping,
    _training,
)
from trainkit.cli._app import app

__all__ = ["app"]
_MODULES = (
    _data,
    _label_errors,
    _caching,
    _training,
    _sweeping,
    _cross_validation,
    _runs,
    _reports,
    _exporting,
    _prediction,
    _explaining,
    _networks,
    _convolution,
)
