"""The one door through which TensorFlow and Keras come in: quietly, and set up the way trainkit needs them.

Import `keras` and `tf` from here, and import this module as late as can be: it takes seconds.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import TextIOBase

from trainkit._progress import doing, hidden

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Send what C++ code writes to standard error into nothing, while the block runs.

    TensorFlow 2.21 writes to file descriptor 2 as it starts, whatever TF_CPP_MIN_LOG_LEVEL says.
    """
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


class _DownloadBar(TextIOBase):
    """Where Keras prints the bar of a download: a terminal, which it has for itself from then on; else nothing."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._shown = stack, False

    def write(self, text: str) -> int:
        if sys.stderr.isatty():
            if not self._shown:
                self._stack.enter_context(hidden())
                self._shown = True
            sys.stderr.write(text)
            sys.stderr.flush()
        return len(text)


@contextmanager
def downloading(what: str = "weights") -> Iterator[None]:
    """Keep what Keras prints about a download out of standard output, and show it on a terminal only.

    Args:
        what: is loaded, and downloaded first where it is not here.
    """
    with doing(f"Loading {what}"), ExitStack() as stack, redirect_stdout(_DownloadBar(stack)):
        yield


with doing("Loading TensorFlow"), silent_stderr(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # other people's deprecations, at import
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()  # the rest of the start-up chatter

tf.get_logger().setLevel("ERROR")
# A user's keras.json may say otherwise; every shape in trainkit is (height, width, channels) and float32.
keras.config.set_image_data_format("channels_last")
keras.config.set_floatx("float32")

__all__ = ["downloading", "keras", "silent_stderr", "tf"]
