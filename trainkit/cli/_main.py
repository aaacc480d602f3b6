"""The `trainkit` command: parse, call one function, print. Everything it does, Python can do in one call.

What a command needs is imported inside it: `trainkit --help` and `trainkit predict` must not wait for TensorFlow.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module

import typer

from trainkit.cli._app import app
from trainkit.cli._output import wrapped
from trainkit.cli._progress import showing_progress
from trainkit.cli._signals import INTERRUPTED, TERMINATED, Termination, taking_termination
from trainkit.deploy.python._showing import harmless
from trainkit.deploy.python._streams import open_streams
from trainkit.errors import TrainkitError, UsageError, naming_missing_packages

# Where each command is: one that is named is built without the others, which takes a tenth of a second.
_MODULES: dict[str, tuple[str, ...]] = {
    "--version": (),
    "bench": ("_exporting",),
    "check": ("_exporting",),
    "classify": ("_networks",),
    "clients": ("_exporting",),
    "compare": ("_reports",),
    "convolve": ("_convolution",),
    "cross-validate": ("_cross_validation",),
    "data": ("_data", "_label_errors", "_caching"),
    "detect": ("_prediction",),
    "evaluate": ("_runs",),
    "explain": ("_explaining",),
    "export": ("_exporting",),
    "faces": ("_networks",),
    "find-lr": ("_training",),
    "predict": ("_prediction",),
    "recipes": ("_training",),
    "report": ("_reports",),
    "runs": ("_runs",),
    "settings": ("_training",),
    "shapes": ("_networks",),
    "sweep": ("_sweeping",),
    "train": ("_training",),
}


def main() -> None:
    """Run the command; a mistake ends in one line on standard error, with 1 for the world's and 2 for the user's."""
    open_streams()
    _silence_libraries()
    with taking_termination() as termination:
        ran = _exit_code_of(_run, termination)
        delivered = _exit_code_of(sys.stdout.flush, termination)  # what is left of the answer
    gc.freeze()  # Python would look through all of TensorFlow for garbage before it ends: most of a second
    sys.exit(TERMINATED if termination.requested else ran or delivered)


def _run() -> object:
    with naming_missing_packages(), showing_progress(sys.argv[1:]):
        _load_commands(sys.argv[1:])
        return app(standalone_mode=False)


def _load_commands(arguments: Sequence[str]) -> None:
    """Import the command that the first argument names; or all, which the help lists and a mistake is told from."""
    for module in _MODULES.get(arguments[0] if arguments else "", ("_commands",)):
        import_module(f"trainkit.cli.{module}")


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
