"""How a pool comes by pages: the tmem list first, else the heap (T20-T23, steps P6 and P7)."""

from functools import lru_cache
from typing import Final

from hypervisor.core.allocation import IN_FLIGHT, assign_pages, give_back, take_extent
from hypervisor.core.claims import adjust_tot_pages, allocation_refused
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.refusals import note_growth, note_no_extent, note_not_assigned, note_refusal
from hypervisor.core.sources import Reason, Source
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    HEAP,
    STEPS_KEPT,
    Part,
    Resource,
    Step,
    domain_resource,
    step,
)
from hypervisor.core.tmem.content import Pool
from hypervisor.core.tmem.release import tmem_of
from hypervisor.core.tmem.state import TMEM_OWNER
from hypervisor.core.tmem.subpages import Block, SubpagePool
from hypervisor.public.units import DomId, Mfn

TMEM: Final[Resource] = ("tmem", 0)
"""Everything tmem holds."""
TMEM_LOCK: Final = "tmem"
"""tmem_rwlock, taken for writing by every command: one command at a time."""


@lru_cache(maxsize=STEPS_KEPT)
def tmem_step(name: str, *domids: int) -> Step:
    """A step of a tmem command; what tmem has or lacks is what the heap's tests see, so it writes that."""
    these = tuple(domain_resource(domid) for domid in domids)
    return step(name, (DOMAINS, HEAP, CLAIMS, TMEM), (HEAP, CLAIMS, TMEM, *these), lock=TMEM_LOCK)


def take_page(host: Host, pool: Pool) -> Part[Mfn | None]:
    """A whole page for a pool, None when there is none: tmem_alloc_page without its statistics."""
    if pool.persistent:
        return (yield from _take_persistent(host, pool))
    return (yield from _take_ephemeral(host, pool.client.domid))


def take_block(host: Host, pool: Pool, size: int) -> Part[Block | None]:
    """A subpage for a pool, with one more page if need be; None counts as a failed allocation."""
    subpages = subpages_of(host, pool)
    block = subpages.take(size)
    if block is not None:
        return block
    mfn = yield from take_page(host, pool)
    if mfn is None:
        tmem_of(host).statistics.alloc_failed += 1
        return None
    subpages.add(mfn)
    return subpages.take(size)


def subpages_of(host: Host, pool: Pool) -> SubpagePool:
    """Where a pool's metadata and compressed pages lie (T25)."""
    return pool.client.subpages if pool.persistent else tmem_of(host).subpages


def _take_ephemeral(host: Host, domid: DomId) -> Part[Mfn | None]:
    tmem = tmem_of(host)
    yield tmem_step("pop")
    mfn = tmem.page_list.pop() if tmem.page_list else None
    if mfn is None:
        yield tmem_step("take")
        mfn = take_extent(host, None, 0)  # anonymous: held back by claims (C17, T20)
        if mfn is None:
            note_no_extent(host, domid, Source.TMEM_EPHEMERAL)
            return None
        host.frames.set_owner(mfn, 0, TMEM_OWNER, IN_FLIGHT)
        host.in_flight_pages -= 1
    tmem.in_use += 1
    note_growth(host, Source.TMEM_EPHEMERAL, 1)
    return mfn


def _take_persistent(host: Host, pool: Pool) -> Part[Mfn | None]:
    tmem, domid = tmem_of(host), pool.client.domid
    domain = host.domains[domid]
    if domain.tot_pages >= domain.max_pages:  # looked at without the lock (T22, P6)
        note_refusal(host, domid, 1, Source.TMEM_PERSISTENT, Reason.MAX_PAGES)
        return None
    if tmem.page_list:
        yield tmem_step("pop", *(() if host.release.tmem_list_past_claims else (domid,)))
        held_back = not host.release.tmem_list_past_claims and allocation_refused(host, domain, 1, False)
        mfn = tmem.page_list.pop() if tmem.page_list and not held_back else None
        if mfn is not None:
            host.frames.set_owner(mfn, 0, IN_FLIGHT, TMEM_OWNER)
            host.in_flight_pages += 1
            yield tmem_step("donate", domid)
            if _donate(host, domain, mfn):
                return mfn
    yield tmem_step("take", domid)
    mfn = take_extent(host, domain, 0)
    if mfn is None:
        note_no_extent(host, domid, Source.TMEM_PERSISTENT, domain=domain)
        return None
    yield tmem_step("assign", domid)
    if assign_pages(host, domain, mfn, 0):
        tmem.persistent_frames.add(mfn)
        note_growth(host, Source.TMEM_PERSISTENT, 1)
        return mfn
    note_not_assigned(host, domain, Source.TMEM_PERSISTENT)
    yield tmem_step("give back")
    give_back(host, mfn, 0)
    return None


def _donate(host: Host, domain: Domain, mfn: Mfn) -> bool:
    """donate_page: no claim is looked at (T23); refused, the page returns to the list."""
    tmem = tmem_of(host)
    host.in_flight_pages -= 1
    if domain.is_dying != Dying.ALIVE or domain.tot_pages >= domain.max_pages:
        host.frames.set_owner(mfn, 0, TMEM_OWNER, IN_FLIGHT)
        tmem.page_list.append(mfn)
        return False
    host.frames.set_owner(mfn, 0, domain.domid, IN_FLIGHT)
    tmem.persistent_frames.add(mfn)
    adjust_tot_pages(host, domain, 1)
    note_growth(host, Source.TMEM_PERSISTENT, 1)
    return True
