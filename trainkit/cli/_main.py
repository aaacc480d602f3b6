"""The `trainkit` command: parse, call one function, print. Everything it does, Python can do in one call.

What a command needs is imported inside it: `trainkit --help` and `trainkit predict` must not wait for TensorFlow.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable

import typer

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
from trainkit.cli._output import wrapped
from trainkit.cli._progress import showing_progress
from trainkit.cli._signals import INTERRUPTED, TERMINATED, Termination, taking_termination
from trainkit.deploy.python._showing import harmless
from trainkit.deploy.python._streams import open_streams
from trainkit.errors import TrainkitError, UsageError, naming_missing_packages

__all__ = ["app", "main"]
# Each adds its commands to `app` as it is imported.
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


def main() -> None:
    """Run the command; a mistake ends in one line on standard error, with 1 for the world's and 2 for the user's."""
    open_streams()
    _silence_libraries()
    with taking_termination() as termination:
        ran = _exit_code_of(_run, termination)
        delivered = _exit_code_of(sys.stdout.flush, termination)  # what is left of the answer
    sys.exit(TERMINATED if termination.requested else ran or delivered)


def _run() -> object:
    with naming_missing_packages(), showing_progress(sys.argv[1:]):
        return app(standalone_mode=False)


def _exit_code_of(work: Callable[[], object], termination: Termination) -> int:
    """Do a part of the command, and return the exit code for how it ended, having said why."""
    try:
        code = work()
        if code == INTERRUPTED:  # typer has caught a KeyboardInterrupt
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except UsageError as error:
        return _fail(str(error), 2, error)
    except TrainkitError as error:
        return _fail(str(error), 1, error)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("Terminated." if termination.requested else "Interrupted.", INTERRUPTED)
    except BrokenPipeError:  # the reader has gone; there is nobody to tell
        return 1
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return _fail(_or_missing_command(error.format_message()), 2)


def _fail(message: str, code: int, error: Exception | None = None) -> int:
    """Say in a sentence what is wrong; behind everything that led to it, where TRAINKIT_DEBUG is set."""
    if error is not None and os.environ.get("TRAINKIT_DEBUG"):
        for line in "".join(traceback.format_exception(error)).splitlines():
            print(harmless(line), file=sys.stderr)
    print(wrapped(" ".join(message.split()), sys.stderr), file=sys.stderr)
    return code


def _or_missing_command(message: str) -> str:
    """Say what is missing after a bare `trainkit`, for which typer shows the help and has no words."""
    return message or "Expected a command."


class _OneLine(logging.Formatter):
    """Writes a message on a line, and nothing in it that a terminal would obey."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the message."""
        return harmless(super().formatMessage(record))


def _silence_libraries() -> None:
    """Keep the chatter of C++ libraries (TensorFlow, libjpeg, libpng) from the user.

    They write to file descriptor 2; Python's own standard error is a copy of it. Set TRAINKIT_DEBUG to see everything.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger().handlers[0].setFormatter(_OneLine("%(message)s"))
    logging.getLogger("trainkit").setLevel(logging.INFO)
    if os.environ.get("TRAINKIT_DEBUG"):
        return
    warnings.simplefilter("ignore")  # of Python libraries; our own warnings are logged
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
