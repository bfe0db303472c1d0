"""Claim sets and offlining over the wire: builders in processes of their own race for one node."""

from __future__ import annotations

from typing import Any

import pytest

from hypervisor.core.allocation import IN_FLIGHT
from hypervisor.core.host import HostConfig
from hypervisor.public.domctl import Created, CreateDomain, MaxMem
from hypervisor.public.errors import Errno
from hypervisor.public.memory import ClaimPages, IncreaseReservation, memf_exact_node
from hypervisor.public.numa import ClaimMemory, Numainfo, NumaNodes, node_claim
from hypervisor.public.offlining import PAGE_OFFLINE, OfflineStatus, PageOfflineOp
from hypervisor.public.world import World
from tests.real_host import Racers, real_host
from tests.running_hypervisor import ToolstackPeer, closing, replayed, running_hypervisor

NODE = 8192
HOST = HostConfig((NODE, NODE), dom0_pages=1024, xen_pages=1024)
SHARE = 2500
"""Pages that each of three builders wants on node 1, which has room for three of them and a little more."""


async def build_on_node_1(world: World, domid: int) -> tuple[int, int]:
    """Claim what is wanted on node 1, then populate it: (answer to the claim, extents got)."""
    claimed = await world.hypercall(ClaimMemory(domid, (node_claim(1, SHARE),)))
    if claimed.ret == -Errno.ENOSYS:
        claimed = await world.hypercall(ClaimPages(domid, SHARE))
    if claimed.ret:
        return claimed.ret, 0
    grown = await world.hypercall(IncreaseReservation(domid, SHARE, 0, memf_exact_node(1)))
    return claimed.ret, grown.ret


async def new_domains(world: World, count: int) -> list[int]:
    """Paused domains without a limit that matters."""
    domids = []
    for _ in range(count):
        created = (await world.hypercall(CreateDomain())).value
        assert isinstance(created, Created)
        await world.hypercall(MaxMem(created.domid, 4 * NODE))
        domids.append(created.domid)
    return domids


@pytest.mark.parametrize(("release", "late"), [("4.22", True), ("claim-sets", False)])
@pytest.mark.rule("N1", "N3", "N5", "n01", "W6")
def test_builders_that_race_for_a_node_fail_at_once_or_not_at_all(release: str, late: bool) -> None:
    """Four builders want a node with room for three: with node claims one is refused before it takes a page,
    with host-wide claims all are admitted and somebody runs short half-way.
    """
    with real_host(release, HOST) as access:
        domids = access.control(new_domains, 4)
        answers = Racers(access).race(*((build_on_node_1, (domid,)) for domid in domids))
    short = [got for claimed, got in answers if claimed == 0 and got < SHARE]
    refused = [claimed for claimed, _ in answers if claimed]
    if late:
        assert refused == []
        assert short
    else:
        assert refused == [-Errno.ENOMEM]
        assert short == []


@pytest.mark.rule("N7", "C28")
def test_the_journal_replays_claim_sets_and_offlining() -> None:
    """A client gets the values over the wire, and the journal's replay comes to the same host."""
    with running_hypervisor(release="claim-sets", host=HOST) as running:
        with closing(ToolstackPeer(running)) as peer:
            built: Any = peer.build(64, max_pages=NODE)
            assert peer.control(ClaimMemory(built.domid, (node_claim(0, 10), node_claim(1, 20)))).ret == 0
            nodes = peer.control(Numainfo()).value
            assert isinstance(nodes, NumaNodes)
            assert [(one.memsize, one.claimed) for one in nodes.nodes] == [(NODE, 10), (NODE, 20)]
            status = peer.control(PageOfflineOp(PAGE_OFFLINE, 0, 3)).value
            assert isinstance(status, OfflineStatus)
            assert len(status.status) == 4
        running.stop()
        host = replayed(running.journal())
    assert host.offlined_pages + len(host.offlining) == 4
    assert host.node_outstanding_claims == {0: 10, 1: 20}
    assert host.frames.held(IN_FLIGHT) == 0
