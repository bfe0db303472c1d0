"""`naive`: look at free memory, then build. What every toolstack did before claims existed.

libxl_get_free_memory looks at physinfo's free pages and at nothing else: not at claims (L11), not at what
its own other builds have yet to take, not at what running guests may want meanwhile. Between the look
and the last populate lie minutes (W1), so an admission here is a hope.
"""

from __future__ import annotations

from toolstack.interface import Launch, LaunchRefusedError, Scheme, read_host


class Naive(Scheme):
    """One physinfo for each launch, no parameters, nothing to restore."""

    origin = "W1: what toolstacks did before claims"

    async def admit_before_create(self, launch: Launch) -> bool:
        """Enough free pages for the need that libxl computes (L10)?"""
        host, commit = await read_host(launch.world)
        if host.free_pages < launch.need:
            raise LaunchRefusedError(f"{host.free_pages} pages free, {launch.need} needed", commit)
        return True
