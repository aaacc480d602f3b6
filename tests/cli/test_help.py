"""The help as a person reads it: in the order of the work, a line a command, an example that works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import trainkit

from trainkit.cli import app
from trainkit.cli._app import ORDER

MAIN: Any = typer.main.get_command(app)
_LINE = 65  # letters beside a command's name, at 80 columns


def commands(group: Any = MAIN, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with the words that call it."""
    for name, command in group.commands.items():
        words = (*prefix, name)
        if hasattr(command, "commands"):
            yield from commands(command, words)
        else:
            yield words, command


COMMANDS = dict(commands())


def parse(words: list[str]) -> None:
    """Let the command line parse what follows `trainkit`, and do nothing."""
    command, context = MAIN, typer.Context(MAIN, info_name="trainkit")
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    command.make_context(command.name, words, parent=context)


def listed(*arguments: str, cwd: Path) -> list[str]:
    """Return the commands of a help, from top to bottom."""
    printed = trainkit(*arguments, "--help", cwd=cwd).stdout.partition("Commands")[2]
    return re.findall(r"^│ ([a-z-]+)  ", printed, flags=re.M)


def test_commands_stand_in_the_order_of_the_work(tmp_path: Path) -> None:
    found = listed(cwd=tmp_path)
    assert found[0] == "train"
    assert found == list(ORDER)
    assert set(found) == set(MAIN.commands)
    assert found.index("train") < found.index("report") < found.index("export") < found.index("predict")
    assert listed("data", cwd=tmp_path) == ["check", "stats", "augment", "errors", "cache"]


def test_every_command_has_a_line_of_its_own() -> None:
    for words, command in COMMANDS.items():
        first = command.help.partition("\n\n")[0]
        assert "\n" not in first, words
        assert len(first) <= _LINE, words
        assert first.endswith("."), words


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_example_can_be_parsed(words: tuple[str, ...]) -> None:
    example = COMMANDS[words].epilog
    assert example.startswith(f"Example: trainkit {' '.join(words)}")
    parse(shlex.split(example)[2:])


def test_examples_of_groups_can_be_parsed() -> None:
    for group in (MAIN, MAIN.commands["data"]):
        for one in group.epilog.removeprefix("Example: ").split(" && "):
            parse(shlex.split(one)[1:])


def test_an_example_that_is_wrong_would_be_found() -> None:
    with pytest.raises(Exception, match="--epoch"):
        parse(["train", "digits", "--epoch", "3"])
