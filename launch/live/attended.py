"""`--live`: a view on the terminal beside the run, or plain lines where there is no terminal."""

from __future__ import annotations

import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from launch.live.lines import progress_lines
from launch.live.steering import UNATTENDED, Steering

Say = Callable[[str], None]
LEAVE_SECONDS: Final = 10.0
"""Real seconds that the view has to put the terminal back before it is killed."""
LEAVE_SCREEN: Final = "\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1003l\x1b[?1006l"
"""Back to the main screen, cursor on, mouse off: what a view that had to be killed has left undone."""


@contextmanager
def attended(live: bool, folder: Path, say: Say) -> Generator[tuple[Steering, Say]]:
    """Steering for the run in the block, and what it is to say its progress with."""
    if not live:
        yield UNATTENDED, say
    elif sys.stdin.isatty() and sys.stderr.isatty():
        with _window(folder, say) as pair:
            yield pair
    else:
        with progress_lines(folder, say):
            yield UNATTENDED, say


@contextmanager
def _window(folder: Path, say: Say) -> Generator[tuple[Steering, Say]]:
    ours, theirs = socket.socketpair()
    terminal = termios.tcgetattr(sys.stdin)
    with theirs:
        command = [sys.executable, "-m", "launch.live.window", str(folder), str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
    connection = Connection(ours.detach())
    steering = Steering(connection)

    def tell(text: str) -> None:
        if not steering.say(text):
            say(text)

    try:
        yield steering, tell
    finally:
        steering.close()
        _leave(process)
        with suppress(termios.error):
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, terminal)


def _leave(process: subprocess.Popen[bytes]) -> None:
    """It leaves by itself once its connection is closed."""
    try:
        process.wait(LEAVE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.returncode:
        print(LEAVE_SCREEN, end="", file=sys.stderr)
        print(f"the live view ended with exit code {process.returncode}; the run did not", file=sys.stderr)
