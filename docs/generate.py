"""Writes the pages and tables of the manual that come from the code.

python docs/generate.py            commands, settings, the Python reference, the list of modules
python docs/generate.py --json     the tables of JSON keys too: runs the manual's examples, some minutes
python docs/generate.py --check    writes nothing; ends with 1 where a page has drifted
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import examples
import json_keys
import python_reference

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "trainkit"
NOTICE = "<!-- Written by docs/generate.py: change the code, not this page. -->"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Return a text as a cell shows it: outside of backticks, `<` would begin a tag of HTML."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "\\<") for index, part in enumerate(parts))


def region(text: str, name: str, content: str) -> str:
    """Return a page with other content between the marks of a name."""
    begin, end = f"<!-- generated: {name} -->\n", "<!-- generated: end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), flags=re.S)
    assert len(pattern.findall(text)) == 1, f"Expected the marks of {name} once."
    return pattern.sub(lambda _: f"{begin}\n{content}\n\n{end}", text)


# Commands


def commands() -> dict[str, Any]:
    """Return the commands by what is typed: `data check` for one of a group."""
    import typer

    from trainkit.cli import app

    return dict(_commands_of(typer.main.get_command(app)))


def _commands_of(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    import typer

    for name in group.list_commands(typer.Context(group)):
        command = group.commands[name]
        if hasattr(command, "commands"):
            yield from _commands_of(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def commands_page() -> str:
    """Return the page of every command and option, in the words of `--help`."""
    parts = [
        "# Commands and options",
        NOTICE,
        "What `trainkit COMMAND --help` says. [The command line](../command-line.md) says what holds for all of them.",
        *(_command_text(name, command) for name, command in commands().items()),
    ]
    return "\n\n".join(parts) + "\n"


def _command_text(name: str, command: Any) -> str:
    options = [option for option in parameters(command) if option.param_type_name == "option"]
    arguments = [argument for argument in parameters(command) if argument.param_type_name == "argument"]
    usage = " ".join(["trainkit", name, *(_argument_name(argument) for argument in arguments), "[OPTIONS]"])
    parts = [f"## `trainkit {name}`", _paragraphs(command.help), f"```text\n{usage}\n```"]
    if arguments:
        rows = [[f"`{_argument_name(argument)}`", argument.help or ""] for argument in arguments]
        parts.append(table(["argument", "meaning"], rows))
    rows = [[_option_name(option), *_meaning_and_default(option)] for option in options]
    parts.append(table(["option", "meaning", "default"], rows))
    return "\n\n".join([*parts, _paragraphs(command.epilog or "")]).rstrip()


def parameters(command: Any) -> list[Any]:
    """Return the arguments and options of a command as `--help` has them, without itself."""
    import typer

    return [found for found in command.get_params(typer.Context(command)) if "--help" not in found.opts]


def _paragraphs(text: str) -> str:
    lines = (line.strip() for line in text.replace("\b", "").strip().split("\n"))
    return re.sub(r"Example: (trainkit .+)", r"Example: `\1`", "\n".join(lines))


def _argument_name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _option_name(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    return names if option.is_flag or not option.metavar else f"{names} `{option.metavar}`"


def _meaning_and_default(option: Any) -> list[str]:
    """Return an option's help, and its default: its own, or the one that its help says."""
    meaning, _, said = (option.help or "").partition("Default: ")
    own = "" if option.default is None or option.is_flag else f"`{option.default}`"
    return [meaning.strip(), own or said.removesuffix(".")]


# Settings


def settings_page() -> str:
    """Return the page of every setting: what it means, what it may be, and what it is where nothing is said."""
    from trainkit.runs._settings_list import list_settings

    parts = [
        "# Settings",
        NOTICE,
        "What `trainkit settings` prints; `trainkit settings --model MODEL` says what holds for one model. Each can be "
        "given as `--set KEY=VALUE`, in a `config.toml`, and from Python in `settings`; some have an option of their "
        "own.",
    ]
    for section, settings in groupby(list_settings(), key=lambda setting: setting.key.rpartition(".")[0]):
        rows = [[_setting_name(each), each.help, each.expected, each.default] for each in settings]
        parts.append(f"## {section or 'The run'}")
        parts.append(table(["setting", "what it is", "what it may be", "default"], rows))
    return "\n\n".join(parts) + "\n"


def _setting_name(setting: Any) -> str:
    return f"`{setting.key}`" + (f", `{setting.option}`" if setting.option else "")


# Models


def models_table() -> str:
    """Return the networks that `--model` takes: what they see, and what can be set."""
    from trainkit.models._backbones import BACKBONES
    from trainkit.models._builders import BUILDERS

    rows = []
    for name, builder in BUILDERS.items():
        size = f"{builder.size[0]}x{builder.size[1]} {builder.color}" if builder.size else "the data's"
        least = f"{BACKBONES[name].least}x{BACKBONES[name].least}" if name in BACKBONES else ""
        settings = " ".join(f"`{key}={value}`" for key, value in builder.settings.items())
        rows.append([f"`{name}`", builder.about, size, least, f"`{builder.preprocessing}`", settings])
    return table(["model", "what it is", "input", "smallest", "preprocessing", "settings"], rows)


def alphas_table() -> str:
    """Return the widths that there are ImageNet weights for."""
    from trainkit.models._backbones import BACKBONES

    widths = {name: ", ".join(f"{alpha:g}" for alpha in backbone.alphas) for name, backbone in BACKBONES.items()}
    return table(["model", "`--alpha`"], [[f"`{name}`", alphas] for name, alphas in widths.items() if alphas])


# The project


def targets_table() -> str:
    """Return what each target of make does, in the words of `make help`."""
    makefile = (DOCS.parent / "Makefile").read_text(encoding="utf-8")
    found = re.findall(r"^([a-z0-9-]+):.*?## (.+)$", makefile, flags=re.M)
    return table(["command", "what it does"], [[f"`make {name}`", text] for name, text in found])


def modules_table() -> str:
    """Return what each module of each room is for, in the first line of its docstring."""
    rows = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if "/" in name and docstring:
            rows.append([f"`{name}`", docstring.split("\n\n")[0].replace("\n", " ")])
    return table(["module", "what it is for"], rows)


# All of them


def pages() -> dict[Path, str]:
    """Return what each generated page should say, but for the tables of JSON keys."""
    architecture, contributing, models = DOCS / "architecture.md", DOCS / "contributing.md", DOCS / "models.md"
    of_models = region(models.read_text(encoding="utf-8"), "models", models_table())
    return {
        DOCS / "reference" / "commands.md": commands_page(),
        DOCS / "reference" / "settings.md": settings_page(),
        DOCS / "reference" / "python.md": f"# Python reference\n\n{NOTICE}\n\n{python_reference.page()}\n",
        architecture: region(architecture.read_text(encoding="utf-8"), "modules", modules_table()),
        contributing: region(contributing.read_text(encoding="utf-8"), "targets", targets_table()),
        models: region(of_models, "alphas", alphas_table()),
    }


def json_page() -> dict[Path, str]:
    """Return the page of JSON with the keys that the examples really print."""
    path = DOCS / "json.md"
    with tempfile.TemporaryDirectory() as folder:
        documents = examples.run(Path(folder)).documents()
    return {path: json_keys.with_tables(path.read_text(encoding="utf-8"), documents)}


def main() -> int:
    """Write the pages, or say which have drifted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 where a page has drifted")
    parser.add_argument("--json", action="store_true", help="the tables of JSON keys too: runs the examples")
    options = parser.parse_args()
    found = {**pages(), **(json_page() if options.json else {})}
    drifted = [path for path, text in found.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in drifted:
        print(f"{path.relative_to(DOCS.parent)} {'has drifted: run docs/generate.py' if options.check else 'written'}")
        if not options.check:
            path.write_text(found[path], encoding="utf-8")
    return int(options.check and bool(drifted))


if __name__ == "__main__":
    sys.exit(main())
