"""The bar of a training in a notebook: one output of the cell, which is updated, and stays as its last state."""

from __future__ import annotations

import time
from html import escape
from typing import Any

_SECONDS = 0.25  # between two updates: each is a message to the browser


class NotebookBar:
    """Shows how far a training is, as text and as HTML; what a saved notebook keeps is its end."""

    def __init__(self, total: int) -> None:
        """Show an empty bar.

        Args:
            total: steps.
        """
        self._total, self._shown, self._text, self._done = total, 0.0, "", 0
        self._handle: Any = None

    def show(self, done: int, text: str, *, now: bool = False) -> None:
        """Move the bar.

        Args:
            done: steps.
            text: what stands beside it.
            now: show it whenever the last update was.
        """
        self._done, self._text = done, text
        if not now and time.monotonic() - self._shown < _SECONDS:
            return
        self._shown = time.monotonic()
        if self._handle is None:
            from IPython.display import display

            self._handle = display(self._bundle(), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(self._bundle(), raw=True)

    def close(self) -> None:
        """Leave the bar as it is now."""
        if self._handle is not None:
            self.show(self._done, self._text, now=True)

    def _bundle(self) -> dict[str, str]:
        bar = f'<progress value="{self._done}" max="{self._total}" style="width:12em"></progress>'
        return {"text/plain": self._text, "text/html": f"<div>{bar} <code>{escape(self._text)}</code></div>"}
