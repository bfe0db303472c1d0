"""Makes the host as recorded after a line on which they differed, so that one fault is told once.

No rule is applied here: pages move between the heap and the domains as the recording says they lie.
"""

from collections.abc import KeysView

from hypervisor.core.domain import Domain, Dying
from hypervisor.core.heap.frames import FREE
from hypervisor.core.host import Host
from hypervisor.core.machine import Machine, run_alone
from hypervisor.public.domctl import DestroyDomain
from hypervisor.public.units import DOMID_DOM0, MAX_ORDER, Order, Pages
from launch.conform.calls import Toolstack
from launch.conform.comparison import recorded_domains
from launch.conform.frames import HeldExtents
from launch.conform.recording import RecordedState
from launch.conform.tmem_calls import DOM0


class LostTrackError(Exception):
    """The host cannot be brought to the recorded state; the rest of the recording means nothing."""


def resync(toolstack: Toolstack, state: RecordedState) -> None:
    """Bring counters and pages to the recorded ones. Raises `LostTrackError` when that cannot be done."""
    machine = toolstack.machine
    recorded = recorded_domains(state)
    _same_domains(machine, recorded.keys(), toolstack.nameless | {DOMID_DOM0})
    for domid, wanted in recorded.items():
        domain = machine.host.domains[domid]
        _same_pages(machine.host, domain, toolstack.extents_of(domid), wanted.tot)
        domain.max_pages = wanted.max
        domain.outstanding_pages = wanted.outstanding
    machine.host.outstanding_claims = state.outstanding


def _same_domains(machine: Machine, recorded: KeysView[int], unlisted: set[int]) -> None:
    for domid in list(machine.host.domids):
        if domid not in recorded and domid not in unlisted:
            run_alone(machine, DOM0, DestroyDomain(domid))
    if any(domid not in machine.host.domains for domid in recorded):
        raise LostTrackError


def _same_pages(host: Host, domain: Domain, held: HeldExtents, wanted: Pages) -> None:
    if domain.tot_pages != wanted and domain.is_dying != Dying.ALIVE:
        raise LostTrackError
    while domain.tot_pages > wanted:
        order = min((domain.tot_pages - wanted).bit_length() - 1, MAX_ORDER)
        _give_back(host, domain, held, order)
    while domain.tot_pages < wanted:
        order = min((wanted - domain.tot_pages).bit_length() - 1, MAX_ORDER)
        _take(host, domain, held, order)


def _take(host: Host, domain: Domain, held: HeldExtents, order: Order) -> None:
    for smaller in range(order, -1, -1):
        mfn = host.heap.take(smaller, tuple(range(host.heap.node_count)))
        if mfn is not None:
            break
    else:
        raise LostTrackError
    host.frames.set_owner(mfn, smaller, domain.domid, FREE)
    domain.tot_pages += 1 << smaller
    if domain.p2m is None:
        held.add(((mfn, 1),), smaller)
        return
    gfns = held.new_gfns(1, smaller)
    domain.p2m.map(gfns[0][0], mfn, smaller)
    held.add(gfns, smaller)


def _give_back(host: Host, domain: Domain, held: HeldExtents, order: Order) -> None:
    for smaller in range(order, -1, -1):
        extents = held.take(1, smaller)
        if extents:
            break
    else:
        raise LostTrackError
    for frame in range(extents[0][0], extents[0][0] + (1 << smaller)):
        mfn = frame
        if domain.p2m is not None:
            found = domain.p2m.lookup(frame)
            assert found is not None
            mfn = found
            domain.p2m.unmap(frame)
        host.frames.set_owner(mfn, 0, FREE, domain.domid)
        host.heap.give(mfn, 0)
        domain.tot_pages -= 1
