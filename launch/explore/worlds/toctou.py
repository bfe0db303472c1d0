"""Item 4 of the seed: "a TOCTOU race is introduced because tot_pages may change unless and until you set
d->max_pages lower". One guest grows on its own while a toolstack launches a domain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypervisor.core.host import HostConfig
from hypervisor.public.orders import LaunchOrder
from hypervisor.public.units import DomId
from hypervisor.public.world import World
from launch.explore.launches import endings, toolstack
from launch.explore.programs import grow, new_domain
from launch.explore.scene import Scene
from launch.explore.small_world import Party, SmallWorld

EXTENT = 512


class Toctou(SmallWorld):
    """Free memory is enough for the launch or for the guest's growth, not for both."""

    name: ClassVar[str] = "toctou"
    about: ClassVar[str] = (
        "a launch while a guest grows: what was sampled is no longer true when it is clamped"
    )
    scheme: ClassVar[str | None] = "clamp"
    host = HostConfig((3616,), dom0_pages=512, xen_pages=256, low_mem_virq_pages=0)

    async def set_up(self, world: World) -> DomId:
        """A running guest of 2 superpages that may have 6; some 1800 pages stay free."""
        return await new_domain(world, max_pages=6 * EXTENT, populated=((0, 2),), order=9, runs=True)

    def parties(self, scene: Scene) -> Sequence[Party]:
        """The toolstack has refused a launch too large for the host before, so its scheme knows the guest."""
        first, order = LaunchOrder(1, 8 * EXTENT, 8 * EXTENT), LaunchOrder(2, 2 * EXTENT, 2 * EXTENT)
        return (
            toolstack(scene, "toolstack", order, before=(first,)),
            Party("guest", (grow(1, 9, EXTENT * 2), grow(1, 9, EXTENT * 3)), domid=scene.facts),
        )

    def after_step(self, scene: Scene) -> None:
        """A limit below what the domain holds rests on a sample that is no longer true."""
        domain = scene.host.domains[scene.facts]
        if domain.max_pages < domain.tot_pages and "stale" not in scene.notes:
            scene.note("stale", True)
            scene.violate(
                "clamped on a stale sample",
                f"domain {domain.domid} holds {domain.tot_pages} pages, max_pages was set to "
                f"{domain.max_pages}: it had grown since it was looked at",
            )

    def outcome(self, scene: Scene) -> str:
        """How the launch ended, and whether the limit came too late."""
        return endings(scene) + (", clamped on a stale sample" if "stale" in scene.notes else "")
