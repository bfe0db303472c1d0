"""Toolstacks that launch: one domain too large, several at once, one after the other, beside a guest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.orders import LaunchOrder
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.launches import endings, toolstack
from launch.explore.programs import grow, leave_unclaimed, new_domain
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

EXTENT = 512
HOST = HostConfig((4096,), dom0_pages=512, xen_pages=256, low_mem_virq_pages=0)


class Launching(SmallWorld):
    """Common to all of them: how the launches ended is the class of the end."""

    scheme: ClassVar[str | None] = "claim"
    host = HOST

    def outcome(self, scene: Scene) -> str:
        """How they ended."""
        return endings(scene)


class TooLarge(Launching):
    """One launch, and memory for a few pages."""

    name: ClassVar[str] = "too-large"
    about: ClassVar[str] = "a launch that the host has no memory for"

    async def set_up(self, world: World) -> None:
        """24 pages free."""
        await leave_unclaimed(world, 24)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The toolstack."""
        return (toolstack(scene, "toolstack", LaunchOrder(1, EXTENT, EXTENT)),)


class OneTooLarge(Launching):
    """Two launches at once; one can never fit, the other does."""

    name: ClassVar[str] = "one-too-large"
    about: ClassVar[str] = "two launches of one toolstack, one of them larger than the host"

    async def set_up(self, world: World) -> None:
        """Memory for the small one."""
        await leave_unclaimed(world, 3 * EXTENT)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """Both orders arrive together."""
        both = LaunchOrder(1, 16 * EXTENT, 16 * EXTENT), LaunchOrder(2, EXTENT, EXTENT)
        return (toolstack(scene, "toolstack", both),)


class TwoAtOnce(Launching):
    """Two launches at once of one toolstack, and memory for one."""

    name: ClassVar[str] = "two-at-once"
    about: ClassVar[str] = "two launches of one toolstack at once, memory for one of them"

    async def set_up(self, world: World) -> None:
        """What libxl wants to see for one, which is less than two take."""
        await leave_unclaimed(world, 3 * EXTENT + 64)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """Both orders arrive together."""
        both = tuple(LaunchOrder(number, 2 * EXTENT, 2 * EXTENT) for number in (1, 2))
        return (toolstack(scene, "toolstack", both),)


class TwoThatFit(Launching):
    """Two launches at once of one toolstack, and memory for both."""

    name: ClassVar[str] = "two-that-fit"
    about: ClassVar[str] = "two launches of one toolstack at once, memory for both"

    async def set_up(self, world: World) -> None:
        """Plenty."""
        await leave_unclaimed(world, 4 * EXTENT)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """Both orders arrive together."""
        both = tuple(LaunchOrder(number, EXTENT, EXTENT) for number in (1, 2))
        return (toolstack(scene, "toolstack", both),)


class OneAfterTheOther(Launching):
    """Two launches, the second when the first has ended, and memory for both."""

    name: ClassVar[str] = "one-after-the-other"
    about: ClassVar[str] = "two launches of one toolstack one after the other, memory for both"
    until: ClassVar[float] = 2.5

    async def set_up(self, world: World) -> None:
        """Enough for both, not for three."""
        await leave_unclaimed(world, 4 * EXTENT)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The second order arrives later."""
        orders = [LaunchOrder(number, EXTENT, EXTENT) for number in (1, 2)]
        return (toolstack(scene, "toolstack", *orders),)


class TwoToolstacks(Launching):
    """A launch each, and memory for one of them."""

    name: ClassVar[str] = "two-toolstacks"
    about: ClassVar[str] = "two toolstacks launch a domain each at the same time, memory for one of them"

    async def set_up(self, world: World) -> None:
        """A superpage, and more than the structures of two domains take."""
        await leave_unclaimed(world, EXTENT + 64)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """Two processes, each with a scheme of its own."""
        orders = [LaunchOrder(number, EXTENT, EXTENT) for number in (1, 2)]
        return [toolstack(scene, f"toolstack {one.order}", one) for one in orders]


class BesideGuest(Launching):
    """A launch that does not fit, then one that does, while a guest grows."""

    name: ClassVar[str] = "beside-guest"
    about: ClassVar[str] = (
        "a launch that did not fit, then one that does, while a guest grows as far as it may"
    )
    host = HostConfig((2902,), dom0_pages=512, xen_pages=256, low_mem_virq_pages=0)
    """1100 pages stay free, enough for the launch and one of the two superpages that the guest wants."""

    async def set_up(self, world: World) -> DomId:
        """A running guest of two superpages that may have six."""
        return await new_domain(world, max_pages=6 * EXTENT, populated=((0, 2),), order=9, runs=True)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """What follows the end of the first launch is still to come; the guest takes two superpages."""
        first, order = LaunchOrder(1, 16 * EXTENT, 16 * EXTENT), LaunchOrder(2, EXTENT, EXTENT)
        return (
            toolstack(scene, "toolstack", order, before=(first,)),
            Party("guest", (grow(2, 9, EXTENT * 2),), domid=scene.facts),
        )
