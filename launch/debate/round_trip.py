"""What a hypercall takes on this machine now: a hypervisor process is asked by this one, and leaves again."""

from __future__ import annotations

import json
import secrets
import tempfile
from pathlib import Path
from typing import Final

from tenacity import RetryError, Retrying, retry_if_not_result, stop_after_delay, wait_fixed

from hypervisor.core.host import HostConfig
from hypervisor.process import ServeConfig, serve_process
from hypervisor.public.units import Seconds
from hypervisor.transport import ipc_endpoints
from launch.cluster.control import Control, ControlLostError, measure_round_trip
from launch.cluster.crew import Crew
from launch.curable import curable
from launch.errors import UsageError
from launch.results import SOCKETS_PREFIX

READY_SECONDS: Final = 60.0
"""Real seconds for the hypervisor to come up."""
RAM: Final = 262_144
"""Pages of a host that nobody lives on."""


def round_trip() -> Seconds:
    """Median of real seconds of a hypercall's round trip between two processes. Takes a second or two.

    UsageError when the hypervisor does not come up or answer.
    """
    with tempfile.TemporaryDirectory(prefix=SOCKETS_PREFIX) as name:
        folder = Path(name)
        with curable(folder), Crew(folder, lambda _role, _pid: None) as crew:
            return _measured(crew, folder)


def _measured(crew: Crew, folder: Path) -> Seconds:
    config = ServeConfig(
        host=HostConfig((RAM,), 0, 0),
        release="4.17",
        endpoints=ipc_endpoints(folder, ("guests", "toolstacks")),
        host_key=secrets.token_bytes(32),
        control_secret=secrets.token_bytes(32),
        ready=folder / "ready.json",
    )
    member = crew.start("hypervisor", serve_process, config)
    try:
        Retrying(
            retry=retry_if_not_result(bool), stop=stop_after_delay(READY_SECONDS), wait=wait_fixed(0.005)
        )(lambda: (folder / "ready.json").exists() or not member.alive)
        endpoints = json.loads((folder / "ready.json").read_text(encoding="utf-8"))["endpoints"]
        control = Control(endpoints["toolstacks"], config.control_secret)
        return control.run(measure_round_trip, lambda: not member.alive)
    except (RetryError, OSError, ControlLostError) as error:
        text = f"no round trip could be measured ({member.ending()}): give one with --delay"
        raise UsageError(text) from error
