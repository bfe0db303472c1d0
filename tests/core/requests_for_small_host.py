"""Hypothesis strategies for requests to a small host: sensible ones that get far, and absurd ones."""

from __future__ import annotations

from hypothesis import strategies as st

from hypervisor.core.steps import Caller
from hypervisor.public.domctl import (
    CDF_HAP,
    CDF_HVM,
    CreateDomain,
    DestroyDomain,
    GetDomainInfo,
    GetDomainInfoList,
    MapForeign,
    MaxMem,
    PauseDomain,
    Physinfo,
    SetPagingMempoolSize,
    UnmapForeign,
    UnpauseDomain,
)
from hypervisor.public.memory import (
    MEMF_EXACT_NODE,
    MEMF_VNODE,
    ClaimPages,
    CurrentReservation,
    DecreaseReservation,
    IncreaseReservation,
    MaximumGpfn,
    MaximumRamPage,
    MaximumReservation,
    MemoryExchange,
    PopulatePhysmap,
    memf_exact_node,
)
from hypervisor.public.numa import (
    CLAIM_TARGET_GLOBAL,
    CLAIM_TARGET_LEGACY,
    ClaimMemory,
    MemoryClaim,
    Numainfo,
    SetNodeAffinity,
    SetVnumaInfo,
)
from hypervisor.public.offlining import PageOfflineOp
from hypervisor.public.requests import Request
from hypervisor.public.units import DOMID_ANY, DOMID_COW, DOMID_IDLE, DOMID_SELF, DOMID_XEN, PAGE_SIZE
from hypervisor.public.xenstore import (
    StoreDirectory,
    StoreRead,
    StoreRemove,
    StoreUnwatch,
    StoreWatch,
    StoreWrite,
)

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFF_FFFF)
U64 = st.integers(0, 0xFFFF_FFFF_FFFF_FFFF)

LIVE = st.sampled_from((1, 1, 1, 2, 2, 3))
DOMIDS = st.one_of(
    LIVE, LIVE, LIVE, st.sampled_from((0, 4, 9, DOMID_SELF, DOMID_XEN, DOMID_COW, DOMID_ANY, DOMID_IDLE))
)
CALLERS = st.sampled_from(
    (*[Caller(0)] * 4, Caller(0, 77), *(Caller(domid, life) for domid in (1, 2, 9) for life in (1, 2, 3)))
)
COUNTS = st.one_of(st.integers(0, 12), st.integers(0, 12), st.integers(0, 300))
ORDERS = st.sampled_from((0, 0, 0, 0, 1, 2, 3, 5, 9, 10, 18))
EXACT_NODES = tuple(memf_exact_node(node) for node in (0, 1, 2, 9, 70))
VNODE_FLAGS = tuple(MEMF_VNODE | node << 8 | MEMF_EXACT_NODE * (node & 1) for node in range(4))
FLAGS = st.sampled_from(
    (0, 0, 0, 0, 1 << 8, 2 << 8, 3 << 8, 70 << 8, MEMF_EXACT_NODE, 12, 13, 22, 23, *EXACT_NODES)
)
GFNS = st.one_of(st.integers(0, 40), st.integers(0, 2000))
FRAMES = st.one_of(st.integers(0, 40), st.integers(0, 4200))
TOTALS = st.one_of(st.just(0), st.integers(1, 40), st.integers(1, 4000))


def runs(first: st.SearchStrategy[int], counts: st.SearchStrategy[int] = COUNTS) -> st.SearchStrategy:
    """Lists of runs of extents."""
    return st.lists(st.tuples(first, counts), max_size=3).map(tuple)


MEMORY = st.one_of(
    st.builds(PopulatePhysmap, DOMIDS, runs(GFNS), ORDERS, FLAGS, st.sampled_from((0, 0, 0, 1, 5))),
    st.builds(PopulatePhysmap, LIVE, runs(GFNS), st.sampled_from((0, 0, 1))),
    st.builds(IncreaseReservation, DOMIDS, COUNTS, ORDERS, FLAGS, st.sampled_from((0, 0, 0, 1, 5))),
    st.builds(IncreaseReservation, LIVE, COUNTS, st.sampled_from((0, 1, 2, 3))),
    st.builds(DecreaseReservation, DOMIDS, runs(FRAMES), st.sampled_from((0, 0, 0, 1, 2, 9, 10))),
    st.builds(DecreaseReservation, LIVE, runs(GFNS)),
)
CLAIMS = st.one_of(
    st.builds(ClaimPages, LIVE, TOTALS),
    st.builds(ClaimPages, LIVE, TOTALS),
    st.builds(ClaimPages, LIVE, st.just(1_000_000)),
    st.builds(ClaimPages, DOMIDS, TOTALS, *[st.sampled_from((0, 0, 0, 0, 1))] * 4),
)
LIFE = st.one_of(
    st.builds(
        CreateDomain,
        st.sampled_from((DOMID_ANY, DOMID_ANY, 0, 1, 2, 3)),
        st.sampled_from((0, 0, CDF_HVM, CDF_HVM, CDF_HVM | CDF_HAP, CDF_HAP)),
    ),
    st.builds(CreateDomain, st.sampled_from((1, 2)), st.sampled_from((0, CDF_HVM))),
    st.builds(DestroyDomain, st.sampled_from((0, 2, 4, 9, DOMID_SELF))),
    st.builds(PauseDomain, DOMIDS),
    st.builds(UnpauseDomain, DOMIDS),
    st.builds(UnpauseDomain, LIVE),
    st.builds(MaxMem, DOMIDS, TOTALS.map(lambda pages: pages * 4)),
    st.builds(MaxMem, LIVE, st.just(1_000_000 * 4)),
    st.builds(SetPagingMempoolSize, LIVE, st.integers(200, 300).map(lambda pages: pages * PAGE_SIZE)),
    st.builds(SetPagingMempoolSize, DOMIDS, st.sampled_from((5, 1 << 24, PAGE_SIZE * 400))),
)
FOREIGN = st.one_of(
    st.builds(MapForeign, DOMIDS, runs(FRAMES, st.integers(0, 3))),
    st.builds(UnmapForeign, DOMIDS, runs(FRAMES, st.integers(0, 3))),
)
READS = st.one_of(
    st.just(Physinfo()),
    st.just(MaximumRamPage()),
    st.builds(GetDomainInfo, DOMIDS),
    st.builds(GetDomainInfoList, DOMIDS, st.sampled_from((0, 1, 2, 1024))),
    st.builds(CurrentReservation, DOMIDS),
    st.builds(MaximumReservation, DOMIDS),
    st.builds(MaximumGpfn, DOMIDS),
)
PATHS = st.sampled_from(
    ("/", "/local/domain/1/data/a", "/local/domain/1/memory/target", "/local/domain/2", "/x//y", "no", "")
)
STORE = st.one_of(
    st.builds(StoreRead, PATHS),
    st.builds(StoreDirectory, PATHS),
    st.builds(StoreWrite, PATHS, st.sampled_from(("1", "", "x" * 5000))),
    st.builds(StoreRemove, PATHS),
    st.builds(StoreWatch, PATHS, st.just("t")),
    st.builds(StoreUnwatch, PATHS, st.just("t")),
)
NODES = st.sampled_from(
    (0, 0, 1, 1, 2, 3, 63, 64, CLAIM_TARGET_GLOBAL, CLAIM_TARGET_GLOBAL, CLAIM_TARGET_LEGACY)
)
SETS = st.lists(
    st.builds(
        MemoryClaim,
        st.one_of(st.integers(0, 40), st.integers(0, 300), st.just((1 << 64) - 1)),
        NODES,
        st.sampled_from((0, 0, 0, 0, 0, 1)),
    ),
    max_size=4,
).map(tuple)
NUMA = st.one_of(
    st.builds(ClaimMemory, LIVE, SETS),
    st.builds(
        ClaimMemory, LIVE, st.lists(st.builds(MemoryClaim, COUNTS, st.integers(0, 2)), max_size=2).map(tuple)
    ),
    st.builds(ClaimMemory, DOMIDS, SETS, st.sampled_from((0, 0, 1))),
    st.builds(SetNodeAffinity, DOMIDS, st.sampled_from((0, 1, 2, 3, 5, 1 << 40, (1 << 64) - 1))),
    st.builds(
        SetVnumaInfo, DOMIDS, st.lists(st.sampled_from((0, 1, 2, 63, 64, 0xFFFF_FFFF)), max_size=3).map(tuple)
    ),
    st.builds(IncreaseReservation, LIVE, COUNTS, st.sampled_from((0, 0, 2)), st.sampled_from(VNODE_FLAGS)),
    st.just(Numainfo()),
    st.builds(PageOfflineOp, st.integers(0, 4), FRAMES, FRAMES),
    st.builds(
        lambda cmd, mfn, more: PageOfflineOp(cmd, mfn, mfn + more),
        st.integers(1, 3),
        FRAMES,
        st.integers(0, 9),
    ),
)
"""Claim sets, affinity, virtual nodes, offlining."""
ABSURD = st.one_of(
    st.builds(PopulatePhysmap, U16, runs(U64, U64), U32, U32, U64),
    st.builds(PopulatePhysmap, LIVE, runs(U64, st.integers(0, 4)), st.sampled_from((0, 9))),
    st.builds(IncreaseReservation, U16, U64, U32, U32, U64),
    st.builds(DecreaseReservation, LIVE, runs(U64, U64), U32, U32, U64),
    st.builds(MemoryExchange, LIVE, runs(U64, U64), U32, LIVE, runs(U64, U64), U32, U32, U64),
    st.builds(ClaimPages, U16, U64, U32, U32, U64, U64),
    st.builds(MapForeign, LIVE, runs(U64, U64)),
    st.builds(UnmapForeign, LIVE, runs(U64, U64)),
    st.builds(MaxMem, U16, U64),
    st.builds(SetPagingMempoolSize, U16, U64),
    st.builds(GetDomainInfoList, U16, U32),
)


@st.composite
def exchanges(draw: st.DrawFn) -> Request:
    """Exchanges whose sizes match, most of the time."""
    domid = draw(LIVE)
    in_order, out_order = draw(st.sampled_from(((0, 0), (0, 1), (1, 0), (0, 3), (2, 0), (1, 1), (0, 9))))
    pages = draw(st.integers(0, 4)) << max(in_order, out_order)
    if draw(st.integers(0, 9)) == 0:
        pages += 1
    ins, outs = pages >> in_order, pages >> out_order
    done = draw(st.sampled_from((0, 0, 0, 0, 1, 8)))
    return MemoryExchange(
        domid,
        ((draw(FRAMES), ins),),
        in_order,
        draw(st.sampled_from((domid, domid, domid, 2))),
        ((draw(GFNS), outs),),
        out_order,
        draw(FLAGS),
        done,
    )


REQUESTS = st.one_of(MEMORY, MEMORY, CLAIMS, LIFE, LIFE, FOREIGN, exchanges(), READS, STORE, ABSURD)
"""Anything that the type of a request allows."""
