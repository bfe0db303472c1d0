"""What goes wrong with addresses and disks, as errors that the user can put right."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from hypervisor.transport import EndpointError
from launch.errors import UsageError


@contextmanager
def curable(folder: Path) -> Generator[None]:
    """Addresses that cannot be bound and full disks, where `folder` is, as UsageError."""
    try:
        yield
    except EndpointError as error:
        raise UsageError(f"{error} (sockets are made in TMPDIR)") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise  # a fault of our own
        raise UsageError(f"{folder}: {error.strerror}: make room, or choose another --out") from error
