"""The one door through which TensorFlow and Keras come in: quietly, and set up the way trainkit needs them.

Import `keras` and `tf` from here, and import this module as late as can be: it takes seconds.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache
from typing import TextIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from trainkit._progress import doing
from trainkit.errors import naming_missing_packages

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# By itself TensorFlow turns oneDNN on only where a processor has AVX512-VNNI, AVX-VNNI, bfloat16 or AMX; elsewhere
# training takes up to three times as long.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = os.environ.get("TF_ENABLE_ONEDNN_OPTS") or "1"
_TIMEOUT_S = 10  # without a byte, after which a server counts as not there

log = logging.getLogger("trainkit")


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Send what C++ code writes to standard error into nothing, while the block runs.

    TensorFlow 2.21 writes to file descriptor 2 as it starts, whatever TF_CPP_MIN_LOG_LEVEL says.
    """
    try:
        saved = os.dup(2)
    except OSError:  # it is closed: nothing is seen anyway
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    os.close(sink)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


class _DownloadLog(io.TextIOBase):
    """Takes what Keras prints: says in one line what is downloaded, and shows the progress on a terminal only."""

    def __init__(self, terminal: TextIO | None) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Tell Keras whether a progress bar can be drawn."""
        return self._terminal is not None

    def write(self, text: str) -> int:
        """Take a piece of what Keras prints."""
        begun = re.match(r"Downloading data from (\S+)", text)
        if begun:
            _announce(begun[1])
        elif self._terminal is not None:
            self._terminal.write(text)
        return len(text)

    def flush(self) -> None:
        """Show what was written."""
        if self._terminal is not None:
            self._terminal.flush()


def _announce(url: str) -> None:
    """Log what is downloaded, how much it is and from where; raise where nobody answers there.

    Raises:
        URLError: there is no way to the server. It names the URL.
    """
    folder, _, name = url.rpartition("/")
    size = ""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=_TIMEOUT_S) as answer:
            if (length := answer.headers.get("Content-Length", "")).isdigit():
                size = f" ({int(length) / 1e6:.1f} MB)"
    except HTTPError:
        pass  # a server that knows no HEAD; what else is wrong, the download itself meets
    except OSError as error:
        raise URLError(f"URL fetch failure on {url}: {getattr(error, 'reason', error)}") from error
    log.info("Downloading %s%s from %s", name, size, folder)


@contextmanager
def downloading(what: str = "weights") -> Iterator[None]:
    """Announce a download of Keras and keep its chatter out of standard output; a server that is silent is given up.

    Keras removes what it has written where the download fails, or is ended by Ctrl-C.

    Args:
        what: is loaded, and downloaded first where it is not here.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        terminal = sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None
        with doing(f"Loading {what}"), redirect_stdout(_DownloadLog(terminal)):
            yield
    finally:
        socket.setdefaulttimeout(before)


def onednn_is_on() -> bool:
    """Whether TensorFlow computes with oneDNN in this process, which its build, the environment and the CPU decide."""
    from tensorflow.python.util import _pywrap_util_port  # nothing public says it

    return bool(_pywrap_util_port.IsMklEnabled())


@contextmanager
def _without_pandas() -> Iterator[None]:
    """Keep Keras, while it is loaded by the command, from loading pandas, and that pyarrow: half a second.

    No command gives Keras a table; a program that does has pandas, and is not the command.
    """
    if "trainkit.cli" not in sys.modules or "pandas" in sys.modules:
        yield
        return
    sys.modules["pandas"] = None  # type: ignore[assignment]  # cannot be imported
    try:
        yield
    finally:
        del sys.modules["pandas"]


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Keep Python from looking for garbage while the block runs: a fifth of the time in which TensorFlow is imported.

    The hundreds of thousands of objects that come all stay, and would be looked through again and again as they come.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


with (
    naming_missing_packages(),
    doing("Loading TensorFlow", blocks=True),
    silent_stderr(),
    warnings.catch_warnings(),
    _without_pandas(),
    _collecting_nothing(),
):
    warnings.simplefilter("ignore")  # other people's deprecations, at import
    import keras
    import tensorflow as tf
    from keras.src.saving import saving_lib

    for _gpu in tf.config.list_physical_devices("GPU"):  # here comes the rest of the start-up chatter
        with suppress(RuntimeError):  # a program that has computed on it already chose for itself
            tf.config.experimental.set_memory_growth(_gpu, True)  # or TensorFlow takes all of its memory at once

# What Keras leaves out as it writes or reads a model is to be found out once, and is looked up by another name than it
# was kept by (Keras 3.15.1, `get_attr_skipset`): a third of the time that a backbone takes to be written.
if hasattr(saving_lib, "get_attr_skipset"):
    saving_lib.get_attr_skipset = cache(saving_lib.get_attr_skipset)
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
