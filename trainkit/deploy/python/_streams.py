"""The three streams of a command, whatever is behind them: nothing, a full disk, a reader that has gone."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

from trainkit.deploy.python._values import BundleError


class AnswerLostError(BundleError):
    """What a command found cannot be written on standard output."""


def open_streams() -> None:
    """Make the three streams usable: what is written on standard output arrives or raises, the rest never raises.

    A stream that was closed gets nothing, so that no file of ours takes its number, into which libraries write.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # the lowest number that is free: this one
    sys.stderr = _text_on(_Chatter(os.dup(2), "w"), sys.stderr, line_buffering=True)
    if sys.stdout is None or (sys.platform != "win32" and _descriptor_of(sys.stdout) == 1):
        sys.stdout = _text_on(_Answer(1, "w", closefd=False), sys.stdout)
    elif hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _text_on(raw: io.FileIO, like: Any, *, line_buffering: bool = False) -> io.TextIOWrapper:
    """Return a stream of text in the encoding of the one before; what that does not know, it writes as an escape."""
    options: dict[str, Any] = {
        "encoding": getattr(like, "encoding", None) or "utf-8",
        "errors": "backslashreplace",  # a pipe may not know the letters of a class name
        "line_buffering": line_buffering or raw.isatty(),
        "write_through": getattr(like, "write_through", False),
    }
    return io.TextIOWrapper(io.BufferedWriter(raw), **options)


def _descriptor_of(stream: Any) -> int | None:
    """Return the file that a stream writes to; `None` for one in memory."""
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


class _Answer(io.FileIO):
    """Standard output: what cannot be written is an error, once."""

    def write(self, data: Any) -> int:
        """Write, or raise and write nothing more.

        Raises:
            BrokenPipeError: the reader has gone; there is nobody to tell.
            AnswerLostError: says why it cannot be written.
        """
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would try the rest again as it ends
            if isinstance(error, BrokenPipeError):
                raise
            reason = "it is closed" if error.errno == errno.EBADF else error.strerror
            raise AnswerLostError(
                f"The answer cannot be written to standard output: {reason}. Send it to a file on a disk with room."
            ) from error


class _Chatter(io.FileIO):
    """Standard error, or a copy of it: nothing ends because it cannot be written."""

    def write(self, data: Any) -> int:
        """Write, where that is possible."""
        try:
            return super().write(data)
        except OSError:
            return len(data)
