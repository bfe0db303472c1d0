"""The command `claimlab`. Exit codes: 0 valid, 1 an invariant broke or a recording differs, 2 bad usage.

`check` also leaves with 2 when it can tell neither, and so does every command that breaks off with an error.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from guests.traces.errors import TraceError
from launch.commands.table import COMMANDS, CommandTable
from launch.errors import UsageError, one_line

BAD_USAGE = 2


class Interrupted(BaseException):
    """SIGINT or SIGTERM, as an exception: whoever started processes stops them on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


app = typer.Typer(
    cls=CommandTable,
    pretty_exceptions_enable=False,
    help="Claims (XENMEM_claim_pages) against max_pages clamping: real processes race for one host's memory.",
)


def _command_line_error() -> type[Exception]:
    """The class of all of typer's complaints about a command line: an ancestor of the one that it exports."""
    bases = (base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
    return next(base for base in bases if issubclass(base, Exception))


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"claimlab {version('claimlab')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def claimlab(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and leave.")
    ] = False,
) -> None:
    """Claims against clamping on one emulated Xen host."""
    if context.invoked_subcommand is None:
        raise UsageError(
            f"claimlab: no command: name one of {', '.join(COMMANDS)} (claimlab --help tells more)"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; what the user can put right is one line on standard error and exit code 2."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    _spare_children_the_script()
    try:
        code = app(
            args=None if arguments is None else list(arguments), prog_name="claimlab", standalone_mode=False
        )
    except (UsageError, TraceError) as error:
        return _complain(str(error))
    except Interrupted as interrupted:
        print("interrupted: every process of the run has been stopped", file=sys.stderr)
        return 128 + interrupted.number
    except _command_line_error() as error:
        return _complain(f"claimlab: {one_line([_message(error)])} (claimlab --help tells more)")
    except Exception:  # Python would leave with 1, which means that something was found to be wrong
        traceback.print_exc()
        return _complain(
            "claimlab: broken off by an error in claimlab, or in a plug-in: nothing is concluded"
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if isinstance(code, int) else 0


def _spare_children_the_script() -> None:
    """A child process runs its parent's script again, unless that is the `__main__` of a package.

    The script `claimlab` is launch's in all but name: 2 ms and a MiB for each of a thousand guests.
    """
    script = sys.modules["__main__"]
    if script.__spec__ is None and Path(getattr(script, "__file__", None) or "").name == "claimlab":
        script.__spec__ = find_spec("launch.__main__")


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """Once: a second Ctrl-C must not keep the processes from being stopped."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise Interrupted(number)


def _message(error: BaseException) -> str:
    """The text without the usage lines that typer prints around it."""
    formatted = getattr(error, "format_message", None)
    return str(formatted()) if callable(formatted) else str(error)


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return BAD_USAGE
