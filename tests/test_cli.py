"""The front door: every command explains itself with an example, and says plainly what is wrong."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer.main

from fraudflow.cli import app

ROOT = Path(__file__).parents[1]
EXAMPLE = re.compile(r"Example: `(.+?)`")


def commands(group: click.Group, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    found: dict[tuple[str, ...], click.Command] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, (*path, name))  # type: ignore[arg-type]
        else:
            found[*path, name] = command
    return found


COMMANDS = commands(typer.main.get_command(app))  # type: ignore[arg-type]


def fraudflow(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fraudflow", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_commands_are_there() -> None:
    wanted = {("demo",), ("simulate",), ("topics", "create"), ("rules", "check"), ("evaluate",)}
    assert wanted <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_that_it_can_parse(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    examples = EXAMPLE.findall(re.sub(r"\s+", " ", command.help or ""))
    assert examples, f"{' '.join(path)} has no example"
    for example in examples:
        words = [word for word in shlex.split(example) if not word.startswith("FRAUD_")]
        start = 3 + len(path)
        assert words[:start] == ["python", "-m", "fraudflow", *path]
        command.make_context(path[-1], words[start:])


def test_help_is_told_without_loading_what_the_commands_need() -> None:
    heavy = "river", "plotly", "bytewax", "pyarrow"
    code = f"import sys, fraudflow.cli; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_shows_the_example() -> None:
    done = fraudflow("simulate", "--help")
    assert done.returncode == 0
    assert "python -m fraudflow simulate --format card" in done.stdout


def test_an_unknown_setting_is_one_line_and_exit_code_2() -> None:
    done = fraudflow("simulate", FRAUD_KAFKA_BOTSTRAP_SERVERS="x:1")
    assert done.returncode == 2
    assert "FRAUD_KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--rate", "200000"), ("--rate", "0"), ("--label-delay", "soon"), ("--scenario", "arson"), ("--start", "noon")],
    ids=" ".join,
)
def test_a_wrong_option_is_told_with_what_is_wanted(arguments: tuple[str, str]) -> None:
    done = fraudflow("simulate", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "wanted" in done.stderr or "is not one of" in done.stderr
