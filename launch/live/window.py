"""The process of the live view: `python -m launch.live.window FOLDER FD`, started by `claimlab run --live`.

A process of its own, so that drawing takes nothing from the run and a fault of the view's ends the view only.
"""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from launch.live.app import LiveApp


def main(folder: str, descriptor: str) -> None:
    """Show what runs below `folder` until the connection `descriptor` is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher hears of it, and then closes the connection
    connection = Connection(int(descriptor))
    try:
        LiveApp(Path(folder), connection).run()
    finally:
        connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
