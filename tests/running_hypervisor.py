"""A real hypervisor process for tests, a plain synchronous client, and the replay of a journal."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import multiprocess

from hypervisor.core.host import Host, HostConfig
from hypervisor.journal import JournalReader
from hypervisor.process import ServeConfig, serve_process
from hypervisor.public.domctl import CDF_HVM, Created, CreateDomain, MaxMem, UnpauseDomain
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.observation import OBSERVERS, Snapshot
from hypervisor.public.protocol import Answer, Refused
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import PAGES_PER_MIB
from hypervisor.session.client import ClientSession, Happening
from hypervisor.session.speakers import observers_secret
from hypervisor.transport import Client, ipc_endpoints
from launch.check.states import States
from launch.live.observer import NotObservedError, Observer

HOST_KEY = b"a key only the tests know"
CONTROL = b"the control secret of tests"
TOOLSTACK = 77
"""Incarnation under which the tests' toolstack speaks."""
PATIENCE = 400.0
"""Real seconds after which something hangs: a bound for faults, and no measure of any machine's speed."""
PATIENCE_MS = int(1000 * PATIENCE)
QUIET_MS = 1000
"""Real milliseconds without a word after which a peer looks whether its connection is still one."""

context = multiprocess.get_context("forkserver")
context.set_forkserver_preload(["hypervisor.process", "hypervisor.edge"])


@dataclass
class Running:
    """A hypervisor process and its files."""

    process: Any
    config: ServeConfig
    endpoints: dict[str, str]

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def stop(self) -> dict[str, Any]:
        """End it as a launcher does; gives its stats."""
        os.kill(self.pid, signal.SIGTERM)
        self.process.join(PATIENCE)
        assert self.process.exitcode == 0
        assert self.config.stats is not None
        stats: dict[str, Any] = json.loads(self.config.stats.read_text())
        return stats

    def journal(self) -> JournalReader:
        """Its journal from the start."""
        assert self.config.journal is not None
        return JournalReader(self.config.journal.open("rb"))


@contextmanager
def running_hypervisor(
    mib: int = 256, roles: tuple[str, ...] = ("guests", "toolstacks"), **options: Any
) -> Iterator[Running]:
    """Serve a host with `mib` MiB for guests, at a socket for each role, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="claimlab-") as name:
        folder = Path(name)
        pages = mib * PAGES_PER_MIB
        host = HostConfig((pages + 8192,), dom0_pages=4096, xen_pages=4096)
        config = ServeConfig(
            **{
                "host": host,
                "release": "4.17",
                "endpoints": ipc_endpoints(folder / "s", roles),
                "host_key": HOST_KEY,
                "control_secret": CONTROL,
                "journal": folder / "journal",
                "ready": folder / "ready.json",
                "stats": folder / "stats.json",
                **options,
            }
        )
        process = context.Process(target=serve_process, args=(config,))
        process.start()
        try:
            endpoints = wait_for_json(folder / "ready.json", process)["endpoints"]
            yield Running(process, config, endpoints)
        finally:
            if process.is_alive():
                process.kill()
            process.join()


def wait_for_json(path: Path, process: Any) -> dict[str, Any]:
    """The content of a file that a process is about to write."""
    while not path.exists():
        process.join(0.01)
        assert process.exitcode is None, f"the process ended with {process.exitcode}"
    content: dict[str, Any] = json.loads(path.read_text())
    return content


class Peer:
    """A client without coroutines: says hello, asks, waits."""

    def __init__(self, endpoint: str) -> None:
        self.client = Client()
        self.dealer = self.client.connect(endpoint)
        self.session = ClientSession()
        self.happened: list[Happening] = []

    def flush(self) -> None:
        self.dealer.send(self.session.outgoing())

    def wait(self, wanted: Callable[[Happening], bool]) -> Happening:
        """The first happening like that, which is taken out.

        A connection that nobody answered for two seconds, because a process stood still, is a new one
        afterwards, and what was on its way is lost. The answer to a ping tells, and all is asked again.
        """
        quiet_ms = 0
        while True:
            for happening in self.happened:
                if wanted(happening):
                    self.happened.remove(happening)
                    return happening
            self.flush()
            if not self.client.wait(QUIET_MS):
                quiet_ms += QUIET_MS
                assert quiet_ms < PATIENCE_MS, "no word from the hypervisor"
                self.session.ping()
            for frame in self.dealer.receive():
                self.happened.extend(self.session.receive(frame))

    def hello(self, domid: int, incarnation: int, secret: bytes) -> Happening:
        self.session.hello(domid, incarnation, secret)
        return self.wait(lambda one: getattr(one, "domid", None) == domid)

    def call(self, domid: int, incarnation: int, *requests: Request) -> int:
        seq = self.session.call(domid, incarnation, requests)
        self.flush()
        return seq

    def outcome(self, domid: int, incarnation: int, seq: int) -> Happening:
        key = (domid, incarnation, seq)
        return self.wait(
            lambda one: isinstance(one, Answer | Refused) and (one.domid, one.incarnation, one.seq) == key
        )

    def ask(self, domid: int, incarnation: int, request: Request) -> Reply:
        """One request and its reply."""
        outcome = self.outcome(domid, incarnation, self.call(domid, incarnation, request))
        assert isinstance(outcome, Answer), outcome
        return outcome.replies[0]

    def close(self) -> None:
        self.client.close()


class ToolstackPeer(Peer):
    """A peer that speaks for the control domain."""

    def __init__(self, running: Running) -> None:
        super().__init__(running.endpoints["toolstacks"])
        self.hello(0, TOOLSTACK, CONTROL)

    def control(self, request: Request) -> Reply:
        return self.ask(0, TOOLSTACK, request)

    def build(self, pages: int, max_pages: int | None = None) -> Created:
        """A running HVM domain with `pages` pages at gfn 0 and up."""
        created = self.control(CreateDomain(flags=CDF_HVM)).value
        assert isinstance(created, Created)
        self.control(MaxMem(created.domid, 4 * (pages if max_pages is None else max_pages)))
        assert self.control(PopulatePhysmap(created.domid, ((0, pages),))).ret == pages
        self.control(UnpauseDomain(created.domid))
        return created


@contextmanager
def closing(peer: Peer) -> Iterator[Any]:
    try:
        yield peer
    finally:
        peer.close()


def observer(running: Running, secret: bytes = observers_secret(CONTROL)) -> Observer:
    """Who looks at a hypervisor with a socket for observers."""
    return Observer(running.endpoints[OBSERVERS], secret)


def look(eye: Observer) -> Snapshot:
    """The host as it is, however long the answer takes. NotObservedError when it is refused."""
    while True:
        try:
            return eye.snapshot()
        except NotObservedError as error:
            if "did not answer" not in str(error):
                raise


def replayed(reader: JournalReader, after: Callable[[Host], None] = lambda _: None) -> Host:
    """A fresh host driven through the journal, told after each step. EvidenceError where they differ."""
    states = States(reader, "journal")
    for _ in states.steps():
        after(states.host)
    return states.host
