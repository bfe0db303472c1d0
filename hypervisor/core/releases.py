"""What a release of Xen does differently: one frozen set of switches per preset (section 1j).

Code asks for a switch by what it means, never for a release by name. A preset is the release as first
tagged: 4.21 is 4.21.0 (4.21.1 behaves as 4.22). "claim-sets" is 4.22 with the claim sets of claims-v7 (1i).
"""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from hypervisor.public.units import Pages


@dataclass(frozen=True, slots=True)
class Release:
    """Semantic switches of one release; each names the rule or the commit it comes from."""

    name: str
    claim_pages: bool
    """65c9792df6, 4.3: XENMEM_claim_pages exists; a hypervisor without it answers -ENOSYS (L3)."""
    no_refcount_barred_from_claim: bool
    """C17 third arm, since 4.6 (17294e69c4): a page outside tot_pages never leans on a claim."""
    free_regrows_claim: bool
    """C21 against C22 (3472783c26, 4.21.0): giving pages back raises a claim that still stands."""
    claim_consumed_at_alloc: bool
    """C23 (75d29d9b5e, 4.22.0): claim and free pages fall in the same hold of heap_lock."""
    claim_on_dying_refused: bool
    """C9 (2379ca04fe, 4.22.0): before, a claim on a dying domain leaked for ever."""
    claim_start_extent_checked: bool
    """C2: 4.3 does not look at the start_extent bits."""
    claim_coloring_refused: bool
    """C1 (b068cafc73, 4.22.0)."""
    memory_op_privilege_errno: bool
    """A4: 4.3 answers -EPERM where later releases answer 0 extents done."""
    node_flags_need_privilege: bool
    """A7, since 4.5 (propagate_node). The same releases know virtual nodes (A3: the vnode flag)."""
    max_pages_saturates: bool
    """A15: since 4.6 max_mem saturates at UINT_MAX; 4.3 truncates to 32 bits."""
    destroy_returns_eagain: bool
    """C31: 4.3 gives each slice of destruction back to the caller."""
    getdomaininfo_takes_domctl_lock: bool
    """P9: no longer by 4.22."""
    create_domid_zero_is_dom0: bool
    """4.22.0 recordings: createdomain with domid 0 asks for domain 0 itself."""
    claim_sets: bool
    """N1: XEN_DOMCTL_claim_memory, claims on single nodes (claims-v7, 2026, not merged)."""
    claim_covers_shortfall: bool
    """N5: a claim may make up what unclaimed memory lacks of a request (repairs C17 b)."""
    host_test_counts_node_claims: bool
    """N5. Without it, as in an early design, only a host-wide claim helps past the host's test: the owner of
    node claims starves (debate A2)."""
    offlining_recalls_claims: bool
    """N7. Without it, as in every release, offlining leaves more claimed than there is (C28, W9)."""
    tmem: bool
    """T1, W14: up to 4.12; later every tmem hypercall answers as an absent one does."""
    tmem_put_needs_room: bool
    """T21: 4.12 refuses a put before which eviction made no room; 4.3 tries it all the same."""
    tmem_unknown_command_refused: bool
    """T8: 4.12 answers -ENOSYS to a command it does not know, 4.3 answers 0."""
    tmem_shared_auth_required: bool
    """T9, T13: in 4.12 only SET_AUTH for the client itself lets it share a pool."""
    tmem_quota_as_written: bool
    """T30: over_quota's comparison stands the wrong way round for its name, in every release that has tmem.
    False is what its name says."""
    tmem_list_past_claims: bool
    """T23: a page of the tmem list goes to a domain past all claims. No release mended it."""
    tmem_page_descriptor_bytes: int
    """Size of struct tmem_page_descriptor: 4.3 has fields for dedup in it."""
    sharing_enabled_by_use: bool
    """S1: by 4.17 the first sharing operation on a domain enables sharing; before, ENODEV."""
    sharing_range_share: bool
    """S1 (f3356e1d4d, 4.8): range_share exists."""
    nominate_refuses_dying: bool
    """S5: newer releases look under page_alloc_lock whether the domain was killed meanwhile (EBUSY)."""
    pod_populate_on_self: bool
    """A9: by 4.22 a domain may not mark its own gfns populate-on-demand."""
    pv_structure_pages: Pages
    """What createdomain takes for a PV domain (recordings; 4.3 not recorded, 4.12's figure used)."""
    hvm_structure_pages: Pages
    """The same for HVM, without the first HAP pool of 256 pages."""


_4_12: Final = Release(
    name="4.12",
    claim_pages=True,
    no_refcount_barred_from_claim=True,
    free_regrows_claim=True,
    claim_consumed_at_alloc=False,
    claim_on_dying_refused=False,
    claim_start_extent_checked=True,
    claim_coloring_refused=False,
    memory_op_privilege_errno=False,
    node_flags_need_privilege=True,
    max_pages_saturates=True,
    destroy_returns_eagain=False,
    getdomaininfo_takes_domctl_lock=True,
    create_domid_zero_is_dom0=False,
    claim_sets=False,
    claim_covers_shortfall=False,
    host_test_counts_node_claims=False,
    offlining_recalls_claims=False,
    tmem=True,
    tmem_put_needs_room=True,
    tmem_unknown_command_refused=True,
    tmem_shared_auth_required=True,
    tmem_quota_as_written=True,
    tmem_list_past_claims=True,
    tmem_page_descriptor_bytes=72,
    sharing_enabled_by_use=False,
    sharing_range_share=True,
    nominate_refuses_dying=False,
    pod_populate_on_self=True,
    pv_structure_pages=15,
    hvm_structure_pages=17,
)
_4_3: Final = replace(
    _4_12,
    name="4.3",
    no_refcount_barred_from_claim=False,
    claim_start_extent_checked=False,
    memory_op_privilege_errno=True,
    node_flags_need_privilege=False,
    max_pages_saturates=False,
    destroy_returns_eagain=True,
    tmem_put_needs_room=False,
    tmem_unknown_command_refused=False,
    tmem_shared_auth_required=False,
    tmem_page_descriptor_bytes=88,
    sharing_range_share=False,
)
_4_17: Final = replace(
    _4_12, name="4.17", tmem=False, sharing_enabled_by_use=True, nominate_refuses_dying=True
)
_4_21: Final = replace(
    _4_17, name="4.21", free_regrows_claim=False, pv_structure_pages=10, hvm_structure_pages=13
)
_4_22: Final = replace(
    _4_21,
    name="4.22",
    claim_consumed_at_alloc=True,
    claim_on_dying_refused=True,
    claim_coloring_refused=True,
    getdomaininfo_takes_domctl_lock=False,
    create_domid_zero_is_dom0=True,
    pod_populate_on_self=False,
)
_CLAIM_SETS: Final = replace(
    _4_22,
    name="claim-sets",
    claim_sets=True,
    claim_covers_shortfall=True,
    host_test_counts_node_claims=True,
    offlining_recalls_claims=True,
)

RELEASES: Final = MappingProxyType({one.name: one for one in (_4_3, _4_12, _4_17, _4_21, _4_22, _CLAIM_SETS)})
"""The presets by name."""
DEFAULT_RELEASE: Final = "4.17"


def release(name: str) -> Release:
    """The preset called `name`. Raises KeyError naming the known ones."""
    found = RELEASES.get(name)
    if found is None:
        raise KeyError(f"release {name!r} is not known; use one of {', '.join(RELEASES)}")
    return found
