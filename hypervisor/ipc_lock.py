"""Who has a Unix socket, by a file beside it: libzmq would take the path over from a running process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def lock_file(path: Path) -> Path:
    """Beside the socket."""
    return path.with_suffix(".lock")


def hold_ipc(path: Path) -> int | None:
    """Hold `path`'s lock file while this process lives: its descriptor, or None when another process does."""
    while True:
        descriptor = os.open(lock_file(path), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        # Who had it before may have removed the file between our opening and our locking it.
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)
