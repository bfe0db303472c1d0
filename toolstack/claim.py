"""`claim`: Magenheimer's scheme (P1), as merged into Xen 4.3 and used by libxl.

One hypercall promises the whole build to the domain or answers ENOMEM before a page has moved. It is
made at the builder's own place for it (L4-L7), draws down as the domain is populated, and whatever is
left is cancelled afterwards. There is no policy to choose: nobody else is looked at or changed.

Xen's own share (domain structures, paging pool) is no part of a claim (A31); it is taken before.
"""

from __future__ import annotations

from hypervisor.public.errors import errno_name
from hypervisor.public.memory import ClaimPages
from hypervisor.public.points import point
from hypervisor.public.units import Pages
from toolstack.builder.build import CLAIM_LEFT_TO_DESTROY
from toolstack.interface import Launch, LaunchRefusedError, Scheme


class Claim(Scheme):
    """XENMEM_claim_pages and its cancel: two hypercalls for each launch, no parameters."""

    origin = "P1: Magenheimer; merged into Xen 4.3"

    async def admit_at_claim(self, launch: Launch, pages: Pages) -> None:
        """The one call that decides."""
        await point(launch.world, "before-claim")
        reply = await launch.world.hypercall(ClaimPages(launch.domid, pages))
        if reply.ret < 0:
            raise LaunchRefusedError(f"{errno_name(reply.ret)} from claim_pages", reply.last)
        await point(launch.world, "claimed")

    async def release(self, launch: Launch) -> None:
        """Cancel what is left: the domain keeps what it populated and nothing more (C11, C32)."""
        left_to_destroy = not launch.built and launch.order.builder in CLAIM_LEFT_TO_DESTROY  # C30
        if launch.admitted and not left_to_destroy:
            await launch.world.hypercall(ClaimPages(launch.domid, 0))
