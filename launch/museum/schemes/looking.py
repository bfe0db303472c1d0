"""Toolstacks that look at free memory: less what is claimed, in two readings, or as if nothing were."""

from __future__ import annotations

from hypervisor.public.units import Commit
from toolstack.interface import Launch, LaunchRefusedError, Scheme, read_host


class Looking(Scheme):
    """Admits by free - outstanding, as one physinfo tells both (C34)."""

    async def admit_before_create(self, launch: Launch) -> bool:
        """Enough that is promised to nobody?"""
        unclaimed, commit = await self._unclaimed(launch)
        if unclaimed < launch.need:
            raise LaunchRefusedError(f"{unclaimed} pages unclaimed, {launch.need} needed", commit)
        return True

    async def _unclaimed(self, launch: Launch) -> tuple[int, Commit]:
        host, commit = await read_host(launch.world)
        return host.free_pages - host.outstanding_pages, commit


class TwoReadings(Looking):
    """As the tools of 4.3-dev: free memory from one hypercall, the claims from another."""

    async def _unclaimed(self, launch: Launch) -> tuple[int, Commit]:
        host, _ = await read_host(launch.world)
        claims, commit = await read_host(launch.world)
        return host.free_pages - claims.outstanding_pages, commit


class FreeAlone(Looking):
    """As libxl_get_free_memory: free memory, whatever is claimed of it (L11)."""

    async def _unclaimed(self, launch: Launch) -> tuple[int, Commit]:
        host, commit = await read_host(launch.world)
        return host.free_pages, commit
