"""Guests that are killed or stopped, connections that break, a hypervisor that is gone."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from hypervisor.edge import Clock, Edge, Identity
from hypervisor.journal import NoteRecord
from hypervisor.public.domctl import DestroyDomain
from hypervisor.public.memory import DecreaseReservation, PopulatePhysmap
from hypervisor.public.protocol import Answer
from hypervisor.public.units import DOMID_SELF
from hypervisor.public.world import IndefiniteError, World
from tests.hypervisor.parties import busy_process, forever, guest_process, info, joined, start
from tests.running_hypervisor import (
    CONTROL,
    PATIENCE,
    TOOLSTACK,
    Peer,
    Running,
    ToolstackPeer,
    closing,
    replayed,
    running_hypervisor,
)


def test_the_hypervisor_frees_nothing_when_a_guest_is_killed() -> None:
    """After kill -9 of a guest its pages stay its own; silence is noted; destroydomain takes them."""
    with running_hypervisor(lease_ms=300) as running, closing(ToolstackPeer(running)) as toolstack:
        created = toolstack.build(1000)
        guest = start(busy_process, running.endpoints["guests"], created)
        wait_for_word(running, "hello")
        os.kill(guest.pid, signal.SIGKILL)
        assert joined(guest) == -signal.SIGKILL
        wait_for_word(running, "lost", "silent")
        assert info(toolstack, created.domid).tot_pages == 1000
        reborn = start(guest_process, running.endpoints["guests"], created, 1, None)
        assert joined(reborn) == 0, "the same domain may speak again from a new process"
        assert sum(isinstance(step.request, DecreaseReservation) for step in running.journal().steps()) == 50
        assert toolstack.control(DestroyDomain(created.domid)).ret == 0
        running.stop()
        replayed(running.journal())


def wait_for_word(running: Running, *kinds: str) -> None:
    """Until the last that the journal says of the only guest's connection is one of these.

    One that is slow is silent and heard again many times: only the last word says how it is.
    """
    deadline = time.monotonic() + PATIENCE
    while (word := last_word(running)) not in kinds:
        assert time.monotonic() < deadline, f"the last word is {word}, none of {kinds}"
        time.sleep(0.02)


def last_word(running: Running) -> str | None:
    """The kind of the last note about a guest's connection."""
    word = None
    for record in running.journal():
        if isinstance(record, NoteRecord) and record.fields.get("role") == "guests":
            word = record.kind
    return word


def test_a_stopped_guest_is_noted_and_heard_again() -> None:
    """SIGSTOP shows as silence in the journal, SIGCONT as being heard again; no page moves."""
    with running_hypervisor(lease_ms=300) as running, closing(ToolstackPeer(running)) as toolstack:
        created = toolstack.build(100)
        guest = start(busy_process, running.endpoints["guests"], created)
        wait_for_word(running, "hello")
        os.kill(guest.pid, signal.SIGSTOP)
        wait_for_word(running, "silent", "lost")
        assert info(toolstack, created.domid).tot_pages == 100
        os.kill(guest.pid, signal.SIGCONT)
        wait_for_word(running, "heard-again", "hello")
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
