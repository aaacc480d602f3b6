"""The README is true: its tables are those of the code, its examples run, and what they print is what it says.

Every `console` block of the README is run, line by line, in one folder; a line that is to fail is followed by
`$ echo $?` and its exit code. Then the `python` blocks run in that folder, in one process. Those whose first line is a
comment with a file's name are scripts, each in a process of its own. Blocks of other kinds are only looked at.
"""

from __future__ import annotations

import ast
import csv
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from strange_models import fixed_output, write_manifest

import trainkit
from trainkit.cli import app
from trainkit.deploy.python._schema import SECTIONS, check_manifest
from trainkit.models._builders import BUILDERS
from trainkit.preprocessing import PREPROCESSINGS, build_preprocessing, needs_mean_image, needs_statistics
from trainkit.runs import _settings as config
from trainkit.runs._rules import RULES
from trainkit.runs._run import _EMPTY_RESULT

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands_of(group: Any, prefix: str = "") -> dict[str, Any]:
    """Return the commands by what is typed: `data check` for one of a group."""
    found = {}
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found.update(commands_of(command, f"{prefix}{name} ") if inner else {f"{prefix}{name}": command})
    return found


COMMANDS = commands_of(typer.main.get_command(app))
# Their examples need weights or photographs that are not here; their own tests compare what they print.
NEED_DOWNLOADS = {"classify", "faces"}
RUN_HERE = [command for command in COMMANDS if command not in NEED_DOWNLOADS]


def command_of(line: str) -> str:
    """Return the command of a line: its first word after `trainkit`, or its first two for one of a group."""
    _, first, *rest = line.split()
    return first if first in COMMANDS or not rest else f"{first} {rest[0]}"


DOCUMENT_KEY = ["key", "type", "meaning"]


def section(heading: str, text: str = README) -> str:
    """Return what stands under a heading, up to the next one of its rank or a higher one."""
    rank = heading.split()[0]
    lines = re.sub(r"^```.*?^```", lambda block: re.sub("(?m)^#", " #", block[0]), text, flags=re.M | re.S).split("\n")
    assert lines.count(heading) == 1, f"The README has {lines.count(heading)} headings `{heading}`."
    start = lines.index(heading) + 1
    ends = (i for i in range(start, len(lines)) if re.match(rf"#{{1,{len(rank)}}} ", lines[i]))
    return "\n".join(lines[start : next(ends, len(lines))])


def tables(text: str) -> Iterator[list[list[str]]]:
    """Yield the tables of a text: rows of cells, the header first."""
    for block in re.findall(r"(?:^\|.*\n?)+", text, flags=re.M):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().split("\n")]
        yield [rows[0], *rows[2:]]


def rows_of(text: str, header: list[str]) -> list[list[str]]:
    """Return the rows of the one table of a text with this header."""
    (found,) = [table[1:] for table in tables(text) if table[0] == header]
    return found


def codes(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def blocks(language: str) -> list[str]:
    """Return the contents of the README's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.M | re.S)


def options_of(command: str) -> dict[str, Any]:
    """Return the options of a command by their names, `--help` left out."""
    return {name: option for option in COMMANDS[command].params for name in option.opts if name.startswith("--")}


# Tables whose keys are names, sizes and the like.
MAPS = (
    "settings",
    "figures",
    "curves",
    "runtimes",
    "classes",
    "sides",
    "sides.<name>",
    "sizes",
    "modes",
    "formats",
    "orientations",
    "problems",
)


def key_paths(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a JSON document: `classes[].label` and its value."""
    if isinstance(value, list):
        for entry in value:
            yield from key_paths(entry, f"{path}[]")
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from key_paths(entry, f"{path}.{'<name>' if path in MAPS else key}".removeprefix("."))
    else:
        yield path, value


def empty_paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield what begins the paths that a JSON document could have, and has not."""
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from empty_paths(entry, f"{path}.{key}".removeprefix("."))
    elif value in ([], {}):
        yield f"{path}." if value == {} else f"{path}[]"


def fits(value: Any, kinds: str) -> bool:
    """Tell whether a JSON value is of one of the types that the README names, `number or null` for example."""
    if isinstance(value, bool):
        return "boolean" in kinds
    types = {"string": str, "number": (int, float), "integer": int, "boolean": bool, "null": type(None)}
    return any(isinstance(value, types[kind]) for kind in kinds.split(" or "))


# What stands in the README


def test_lines_are_short_and_name_no_machine() -> None:
    assert [line for line in README.split("\n") if len(line) > 120] == []
    assert not re.findall(r"/tmp|/root|/home/|/work\b", README)


def test_headings_that_others_link_to_are_there() -> None:
    anchors = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in README.split("\n")}
    assert {"a-run", "a-bundle"} < anchors
    assert set(re.findall(r"\]\(#([\w-]+)\)", README)) <= anchors
    assert section("## A run")
    assert section("## A bundle")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_described(command: str) -> None:
    assert f"[`trainkit {command}`](#trainkit-{command.replace(' ', '-')})" in section("## Commands")
    assert f"$ trainkit {command}" in section(f"### `trainkit {command}`")


def test_no_other_command_is_described() -> None:
    assert set(re.findall(r"^### `trainkit ([^`]+)`$", README, flags=re.M)) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_in_the_table_of_its_command(command: str) -> None:
    rows = rows_of(section(f"### `trainkit {command}`"), ["option", "meaning", "default"])
    described = {codes(option)[0]: default for option, _, default in rows}
    options = options_of(command)
    assert set(described) == set(options)
    for name, option in options.items():
        if option.default is not None and not option.is_flag:
            assert described[name].strip("`") == str(option.default), name


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_an_example(command: str) -> None:
    help_text = COMMANDS[command].help
    assert help_text.partition("\n")[0].endswith(".")
    example = COMMANDS[command].epilog
    assert example.startswith(f"Example: trainkit {command}")
    assert set(re.findall(r"--[\w-]+", example)) <= set(options_of(command))


def test_no_example_has_an_unknown_command_or_option() -> None:
    lines = [line for kind in ("console", "text", "sh") for block in blocks(kind) for line in block.split("\n")]
    examples = [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?trainkit ", line)]
    assert len(examples) > 2 * len(COMMANDS)
    for example in examples:
        command = command_of(example)
        assert command in COMMANDS, example
        assert set(re.findall(r"--[\w-]+", example)) <= set(options_of(command)), example


def test_every_setting_is_described() -> None:
    rows = rows_of(section("### `trainkit train`"), ["key", "what it may be", "for"])
    described = {codes(key)[0]: models for key, _, models in rows}
    assert set(described) == set(RULES)
    for key, models in described.items():
        have = {name for name in BUILDERS if key in config.build_config({"data": "digits", "model.name": name}).values}
        all_but = set(BUILDERS) - set(codes(models)) if models.startswith("all") else set(codes(models))
        assert have == all_but, key


def test_every_model_is_described() -> None:
    rows = rows_of(section("## Models"), ["model", "what it is", "input", "preprocessing", "settings"])
    described = {codes(row[0])[0]: row for row in rows}
    assert set(described) == set(BUILDERS)
    for name, builder in BUILDERS.items():
        _, _, size, preprocessing, settings = described[name]
        assert codes(settings) == [f"{key}={value}" for key, value in builder.settings.items()]
        assert preprocessing == f"`{builder.preprocessing}`"
        expected = "the data's" if builder.size is None else f"{builder.size[0]}x{builder.size[1]} {builder.color}"
        assert size == expected, name


def test_every_preprocessing_is_described() -> None:
    header = ["name", "mean", "std", "`scalefactor` of the blob", "what it is"]
    rows = rows_of(section("## Preprocessing"), header)
    assert [codes(row[0])[0] for row in rows] == list(PREPROCESSINGS)
    for name, mean, std, scalefactor, _ in ([codes(row[0])[0], *row[1:]] for row in rows):
        if not needs_statistics(name) and not needs_mean_image(name):
            built = build_preprocessing(name, height=8, width=8)
            assert mean == ", ".join(f"{value:g}" for value in dict.fromkeys(built.mean)), name
            assert std == ", ".join(f"{value:g}" for value in dict.fromkeys(built.std)), name
            assert scalefactor == f"{built.blob['scalefactor']:g}", name


def test_every_key_of_the_manifest_is_described() -> None:
    expected = {}
    for name, (required, optional) in SECTIONS.items():
        prefix = "" if name == "manifest" else "before_blob[]." if name.startswith("before_blob") else f"{name}."
        expected |= {f"{prefix}{key}": "required" for key in required}
        expected |= {f"{prefix}{key}": "optional" for key in optional}
    rows = rows_of(section("### The manifest"), ["manifest key", "type", "", "meaning"])
    assert {codes(key)[0]: presence for key, _, presence, _ in rows} == expected


def test_manifest_of_the_readme_is_one() -> None:
    manifests = [json.loads(block) for block in blocks("json")]
    assert [manifest["output"]["kind"] for manifest in manifests] == ["sigmoid", "softmax", "ssd"]
    for manifest in manifests:
        check_manifest(manifest)


@pytest.mark.parametrize("name", trainkit.__all__)
def test_every_public_name_has_its_signature(name: str) -> None:
    text = section("## From Python")
    call = f"trainkit.{name}("
    assert call in text
    parameters = list(inspect.signature(getattr(trainkit, name)).parameters.values())
    shown = re.search(rf"^{name}\((.*?)\)$", text, flags=re.M | re.S) or re.search(
        rf"`{re.escape(call)}((?:[^`])*)\)`", text
    )
    assert shown
    signature = ast.parse(f"def call({shown[1]}): ...").body[0].args  # type: ignore[attr-defined]
    assert [argument.arg for argument in (*signature.args, *signature.kwonlyargs)] == [p.name for p in parameters]
    keyword_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert [argument.arg for argument in signature.kwonlyargs] == keyword_only


def test_predict_has_its_signature() -> None:
    parameters = inspect.signature(trainkit.Classifier.predict).parameters
    shown = ", ".join(f"{name}={p.default}" for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY)
    assert f"`Classifier.predict(image_bgr, *, {shown})`" in README


def test_every_target_of_make_is_described() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.M)[0].split()
    rows = rows_of(section("## Development"), ["command", "what it does"])
    assert {codes(row[0])[0] for row in rows} == {f"make {target}" for target in targets} | {".ci/run"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


# What the README's examples do


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A line of a console block that was run."""

    line: str
    code: int
    expected_code: int
    shown: str  # what the README prints under the line
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Executed:
    """The folder in which the README was run, and what came of it."""

    folder: Path
    lines: list[Ended]

    def documents(self) -> dict[str, Any]:
        """Return what the commands with `--json` printed, by command."""
        return {command_of(run.line): json.loads(run.stdout) for run in self.lines if run.line.endswith("--json")}


def console_lines() -> Iterator[tuple[str, str, int]]:
    """Yield each line to run, what the README shows under it, and the exit code it should have."""
    for block in blocks("console"):
        parts = re.split(r"^\$ ", block, flags=re.M)[1:]
        for index, part in enumerate(parts):
            line, _, shown = part.partition("\n")
            following = parts[index + 1] if index + 1 < len(parts) else ""
            if line != "echo $?":
                yield line, shown, int(following.split()[2]) if following.startswith("echo $?") else 0


def execute(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(line)
    starts = {"trainkit": [sys.executable, "-m", "trainkit"], "python": [sys.executable]}
    return subprocess.run([*starts[program], *arguments], cwd=folder, capture_output=True, text=True, check=False)


def write_faces(folder: Path) -> None:
    """Write what the examples call `faces` and `astronaut.png`.

    The manifest is the README's own; in the place of the network, which only a download gives, stands one that finds
    the same in every image.
    """
    (manifest,) = [json.loads(block) for block in blocks("json") if '"ssd"' in block]
    write_manifest(folder / "faces", manifest, model={"file": "faces.onnx", "format": "onnx", "graph": None})
    row = np.array([[[[0, 1, 0.99, 0.35, 0.13, 0.52, 0.37]]]])
    (folder / "faces" / "faces.onnx").write_bytes(fixed_output(row, width=300, height=300))
    assert cv2.imwrite(str(folder / "astronaut.png"), np.full((512, 512, 3), 90, np.uint8))


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    """The folder in which the README's console blocks were run."""
    folder = tmp_path_factory.mktemp("readme")
    write_faces(folder)
    ended = []
    for line, shown, code in console_lines():
        done = execute(line, folder)
        ended.append(
            Ended(
                line=line,
                code=done.returncode,
                expected_code=code,
                shown=shown,
                stdout=done.stdout,
                stderr=done.stderr,
            )
        )
    return Executed(folder=folder, lines=ended)


def test_console_lines_end_as_they_should(executed: Executed) -> None:
    assert {command_of(run.line) for run in executed.lines if run.line.startswith("trainkit")} == set(RUN_HERE)
    for run in executed.lines:
        assert run.code == run.expected_code, f"{run.line}\n{run.stdout}{run.stderr}"


def test_mistakes_say_what_the_readme_shows(executed: Executed) -> None:
    mistakes = [run for run in executed.lines if run.expected_code != 0]
    assert {run.expected_code for run in mistakes} == {1, 2}
    for run in mistakes:
        assert run.stderr == run.shown


@pytest.mark.parametrize("command", RUN_HERE)
def test_document_has_the_keys_of_the_readme(executed: Executed, command: str) -> None:
    rows = rows_of(section(f"### `trainkit {command}`"), DOCUMENT_KEY)
    described = {codes(key)[0]: kinds for key, kinds, _ in rows}
    document = executed.documents()[command]
    printed = list(key_paths(document))
    assert {path for path, _ in printed} == {
        path for path in described if not path.startswith(tuple(empty_paths(document)))
    }
    for path, value in printed:
        assert fits(value, described[path]), f"{path}: {value!r} is no {described[path]}"


@pytest.mark.parametrize("command", RUN_HERE)
def test_document_of_the_readme_looks_as_it_is_printed(executed: Executed, command: str) -> None:
    (run,) = [run for run in executed.lines if run.line.startswith(f"trainkit {command} ") and "--json" in run.line]
    keys = re.compile(r'^\s*"\w+": ', flags=re.M)
    shown, printed = keys.findall(run.shown), keys.findall(run.stdout)
    assert shown == printed[: len(shown)]
    assert len(shown) == len(printed) or run.shown.endswith("...\n")


def test_files_of_a_run_are_described(executed: Executed) -> None:
    folder = trainkit.find_run("digits", executed.folder / "experiments").path
    rows = rows_of(section("## A run"), ["file", "what is in it"])
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    described = {codes(row[0])[0] for row in rows}
    elsewhere = {"mean_image.npy", "initial.keras", "data.npz", "tensorboard/", "augmentation.png"}  # of other settings
    assert described - there == elsewhere
    assert there <= described


def test_figures_of_a_run_are_described(executed: Executed) -> None:
    folder = trainkit.find_run("digits", executed.folder / "experiments").path
    text = section("## A run")
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        assert f"`{','.join(next(csv.reader(file)))}`" in text
    rows = rows_of(text, ["key of `result.json`", "meaning"])
    described = [key for row in rows for key in codes(row[0])]
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert sorted(described) == sorted(result) == sorted(_EMPTY_RESULT)


def test_files_of_a_bundle_are_described(executed: Executed) -> None:
    folder = executed.folder / "exported" / "digits"
    rows = rows_of(section("## A bundle"), ["file", "what is in it"])
    described = {codes(row[0])[0] for row in rows}
    there = {path.name + ("/" if path.is_dir() else "") for path in folder.iterdir()}
    # `digits` are grey, and have no mean image; two clients were added.
    assert described - there == {"models.yml", "mean_image.npy", "node/"}
    assert there <= described


def test_manifest_that_was_written_has_no_other_keys(executed: Executed) -> None:
    manifest = json.loads((executed.folder / "exported" / "digits" / "manifest.json").read_text(encoding="utf-8"))
    (verified,) = manifest["opencv"].pop("verified").values()
    rows = rows_of(section("### The manifest"), ["manifest key", "type", "", "meaning"])
    assert {path.removesuffix("[]") for path, _ in key_paths(manifest)} <= {codes(row[0])[0] for row in rows}
    assert list(verified) == codes(next(row[3] for row in rows if row[0] == "`opencv.verified`"))


def python_blocks() -> tuple[list[str], list[str]]:
    """Return the blocks that belong together, and the scripts."""
    together: list[str] = []
    scripts: list[str] = []
    for block in blocks("python"):
        (scripts if re.match(r"# \w+\.py\n", block) else together).append(block)
    return together, scripts


def run_script(code: str, folder: Path) -> str:
    path = folder / "example.py"
    path.write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, path.name], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_of_the_readme_runs(executed: Executed) -> None:
    together, _ = python_blocks()
    code = "\n".join(together)
    assert all(f"trainkit.{name}(" in code for name in trainkit.__all__ if name not in NEED_DOWNLOADS)
    assert run_script(code, executed.folder).count("\n") >= 8


def test_bare_opencv_gives_the_answer_of_keras(executed: Executed) -> None:
    (script,) = [script for script in python_blocks()[1] if script.startswith("# bare.py")]
    assert "trainkit" not in script
    label, probability = run_script(script, executed.folder).split()
    bundle = executed.folder / "exported" / "digits"
    expected = json.loads((bundle / "selftest" / "selftest.json").read_text())["images"][0]["probabilities"]
    assert (bundle / "labels.txt").read_text().split()[expected.index(max(expected))] == label
    assert float(probability) == pytest.approx(max(expected), abs=1e-5)


def test_model_of_the_readme_can_be_added(executed: Executed) -> None:
    (script,) = [script for script in python_blocks()[1] if script.startswith("# try_perceptron.py")]
    accuracy, difference = map(float, run_script(script, executed.folder).split())
    assert accuracy > 0.9
    assert difference <= 1e-5
