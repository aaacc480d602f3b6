"""Commands on a terminal of a given width: what they leave on it, and how long it stood still."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Session:
    """What a command did on a terminal."""

    code: int
    raw: str  # all that it wrote, standard output and standard error
    gap_s: float  # the longest time without anything new, until the last of it
    exit_s: float  # from then on to its end
    gap_after: str  # what was written before it

    @property
    def text(self) -> str:
        """What is left on the screen: without colours, and without what was written over."""
        lines, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[\??[\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.raw):
            if part == "\r":
                column = 0
            elif part == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            elif part.startswith("\x1b["):
                row -= int(part[2:-1] or 1) if part.endswith("A") else 0
                lines[row] = "" if part.endswith("K") else lines[row]
            else:
                lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
                column += len(part)
        return "\n".join(lines)


def on_terminal(command: Sequence[object], *, cwd: Path, columns: int = 80, **environment: str) -> Session:
    """Run a command on a terminal of its own, to its end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    # What pytest or its caller set for themselves is not the person's.
    known = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "TRAINKIT_PROGRESS")}
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**known, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    chunks: list[bytes] = []
    gap, before, last = 0.0, b"", time.monotonic()
    while True:
        select.select([ours], [], [], 600)
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end is closed
            chunk = b""
        if not chunk:
            break
        now = time.monotonic()
        if now - last > gap:
            gap, before = now - last, b"".join(chunks[-3:])
        last = now
        chunks.append(chunk)
    os.close(ours)
    raw = b"".join(chunks).decode("utf-8", "replace")
    code = process.wait()
    return Session(code, raw, gap, time.monotonic() - last, before.decode("utf-8", "replace"))


def trainkit_on_terminal(*arguments: object, cwd: Path, columns: int = 80, **environment: str) -> Session:
    """Run the trainkit command on a terminal."""
    return on_terminal([sys.executable, "-m", "trainkit", *arguments], cwd=cwd, columns=columns, **environment)
