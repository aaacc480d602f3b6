"""How Sphinx builds the manual: the pages, the README and the lessons, from the places where they lie."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from typing import Any

project = "trainkit"
author = "trainkit developers"
copyright = "trainkit developers"
version = release = version_of("trainkit")

root_doc = "docs/index"
include_patterns = ["README.md", "docs/*.md", "docs/reference/*.md", "notebooks/*.md", "notebooks/*.ipynb"]
exclude_patterns = ["docs/_build"]
extensions = ["myst_nb"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
myst_heading_anchors = 3
nb_execution_mode = "off"  # the lessons are run by `make notebooks`, and keep what they printed
html_theme = "furo"
html_title = f"trainkit {version}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_extra_path = ["_site"]  # the site's own index.html leads to the manual's
html_copy_source = False
pygments_style = "friendly"
smartquotes = False  # `--model` outside of backticks keeps its two hyphens
suppress_warnings = ["mystnb.unknown_mime_type"]


def add_contents(_app: Any, name: str, source: list[str]) -> None:
    """Let the order of the site be that of the links on a page: what is listed there need not be listed twice."""
    if name not in ("docs/index", "notebooks/README"):
        return
    for heading, links in _sections(source[0]):
        lines = [f"{title} <{path}>" for title, path in links]
        if lines:
            source[0] += "\n".join(["\n\n```{toctree}", ":hidden:", f":caption: {heading}", "", *lines, "```\n"])


def _sections(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    parts = re.split(r"^#+ (.+)$", text, flags=re.M)
    link = re.compile(r"^(?:- |\| )\[([^\]]+)\]\(([^)#]+)\.(?:md|ipynb)\)", flags=re.M)
    return [(heading, link.findall(body)) for heading, body in zip(parts[1::2], parts[2::2], strict=True)]


def setup(app: Any) -> None:
    """Add what is ours to Sphinx."""
    app.connect("source-read", add_contents)
