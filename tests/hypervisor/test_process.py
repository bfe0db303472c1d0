"""A real hypervisor process with real client processes: rounds, journal, kills, reconnects, shutdown."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hypervisor.core.host import HostConfig
from hypervisor.edge import Clock, Edge, Identity, run_party
from hypervisor.history import HistoryReader, HistoryWriter, Invoked, Returned
from hypervisor.journal import NoteRecord, StepRecord
from hypervisor.process import ServeConfig, serve
from hypervisor.public.domctl import (
    Created,
    DestroyDomain,
    DomainInfo,
    GetDomainInfo,
    PauseDomain,
    Physinfo,
    UnpauseDomain,
)
from hypervisor.public.memory import CurrentReservation, DecreaseReservation, PopulatePhysmap
from hypervisor.public.protocol import Answer, Notify, Refused, Welcome
from hypervisor.public.requests import Reply
from hypervisor.public.units import DOMID_SELF, VIRQ_DOM_EXC
from hypervisor.public.world import IndefiniteError, World
from hypervisor.transport import EndpointError
from tests.running_hypervisor import (
    CONTROL,
    PATIENCE_MS,
    TOOLSTACK,
    Peer,
    Running,
    ToolstackPeer,
    closing,
    context,
    replayed,
    running_hypervisor,
)


def info(toolstack: ToolstackPeer, domid: int) -> DomainInfo:
    value = toolstack.control(GetDomainInfo(domid)).value
    assert isinstance(value, DomainInfo)
    return value


async def churn(world: World) -> None:
    """Give pages back and take them again, several calls in flight."""
    for _ in range(50):
        first = world.rng.randrange(0, 900)
        extents = ((first, 64),)
        down = world.hypercall(DecreaseReservation(DOMID_SELF, extents))
        up = world.hypercall(PopulatePhysmap(DOMID_SELF, extents))
        assert (await down).ret >= 0 and (await up).ret >= 0
        await world.multicall((CurrentReservation(DOMID_SELF), PopulatePhysmap(DOMID_SELF, extents)))
        await world.sleep(1.0)


def guest_process(endpoint: str, created: Created, seed: int, history: Path | None) -> None:
    """Main function of a guest's process."""
    identity = Identity(created.domid, created.incarnation, created.secret, f"guest {seed}")
    sink = None
    if history is not None:
        sink = HistoryWriter(history.open("xb"), {"party": identity.name}, time.monotonic_ns)
    clock = Clock(10_000.0, time.monotonic_ns())
    run_party(churn, endpoint=endpoint, identity=identity, clock=clock, seed=seed, history=sink)


async def forever(world: World) -> None:
    while True:
        await world.hypercall(CurrentReservation(DOMID_SELF))


def busy_process(endpoint: str, created: Created) -> None:
    """A guest that never ends by itself."""
    identity = Identity(created.domid, created.incarnation, created.secret)
    run_party(forever, endpoint=endpoint, identity=identity, clock=Clock(1.0, 0), seed=1)


def start(main: Any, *args: Any) -> Any:
    process = context.Process(target=main, args=args, daemon=True)
    process.start()
    return process


def joined(process: Any) -> int | None:
    process.join(PATIENCE_MS / 1000)
    code: int | None = process.exitcode
    return code


def test_guests_race_and_the_journal_replays(tmp_path: Path) -> None:
    """Real guest processes race; replaying the journal gives every reply again and the same books."""
    with running_hypervisor(mib=32) as running, closing(ToolstackPeer(running)) as toolstack:
        built = [toolstack.build(1000) for _ in range(4)]
        for created in built:
            toolstack.control(PauseDomain(created.domid))  # parks their calls until all are there
        histories = [tmp_path / f"history-{number}" for number in range(4)]
        guests = [
            start(guest_process, running.endpoints["guests"], created, seed, histories[seed])
            for seed, created in enumerate(built)
        ]
        for created in built:
            wait_for_note(running, "hello", domid=created.domid)
        for created in built:
            toolstack.control(UnpauseDomain(created.domid))
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


def test_a_long_populate_keeps_nobody_out() -> None:
    """While one caller's populate of many extents runs, another's requests are served between its steps."""
    with (
        running_hypervisor(mib=512) as running,
        closing(ToolstackPeer(running)) as toolstack,
        closing(ToolstackPeer(running)) as other,
    ):
        created = toolstack.build(1, max_pages=100_000)
        other.hello(0, 78, CONTROL)
        seq = toolstack.call(0, TOOLSTACK, PopulatePhysmap(created.domid, ((1, 60_000),)))
        inside = replies_inside(other, created.domid, 60_001)
        long = toolstack.outcome(0, TOOLSTACK, seq)
        assert isinstance(long, Answer) and long.replies[0].ret == 60_000
        first, last = long.replies[0].first, long.replies[0].last
        assert inside, "nobody was served before the populate was over"
        assert all(first < reply.first and reply.last < last for reply in inside)


def replies_inside(peer: Peer, domid: int, full: int) -> list[Reply]:
    """Up to ten looks at a domain that found it neither empty nor full."""
    inside: list[Reply] = []
    while len(inside) < 10:
        reply = peer.ask(0, 78, GetDomainInfo(domid))
        assert isinstance(reply.value, DomainInfo)
        if reply.value.tot_pages == full:
            break
        if reply.value.tot_pages > 1:
            inside.append(reply)
    return inside


def test_the_hypervisor_frees_nothing_when_a_guest_is_killed() -> None:
    """After kill -9 of a guest its pages stay its own; silence is noted; destroydomain takes them."""
    with running_hypervisor(lease_ms=300) as running, closing(ToolstackPeer(running)) as toolstack:
        created = toolstack.build(1000)
        guest = start(busy_process, running.endpoints["guests"], created)
        journal = running.config.journal
        assert journal is not None
        wait_for_note(running, "hello", domid=created.domid)
        os.kill(guest.pid, signal.SIGKILL)
        assert joined(guest) == -signal.SIGKILL
        wait_for_note(running, "lost", "silent")
        assert info(toolstack, created.domid).tot_pages == 1000
        reborn = start(guest_process, running.endpoints["guests"], created, 1, None)
        assert joined(reborn) == 0, "the same domain may speak again from a new process"
        assert sum(isinstance(step.request, DecreaseReservation) for step in running.journal().steps()) == 50
        assert toolstack.control(DestroyDomain(created.domid)).ret == 0
        running.stop()
        replayed(running.journal())


def wait_for_note(running: Running, *kinds: str, **fields: object) -> None:
    """Until the journal has such a note."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline:
        for record in running.journal():
            if not isinstance(record, NoteRecord) or record.kind not in kinds:
                continue
            if fields.items() <= record.fields.items():
                return
        time.sleep(0.02)
    pytest.fail(f"no note {kinds} in the journal")


def test_a_stopped_guest_is_noted_and_heard_again() -> None:
    """SIGSTOP shows as silence in the journal, SIGCONT as being heard again; no page moves."""
    with running_hypervisor(lease_ms=300) as running, closing(ToolstackPeer(running)) as toolstack:
        created = toolstack.build(100)
        guest = start(busy_process, running.endpoints["guests"], created)
        wait_for_note(running, "hello", domid=created.domid)
        os.kill(guest.pid, signal.SIGSTOP)
        wait_for_note(running, "silent", role="guests")
        assert info(toolstack, created.domid).tot_pages == 100
        os.kill(guest.pid, signal.SIGCONT)
        wait_for_note(running, "heard-again", "hello", role="guests")
        guest.kill()
        joined(guest)


def test_a_resent_call_has_one_effect() -> None:
    """A Call sent again over a new connection is answered with the commits of its only run."""
    with running_hypervisor() as running, closing(ToolstackPeer(running)) as toolstack:
        created = toolstack.build(10, max_pages=5000)
        guest = Peer(running.endpoints["guests"])
        guest.hello(created.domid, created.incarnation, created.secret)
        key = (created.domid, created.incarnation)
        seqs = [guest.call(*key, PopulatePhysmap(DOMID_SELF, ((10 + 50 * n, 50),))) for n in range(20)]
        guest.dealer.reconnect()  # answers on their way to the old connection are lost
        guest.session.reconnected()
        outcomes = [guest.outcome(*key, seq) for seq in seqs]
        assert all(isinstance(one, Answer) and one.replies[0].ret == 50 for one in outcomes)
        assert info(toolstack, created.domid).tot_pages == 1010
        guest.close()
        running.stop()
        requests = [r.request for r in running.journal().steps() if r.caller == key and r.request]
        assert len(requests) == 20, "every request ran once"


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
        assert len(hellos) == 6


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


def test_an_edge_outlives_its_hypervisor_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the hypervisor is gone for good, waiting coroutines get IndefiniteError, not silence."""
    monkeypatch.setattr("hypervisor.edge.RECONNECT_SECONDS", 0.5)
    ended: list[str] = []

    async def main(world: World) -> None:
        try:
            await forever(world)
        except IndefiniteError as error:
            ended.append(str(error))

    with running_hypervisor() as running:
        edge = Edge(running.endpoints["toolstacks"], Clock(1.0, 0))
        world = edge.world(Identity(0, TOOLSTACK, CONTROL), random.Random(1))
        edge.start(main, world, "main")
        turns = iter(range(200))
        assert not edge.run(lambda: next(turns, None) is None)
        running.process.kill()
        assert edge.run()
        edge.close()
    assert len(ended) == 1 and "no word from" in ended[0]


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
