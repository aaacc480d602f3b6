"""One of several processes that train together: `python -m trainkit.cluster._bare_worker FOLDER RANK`.

Whoever starts it has written what is asked for into the folder, and reads there what has come of it.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from trainkit.cluster._bare_workers import INTERRUPTED
from trainkit.errors import TrainkitError
from trainkit.files import write_json, write_text
from trainkit.runs._run import Run
from trainkit.training._watching import Watch


def main(folder: Path, rank: int) -> int:
    """Do the work, and write down how it ended."""
    asked = pickle.loads((folder / "work.pickle").read_bytes())  # of the process that started this one
    _prepare(asked["level"])
    try:
        asked["work"].do(Watch(began=lambda run: _note(folder, run)))
    except TrainkitError as error:
        write_json(folder / f"outcome-{rank}.json", {"error": type(error).__name__, "message": str(error)})
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    write_json(folder / f"outcome-{rank}.json", {"ended": True})
    return 0


def _note(folder: Path, run: Run) -> None:
    write_text(folder / "run", str(run.path.absolute()))


def _prepare(level: int) -> None:
    """Set up what the command sets up: where lines go, and what ends a training."""
    if not os.environ.get("TRAINKIT_DEBUG"):  # C++ libraries chatter on file descriptor 2
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("trainkit").setLevel(level)
    signal.signal(signal.SIGTERM, _as_interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(number, frame)


def _end_with_parent() -> None:
    """Wait until whoever started this has gone, and end as Ctrl-C does."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
