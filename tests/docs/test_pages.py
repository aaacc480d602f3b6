"""The pages hang together: short lines, links that lead somewhere, nothing that is missing."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import examples
import generate
import pytest
from generate import commands

import trainkit

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "notebooks" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
LOOSE = [ROOT / "experiments" / "README.md", ROOT / "exported" / "README.md"]


def without_code(text: str) -> str:
    return re.sub(r"^\s*```.*?^\s*```$", "", text, flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub and MyST give to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text(encoding="utf-8")), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[str, str]]:
    """Return path and anchor of each relative link of a page."""
    text = re.sub(r"`[^`\n]*`", "", without_code(page.read_text(encoding="utf-8")))
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [(unquote(path), anchor) for path, _, anchor in (link.partition("#") for link in found if "://" not in link)]


@pytest.mark.parametrize("page", [*PAGES, *LOOSE], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_and_anchor_resolves(page: Path) -> None:
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{path}#{anchor}"
        if anchor:
            assert anchor in anchors(target), f"{path}#{anchor}"


def test_the_readme_is_short_and_has_one_picture() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250
    assert len(re.findall(r"!\[.+\]\(docs/_static/way\.svg\)", text)) == text.count("![") == 1


def test_written_lines_are_short_and_name_no_machine() -> None:
    for name, text in examples.pages().items():
        written = re.sub(r"<!-- generated: \w+ -->.*?<!-- generated: end -->", "", text, flags=re.S)
        assert [line for line in written.split("\n") if len(line) > 120 and not line.startswith("|")] == [], name
        assert not re.findall(r"/tmp|/root|/home/|/work\b", text), name


def test_every_page_is_in_the_index() -> None:
    listed = {(ROOT / "docs" / path).resolve() for path, _ in links(ROOT / "docs" / "index.md")}
    assert set(PAGES) - {ROOT / "docs" / "index.md"} == listed


def test_generated_pages_are_as_the_code_says() -> None:
    for path, text in generate.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} has drifted: run `python docs/generate.py`"
        assert not re.search(r"site-packages|<module|<function| at 0x", text), path.name


def test_every_command_option_and_public_name_is_in_the_reference() -> None:
    reference = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md")}
    for name, command in commands().items():
        section = reference["commands"].split(f"## `trainkit {name}`\n")[1].split("\n## ")[0]
        assert all(f"| `{option}`" in section for param in command.params for option in param.opts if option[0] == "-")
    assert all(f"### `{name}`\n" in reference["python"] for name in trainkit.__all__)


@pytest.mark.parametrize("name", commands())
def test_every_command_has_a_row_in_the_readme_and_an_example_in_the_manual(name: str) -> None:
    assert re.search(rf"^\| \[`trainkit {name}`\]\(docs/", examples.pages()["README.md"], flags=re.M)
    assert any(re.search(rf"^(\$ )?trainkit {name}\b", text, flags=re.M) for text in examples.pages().values())


def test_no_other_command_has_a_row_in_the_readme() -> None:
    listed = re.findall(r"^\| \[`trainkit ([^`]+)`\]", examples.pages()["README.md"], flags=re.M)
    assert sorted(listed) == sorted(commands())


def test_every_command_has_its_keys_of_json() -> None:
    import json_keys

    with_json = [
        name for name, command in commands().items() if any("--json" in param.opts for param in command.params)
    ]
    sections = json_keys.sections(examples.pages()["docs/json.md"])
    assert sorted(sections) == sorted(with_json)
    for name, section in sections.items():
        assert json_keys.rows_of(section), name
        assert all(meaning for _, meaning in json_keys.rows_of(section).values()), f"{name}: say what each key means"


@pytest.mark.parametrize("command", commands())
def test_help_ends_with_an_example(command: str) -> None:
    found = commands()[command]
    assert found.help.partition("\n")[0].endswith(".")
    assert found.epilog.startswith(f"Example: trainkit {command}")
    assert set(re.findall(r"--[\w-]+", found.epilog)) <= {name for param in found.params for name in param.opts}


def test_no_example_has_an_unknown_command_or_option() -> None:
    known = {
        name: {option for param in command.params for option in param.opts} for name, command in commands().items()
    }
    pages = examples.pages().values()
    lines = [
        line
        for text in pages
        for kind in ("console", "text", "sh")
        for block in examples.blocks(kind, text.replace("\\\n", ""))
        for line in block.split("\n")
    ]
    typed = [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?trainkit [a-z]", line)]
    assert len(typed) > 2 * len(known)
    for line in typed:
        command = examples.command_of(line)
        assert command in known, line
        assert set(re.findall(r"--[a-z][\w-]*", line)) <= known[command], line


def test_every_target_of_make_is_described() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [name for names in re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.M) for name in names.split()]
    rows = re.findall(r"^\| `make ([\w-]+)` \|", examples.pages()["docs/contributing.md"], flags=re.M)
    assert sorted(rows) == sorted(targets)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("docs/data.md#a-csv-file", "image,label,split"),
        ("docs/training.md#interrupt-and-resume", "--resume"),
        ("docs/preprocessing.md#augmentation", "augmentation.rotation_range"),
        ("docs/deploy-cpp.md", "cmake -S"),
        ("docs/other-models.md#keras-2-and-keras-3-files", "--preprocessing symmetric"),
        ("docs/export.md#frozen-graphs", "--format frozen-graph"),
        ("docs/bundle.md#the-manifest", "| `blob.scalefactor` |"),
        ("docs/command-line.md#exit-codes", "| 130 |"),
        ("docs/install.md#gpu", "tensorflow[and-cuda]"),
        ("docs/reference/python.md", "### `train`"),
    ],
)
def test_the_readme_leads_to_what_newcomers_look_for(target: str, answer: str) -> None:
    assert f"({target})" in examples.pages()["README.md"]
    path, _, anchor = target.partition("#")
    text = (ROOT / path).read_text(encoding="utf-8")
    headings = re.split(r"^(?=#+ )", text, flags=re.M)
    slugs = [
        re.sub(r"[^\w -]", "", each.partition("\n")[0].lstrip("# ")).lower().replace(" ", "-") for each in headings
    ]
    assert answer in (headings[slugs.index(anchor)] if anchor else text)


def test_each_command_has_its_name_in_python() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.*`trainkit\..*) \|$", (ROOT / "docs" / "python.md").read_text(), flags=re.M)
    assert [command for command, _ in rows] == list(commands())
    for _, names in rows:
        for name in re.findall(r"`(trainkit\.[\w.]+)`", names):
            home, _, last = name.rpartition(".")
            package = import_module(home)
            assert last in package.__all__, name
            assert callable(getattr(package, last)), name
