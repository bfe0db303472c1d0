"""Guests as real processes, on a real hypervisor process."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import multiprocess
import pytest

from guests.config import ConstantSpec, GuestConfig, SineSpec
from guests.process import GuestProcess, guests_process, read_reports, report_path
from guests.report import GuestReport
from hypervisor.core.host import HostConfig
from hypervisor.edge import Clock, Edge, Identity
from hypervisor.process import ServeConfig, serve_process
from hypervisor.public.domctl import (
    CDF_HVM,
    Created,
    CreateDomain,
    DestroyDomain,
    DomainInfo,
    GetDomainInfo,
    MaxMem,
    UnpauseDomain,
)
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.units import PAGES_PER_MIB, Pages, pages_to_kib
from hypervisor.public.world import World
from hypervisor.public.xenstore import StoreWrite, memory_target_path
from hypervisor.transport import ipc_endpoints
from tests.running_hypervisor import PATIENCE

START = 2048
SPEED = 200.0
SPAWN = multiprocess.get_context("spawn")


class Halt:
    """A behaviour that no module has: it travels as an object."""

    def aim(self, target: Pages, current: Pages, now: float) -> Pages:
        return current


class Host:
    """A hypervisor process and dom0's connection to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        endpoints = ipc_endpoints(directory / "s", ("guests", "toolstacks"))
        pages = 256 * PAGES_PER_MIB
        ready = directory / "ready"
        self.config = ServeConfig(
            host=HostConfig((pages,), dom0_pages=16 * PAGES_PER_MIB, xen_pages=16 * PAGES_PER_MIB),
            release="4.17",
            endpoints=endpoints,
            host_key=b"k" * 32,
            control_secret=b"control",
            ready=ready,
        )
        self.hypervisor = SPAWN.Process(target=serve_process, args=(self.config,))
        self.hypervisor.start()
        try:
            wait_for(ready.exists)
        except BaseException:
            self.hypervisor.kill()
            raise
        self.epoch_ns = time.monotonic_ns()
        self.edge = Edge(endpoints["toolstacks"], Clock(SPEED, self.epoch_ns))
        self.world = self.edge.world(Identity(0, 77, b"control", "dom0"), random.Random(1))
        self.children: list[Any] = []

    def dom0(self, main: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine of the control domain to its end."""
        task = self.edge.start(main, self.world, "dom0")
        self.edge.run()
        task.result()

    def build(self, **changes: Any) -> GuestConfig:
        """A running domain of START pages, as its guest's configuration."""
        built: list[Created] = []

        async def main(world: World) -> None:
            created = (await world.hypercall(CreateDomain(flags=CDF_HVM))).value
            assert isinstance(created, Created)
            await world.hypercall(MaxMem(created.domid, pages_to_kib(4 * START)))
            await world.hypercall(PopulatePhysmap(created.domid, ((0, START),)))
            await world.hypercall(StoreWrite(memory_target_path(created.domid), str(pages_to_kib(START))))
            await world.hypercall(UnpauseDomain(created.domid))
            built.append(created)

        self.dom0(main)
        identity = {"domid": built[0].domid, "incarnation": built[0].incarnation, "secret": built[0].secret}
        defaults = {"workload": SineSpec(2 * START, START, 60.0), "tick": 1.0}
        return GuestConfig(**identity, static_max=4 * START, frames=((0, START),), **{**defaults, **changes})

    def tot_pages(self, domid: int) -> Pages:
        """The hypervisor's figure."""
        seen: list[Pages] = []

        async def main(world: World) -> None:
            info = (await world.hypercall(GetDomainInfo(domid))).value
            assert isinstance(info, DomainInfo)
            seen.append(info.tot_pages)

        self.dom0(main)
        return seen[0]

    def destroy(self, domid: int) -> None:
        async def main(world: World) -> None:
            assert (await world.hypercall(DestroyDomain(domid))).ret == 0

        self.dom0(main)

    def start(self, *guests: GuestConfig, **options: Any) -> Any:
        """A process that carries these guests."""
        process = GuestProcess(
            endpoint=self.config.endpoints["guests"],
            speed=SPEED,
            epoch_ns=self.epoch_ns,
            guests=guests,
            reports=self.directory,
            report_every=0.05,
        )
        child = SPAWN.Process(target=guests_process, args=(process,), kwargs=options)
        child.start()
        self.children.append(child)
        return child

    def report(self, guest: GuestConfig) -> GuestReport | None:
        """The report as it lies in the directory; None before the first one."""
        path = report_path(self.directory, guest.name)
        return (
            next(r for r in read_reports(self.directory) if r.domid == guest.domid) if path.exists() else None
        )

    def wait_for_report(self, guest: GuestConfig, holds: Callable[[GuestReport], bool]) -> GuestReport:
        """The first report for which it holds."""

        def look() -> bool:
            report = self.report(guest)
            return report is not None and holds(report)

        wait_for(look)
        report = self.report(guest)
        assert report is not None
        return report

    def close(self) -> None:
        self.edge.close()
        for process in (*self.children, self.hypervisor):
            process.kill()
            process.join()


def wait_for(holds: Callable[[], bool]) -> None:
    """Poll until it holds; the time is only there so that a fault cannot hang the suite."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


def test_one_process_carries_many_guests_and_reports_on_sigterm(host: Host) -> None:
    """Three guests of one process balloon on their own; SIGTERM leaves each one's final report."""
    guests = [host.build(seed=seed, in_flight=2, batch=2) for seed in range(3)]
    child = host.start(*guests)
    for guest in guests:
        host.wait_for_report(
            guest,
            lambda report: (
                min(report.populate_calls, report.decrease_calls) > 4
                and report.highest_pages > 2 * START > report.lowest_pages
            ),
        )
    child.terminate()
    child.join(PATIENCE)
    assert child.exitcode == 0
    for guest in guests:
        report = host.report(guest)
        assert report is not None
        assert (report.ending, report.initial_pages, report.crashed) == ("stopped", START, False)


def test_a_destroyed_guest_ends_quietly_and_its_sibling_goes_on(host: Host) -> None:
    """Destruction ends one guest as domain-gone with its report; the other one of the process lives."""
    doomed, other = host.build(), host.build()
    child = host.start(doomed, other)
    host.wait_for_report(doomed, lambda report: report.hypercalls > 4)
    os.kill(child.pid, signal.SIGSTOP)  # what it calls next, it calls too late
    host.destroy(doomed.domid)
    os.kill(child.pid, signal.SIGCONT)
    host.wait_for_report(doomed, lambda report: report.ending != "running")
    gone = host.report(doomed)
    assert gone is not None and gone.ending == "domain-gone"
    before = host.wait_for_report(other, lambda _: True)
    host.wait_for_report(other, lambda report: report.hypercalls > before.hypercalls)
    host.destroy(other.domid)
    child.join(PATIENCE)
    assert child.exitcode == 0


def test_a_killed_guest_leaves_its_last_report_and_its_pages(host: Host) -> None:
    """kill -9 leaves a whole report whose ending is `running`; the hypervisor keeps the domain's pages."""
    guest = host.build()
    child = host.start(guest)
    host.wait_for_report(guest, lambda report: report.hypercalls > 4)
    os.kill(child.pid, signal.SIGKILL)
    child.join(PATIENCE)
    report = host.report(guest)
    assert report is not None
    assert report.ending == "running"
    assert host.tot_pages(guest.domid) > 0
    host.destroy(guest.domid)


def test_an_idle_guests_books_agree_with_the_hypervisor(host: Host) -> None:
    """Once demand stands still, what the guest reports is what the hypervisor counts."""
    guest = host.build(workload=ConstantSpec(3000))
    host.start(guest)
    report = host.wait_for_report(guest, lambda report: report.current_pages == report.target_pages == 3300)
    assert (host.tot_pages(guest.domid), report.pages_refused) == (3300, 0)


def test_a_behaviour_defined_in_main_reaches_its_process(host: Host) -> None:
    """A class handed over beside the configuration is used by the guest that names it."""
    guest = host.build(behaviour="halt", workload=ConstantSpec(3000), swap=8000)
    host.start(guest, behaviours={"halt": Halt})
    report = host.wait_for_report(guest, lambda report: report.swapped_pages > 0)
    assert (report.current_pages, report.hypercalls) == (START, 0)


def test_an_impossible_guest_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A guest that cannot be made ends its process with 2 before anything was connected to."""
    config = GuestConfig(
        domid=1,
        incarnation=1,
        secret=b"",
        static_max=9,
        frames=(),
        workload=ConstantSpec(5),
        behaviour="idle",
    )
    process = GuestProcess(
        endpoint=f"ipc://{tmp_path}/nobody", speed=1.0, epoch_ns=0, guests=(config,), reports=tmp_path
    )
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(SystemExit) as ended:
            guests_process(process)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "unknown behaviour 'idle'" in line
    assert not list(tmp_path.glob("*.json"))


def test_a_report_is_plain_json(host: Host) -> None:
    """The file is one JSON object that any language can read."""
    guest = host.build()
    host.start(guest)
    host.wait_for_report(guest, lambda report: report.hypercalls > 0)
    plain = json.loads(report_path(host.directory, guest.name).read_text(encoding="utf-8"))
    assert plain["domid"] == guest.domid and plain["kind"] == "hvm"
