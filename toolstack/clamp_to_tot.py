"""`clamp-to-tot`: P2', the toolstack's way as the commit message of XENMEM_claim_pages puts it.

Clamp every domain's max_pages to its tot_pages for the length of the build; what tmem's freeze does to tmem.
The message rejects it because it pins guests needlessly: none may grow while anything is built, however
much is free. Nothing is to be chosen (L = N, every cut is all of the headroom) and nobody can be over.

The pins of launches at once last until the last of them ends; each admission pins anew.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from toolstack.interface import parse_parameters
from toolstack.limits import Calls
from toolstack.pinning import Pinning


class ClampToTotParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """[scheme.clamp-to-tot]."""

    margin_percent: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Growth left to each domain, percent of its tot_pages; it must be free as well. Range: 0 to 20."""
    calls: Calls = "one by one"
    """How limits are set and read. Range: one by one, multicall, atomic (not in Xen: H4)."""


class ClampToTot(Pinning):
    """Pins for the length of the builds."""

    origin = "P2': the toolstack's way in the commit message of the claim hypercall"
    parameters = ClampToTotParameters

    def __init__(self, parameters: Any) -> None:
        """See `ClampToTotParameters`. Raises `ParametersError`."""
        chosen = parse_parameters(parameters, ClampToTotParameters)
        super().__init__(chosen.calls, chosen.margin_percent, repin=True)
