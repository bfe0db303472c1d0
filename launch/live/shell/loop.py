"""The prompt of `claimlab shell`: line editing, history and completion of the standard library's cmd."""

from __future__ import annotations

import cmd
import sys
from collections.abc import Callable

from launch.cluster.control import Control
from launch.live.shell.answer import CommandFailedError, Shown
from launch.live.shell.table import COMMANDS, carry_out, summaries

LEAVE = ("quit", "exit", "EOF")


class Shell(cmd.Cmd):
    """Reads lines until the user leaves. A command that fails is one line, and the shell goes on."""

    def __init__(self, control: Control, prompt: str, show: Callable[[Shown], None]) -> None:
        super().__init__()
        self.prompt = prompt
        self._control = control
        self._show = show
        self.failed = False
        """Some command did."""

    def onecmd(self, line: str) -> bool:
        """Carry one line out; True to leave."""
        words = line.split()
        if not words:
            return False
        if words[0] in LEAVE:
            if words[0] == "EOF":
                print()
            return True
        if words[0] in ("help", "?"):
            print("\n".join([*summaries(), "  help, quit"]))
            return False
        try:
            self._show(carry_out(self._control, line))
        except CommandFailedError as error:
            self.failed = True
            print(error, file=sys.stderr)
        return False

    def completenames(self, text: str, *ignored: object) -> list[str]:
        """Names of commands."""
        return [name for name in (*COMMANDS, "help", "quit") if name.startswith(text)]
