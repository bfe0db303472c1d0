"""H28: what Xen does not have. A claim that is refused is tried again, with and without a line to wait in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hypervisor.public.units import Pages, Seconds
from toolstack.claim import Claim
from toolstack.interface import Launch, LaunchRefusedError
from toolstack.waiting_line import WaitingLine

AGAIN: Final[Seconds] = 0.5
"""Emulated seconds until a refused launch claims again."""


class Patient(Claim):
    """Whoever comes at the right moment is in: nobody waits for anybody."""

    origin = "P1, retried"

    async def admit_at_claim(self, launch: Launch, pages: Pages) -> None:
        """Claim until it is granted."""
        while True:
            try:
                await super().admit_at_claim(launch, pages)
            except LaunchRefusedError:
                await launch.world.sleep(AGAIN)
            else:
                return


class InLine(Patient):
    """First come, first served: behind a large launch that does not fit yet the small ones wait."""

    origin = "P1, retried in a line"

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        super().__init__(parameters)
        self._line = WaitingLine(AGAIN)

    async def admit_at_claim(self, launch: Launch, pages: Pages) -> None:
        """Claim when all who came earlier have theirs."""
        try:
            await self._line.enter(launch.world, launch.order.order)
            await super().admit_at_claim(launch, pages)
        finally:
            self._line.leave(launch.order.order)
