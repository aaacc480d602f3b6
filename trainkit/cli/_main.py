"""The `trainkit` command: parse, call one function, print. Everything it does, Python can do in one call.

What a command needs is imported inside it: `trainkit --help` and `trainkit predict` must not wait for TensorFlow.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings

import typer

from trainkit.cli import _convolution, _data, _exporting, _networks, _prediction, _reports, _runs, _training
from trainkit.cli._app import app
from trainkit.cli._output import wrapped
from trainkit.cli._progress import showing_progress
from trainkit.errors import TrainkitError, UsageError, naming_missing_packages

__all__ = ["app", "main"]
# Each adds its commands to `app` as it is imported.
_MODULES = (_data, _training, _runs, _reports, _exporting, _prediction, _networks, _convolution)


def main() -> None:
    """Run the command; a mistake ends in one line on standard error, with 1 for the world's and 2 for the user's."""
    _silence_libraries()
    try:
        with naming_missing_packages(), showing_progress(sys.argv[1:]):
            code = app(standalone_mode=False)
        if code == 130:  # typer has caught a KeyboardInterrupt
            _fail("Interrupted.", code)
    except UsageError as error:
        code = _fail(str(error), 2, error)
    except TrainkitError as error:
        code = _fail(str(error), 1, error)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("Interrupted.", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone; there is nobody to tell
        code = 1
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        code = _fail(_or_missing_command(error.format_message()), 2)
    sys.stdout.flush()
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int, error: Exception | None = None) -> int:
    """Say in a sentence what is wrong; behind everything that led to it, where TRAINKIT_DEBUG is set."""
    if error is not None and os.environ.get("TRAINKIT_DEBUG"):
        traceback.print_exception(error)
    print(wrapped(" ".join(message.split()), sys.stderr), file=sys.stderr)
    return code


def _or_missing_command(message: str) -> str:
    """Say what is missing after a bare `trainkit`, for which typer shows the help and has no words."""
    return message or "Expected a command."


def _silence_libraries() -> None:
    """Keep the chatter of C++ libraries (TensorFlow, libjpeg, libpng) from the user.

    They write to file descriptor 2. Python's own standard error moves to a copy of it first. Set TRAINKIT_DEBUG to see
    everything.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a pipe may not know the letters of a class name
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("trainkit").setLevel(logging.INFO)
    if os.environ.get("TRAINKIT_DEBUG"):
        return
    warnings.simplefilter("ignore")  # of Python libraries; our own warnings are logged
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    logging.getLogger().handlers[0].setStream(sys.stderr)  # type: ignore[attr-defined]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
