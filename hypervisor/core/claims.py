"""Claims: memory promised to a domain that it does not hold yet (section 1).

A claim is a number. It names no pages; it only makes every allocation that may not lean on it see
less free memory (C17).
"""

from hypervisor.core.domain import Domain, Dying
from hypervisor.core.host import Host
from hypervisor.public.errors import Errno
from hypervisor.public.units import ULONG_MASK, Pages


def available_pages(host: Host) -> Pages:
    """What claims are held against: free pages, and those that tmem could give back (C14, C17, T19)."""
    tmem = host.tmem
    return host.heap.total_avail if tmem is None else host.heap.total_avail + tmem.freeable


def unclaimed_pages(host: Host) -> int:
    """Available pages less claims. Negative inside the window of C27 and under a leak."""
    return available_pages(host) - host.outstanding_claims


def allocation_refused(host: Host, domain: Domain | None, request: Pages, no_refcount: bool) -> bool:
    """The first test of alloc_heap_pages: would `request` pages eat into somebody's claim? (C17)

    A domain whose own claim covers the whole request skips the test; a claim smaller than the
    request helps nothing, even if claim and unclaimed memory together would do (C17 b).
    """
    if host.outstanding_claims + request <= available_pages(host):
        return False
    if domain is None or domain.outstanding_pages < request:
        return True
    return no_refcount and host.release.no_refcount_barred_from_claim


def consume_claim(host: Host, domain: Domain, pages: Pages) -> None:
    """Draw a claim down by memory now held; it stops at 0, the excess is ordinary (C21, C23, C24)."""
    drawn = min(domain.outstanding_pages, pages)
    domain.outstanding_pages -= drawn
    host.outstanding_claims -= drawn
    assert host.outstanding_claims >= 0, "C29: negative outstanding_claims"


def adjust_tot_pages(host: Host, domain: Domain, pages: int) -> None:
    """domain_adjust_tot_pages: tot_pages moves by `pages`, and the claim with it where it does.

    Up to 4.21.0 an increase consumes here (C21); up to 4.20 a decrease raises a claim that still
    stands, so that tot_pages + outstanding stays constant (C21, gone with C22).
    """
    domain.tot_pages += pages
    assert domain.tot_pages >= 0, "negative tot_pages"
    if not domain.outstanding_pages or host.release.claim_consumed_at_alloc:
        return
    if pages > 0:
        consume_claim(host, domain, pages)
    elif host.release.free_regrows_claim:
        domain.outstanding_pages -= pages
        host.outstanding_claims -= pages


def drop_claim(host: Host, domain: Domain) -> None:
    """domain_set_outstanding_pages(d, 0): whatever is left of the claim goes (C11)."""
    host.outstanding_claims -= domain.outstanding_pages
    domain.outstanding_pages = 0


def set_outstanding_pages(host: Host, domain: Domain, pages: Pages) -> int:
    """domain_set_outstanding_pages: 0, -EINVAL or -ENOMEM, tested in Xen's order (C9-C16).

    `pages` is the wanted total tot_pages, 0 cancels.
    """
    if host.release.claim_on_dying_refused and domain.is_dying != Dying.ALIVE:
        return -Errno.EINVAL
    if pages == 0:
        drop_claim(host, domain)
        return 0
    if domain.outstanding_pages:
        return -Errno.EINVAL  # C12: one active claim, no resize; one used up counts as none
    if pages <= domain.tot_pages or pages > domain.max_pages:
        return -Errno.EINVAL
    claim = pages - domain.tot_pages
    # C14: computed in unsigned long, so inside the window of C27 it wraps and any size passes.
    if claim > unclaimed_pages(host) & ULONG_MASK:
        return -Errno.ENOMEM
    domain.outstanding_pages = claim
    host.outstanding_claims += claim
    return 0
