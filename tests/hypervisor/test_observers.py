"""The observers' socket: figures of the host out of band, for those who know the secret, and for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from hypervisor.journal import StepRecord
from hypervisor.public.domctl import (
    DOMINF_PAUSED,
    DomainInfo,
    GetDomainInfo,
    PauseDomain,
    PhysicalInfo,
    Physinfo,
)
from hypervisor.public.memory import ClaimPages, DecreaseReservation, PopulatePhysmap
from hypervisor.public.observation import OBSERVERS, Snapshot
from hypervisor.public.protocol import Welcome
from hypervisor.transport import Client
from launch.live.observer import NotObservedError
from tests.running_hypervisor import (
    CONTROL,
    PATIENCE_MS,
    Peer,
    ToolstackPeer,
    closing,
    look,
    observer,
    running_hypervisor,
)


def watched(**options: Any) -> Any:
    return running_hypervisor(roles=("guests", "toolstacks", OBSERVERS), **options)


def test_a_snapshot_says_what_the_hypercalls_say() -> None:
    """Totals, domains, refusals and growth are those that physinfo, getdomaininfo and the calls answered."""
    with (
        watched() as running,
        closing(ToolstackPeer(running)) as toolstack,
        observer(running) as eye,
    ):
        created = toolstack.build(1024, 2048)
        assert toolstack.control(ClaimPages(created.domid, 1500)).ret == 0
        assert toolstack.control(PopulatePhysmap(created.domid, ((1024, 2000),))).ret == 1024
        seen = look(eye)
        host = toolstack.control(Physinfo()).value
        info = toolstack.control(GetDomainInfo(created.domid)).value
        assert isinstance(host, PhysicalInfo) and isinstance(info, DomainInfo)
        assert (seen.total_pages, seen.free_pages) == (host.total_pages, host.free_pages)
        assert seen.outstanding_pages == host.outstanding_pages == info.outstanding_pages
        assert [one.free_pages for one in seen.nodes] == [host.free_pages]
        dom0, domain = seen.domains
        assert (dom0.domid, domain.domid, domain.incarnation) == (0, created.domid, created.incarnation)
        assert (domain.tot_pages, domain.max_pages) == (info.tot_pages, info.max_pages) == (2048, 2048)
        assert domain.flags == info.flags
        assert dom0.operations == 6, "createdomain, max_mem, populate, unpause, claim, populate"
        assert seen.growth == {"build": 2048}
        assert [(r.domid, r.source, r.reason, r.times, r.pages) for r in seen.refused] == [
            (created.domid, "build", "max_pages", 1, 1)
        ]
        assert seen.underway == ()


def test_a_parked_request_is_under_way() -> None:
    """A paused domain's hypercall is listed with its caller, its next step, and that it waits."""
    with (
        watched() as running,
        closing(ToolstackPeer(running)) as toolstack,
        observer(running) as eye,
    ):
        created = toolstack.build(64)
        toolstack.control(PauseDomain(created.domid))
        with closing(Peer(running.endpoints["guests"])) as guest:
            guest.session.hello(created.domid, created.incarnation, created.secret, "worker")
            guest.wait(lambda one: isinstance(one, Welcome))
            guest.call(created.domid, created.incarnation, DecreaseReservation(created.domid, ((0, 1),)))
            seen = look(eye)
            while not seen.underway:
                seen = look(eye)
    (one,) = seen.underway
    assert (one.domid, one.request, one.parked) == (created.domid, "DecreaseReservation", True)
    assert one.step
    domain = seen.domains[1]
    assert (domain.name, domain.operations) == ("worker", 0)
    assert domain.flags & DOMINF_PAUSED


def test_watching_leaves_no_trace() -> None:
    """A hundred questions add no commit, no journal record of a step, and no call."""
    with watched() as running, closing(ToolstackPeer(running)) as toolstack:
        toolstack.build(64)
        with observer(running) as eye:
            before = look(eye)
        eyes = [observer(running) for _ in range(5)]
        for _ in range(4):
            seen = [look(one) for one in eyes]
        for one in eyes:
            one.close()
        stats = running.stop()
        steps = sum(isinstance(record, StepRecord) for record in running.journal())
    assert {one.commit for one in seen} == {before.commit} == {stats["commit"]} == {steps}
    assert stats["calls"] == before.calls and stats["violations"] == []


@pytest.mark.parametrize("secret", [CONTROL, b"", b"guess"])
def test_the_secret_opens_it_and_no_other_does(secret: bytes) -> None:
    """A wrong secret (the control secret itself is one) is refused by name; the right one still works."""
    with watched() as running, observer(running) as eye:
        with observer(running, secret) as stranger, pytest.raises(NotObservedError, match="bad-secret"):
            look(stranger)
        assert isinstance(look(eye), Snapshot)


def test_garbage_is_refused_and_harms_nobody() -> None:
    """Frames that are no Observe, and those of other sockets, get one refusal each."""
    garbage = [b"", b"\xc1", b"\x93\x01\x02\xc4\x00", b"\x95\x02\x00\x05\x01\x90", bytes(70_000)]
    client = Client()
    with watched() as running, observer(running) as eye:
        dealer = client.connect(running.endpoints[OBSERVERS])
        dealer.send(garbage)
        answers: list[bytes] = []
        while len(answers) < len(garbage):
            assert client.wait(PATIENCE_MS)
            answers += dealer.receive()
        client.close()
        assert all(b"malformed" in answer for answer in answers)
        assert look(eye).calls == 0


def test_a_host_without_the_socket_serves_nobody() -> None:
    """Where no endpoint for observers is given there is none, and the host runs as ever."""
    with running_hypervisor() as running, closing(ToolstackPeer(running)) as toolstack:
        assert OBSERVERS not in running.endpoints
        assert toolstack.control(Physinfo()).ret == 0
