"""A real hypervisor process with real client processes: rounds, journal, deaths of domains, shutdown."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hypervisor.core.host import HostConfig
from hypervisor.edge import Clock, Edge, Identity
from hypervisor.history import HistoryReader, Invoked, Returned
from hypervisor.journal import NoteRecord, StepRecord
from hypervisor.process import ServeConfig, serve
from hypervisor.public.domctl import (
    DestroyDomain,
    DomainInfo,
    GetDomainInfo,
    PauseDomain,
    Physinfo,
    UnpauseDomain,
)
from hypervisor.public.memory import CurrentReservation, DecreaseReservation, PopulatePhysmap
from hypervisor.public.observation import OBSERVERS
from hypervisor.public.protocol import Answer, Notify, Refused, Welcome
from hypervisor.public.units import DOMID_SELF, VIRQ_DOM_EXC
from hypervisor.transport import EndpointError
from tests.hypervisor.parties import churn, guest_process, info, joined, start
from tests.running_hypervisor import (
    CONTROL,
    TOOLSTACK,
    Peer,
    Running,
    ToolstackPeer,
    closing,
    look,
    observer,
    replayed,
    running_hypervisor,
)


def test_guests_race_and_the_journal_replays(tmp_path: Path) -> None:
    """Real guest processes race; replaying the journal gives every reply again and the same books."""
    with (
        running_hypervisor(mib=32, roles=("guests", "toolstacks", OBSERVERS)) as running,
        closing(ToolstackPeer(running)) as toolstack,
        observer(running) as eye,
    ):
        built = [toolstack.build(1000) for _ in range(4)]
        for created in built:
            toolstack.control(PauseDomain(created.domid))  # parks their calls until all are there
        histories = [tmp_path / f"history-{number}" for number in range(4)]
        guests = [
            start(guest_process, running.endpoints["guests"], created, seed, histories[seed])
            for seed, created in enumerate(built)
        ]
        while len(look(eye).underway) < 2 * len(built):
            pass
        # In one Call: the parked calls of all are under way together, whoever gets the processor.
        begin = toolstack.call(0, TOOLSTACK, *(UnpauseDomain(created.domid) for created in built))
        assert isinstance(toolstack.outcome(0, TOOLSTACK, begin), Answer)
        assert [joined(guest) for guest in guests] == [0, 0, 0, 0]
        totals = [info(toolstack, created.domid).tot_pages for created in built]
        physinfo = toolstack.control(Physinfo()).value
        stats = running.stop()
        host = replayed(running.journal())
        assert stats["commit"] == stats["steps"] == host.commit
        assert [host.domains[created.domid].tot_pages for created in built] == totals
        assert physinfo.free_pages == host.heap.total_avail
        check_interleaving(running)
        for history in histories:
            check_history(running, history)


def check_interleaving(running: Running) -> None:
    """Operations of different callers overlap in commit order."""
    open_callers: dict[int, object] = {}
    overlaps = 0
    for record in running.journal().steps():
        open_callers[record.call] = record.caller
        overlaps += len(set(open_callers.values())) > 1
        if record.ret is not None:
            del open_callers[record.call]
    assert overlaps > 100
    assert not open_callers


def check_history(running: Running, path: Path) -> None:
    """Each invocation returned after it was made, with the commits that the journal has for its caller."""
    steps = running.journal().steps()
    lasts = {record.commit: record.ret for record in steps if record.ret is not None}
    invoked: dict[int, int] = {}
    returned = 0
    with path.open("rb") as file:
        for event in HistoryReader(file):
            if isinstance(event, Invoked):
                invoked[event.seq] = event.time
                continue
            assert isinstance(event, Returned) and event.error is None
            assert event.time > invoked.pop(event.seq)
            returned += 1
            for ret, first, last in event.replies:
                assert first <= last and lasts[last] == ret
    assert returned == 150 and not invoked


LONG = ((1, 60_000),)
"""Extents of a populate that takes that many steps."""


def test_a_long_populate_keeps_nobody_out() -> None:
    """While one caller's populate of many extents runs, another's requests are served between its steps."""
    with (
        running_hypervisor(mib=512) as running,
        closing(ToolstackPeer(running)) as toolstack,
        closing(ToolstackPeer(running)) as other,
    ):
        domid = toolstack.build(1, max_pages=100_000).domid
        other.hello(0, 78, CONTROL)
        # So many that somebody who is held up for seconds still finds one of them under way.
        toolstack.call(0, TOOLSTACK, *(PopulatePhysmap(domid, LONG), DecreaseReservation(domid, LONG)) * 8)
        inside = 0
        for _ in range(1000):
            reply = other.ask(0, 78, GetDomainInfo(domid))
            assert isinstance(reply.value, DomainInfo)
            inside += 1 < reply.value.tot_pages < 60_001
            if inside == 10:
                break
        assert inside == 10, "others are served between requests, and not between their steps"


def test_many_domains_share_a_process_and_a_connection() -> None:
    """One Edge drives the coroutines of several domains over one socket."""
    with running_hypervisor() as running, closing(ToolstackPeer(running)) as toolstack:
        built = [toolstack.build(1000) for _ in range(5)]
        edge = Edge(running.endpoints["guests"], Clock(10_000.0, time.monotonic_ns()))
        for number, created in enumerate(built):
            identity = Identity(created.domid, created.incarnation, created.secret)
            edge.start(churn, edge.world(identity, random.Random(number)), f"guest {number}")
        assert edge.run()
        edge.close()
        hellos = [r for r in running.journal() if isinstance(r, NoteRecord) and r.kind == "hello"]
        assert {r.fields["domid"] for r in hellos} == {0, *(created.domid for created in built)}


def test_a_toolstack_hears_of_a_death_and_the_dead_are_refused() -> None:
    """VIRQ_DOM_EXC reaches the listening toolstack; the dead domain's parked call ends as domain-gone."""
    with running_hypervisor() as running, closing(ToolstackPeer(running)) as toolstack:
        created = toolstack.build(10)
        toolstack.session.listen(0, TOOLSTACK, (VIRQ_DOM_EXC,))
        guest = Peer(running.endpoints["guests"])
        guest.hello(created.domid, created.incarnation, created.secret)
        toolstack.control(PauseDomain(created.domid))
        seq = guest.call(created.domid, created.incarnation, CurrentReservation(DOMID_SELF))
        guest.session.ping()
        guest.wait(lambda one: type(one).__name__ == "Pong")  # the call has been taken in, and parked
        toolstack.control(DestroyDomain(created.domid))
        event = toolstack.wait(lambda one: isinstance(one, Notify))
        assert isinstance(event, Notify) and event.event.domid == created.domid
        refused = guest.outcome(created.domid, created.incarnation, seq)
        assert isinstance(refused, Refused) and refused.error == "domain-gone"
        guest.close()
        assert running.stop()["unfinished"] == 0


@pytest.mark.rule("P10")
def test_a_death_leaves_the_turns_of_the_others_as_they_were() -> None:
    """Requests under way when a domain dies are carried out once each: none is left over at the end."""
    with running_hypervisor() as running:
        toolstack = ToolstackPeer(running)
        victim = toolstack.build(64)
        other = toolstack.build(64, max_pages=20_000)
        populate = PopulatePhysmap(other.domid, ((64, 15_000),))
        seqs = [toolstack.call(0, TOOLSTACK, request) for request in (DestroyDomain(victim.domid), populate)]
        for seq in seqs:
            assert isinstance(toolstack.outcome(0, TOOLSTACK, seq), Answer)
        toolstack.close()
        assert running.stop()["unfinished"] == 0


def test_a_stop_closes_the_books() -> None:
    """SIGTERM ends the process with exit code 0, an end record in the journal, and its stats written."""
    with running_hypervisor() as running, closing(ToolstackPeer(running)) as toolstack:
        assert isinstance(toolstack.hello(0, 5, CONTROL), Welcome)
        toolstack.control(Physinfo())
        stats = running.stop()
        records = list(running.journal())
        end = records[-1]
        assert isinstance(end, NoteRecord) and end.kind == "end"
        assert end.fields == stats
        assert len([r for r in records if isinstance(r, StepRecord)]) == stats["steps"] == 1


def test_the_journal_says_when_commits_were_done() -> None:
    """Clock notes follow the commits that they count, in seconds since the start."""
    with running_hypervisor() as running, closing(ToolstackPeer(running)) as toolstack:
        for _ in range(3):
            toolstack.control(Physinfo())
        running.stop()
        commit, last = 0, 0.0
        clocks = 0
        for record in running.journal():
            if isinstance(record, StepRecord):
                commit = record.commit
            elif record.kind == "clock":
                clocks += 1
                assert record.fields["commit"] == commit
                assert last < record.fields["s"] < 3600
                last = record.fields["s"]
        assert 1 <= clocks <= 3


def test_a_second_hypervisor_on_the_same_sockets_is_refused(tmp_path: Path) -> None:
    """An address in use ends the second process before it wrote anything; the first one serves on."""
    with running_hypervisor() as running, closing(ToolstackPeer(running)) as toolstack:
        config = ServeConfig(
            host=HostConfig((4096 * 8,), dom0_pages=4096, xen_pages=4096),
            release="4.17",
            endpoints=running.endpoints,
            host_key=b"key",
            control_secret=b"secret",
            journal=tmp_path / "journal",
        )
        with pytest.raises(EndpointError, match="in use"):
            serve(config, lambda: True)
        assert not (tmp_path / "journal").exists()
        with pytest.raises(KeyError, match="use one of"):
            serve(replace(config, release="5.0"), lambda: True)
        toolstack.control(Physinfo())
