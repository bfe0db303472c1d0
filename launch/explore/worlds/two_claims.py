"""Recorded races `claim-two-domains` and `claim-same-domain`: two claims of all that is unclaimed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.errors import Errno, errno_name
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.programs import claim, leave_unclaimed, new_domain
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

FREE = 4


class ClaimTwoDomains(SmallWorld):
    """All unclaimed memory, twice."""

    name: ClassVar[str] = "claim-two-domains"
    about: ClassVar[str] = "two programs claim all unclaimed memory for two domains"
    host = HostConfig((256,), dom0_pages=64, xen_pages=32, low_mem_virq_pages=0)
    refusal: ClassVar[int] = -Errno.ENOMEM
    pages: ClassVar[int] = FREE

    async def set_up(self, world: World) -> tuple[DomId, DomId]:
        """Two empty domains and `FREE` pages."""
        domids = await new_domain(world), await new_domain(world)
        await leave_unclaimed(world, FREE)
        return domids

    def parties(self, scene: Scene) -> Sequence[Party]:
        """One program in dom0 for each claim."""
        one, other = scene.facts
        return (
            Party("one", (claim(one, self.pages, "one"),)),
            Party("other", (claim(other, self.pages, "other"),)),
        )

    def at_end(self, scene: Scene) -> None:
        """Exactly one is granted."""
        answers = sorted((scene.notes["one"], scene.notes["other"]))
        if answers != [self.refusal, 0]:
            text = " and ".join(errno_name(ret) if ret < 0 else "granted" for ret in answers)
            scene.violate("not exactly one claim", text)

    def outcome(self, scene: Scene) -> str:
        """As the recordings name it."""
        answers = sorted((scene.notes["one"], scene.notes["other"]))
        if answers[0] < 0 == answers[1]:
            return f"one-claim-one-{errno_name(answers[0])}"
        return "two-claims" if answers == [0, 0] else "no-claim"


class ClaimSameDomain(ClaimTwoDomains):
    """A third of unclaimed memory, twice for the same domain: no resize (C12)."""

    name: ClassVar[str] = "claim-same-domain"
    about: ClassVar[str] = "two programs claim for the same domain"
    refusal: ClassVar[int] = -Errno.EINVAL
    pages: ClassVar[int] = 1

    async def set_up(self, world: World) -> tuple[DomId, DomId]:
        """One empty domain, twice, and `FREE` pages."""
        domid = await new_domain(world)
        await leave_unclaimed(world, FREE)
        return domid, domid
