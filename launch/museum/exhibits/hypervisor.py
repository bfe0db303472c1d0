"""Bugs of Xen itself: claims that leak, grow, go, or are counted too late."""

from __future__ import annotations

from typing import Final

from hypervisor.core.releases import RELEASES
from launch.explore.worlds.claim_in_window import HugeClaimInWindow
from launch.explore.worlds.observer import ObserverOfSuperpages
from launch.museum.exhibit import Exhibit, Side, turned
from launch.museum.worlds.dying import ClaimOnDying
from launch.museum.worlds.fallback import Fallback
from launch.museum.worlds.half_covered import HalfCovered
from launch.museum.worlds.nominated import NominatedUnderClaim
from launch.museum.worlds.offlining import OfflinedUnderClaim
from launch.museum.worlds.starved_owner import StarvedOwner
from launch.museum.worlds.tmem_list import TmemList

_4_3: Final = RELEASES["4.3"]
_4_21: Final = RELEASES["4.21"]
_4_22: Final = RELEASES["4.22"]
_SETS: Final = RELEASES["claim-sets"]

NEGATIVE_FREE: Final = Exhibit(
    name="negative-free",
    when="4.3 to 4.21.0",
    source="75d29d9b5e, C27, W7",
    broke="free - claims falls below what is there, and below zero",
    switch="4.22 with claim_consumed_at_alloc off",
    history="Up to 4.21.0 the heap's counter fell in one locked region and the claim in a later one. In "
    "between a builder's own extent was counted twice: whoever looked saw too little free memory, "
    "or a negative figure, and launches that fitted were refused. Both counters moved into one "
    "region in 4.22, twelve years after 4.3.",
    on=Side(ObserverOfSuperpages(), turned(_4_22, claim_consumed_at_alloc=False)),
    off=Side(ObserverOfSuperpages(), _4_22),
    schedule="a1.b1/a.b",
)
WRAPPED_CLAIM: Final = Exhibit(
    name="wrapped-claim",
    when="4.3 to 4.21.0",
    source="75d29d9b5e, C14, recorded as race2",
    broke="a claim larger than the host is granted",
    switch="4.21.1 with claim_consumed_at_alloc off, as 4.21.0 was",
    history="The claim test computes free - claims in unsigned long. Inside the window between heap and "
    "claim the difference can be negative; it wraps, and then a claim of any size passes. Real "
    "4.17.7 and 4.21.0 hosts were recorded granting such claims, 4.22.0 never did.",
    on=Side(HugeClaimInWindow(), _4_21),
    off=Side(HugeClaimInWindow(), turned(_4_21, claim_consumed_at_alloc=True)),
    schedule="a.b",
)
DYING_CLAIM: Final = Exhibit(
    name="dying-claim",
    when="4.3 to 4.21.0",
    source="2379ca04fe, C9",
    broke="a claim outlives its domain: memory lost until the next boot",
    switch="4.22 with claim_on_dying_refused off",
    history="Killing a domain drops its claim once, at the start. A claim made for the domain after that "
    "was accepted and never dropped again, so that its pages stayed promised to nobody for as "
    "long as the host ran. Refused with EINVAL since 4.22, and in 4.19.5, 4.20.3 and 4.21.1.",
    on=Side(ClaimOnDying(), turned(_4_22, claim_on_dying_refused=False)),
    off=Side(ClaimOnDying(), _4_22),
    schedule="a2.b",
)
REGROWN_CLAIM: Final = Exhibit(
    name="regrown-claim",
    when="4.3 to 4.20",
    source="3472783c26, C21, S6",
    broke="a claim grows although nothing became free",
    switch="4.21 with free_regrows_claim on",
    history="Up to 4.20 every fall of tot_pages raised a claim that still stood. A page that is nominated "
    "for sharing leaves tot_pages without becoming free, so the claim rose past what was there. "
    "4.21 let claims be and only fall.",
    on=Side(NominatedUnderClaim(), turned(_4_21, free_regrows_claim=True)),
    off=Side(NominatedUnderClaim(), _4_21),
    schedule="b1/-",
)
CLAIM_LOST: Final = Exhibit(
    name="claim-lost",
    when="from 4.22.0 and 4.21.1",
    source="75d29d9b5e, C23",
    broke="an extent refused at max_pages takes the claim with it",
    switch="4.21 with claim_consumed_at_alloc on",
    history="Since claims are drawn down in the allocator, an extent that is then refused because the "
    "domain is at max_pages goes back to the heap and its claim does not come back. The change is "
    "known to do so and was accepted: the builder that falls back to smaller extents finds its "
    "promise gone.",
    on=Side(Fallback(), turned(_4_21, claim_consumed_at_alloc=True)),
    off=Side(Fallback(), _4_21),
    schedule="a5.b5.a",
)
HALF_COVERED: Final = Exhibit(
    name="half-covered",
    when="from 4.3",
    source="C17 b, W8",
    broke="an extent is refused that claim and unclaimed memory cover together",
    switch="claim-sets with claim_covers_shortfall off",
    history="A claim smaller than the request helps nothing in any release: near the end of a build a "
    "domain loses 2-MiB and 1-GiB mappings, and the builder falls back to smaller pages. The "
    "claim sets let a claim make up what unclaimed memory lacks; they are not merged.",
    on=Side(HalfCovered(), turned(_SETS, claim_covers_shortfall=False)),
    off=Side(HalfCovered(), _SETS),
    schedule="a1/-",
)
STARVED_OWNER: Final = Exhibit(
    name="starved-owner",
    when="draft, 2025-26",
    source="a draft of the claim sets; N5",
    broke="the owner of a node's claim is refused its own memory",
    switch="claim-sets with host_test_counts_node_claims off",
    history="In a draft only the host-wide part of a claim helped past the host's test. With node 0 at 96 "
    "free of which A claims 90, and node 1 at 10 of which B claims 5, A asks for 16 pages of node "
    "0: the node has them, the host counts 11 unclaimed and says no. The test now counts all "
    "claims of the domain.",
    on=Side(StarvedOwner(), turned(_SETS, host_test_counts_node_claims=False)),
    off=Side(StarvedOwner(), _SETS),
    schedule="a1/-",
)
OFFLINED: Final = Exhibit(
    name="offlined-under-claim",
    when="from 4.3",
    source="C28, W9, N7",
    broke="more is claimed than is left in service",
    switch="claim-sets with offlining_recalls_claims off",
    history="Taking a bad frame out of service takes it from free memory and, in every release, from no "
    "claim: what is promised can exceed what there is. The claim sets recall claims in the order "
    "of the domain list.",
    on=Side(OfflinedUnderClaim(), turned(_SETS, offlining_recalls_claims=False)),
    off=Side(OfflinedUnderClaim(), _SETS),
    schedule="b1/-",
)
TMEM_LIST: Final = Exhibit(
    name="tmem-list",
    when="4.3 to 4.12",
    source="T23, C28",
    broke="a swapping guest gets memory that is claimed for another",
    switch="4.3 with tmem_list_past_claims on, as it was",
    history="A claim counts on what tmem can give back. A page that tmem has and does not use was handed "
    "to a guest's persistent pool, that is to frontswap, with no look at claims: what could be "
    "given back fell, the claims stayed, and a claimed build came up short. No release mended it; "
    "tmem was removed in 4.13. The sound side holds such a page to the test of every other "
    "allocation.",
    on=Side(TmemList(), _4_3),
    off=Side(TmemList(), turned(_4_3, tmem_list_past_claims=False)),
    schedule="a14.b",
    budget=200,
)

HYPERVISOR: Final = (
    NEGATIVE_FREE,
    WRAPPED_CLAIM,
    DYING_CLAIM,
    REGROWN_CLAIM,
    CLAIM_LOST,
    HALF_COVERED,
    STARVED_OWNER,
    OFFLINED,
    TMEM_LIST,
)
