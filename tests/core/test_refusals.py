"""Every refused allocation says for whom, from where and why; growth of tot_pages says through what."""

import pytest

from hypervisor.core.machine import StepResult
from hypervisor.core.sources import Reason, Refusal, Source
from hypervisor.core.steps import Caller
from hypervisor.public.domctl import CreateDomain, DestroyDomain, MaxMem, SetPagingMempoolSize
from hypervisor.public.memory import (
    MEMF_EXACT_NODE,
    MEMF_NODE_SHIFT,
    DecreaseReservation,
    IncreaseReservation,
    MemoryExchange,
    PopulatePhysmap,
)
from hypervisor.public.requests import Request
from hypervisor.public.tmem import TMEM_EPHEMERAL, TMEM_FREEZE, TMEM_PERSISTENT
from hypervisor.public.units import DOMID_SELF, pages_to_kib
from tests.core.small_host import CONTROL, SmallHost, singles
from tests.core.tmem_host import TmemHost


def refusals(host: SmallHost, request: Request, caller: Caller = CONTROL) -> tuple[Refusal, ...]:
    """What the request's steps refused, all of them."""
    operation = host.submit(request, caller)
    steps: list[StepResult] = []
    while operation.reply is None:
        steps.append(host.step(operation))
    return tuple(one for step in steps for one in step.refusals)


@pytest.mark.rule("C17")
def test_memory_that_others_claimed_is_refused_for_the_claim_and_to_the_balloon() -> None:
    """A guest that populates itself beyond what is unclaimed is refused one page because of the claim."""
    host = SmallHost()
    guest = host.create(hvm=True)
    host.leave_free(100)
    claimer = host.create()
    assert host.claim(claimer, host.unclaimed) == 0
    request = PopulatePhysmap(DOMID_SELF, ((0, 5),))
    assert refusals(host, request, guest) == (Refusal(guest.domid, 1, Source.POPULATE, Reason.CLAIM),)


@pytest.mark.rule("A12")
def test_the_limit_refuses_builder_and_balloon_alike() -> None:
    """At max_pages the reason is max_pages, and the source tells who asked."""
    host = SmallHost()
    guest = host.create(hvm=True, max_pages=3)
    build = PopulatePhysmap(guest.domid, ((0, 5),))
    assert refusals(host, build) == (Refusal(guest.domid, 1, Source.BUILD, Reason.MAX_PAGES),)
    balloon = PopulatePhysmap(DOMID_SELF, ((8, 1),))
    assert refusals(host, balloon, guest) == (Refusal(guest.domid, 1, Source.POPULATE, Reason.MAX_PAGES),)
    assert host.host.growth == {Source.BUILD: 3}


def test_an_empty_heap_and_a_fragmented_one_are_told_apart() -> None:
    """Nothing free is an empty heap; enough free but no chunk of that order is fragmentation."""
    host = SmallHost()
    guest = host.create()
    host.leave_free(200)
    assert host.grow(guest, 200) == 200
    assert refusals(host, IncreaseReservation(guest.domid, 1)) == (
        Refusal(guest.domid, 1, Source.INCREASE, Reason.EMPTY),
    )
    every_other = singles(host.frames_of(guest)[::2])
    assert host.ret(DecreaseReservation(guest.domid, every_other)) == len(every_other)
    assert refusals(host, IncreaseReservation(guest.domid, 1, 4)) == (
        Refusal(guest.domid, 16, Source.INCREASE, Reason.FRAGMENTATION),
    )


@pytest.mark.rule("A20")
def test_a_page_wanted_on_a_full_node_is_refused_for_fragmentation() -> None:
    """An exact node without memory refuses although the host has some."""
    host = SmallHost(nodes=(2048, 64))
    guest = host.create()
    flags = MEMF_EXACT_NODE | (2 << MEMF_NODE_SHIFT)
    request = IncreaseReservation(guest.domid, 100, mem_flags=flags)
    assert refusals(host, request) == (Refusal(guest.domid, 1, Source.INCREASE, Reason.FRAGMENTATION),)


def test_what_xen_needs_for_a_domain_is_refused_on_its_behalf() -> None:
    """createdomain and a paging pool that find no memory name the domain."""
    host = SmallHost()
    guest = host.create(hvm=True, hap=True)
    host.leave_free(2)
    (refused,) = refusals(host, CreateDomain())
    assert (refused.source, refused.reason) == (Source.STRUCTURES, Reason.EMPTY)
    (refused,) = refusals(host, SetPagingMempoolSize(guest.domid, 512 << 12))
    assert refused == Refusal(guest.domid, 1, Source.STRUCTURES, Reason.EMPTY)


@pytest.mark.rule("A17")
def test_an_exchange_for_a_chunk_that_is_not_there_is_refused() -> None:
    """Exchange takes from the heap as others do; it never counts as growth."""
    host = SmallHost()
    guest = host.create()
    assert host.grow(guest, 16) == 16
    host.leave_free(0)
    frames = tuple((mfn, 1) for mfn in host.frames_of(guest))
    request = MemoryExchange(guest.domid, frames, 0, guest.domid, ((0, 1),), 4)
    assert refusals(host, request) == (Refusal(guest.domid, 16, Source.EXCHANGE, Reason.EMPTY),)
    assert Source.EXCHANGE not in host.host.growth


def test_a_domain_killed_between_take_and_assign_is_refused_as_dying() -> None:
    """The pages of a populate that lost the race with the kill go back, and the reason is the kill."""
    host = SmallHost()
    guest = host.create(hvm=True)
    populate = host.submit(PopulatePhysmap(guest.domid, ((0, 1),)))
    host.step(populate)
    assert host.ret(DestroyDomain(guest.domid)) == 0
    assert host.step(populate).refusals == (Refusal(guest.domid, 1, Source.BUILD, Reason.DYING),)


@pytest.mark.rule("T10", "T22")
def test_puts_are_refused_for_the_limit_for_a_claim_and_while_frozen() -> None:
    """A persistent put stops at max_pages, an ephemeral one at others' claims, both when frozen."""
    host = TmemHost()
    guest = host.client()
    persistent, ephemeral = host.pool(guest, TMEM_PERSISTENT), host.pool(guest, TMEM_EPHEMERAL)
    assert host.put(guest, persistent, 1, 0) == 1
    assert host.put(guest, ephemeral, 1, 0) == 1
    tot_pages = host.domain(guest.domid).tot_pages
    assert host.host.growth[Source.TMEM_PERSISTENT] == tot_pages - 1
    assert host.host.growth[Source.TMEM_EPHEMERAL] == host.tmem.in_use

    assert host.ret(MaxMem(guest.domid, pages_to_kib(tot_pages))) == 0
    assert refusals(host, host.request(guest, persistent, 1, 1, 7), guest) == (
        Refusal(guest.domid, 1, Source.TMEM_PERSISTENT, Reason.MAX_PAGES),
    )
    claimer = host.create()
    assert host.claim(claimer, host.unclaimed + host.tmem.freeable) == 0
    assert refusals(host, host.request(guest, ephemeral, 1, 1, 7), guest) == (
        Refusal(guest.domid, 1, Source.TMEM_EPHEMERAL, Reason.CLAIM),
    )
    assert host.control(TMEM_FREEZE) == 0
    assert refusals(host, host.request(guest, ephemeral, 9, 0, 7), guest) == (
        Refusal(guest.domid, 1, Source.TMEM_EPHEMERAL, Reason.FROZEN),
    )


def test_growth_and_refusals_are_no_part_of_the_digest() -> None:
    """Two hosts that differ only in what was refused and tallied are the same host."""
    host = SmallHost()
    guest = host.create(hvm=True, max_pages=3)
    digest = host.host.digest()
    host.host.growth[Source.POD] = 5
    assert len(refusals(host, PopulatePhysmap(guest.domid, ((0, 0),)))) == 0
    assert host.host.digest() == digest
