"""The file that lets its owner attach to a hypervisor that runs: where it listens, and the secrets.

It lies in the host's folder of a run (RUN/<scheme>/<repeat>/<host>) or in the folder of `claimlab serve`,
with mode 0600, for as long as that hypervisor runs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from hypervisor.public.observation import OBSERVERS
from hypervisor.session.speakers import observers_secret
from launch.errors import UsageError
from launch.results import start_time
from launch.scenario.models import Scenario

ACCESS: Final = "hypervisor-access.json"


class HypervisorAccess(Struct, frozen=True):
    """What is in the file."""

    host: str
    scheme: str
    """"" for a hypervisor that serves alone."""
    repeat: int
    speed: float
    duration: float
    """Emulated seconds; 0 for as long as it is wanted."""
    endpoints: dict[str, str]
    control_secret: str
    """Hexadecimal, as the next."""
    observers_secret: str
    pid: int
    """Of whoever started it and will remove the file."""
    start_time: int | None


@dataclass(frozen=True, slots=True)
class RunName:
    """Which run on which host."""

    host: str
    scheme: str = ""
    repeat: int = 0


def let_attach(
    folder: Path, endpoints: dict[str, str], secret: bytes, name: RunName, scenario: Scenario
) -> None:
    """Whoever may read the file can watch this host, or attach a shell to it."""
    access = access_of(endpoints, secret, name, speed=scenario.speed, duration=scenario.duration)
    write_access(folder, access)


def access_of(
    endpoints: dict[str, str],
    control_secret: bytes,
    name: RunName,
    speed: float = 1.0,
    duration: float = 0.0,
) -> HypervisorAccess:
    """The access to a hypervisor that this process has started."""
    pid = os.getpid()
    return HypervisorAccess(
        host=name.host,
        scheme=name.scheme,
        repeat=name.repeat,
        speed=speed,
        duration=duration,
        endpoints=endpoints,
        control_secret=control_secret.hex(),
        observers_secret=observers_secret(control_secret).hex(),
        pid=pid,
        start_time=start_time(pid),
    )


def write_access(folder: Path, access: HypervisorAccess) -> None:
    """Put the file there, whole, readable by its owner only."""
    partial = folder / f"{ACCESS}.partial"
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(access), indent=2) + b"\n")
    partial.replace(folder / ACCESS)


def remove_access(folder: Path) -> None:
    """Its hypervisor has ended."""
    (folder / ACCESS).unlink(missing_ok=True)


def running_hosts(folder: Path) -> list[HypervisorAccess]:
    """The hypervisors of a run (or of a `serve`) that run now, by place; none is an empty list."""
    paths = [folder / ACCESS, *sorted(folder.glob(f"*/*/*/{ACCESS}"))]
    return [one for path in paths if (one := _read(path)) is not None and _lives(one)]


def _read(path: Path) -> HypervisorAccess | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=HypervisorAccess)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise UsageError(f"{path}: {error.strerror}: only its owner may read it") from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: {error}: not written by this version of claimlab") from error


def _lives(access: HypervisorAccess) -> bool:
    """A killed launcher leaves its file behind."""
    return access.start_time is not None and start_time(access.pid) == access.start_time


def observers_endpoint(access: HypervisorAccess) -> str:
    """Where observers connect."""
    return access.endpoints[OBSERVERS]
