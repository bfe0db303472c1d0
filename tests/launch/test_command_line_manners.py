"""Completion, colours and documents: what holds for every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest

from launch.commands.table import COMMANDS, CommandTable
from tests.launch.cluster_runs import PATIENCE, claimlab

COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|4[0-7]|38|48)[;m]")


def completed(line: str, **environment: str) -> list[str]:
    """What bash is offered at the end of the line."""
    words = line.split(" ")
    variables = {
        "_CLAIMLAB_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = claimlab(env={**os.environ, **variables, **environment})
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split()


def test_completion_offers_commands_scenarios_and_schemes() -> None:
    """Commands by prefix, the built-in scenarios, the last scheme of a list, options."""
    assert completed("claimlab s") == [name for name in COMMANDS if name.startswith("s")]
    assert completed("claimlab run dyn") == ["dynamic-storm"]
    assert set(completed("claimlab run --scheme naive,cla")) == {
        "naive,claim",
        "naive,clamp",
        "naive,clamp-to-tot",
    }
    assert "--metrics" in completed("claimlab serve --me")


IMPORTED = """
import sys
from launch.cli import main
try: main(sys.argv[1:])
finally: assert not {"numpy", "scipy", "textual", "launch.commands.run"} & set(sys.modules)
"""


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        pytest.param((), {"_CLAIMLAB_COMPLETE": "complete_bash", "COMP_CWORD": "1"}, id="completion"),
        pytest.param(("--help",), {}, id="help"),
        pytest.param(("simulate", "--help"), {}, id="another command"),
    ],
)
def test_a_command_is_imported_to_run_it_only(arguments: tuple[str, ...], variables: dict[str, str]) -> None:
    """Single commands' heavy libraries stay away from completion, the list of commands and other commands."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments],
        env={**os.environ, "COMP_WORDS": "claimlab s", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "simulate" in done.stdout


def test_the_completion_script_can_be_had() -> None:
    """--show-completion prints what a shell has to run."""
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = claimlab("--show-completion", "bash", env=environment)
    assert done.returncode == 0 and "_CLAIMLAB_COMPLETE=complete_bash" in done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [("run", "--help"), ("scenarios",)])
def test_no_color_is_honoured(arguments: tuple[str, ...]) -> None:
    """On a terminal NO_COLOR takes every colour away; without it help has some."""
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    if "--help" in arguments:
        assert COLOUR.search(claimlab(*arguments, env=environment).stdout)
    plain = claimlab(*arguments, env={**environment, "NO_COLOR": "1"})
    assert plain.returncode == 0 and plain.stdout
    assert not COLOUR.search(plain.stdout)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_takes_json(name: str) -> None:
    """--json is among the options of every command (all print a table or a list), its help among theirs."""
    table: Any = CommandTable(name="claimlab")
    _, command, rest = table.resolve_command(None, [name, "--json"])
    assert rest == ["--json"]
    assert command.help.partition("\n")[0] == table.get_command(None, name).help != ""
    assert "--json" in [option for parameter in command.params for option in parameter.opts]
