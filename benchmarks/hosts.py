"""A hypervisor process with running domains, for clients that only measure."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import multiprocess

from hypervisor.core.host import HostConfig
from hypervisor.process import ServeConfig, serve_process
from hypervisor.public.domctl import CDF_HAP, CDF_HVM, Created, CreateDomain, MaxMem, UnpauseDomain
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.protocol import Answer
from hypervisor.public.requests import Reply, Request
from hypervisor.public.xenstore import StoreWrite, memory_target_path
from hypervisor.session.client import ClientSession
from hypervisor.transport import Client, ipc_endpoints
from launch.cluster.crew import PRELOAD, START_METHOD

CONTROL_SECRET: Final = b"the control secret of benchmarks"
HOST_KEY: Final = b"a key only the benchmarks know"
PATIENCE_MS: Final = 30_000
RELEASE: Final = "4.12"
"""The last one with tmem, of which most of the recorded calls are."""
GUEST_PAGES: Final = 2048
"""Pages of a domain when its client begins, in extents of 2 MiB from gfn 0 on."""
ROOM: Final = 16_384
"""Pages that a domain may take beyond these."""

context: Any = multiprocess.get_context(START_METHOD)
# One fork server for all that is measured, the one that a launcher has.
context.set_forkserver_preload([*PRELOAD, "benchmarks.bare", "benchmarks.clients", "benchmarks.hostile"])


@dataclass(frozen=True)
class Identity:
    """What a client needs to speak as a domain."""

    domid: int
    incarnation: int
    secret: bytes


@dataclass(frozen=True)
class Served:
    """A hypervisor process being measured."""

    pid: int
    guests: str
    """The guests' endpoint."""
    identities: tuple[Identity, ...]
    control: Control


class Control:
    """A toolstack that asks one thing at a time."""

    def __init__(self, endpoint: str) -> None:
        self._client = Client()
        self._dealer = self._client.connect(endpoint)
        self._session = ClientSession()
        self._session.hello(0, 1, CONTROL_SECRET)

    def ask(self, request: Request) -> Reply:
        """The reply. RuntimeError when there is none."""
        seq = self._session.call(0, 1, (request,))
        while True:
            self._dealer.send(self._session.outgoing())
            if not self._client.wait(PATIENCE_MS):
                raise RuntimeError("no word from the hypervisor")
            for frame in self._dealer.receive():
                for happened in self._session.receive(frame):
                    if isinstance(happened, Answer) and happened.seq == seq:
                        return happened.replies[0]

    def build(self) -> Identity:
        """A running HVM domain of `GUEST_PAGES` with room for more."""
        created = self.ask(CreateDomain(flags=CDF_HVM | CDF_HAP)).value
        assert isinstance(created, Created)
        self.ask(MaxMem(created.domid, 4 * (GUEST_PAGES + ROOM)))
        self.ask(PopulatePhysmap(created.domid, ((0, GUEST_PAGES >> 9),), 9))
        self.ask(StoreWrite(memory_target_path(created.domid), str(4 * GUEST_PAGES)))
        self.ask(UnpauseDomain(created.domid))
        return Identity(created.domid, created.incarnation, created.secret)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


def host_config(domains: int) -> HostConfig:
    """A host with room for `domains` domains that take all they may."""
    return HostConfig((max(1 << 20, (1 << 18) + domains * (GUEST_PAGES + ROOM)),), tmem=True)


@contextmanager
def served(domains: int, recording: bool = True, folder: Path | None = None) -> Generator[Served]:
    """Serve a host with so many running domains until the block ends. `folder` keeps the journal."""
    with tempfile.TemporaryDirectory(prefix="claimlab-") as name:
        own = Path(name)
        config = ServeConfig(
            host=host_config(domains),
            release=RELEASE,
            endpoints=ipc_endpoints(own / "s", ("guests", "toolstacks")),
            host_key=HOST_KEY,
            control_secret=CONTROL_SECRET,
            journal=(folder or own) / "journal.msgpack" if recording else None,
            ready=own / "ready.json",
        )
        process = context.Process(target=serve_process, args=(config,))
        process.start()
        control = Control(config.endpoints["toolstacks"])
        try:
            identities = tuple(control.build() for _ in range(domains))
            yield Served(process.pid, config.endpoints["guests"], identities, control)
        finally:
            control.close()
            end(process)


def end(process: Any) -> None:
    """Stop a process of ours as a launcher does."""
    process.terminate()
    process.join(PATIENCE_MS / 1000)
    if process.is_alive():
        process.kill()
        process.join()


@contextmanager
def piped(target: Callable[..., None], told: Iterable[tuple[Any, ...]]) -> Generator[list[Any]]:
    """A process `target(pipe, *arguments)` for each entry; our ends of the pipes, once all have come up."""
    processes: list[Any] = []
    pipes: list[Any] = []
    try:
        for arguments in told:
            ours, theirs = context.Pipe()
            processes.append(context.Process(target=target, args=(theirs, *arguments)))
            processes[-1].start()
            theirs.close()
            pipes.append(ours)
        for pipe in pipes:
            pipe.recv()
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(PATIENCE_MS / 1000)
            end(process)
