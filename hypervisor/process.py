"""The hypervisor process: what it is told, what it is made of, and how it starts and ends."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from hypervisor.core.host import Host, HostConfig, new_host
from hypervisor.core.machine import Machine
from hypervisor.core.releases import release
from hypervisor.edge import Clock, SharedEpoch, stop_on_sigterm
from hypervisor.journal import JournalWriter
from hypervisor.mapped_file import MappedFile
from hypervisor.observatory import Observatory
from hypervisor.public.observation import OBSERVERS
from hypervisor.public.units import DomId
from hypervisor.ready import announce, write_json
from hypervisor.rounds import Hypervisor, monotonic_ms
from hypervisor.session.abuse import MOST_ABUSES, Abuse
from hypervisor.session.server import ServerSession
from hypervisor.session.unread import UNREAD_BYTES
from hypervisor.transport import Server

GARBAGE: Final = 10_000
"""Objects more than before that make the collector look: Calls under way alone are more than the usual 700.
Next to nothing here is part of a cycle, and the passes took 6 % of the time."""


@dataclass(frozen=True)
class ServeConfig:
    """Everything a hypervisor process is told at start. It draws no random number of its own."""

    host: HostConfig
    release: str
    endpoints: dict[str, str]
    """{"guests": address, "toolstacks": address}, and "observers" for a host that may be watched."""
    host_key: bytes
    """16 to 64 random bytes, from which every domain's secret follows."""
    control_secret: bytes
    """What a toolstack says hello with."""
    journal: Path | None = None
    ready: Path | None = None
    """Written once clients can connect: {"pid", "release", "endpoints"} as JSON."""
    stats: Path | None = None
    """Written at the end: see `hypervisor.rounds.Hypervisor.stats`."""
    credits: int = 64
    lease_ms: int = 2000
    """Real milliseconds; 0 switches leases off."""
    unread_bytes: int = UNREAD_BYTES
    """Bytes of answers that a guest may leave unread, and one answer more (up to 16 MiB: 1024 texts of 4096
    characters; for a PV domain 5 bytes a page). Beyond it the Calls of this guest wait, and nobody else's,
    until it reads. A toolstack's likewise. 0 is no bound. docs/performance.md has all bounds."""
    most_abuses: int = MOST_ABUSES
    """Abusive messages of a connection within a tenth of a second before the rest goes unread."""
    speed: float = 1.0
    """Emulated seconds per real second: the journal's clock shows emulated time."""
    epoch_ns: int | SharedEpoch | None = None
    """The moment at which emulated time is 0 (`hypervisor.edge.Clock`); None is the process's start."""


def liveness(host: Host) -> Callable[[DomId, int], bool]:
    """The session's view of the host: does that very domain exist, and is it not dying?"""
    domains = host.domains

    def is_alive(domid: DomId, incarnation: int) -> bool:
        domain = domains.get(domid)
        return domain is not None and domain.incarnation == incarnation and not domain.is_dying

    return is_alive


def serve(config: ServeConfig, stop: Callable[[], bool]) -> dict[str, Any]:
    """Run a hypervisor until `stop()`; gives its stats.

    Raises `EndpointError` when an address cannot be used, KeyError for an unknown release and
    ValueError for an impossible host; FileExistsError when the journal is there already.
    """
    semantics = release(config.release)
    server = Server(config.endpoints, unattended=(OBSERVERS,))
    try:
        machine = Machine(new_host(config.host, semantics))
        session = ServerSession(
            host_key=config.host_key,
            control_secret=config.control_secret,
            is_alive=liveness(machine.host),
            release=config.release,
            credits=config.credits,
            lease_ms=config.lease_ms,
            unread_bytes=config.unread_bytes,
        )
        session.abuse = Abuse(config.most_abuses)
        journal = open_journal(config)
        epoch = time.monotonic_ns() if config.epoch_ns is None else config.epoch_ns
        clock = Clock(config.speed, epoch).now
        observatory = Observatory(machine, session, server, config.control_secret, clock)
        hypervisor = Hypervisor(machine, session, server, journal, clock, observatory)
        gc.freeze()  # the host stays: the collector need not look at it again and again
        gc.set_threshold(GARBAGE)
        announce(config.ready, config.release, server.endpoints)
        try:
            hypervisor.run(stop)
        finally:
            if journal is not None:
                journal.close()
        stats = hypervisor.stats()
    finally:
        server.close()
    if config.stats is not None:
        write_json(config.stats, stats)
    return stats


def open_journal(config: ServeConfig) -> JournalWriter | None:
    """The journal the config asks for, its header holding what a replay needs."""
    if config.journal is None:
        return None
    header = {
        "release": config.release,
        "host": msgspec.to_builtins(config.host),
        "started_ms": monotonic_ms(),
        "pid": os.getpid(),
    }
    return JournalWriter(MappedFile(config.journal), header)


def serve_process(config: ServeConfig) -> None:
    """Main function of a hypervisor process: serves until SIGTERM. SIGINT is left to the launcher."""
    serve(config, stop_on_sigterm())
