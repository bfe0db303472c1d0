"""Toolstacks that claim, but for the lines that history got wrong."""

from __future__ import annotations

from hypervisor.public.errors import Errno, errno_name
from hypervisor.public.memory import ClaimPages
from hypervisor.public.units import Pages
from toolstack.claim import Claim
from toolstack.interface import Launch, LaunchRefusedError, read_host


class EnosysSwallowed(Claim):
    """As libxc until 7672602df6: a hypervisor that knows no claims is taken to have granted one (L3)."""

    async def admit_at_claim(self, launch: Launch, pages: Pages) -> None:
        """The same call, and one answer more that passes."""
        reply = await launch.world.hypercall(ClaimPages(launch.domid, pages))
        if reply.ret < 0 and reply.ret != -Errno.ENOSYS:
            raise LaunchRefusedError(f"{errno_name(reply.ret)} from claim_pages", reply.last)


class EvenOrdersLook(Claim):
    """Every second builder does not claim, as those of restored and migrated domains (L9, Q8)."""

    async def admit_at_claim(self, launch: Launch, pages: Pages) -> None:
        """A claim, or a look at what others have not claimed."""
        if launch.order.order % 2:
            await super().admit_at_claim(launch, pages)
            return
        host, commit = await read_host(launch.world)
        if host.free_pages - host.outstanding_pages < pages:
            raise LaunchRefusedError(f"{pages} pages are not unclaimed", commit)
