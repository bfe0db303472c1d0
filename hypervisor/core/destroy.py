"""destroydomain: the claim goes at once, the pages in slices (C30, C31, A14, P10; domain.c:domain_kill)."""

from collections.abc import Iterator
from typing import Final

from hypervisor.core.allocation import (
    IN_FLIGHT,
    complete_destroy_if_empty,
    free_xen_page,
    give_back,
)
from hypervisor.core.claims import adjust_tot_pages, drop_claim
from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.core.pod.state import Pod
from hypervisor.core.sharing.frames import SHARING, drop_shared_slice
from hypervisor.core.steps import (
    CLAIMS,
    DOMAINS,
    DOMCTL_LOCK,
    HEAP,
    REFERENCES,
    Caller,
    Emission,
    Part,
    Result,
    Step,
    Steps,
    domain_resource,
    p2m_resource,
    step,
)
from hypervisor.core.tmem.memory import tmem_step
from hypervisor.core.tmem.pools import destroy_client
from hypervisor.public.domctl import DestroyDomain
from hypervisor.public.errors import Errno
from hypervisor.public.requests import VirqEvent
from hypervisor.public.units import MAX_ORDER, VIRQ_DOM_EXC, Mfn, Order, Pages

SLICE: Final[Pages] = 512
"""Pages given back between two preemption checks of a destruction (A31)."""


def destroy_domain(host: Host, caller: Caller, request: DestroyDomain) -> Steps:
    """domain_kill: the claim goes at once, the pages in slices others can see and take (C30, P10)."""
    this = (domain_resource(request.domid), p2m_resource(request.domid), CLAIMS)
    lock = DOMCTL_LOCK if caller.privileged else None
    yield step("kill", reads=(DOMAINS,), writes=(*this, DOMAINS), lock=lock)
    domain = host.find(request.domid)
    if domain is None or not caller.privileged or domain.domid == caller.domid:
        return Result(_refusal(caller, domain))
    if domain.is_dying == Dying.DEAD:
        return Result(0)
    if domain.is_dying == Dying.ALIVE:
        domain.is_dying = Dying.DYING
        domain.pause_count += 1
        if host.tmem is not None and domain.domid in host.tmem.clients:
            # Under tmem's lock instead of the domctl lock: in Xen both are held (T28)
            yield tmem_step("flush tmem", domain.domid)
            destroy_client(host, domain.domid)
        yield step("unclaim", writes=this, lock=lock)
        drop_claim(host, domain)
        domain.pod = Pod()  # p2m_pod_empty_cache: its pages go with the others
        host.sharing.rings.pop(domain.domid, None)
    relinquish = step(
        "relinquish",
        reads=(REFERENCES, SHARING),
        writes=(*this, REFERENCES, SHARING, HEAP),
        lock=lock,
        restart=True,
    )
    merge = step("merge", writes=(HEAP, DOMAINS, *this), lock=lock)
    cursor = 0
    while True:
        yield relinquish
        # A continuation is a new hypercall with a new look-up: another caller may have finished the kill.
        if host.find(domain.domid) is not domain:
            return Result(-Errno.ESRCH)
        if _free_paging_pool(host, domain):
            continue
        if domain.shared_gfns:  # before all other pages (A31, S12)
            yield from _drop_shared(host, domain, merge)
            continue
        cursor, runs = _unassign_slice(host, domain, cursor)
        if not runs:
            break
        yield merge
        _merge_slice(host, runs)
        if host.release.destroy_returns_eagain:
            return Result(-Errno.EAGAIN)
    _finish(host, domain)
    return Result(0)


def _drop_shared(host: Host, domain: Domain, merge: Step) -> Part[None]:
    """One slice of shared references, the first part in the step under way (S12)."""
    freed = drop_shared_slice(host, domain, SLICE)
    if freed:
        yield merge
        for mfn in freed:
            give_back(host, mfn, 0)


def _refusal(caller: Caller, domain: Domain | None) -> int:
    if domain is None:
        return -Errno.ESRCH
    return -Errno.EINVAL if caller.privileged else -Errno.EPERM  # nobody kills himself (C30)


def _merge_slice(host: Host, runs: list[tuple[Mfn, Pages]]) -> None:
    for run in runs:
        for mfn, order in _aligned_blocks(host, *run):
            give_back(host, mfn, order)


def _finish(host: Host, domain: Domain) -> None:
    if domain.is_dying != Dying.DYING:
        return  # another caller's destroydomain came to the end first
    domain.is_dying = Dying.DEAD
    domain.p2m = None
    host.emit(Emission(None, VirqEvent(VIRQ_DOM_EXC, domain.domid, host.commit)))
    complete_destroy_if_empty(host, domain)


def _free_paging_pool(host: Host, domain: Domain) -> bool:
    """One slice of the paging pool; False when there was none."""
    pool = domain.paging_pool
    for _ in range(min(SLICE, len(pool))):
        free_xen_page(host, pool.pop())
        if not pool:
            return True
    return bool(pool)


def _unassign_slice(host: Host, domain: Domain, cursor: Mfn) -> tuple[Mfn, list[tuple[Mfn, Pages]]]:
    """Up to SLICE frames leave the domain: next cursor and the runs now in flight; none when none are left.

    Frames under a foreign mapping stay and are marked: they keep the dead domain (A11, z01).
    """
    runs: list[tuple[Mfn, Pages]] = []
    left = SLICE
    while left:
        run = host.frames.next_run(domain.domid, cursor, left)
        if run is None:
            break
        mfn, count = run
        free = _unreferenced_prefix(host, mfn, count)
        if not free:
            host.dangling[mfn] = domain.domid
            cursor = mfn + 1
            continue
        adjust_tot_pages(host, domain, -free)
        host.in_flight_pages += free
        for first, order in _aligned_blocks(host, mfn, free):
            host.frames.set_owner(first, order, IN_FLIGHT, domain.domid)
        runs.append((mfn, free))
        cursor = mfn + free
        left -= free
    return cursor, runs


def _unreferenced_prefix(host: Host, mfn: Mfn, count: Pages) -> Pages:
    if not host.frames.any_references:
        return count
    for index in range(count):
        if host.frames.references(mfn + index):
            return index
    return count


def _aligned_blocks(host: Host, mfn: Mfn, count: Pages) -> Iterator[tuple[Mfn, Order]]:
    """A run of frames as the largest aligned blocks, none of them on two nodes."""
    while count:
        alignment = (mfn & -mfn).bit_length() - 1 if mfn else MAX_ORDER
        order = min(alignment, count.bit_length() - 1, MAX_ORDER)
        while host.heap.node_of(mfn) != host.heap.node_of(mfn + (1 << order) - 1):
            order -= 1
        yield mfn, order
        mfn += 1 << order
        count -= 1 << order
