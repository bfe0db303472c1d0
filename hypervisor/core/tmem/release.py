"""Giving pages and subpages of tmem back: they go to the tmem list, not to the heap (T15, T20, T24)."""

from hypervisor.core.claims import adjust_tot_pages
from hypervisor.core.host import Host
from hypervisor.core.tmem.content import Client, Object, Page, Pool
from hypervisor.core.tmem.state import TMEM_OWNER, Tmem
from hypervisor.core.tmem.subpages import Block
from hypervisor.public.units import Mfn


def tmem_of(host: Host) -> Tmem:
    """The host's tmem; AssertionError where there is none."""
    assert host.tmem is not None, "this release has no tmem"
    return host.tmem


def free_page(host: Host, pool: Pool, mfn: Mfn) -> None:
    """A page of a pool goes to the tmem list; a persistent one leaves its domain first (T20, T24)."""
    tmem = tmem_of(host)
    if pool.persistent:
        _steal_page(host, pool.client, mfn)
    else:
        tmem.in_use -= 1
    tmem.page_list.append(mfn)


def free_block(host: Host, pool: Pool, block: Block) -> None:
    """A subpage of a pool; its page follows once it is empty."""
    pages = pool.client.subpages if pool.persistent else tmem_of(host).subpages
    mfn = pages.give(block)
    if mfn is not None:
        free_page(host, pool, mfn)


def free_data(host: Host, page: Page) -> None:
    """pgp_free_data: what the page holds, wherever it lies."""
    pool = page.obj.pool
    if page.data is not None:
        free_block(host, pool, page.data)
        pool.client.compressed_pages -= 1
        pool.client.compressed_sum_size -= COMPRESSED_ZEROS
        page.data = None
    elif page.mfn is not None:
        free_page(host, pool, page.mfn)
        tmem_of(host).data_pages -= 1
        page.mfn = None


COMPRESSED_ZEROS = 44
"""Bytes that LZO makes of a page of zeros (recording t40)."""


def free_descriptor(host: Host, page: Page) -> None:
    """pgp_free: data and descriptor. While migrating, a persistent page's descriptor is kept (T10)."""
    tmem, pool = tmem_of(host), page.obj.pool
    free_data(host, page)
    tmem.pages -= 1
    pool.pages -= 1
    if pool.persistent and pool.client.migrating:
        pool.client.invalidated.append((pool, page.block))
        return
    free_block(host, pool, page.block)


def delist(host: Host, page: Page) -> None:
    """Take an ephemeral page off the lists of its client and of all; one on none stays."""
    tmem = tmem_of(host)
    if page not in tmem.ephemeral:
        return
    del tmem.ephemeral[page]
    tmem.eph_count -= 1
    client = page.obj.pool.client
    client.eph_count -= 1
    if page in client.ephemeral:
        del client.ephemeral[page]
        return
    for other in tmem.clients.values():  # a shared pool changed hands, and the whole list went along
        other.ephemeral.pop(page, None)


def unhang(host: Host, obj: Object, index: int) -> Page | None:
    """pgp_delete_from_obj: the page leaves its object's tree, and nodes left empty are freed."""
    page, blocks = obj.remove(index)
    free_nodes(host, obj.pool, blocks)
    return page


def free_nodes(host: Host, pool: Pool, blocks: list[Block]) -> None:
    """Tree nodes that are no longer needed."""
    for block in blocks:
        pool.nodes -= 1
        tmem_of(host).nodes -= 1
        free_block(host, pool, block)


def delete_page(host: Host, obj: Object, index: int) -> bool:
    """A page goes with everything it needed, its object too when it was the last; False: not there."""
    page = unhang(host, obj, index)
    if page is None:
        return False
    delist(host, page)
    free_descriptor(host, page)
    if not obj.pages:
        free_object(host, obj)
    return True


def free_object(host: Host, obj: Object) -> None:
    """obj_free and obj_destroy: every page and node left in it, then the object."""
    pool = obj.pool
    for part in obj.tear_down():
        if isinstance(part, Page):
            delist(host, part)
            free_descriptor(host, part)
        else:
            free_nodes(host, pool, [part])
    pool.objects.pop(obj.oid, None)
    tmem_of(host).objects -= 1
    free_block(host, pool, obj.block)


def _steal_page(host: Host, client: Client, mfn: Mfn) -> None:
    """steal_page: tot_pages falls by one, and a claim that stands grows (T24, C21)."""
    domain = host.domains[client.domid]
    adjust_tot_pages(host, domain, -1)
    host.frames.set_owner(mfn, 0, TMEM_OWNER, domain.domid)
    tmem_of(host).persistent_frames.remove(mfn)
