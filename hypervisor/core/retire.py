"""Frames that leave service: out of the free lists and in nobody's hands (reserve_offlined_page; C28, W9)."""

from typing import Final

from hypervisor.core.claims import recall_claims
from hypervisor.core.heap.frames import FREE
from hypervisor.core.host import Host
from hypervisor.public.units import DomId, Mfn, Order

OFFLINED: Final[DomId] = 0x7FFD
"""Owner of frames out of service."""


def retire_frame(host: Host, mfn: Mfn) -> None:
    """A free frame goes out of service; claims come down to what is left where the release does so (N7)."""
    taken = host.heap.reserve(mfn)
    assert taken, f"mfn {mfn:#x} is nobody's and not free"
    host.frames.set_owner(mfn, 0, OFFLINED, FREE)
    host.offlined_pages += 1
    if host.release.offlining_recalls_claims:
        recall_claims(host, host.heap.node_of(mfn))


def retire_freed(host: Host, mfn: Mfn, order: Order) -> None:
    """An extent has just become free: those of its frames that were to go out of service do so now."""
    for frame in sorted(host.offlining):
        if mfn <= frame < mfn + (1 << order):
            del host.offlining[frame]
            retire_frame(host, frame)
