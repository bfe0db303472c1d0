"""`claimlab serve`: one hypervisor in this process, for guests and toolstacks in any language."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Final

from hypervisor.process import ServeConfig
from hypervisor.process import serve as serve_host
from hypervisor.public.observation import OBSERVERS
from hypervisor.transport import EndpointError, ipc_endpoints, tcp_endpoints
from launch.cluster.host_config import host_config
from launch.errors import UsageError
from launch.live.access import RunName, access_of, remove_access, write_access
from launch.live.metrics import LOOPBACK, Metrics, metrics_served
from launch.scenario.load import Loaded

ROLES: Final = ("guests", "toolstacks", OBSERVERS)
SECRET_FILE: Final = "control-secret"
JOURNAL: Final = "journal.msgpack"


def serve(
    loaded: Loaded,
    directory: Path | None,
    tcp: str | None,
    as_json: bool,
    metrics: Metrics = (None, LOOPBACK),
) -> int:
    """Serve until SIGINT or SIGTERM; 0. Meanwhile its secrets are in files only their owner can read.

    Raises `UsageError` when an address or the folder cannot be used.
    """
    if directory is not None:
        return _serve(loaded, directory, tcp, as_json, metrics)
    folder = Path(tempfile.mkdtemp(prefix="claimlab-"))
    try:
        return _serve(loaded, folder, tcp, as_json, metrics)
    except UsageError:
        shutil.rmtree(folder, ignore_errors=True)  # ours, and nobody was told of it
        raise


def _serve(loaded: Loaded, folder: Path, tcp: str | None, as_json: bool, metrics: Metrics) -> int:
    try:
        endpoints = ipc_endpoints(folder, ROLES)  # checks the folder, also where tcp is used
        if tcp is not None:
            endpoints = tcp_endpoints(dict.fromkeys(ROLES, 0), tcp)
        journal = _fresh(folder / JOURNAL)
        secret = secrets.token_bytes(32)
        config = ServeConfig(
            host=host_config(loaded.scenario.host),
            release=loaded.scenario.release,
            endpoints=endpoints,
            host_key=secrets.token_bytes(32),
            control_secret=secret,
            journal=journal,
            ready=folder / "hypervisor-ready.json",
            stats=folder / "hypervisor.json",
        )
        with metrics_served(folder, *metrics) as url:
            attended = _Attended(folder, secret, loaded.scenario.host.name, url, as_json)
            try:
                serve_host(config, attended)
            finally:
                attended.end()
    except EndpointError as error:
        raise UsageError(str(error)) from error
    (folder / SECRET_FILE).unlink(missing_ok=True)
    return 0


class _Attended:
    """Somebody at the terminal: is told once where to connect, and ends it with Ctrl-C or SIGTERM."""

    def __init__(self, folder: Path, secret: bytes, host: str, metrics: str | None, as_json: bool) -> None:
        self._folder = folder
        self._secret = secret
        self._host = host
        self._metrics = metrics
        self._as_json = as_json
        self._told = False
        self._stopping = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def __call__(self) -> bool:
        """Asked by the hypervisor between its rounds: time to stop?"""
        if not self._told:
            self._told = True
            _write_secret(self._folder, self._secret)
            ready = json.loads((self._folder / "hypervisor-ready.json").read_text(encoding="utf-8"))
            write_access(self._folder, access_of(ready["endpoints"], self._secret, RunName(self._host)))
            _tell(self._folder, ready["endpoints"], self._metrics, self._as_json)
        return self._stopping

    def end(self) -> None:
        """Take back what was told; a folder that another hypervisor has is left as it is."""
        if self._told:
            remove_access(self._folder)


def _fresh(journal: Path) -> Path:
    if journal.exists():
        raise UsageError(f"{journal}: a running or an earlier hypervisor's: name another folder with --dir")
    return journal


def _write_secret(folder: Path, secret: bytes) -> None:
    (folder / SECRET_FILE).unlink(missing_ok=True)  # an earlier one may be readable by others, or a link
    descriptor = os.open(folder / SECRET_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secret.hex() + "\n")


def _tell(folder: Path, endpoints: dict[str, str], metrics: str | None, as_json: bool) -> None:
    told = {**endpoints, "control_secret_file": str(folder / SECRET_FILE), "journal": str(folder / JOURNAL)}
    if metrics is not None:
        told["metrics"] = metrics
    if as_json:
        print(json.dumps(told), flush=True)
        return
    for name, value in told.items():
        print(f"{name.replace('_', ' ')}: {value}", flush=True)
    print("stop with Ctrl-C", file=sys.stderr, flush=True)
