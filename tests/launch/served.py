"""A real `claimlab serve` for tests of what attaches to it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.launch.cluster_runs import PATIENCE


@contextmanager
def serving(*arguments: object) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Its folder (of a short name, mode 0700) and what it told; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="claimlab-") as folder:
        command = [sys.executable, "-m", "launch", "serve", "--dir", folder, "--json", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            yield Path(folder), json.loads(line)
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
