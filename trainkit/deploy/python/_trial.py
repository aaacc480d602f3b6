"""A network tried in a process of its own, so that nothing but that process can die of it."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import cv2
import numpy as np

from trainkit.deploy.python._model import load_net, run_net
from trainkit.deploy.python._showing import harmless
from trainkit.deploy.python._values import BundleError

TRIAL_SECONDS = 120  # for one blob, a hundred times what the largest network of Keras takes on one old core
TRIAL_BYTES = 6 * 2**30  # of memory, and ten times the file
_TRIAL_THREADS = 4  # each takes room, and there may be hundreds
_THIS_FILE = str(Path(__file__).absolute())
_STARTED = "the trial has started"
# The file is loaded under a name of its own: it may be a script, and it may stand in a package.
_CHILD = (
    "import importlib.util as u, json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "spec = u.spec_from_file_location('trainkit_trial', sys.argv[1]); module = u.module_from_spec(spec); "
    "sys.modules['trainkit_trial'] = module; spec.loader.exec_module(module); module.answer_trial()"
)


class Trial:
    """What another process did with a network: for each shape of blob it is asked once.

    Args:
        data: the bytes of the model file.
        model_format: as `read_net` takes it.
        engine: the same.
        graph: the same.
        model_name: of the file, for what is raised.
        values: between which the numbers of a blob lie.
    """

    def __init__(
        self,
        data: bytes,
        model_format: str,
        engine: str | None,
        *,
        graph: bytes | None,
        model_name: str,
        values: Tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self._data, self._graph, self._name = data, graph, model_name
        self._options = {"format": model_format, "engine": engine, "graph": len(graph or b""), "values": values}
        self._failures: Dict[Sequence[int], str] = {}

    def load(self, blob_shape: Sequence[int]) -> None:
        """Raise where another process cannot load the network, or dies of it."""
        answer = self._ask(blob_shape)
        self._failures[tuple(blob_shape)] = answer.get("run", "")
        if "load" in answer:
            raise BundleError(answer["load"])

    def run(self, blob_shape: Sequence[int]) -> None:
        """Raise where another process cannot run the network on a blob of this shape."""
        shape = tuple(blob_shape)
        if shape not in self._failures:
            try:
                self.load(shape)
            except BundleError as error:
                self._failures[shape] = str(error)
        if self._failures[shape]:
            raise BundleError(self._failures[shape])

    def _ask(self, blob_shape: Sequence[int]) -> Dict[str, str]:
        header = json.dumps({**self._options, "shape": [int(side) for side in blob_shape]}).encode() + b"\n"
        try:
            done = subprocess.run(
                _child_command(),
                input=b"".join([header, self._graph or b"", self._data]),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=TRIAL_SECONDS,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        except subprocess.TimeoutExpired:
            return {"load": f"{self._name} did not answer within {TRIAL_SECONDS} seconds in a trial. {_ADVICE}"}
        except (OSError, ValueError) as error:
            raise self._cannot_try(str(error)) from error
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        if _STARTED not in lines:
            raise self._cannot_try(["", *done.stderr.decode("utf-8", "replace").splitlines()][-1])
        try:
            return {str(key): str(value) for key, value in json.loads(lines[-1]).items()}
        except ValueError:
            return {"load": f"OpenCV {cv2.__version__} dies of {self._name} ({_death(done.returncode)}). {_ADVICE}"}

    def _cannot_try(self, reason: str) -> BundleError:
        return BundleError(
            f"{self._name} is not of the forms that trainkit writes, so it must be tried in a process of its own, and "
            f"none can be started here ({harmless(reason)[:200]}). If you trust the file, open it with `trial=False`."
        )


_ADVICE = "Take another file or, if you trust this one, open it in Python with `trial=False`."


def _child_command() -> List[str]:
    """Return what starts a Python that knows the same modules.

    Raises:
        OSError: this program is no Python, so that starting it again would do something else.
    """
    if getattr(sys, "frozen", False) or not re.match(r"(?i)python|pypy", Path(sys.executable or "").name):
        raise OSError(f"{sys.executable or 'this program'} is no Python")
    places = json.dumps([str(Path(one).absolute()) for one in sys.path])
    # Isolated, so that nothing is imported from the current folder, which may be a stranger's.
    return [sys.executable, "-I", "-c", _CHILD, _THIS_FILE, places]


def _death(code: int) -> str:
    if code >= 0:
        return f"exit code {code:#x}"  # Windows has no signals: 0xc0000094 is a division by 0
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def answer_trial() -> None:
    """Be the other process: read a network and the shape of a blob, and say what came of them in one line of JSON."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # OpenCV prints, too
        answers.write(f"{_STARTED}\n")
        answers.flush()
        options = json.loads(sys.stdin.buffer.readline())
        graph = sys.stdin.buffer.read(options["graph"])
        data = sys.stdin.buffer.read()
        _limit_this_process(TRIAL_BYTES + 10 * len(data))
        answers.write(json.dumps(_try_network(data, graph or None, options)) + "\n")
        answers.flush()
    os._exit(0)  # a damaged network may die as it is taken down, which the parent only does at its end


def _try_network(data: bytes, graph: bytes | None, options: Dict[str, Any]) -> Dict[str, str]:
    done = "load"
    try:
        net = load_net(data, options["format"], options["engine"], graph=graph)
        done = "run"
        # A place in an array or a divisor that is computed from pixels may fit for a blank image only.
        run_net(net, np.zeros(options["shape"], np.float32))
        run_net(net, _noise(options["shape"], *options["values"]))
    except BundleError as error:
        return {done: str(error)}
    except MemoryError:
        return {done: f"The network needs more than {TRIAL_BYTES >> 30} GiB of memory. {_ADVICE}"}
    return {}


def _noise(shape: Sequence[int], low: float, high: float) -> np.ndarray:
    pixels = np.random.RandomState(0).randint(0, 256, shape)
    return np.asarray(low + pixels * ((high - low) / 255), np.float32)


def _limit_this_process(most: int) -> None:
    """Limit the memory, where this system can, and leave no core file; no window asks what to do about a death."""
    cv2.setNumThreads(min(_TRIAL_THREADS, cv2.getNumThreads()))
    if sys.platform == "win32":
        importlib.import_module("ctypes").windll.kernel32.SetErrorMode(0x8007)
        return
    signal.alarm(TRIAL_SECONDS + 10)  # who asked may have been killed, and a network may have no end
    resource: Any = importlib.import_module("resource")
    for kind, limit in ((resource.RLIMIT_AS, most), (resource.RLIMIT_CORE, 0)):
        try:
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
        except (OSError, ValueError):
            pass  # macOS knows no limit of a process' memory
