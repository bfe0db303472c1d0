"""Snapshots of whatever hosts of a run are up: they come and go with schemes and repeats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hypervisor.public.observation import Snapshot
from hypervisor.transport import EndpointError
from launch.live.access import HypervisorAccess, observers_endpoint, running_hosts
from launch.live.observer import NotObservedError, Observer


@dataclass(frozen=True, slots=True)
class Sight:
    """A host that runs, and what was seen of it; None when it did not answer."""

    access: HypervisorAccess
    snapshot: Snapshot | None


class Watcher:
    """Looks at every host of a folder. One thread's own; keeps its connections between two looks."""

    def __init__(self, folder: Path, patience_ms: int) -> None:
        self._folder = folder
        self._patience_ms = patience_ms
        self._observers: dict[str, Observer] = {}

    def look(self) -> list[Sight]:
        """All hosts that run now."""
        hosts = running_hosts(self._folder)
        self._forget({observers_endpoint(one) for one in hosts})
        return [Sight(one, self._see(one)) for one in hosts]

    def _see(self, access: HypervisorAccess) -> Snapshot | None:
        endpoint = observers_endpoint(access)
        try:
            if endpoint not in self._observers:
                self._observers[endpoint] = Observer(endpoint, bytes.fromhex(access.observers_secret))
            return self._observers[endpoint].snapshot(self._patience_ms)
        except (NotObservedError, EndpointError):
            return None

    def _forget(self, wanted: set[str]) -> None:
        for endpoint in [one for one in self._observers if one not in wanted]:
            self._observers.pop(endpoint).close()

    def close(self) -> None:
        """Disconnect."""
        self._forget(set())
