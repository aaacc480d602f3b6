"""The one door through which TensorFlow and Keras come in: quietly, and set up the way trainkit needs them.

Import `keras` and `tf` from here, and import this module as late as can be: it takes seconds.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# By itself TensorFlow turns oneDNN on only where a processor has AVX512-VNNI, AVX-VNNI, bfloat16 or AMX; elsewhere
# training takes up to three times as long.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = os.environ.get("TF_ENABLE_ONEDNN_OPTS") or "1"


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


@contextmanager
def downloading() -> Iterator[None]:
    """Keep what Keras prints about a download out of standard output, and show it on a terminal only."""
    with Path(os.devnull).open("w") as sink, redirect_stdout(sys.stderr if sys.stderr.isatty() else sink):
        yield


def onednn_is_on() -> bool:
    """Whether TensorFlow computes with oneDNN in this process, which its build, the environment and the CPU decide."""
    from tensorflow.python.util import _pywrap_util_port  # nothing public says it

    return bool(_pywrap_util_port.IsMklEnabled())


with silent_stderr(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # other people's deprecations, at import
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()  # the rest of the start-up chatter

tf.get_logger().setLevel("ERROR")
if not onednn_is_on():
    # Grappler would fuse a grouped convolution, where it was traced out of Keras' compiled wrapper, with its bias and
    # activation into a kernel that has no groups (TensorFlow 2.21: "Fused conv implementation does not support grouped
    # convolutions"). oneDNN's own has them.
    tf.config.optimizer.set_experimental_options({"remapping": False})
# A user's keras.json may say otherwise; every shape in trainkit is (height, width, channels) and float32.
keras.config.set_image_data_format("channels_last")
keras.config.set_floatx("float32")

__all__ = ["downloading", "keras", "onednn_is_on", "silent_stderr", "tf"]
