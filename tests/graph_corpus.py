"""The corpus of graphs that every reader of bundles must answer alike: `python tests/graph_corpus.py` writes it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from graph_nets import harmless_graphs
from hostile_graphs import hostile_graphs

from trainkit.deploy.python._graph import check_graph
from trainkit.errors import BundleError

CORPUS = Path(__file__).parents[1] / "trainkit" / "deploy" / "spec" / "graphs.json"
_MOST_BYTES = 6000
_ACCEPTED = 40  # of those that are only found by trying


def sentence_about(data: bytes, model_format: str = "onnx") -> str | None:
    """Return what the check says after the name of the file, None where it lets a graph pass."""
    try:
        check_graph(data, model_format, None, "MODEL")
    except BundleError as error:
        return str(error).removeprefix("MODEL ")
    return None


def build_corpus() -> dict[str, Any]:
    """Return the harmless graphs, some that pass though they may fail, and for each rule one that breaks it."""
    cases, seen, passed = [], set(), 0
    for name, data in {**harmless_graphs(), **hostile_graphs()}.items():
        sentence = sentence_about(data)
        rule = re.sub(r"-?\d+", "N", sentence or name)
        passed += sentence is None
        if len(data) > _MOST_BYTES or rule in seen or (sentence is None and passed > _ACCEPTED):
            continue
        seen.add(rule)
        cases.append({"name": name, "base64": base64.b64encode(data).decode(), "sentence": sentence})
    return {"cases": cases}


if __name__ == "__main__":
    CORPUS.write_text(json.dumps(build_corpus(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
