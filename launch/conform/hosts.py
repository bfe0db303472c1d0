"""The host a recording begins on, with a heap that the recording tells, or with real frames.

Between two lines the free count moves by itself: structures of destroyed domains are freed asynchronously.
Both heaps are therefore set to a line's `free_before` first.
"""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from hypervisor.core.domain import Domain
from hypervisor.core.heap.buddy import FrameHeap
from hypervisor.core.heap.counting import CountingHeap
from hypervisor.core.heap.frames import FREE, FrameTable
from hypervisor.core.heap.interface import Heap
from hypervisor.core.host import Host
from hypervisor.core.low_memory import LowMemoryVirq
from hypervisor.core.releases import Release
from hypervisor.core.tmem.state import Statistics, Tmem
from hypervisor.public.units import (
    DOMID_DOM0,
    DOMID_XEN,
    MAX_ORDER,
    PAGES_PER_MIB,
    UINT_MAX,
    DomId,
    NodeId,
    Pages,
)
from launch.conform.contiguity import blocks_had, stopped_for_contiguity
from launch.conform.recording import Header, Line

_DOM0_MAX: Final = re.compile(r"dom0_mem=\S*max:(\d+)M")


class RecordedHost(Protocol):
    """A host whose free pages follow a recording."""

    @property
    def host(self) -> Host:
        """The host itself."""
        ...

    def prepare(self, line: Line) -> None:
        """Set the heap to what the line says was there before it."""
        ...


class CountingHost:
    """A host that believes the recording: how much is free, and where contiguity ran out."""

    def __init__(self, header: Header, release: Release) -> None:
        self._heap = CountingHeap(header.total_pages, header.free_pages, header.nr_nodes)
        self.host = _host(header, release, self._heap)

    def prepare(self, line: Line) -> None:
        """free_before, and for a line stopped for contiguity the blocks that could be had."""
        self._heap.total_avail = line.free_before
        self._heap.blocks_until_refusal = blocks_had(line) if stopped_for_contiguity(line) else None


class FrameHost:
    """A host of the same size and free pages on the real frame heap, which decides contiguity itself."""

    def __init__(self, header: Header, release: Release) -> None:
        node_free = header.state.node_free or (header.free_pages,)
        self._heap = FrameHeap(_nodes(header.total_pages, node_free))
        self.host = _host(header, release, self._heap)
        self._ballast: list[int] = []
        self._boot(header, node_free)

    def prepare(self, line: Line) -> None:
        """Hide or show single pages, as Xen's own, until `free_before` pages are free."""
        host, nodes = self.host, tuple(range(self._heap.node_count))
        while self._heap.total_avail > line.free_before:
            mfn = self._heap.take(0, nodes)
            assert mfn is not None
            host.frames.set_owner(mfn, 0, DOMID_XEN, FREE)
            host.xen_pages += 1
            self._ballast.append(mfn)
        while self._ballast and self._heap.total_avail < line.free_before:
            mfn = self._ballast.pop()
            host.frames.set_owner(mfn, 0, FREE, DOMID_XEN)
            host.xen_pages -= 1
            self._heap.give(mfn, 0)

    def _boot(self, header: Header, node_free: Sequence[Pages]) -> None:
        dom0 = header.state.dom0_tot
        for node, free in enumerate(node_free):
            taken = self._heap.node_avail(node) - free
            for_dom0 = min(dom0, taken)
            dom0 -= for_dom0
            self._own(node, for_dom0, DOMID_DOM0)
            self._own(node, taken - for_dom0, DOMID_XEN)
            self.host.xen_pages += taken - for_dom0

    def _own(self, node: NodeId, pages: Pages, owner: DomId) -> None:
        order = MAX_ORDER
        while pages:
            order = min(order, pages.bit_length() - 1)
            mfn = self._heap.take(order, (node,))
            if mfn is None:
                order -= 1
                continue
            self.host.frames.set_owner(mfn, order, owner, FREE)
            pages -= 1 << order


def _nodes(total: Pages, node_free: Sequence[Pages]) -> tuple[tuple[int, Pages], ...]:
    """Nodes of equal size: a recording tells what is free on each, not how large it is."""
    share = total // len(node_free)
    nodes = [(number * share, share) for number in range(len(node_free) - 1)]
    last = share * (len(node_free) - 1)
    return (*nodes, (last, total - last))


def _host(header: Header, release: Release, heap: Heap) -> Host:
    host = Host(release, heap, FrameTable(), LowMemoryVirq(), header.total_pages)
    found = _DOM0_MAX.search(header.host)
    dom0 = Domain(domid=DOMID_DOM0, incarnation=0, hvm=False, hap=False, max_vcpus=header.nr_cpus)
    dom0.tot_pages = header.state.dom0_tot
    dom0.max_pages = int(found[1]) * PAGES_PER_MIB if found else UINT_MAX
    dom0.node_affinity = tuple(range(heap.node_count))
    host.add_domain(dom0)
    host.outstanding_claims = header.state.outstanding
    host.low_memory.set_up(None, header.free_pages)
    if release.tmem:
        host.tmem = _tmem(header)
    return host


def _tmem(header: Header) -> Tmem:
    """tmem as the host was booted, with the counters that ran since."""
    options = header.host.partition("xen:")[2].split()
    before = header.state.tmem or {}
    counters = {
        name: before.get(name, 0)
        for name in ("alloc_failed", "page_failed", "evicted", "evict_attempts", "relinq", "relinq_attempts")
    }
    return Tmem(
        enabled="tmem" in options or "tmem=1" in options,
        compress="tmem_compress" in options,
        midsize=before.get("midsize", 0),
        statistics=Statistics(**counters),
    )
