"""Carries a plan out: populate calls with emulated time in between, and the frames they brought."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from hypervisor.public.domctl import Frames
from hypervisor.public.errors import errno_name
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.pod import SetPodTarget
from hypervisor.public.points import point
from hypervisor.public.units import Commit, DomId, Pages, Run, Runs, Seconds
from hypervisor.public.world import World
from toolstack.builder.hvm import hvm_4_3, hvm_4_4, hvm_4_17, hvm_pod_4_3, hvm_pod_4_17, populated_by_hvm
from toolstack.builder.plan import Attempt, ClaimHere, Plan, PodTargetHere
from toolstack.builder.pv import pv_4_3, pv_4_17

BUILDERS: Final[Mapping[str, Callable[[Pages], Plan]]] = MappingProxyType(
    {"pv-4.17": pv_4_17, "hvm-4.17": hvm_4_17, "pv-4.3": pv_4_3, "hvm-4.3": hvm_4_3, "hvm-4.4": hvm_4_4}
)
POD_BUILDERS: Final[Mapping[str, Callable[[Pages, Pages], Plan]]] = MappingProxyType(
    {"hvm-4.17": hvm_pod_4_17, "hvm-4.3": hvm_pod_4_3}
)
"""The same for a guest that starts below its maximum; PV guests start ballooned instead."""


CLAIM_LEFT_TO_DESTROY: Final = frozenset({"pv-4.17"})
"""Builders that return from a failed build without cancelling its claim (L6)."""
CHUNK_SECONDS: Final[Seconds] = 1.0
"""Emulated seconds of one populate call at the most, unless its one extent takes longer."""


class BuildFailedError(Exception):
    """The build fell short. libxc says EBUSY; the usual cause is no memory or max_pages (L8)."""

    def __init__(self, reason: str, commit: Commit) -> None:
        super().__init__(reason)
        self.commit = commit


def is_hvm(builder: str) -> bool:
    """Whether that builder makes HVM domains."""
    return builder.startswith("hvm")


def final_tot_pages(builder: str, pages: Pages) -> Pages:
    """tot_pages of a domain of `pages` when its build is over."""
    return populated_by_hvm(pages) if is_hvm(builder) else pages


@dataclass(slots=True)
class Build:
    """One build in progress."""

    domid: DomId
    builder: str
    pages: Pages
    max_pages: Pages = 0
    """Of an HVM guest, if above `pages`: built populate-on-demand up to there (A29)."""
    populated: Pages = 0
    commit: Commit = 0
    _frames: list[Run] = field(default_factory=list[Run])

    async def run(
        self,
        world: World,
        pages_per_second: float,
        claim: Callable[[Pages], Awaitable[None]],
        progress: Callable[[Pages], None],
    ) -> None:
        """Populate everything. Raises `BuildFailedError` when it falls short; what was got stays.

        Emulated time passes in between: no chunk takes less than its pages do at that pace. `claim` is
        called at the builder's own place for it with the total it claims, `progress` after every populate
        with the pages in place.
        """
        plan = self._plan()
        step = next(plan)
        try:
            while True:
                done = 0
                if isinstance(step, ClaimHere):
                    await claim(step.pages)
                elif isinstance(step, PodTargetHere):
                    await self._fill_cache(world, step.pages, pages_per_second, progress)
                else:
                    done = await self._attempt(world, step, pages_per_second, progress)
                step = plan.send(done)
        except StopIteration:
            return

    def _plan(self) -> Plan:
        if self.max_pages > self.pages and self.builder in POD_BUILDERS:
            return POD_BUILDERS[self.builder](self.pages, self.max_pages)
        return BUILDERS[self.builder](self.pages)

    async def _fill_cache(
        self, world: World, pages: Pages, pages_per_second: float, progress: Callable[[Pages], None]
    ) -> None:
        """set_pod_target in chunks: Xen preempts it, and goes on with what the cache then lacks (A29)."""
        chunk = max(1, int(min(pages_per_second * CHUNK_SECONDS, pages)))
        while self.populated < pages:
            target = min(self.populated + chunk, pages)
            started = world.now()
            reply = await world.hypercall(SetPodTarget(self.domid, target))
            self.commit = reply.last
            if reply.ret < 0:
                raise BuildFailedError(f"{errno_name(reply.ret)} from SetPodTarget({target})", reply.last)
            pace = (target - self.populated) / pages_per_second
            self.populated = target
            progress(self.populated)
            await world.sleep(max(0.0, pace - (world.now() - started)))

    async def _attempt(
        self, world: World, attempt: Attempt, pages_per_second: float, progress: Callable[[Pages], None]
    ) -> int:
        """One call of libxc's, in chunks: Xen preempts a long one as well, and others run in between.

        A chunk that falls short ends the attempt, as it would end the call.
        """
        chunk = max(1, int(min(pages_per_second * CHUNK_SECONDS, attempt.pages)) >> attempt.order)
        done = 0
        while done < attempt.count:
            wanted = min(chunk, attempt.count - done)
            started = world.now()
            got = await self._populate(world, attempt, done, wanted)
            done += got
            progress(self.populated)
            await point(world, "chunk-populated")
            pace = 0.0 if attempt.mem_flags else (got << attempt.order) / pages_per_second  # no page, no time
            await world.sleep(max(0.0, pace - (world.now() - started)))
            if got < wanted:
                break
        if attempt.exact and done < attempt.count:
            reason = (
                f"populate_physmap stopped at {done} of {attempt.count} extents of order {attempt.order}, "
                f"{self.populated} of {self.pages} pages in place"
            )
            raise BuildFailedError(reason, self.commit)
        return done

    async def _populate(self, world: World, attempt: Attempt, skipped: int, count: int) -> int:
        gfn, order = attempt.gfn + (skipped << attempt.order), attempt.order
        reply = await world.hypercall(PopulatePhysmap(self.domid, ((gfn, count),), order, attempt.mem_flags))
        done = max(reply.ret, 0)
        if not attempt.mem_flags:
            self.populated += done << order
        self.commit = reply.last
        named = reply.value.extents if isinstance(reply.value, Frames) else ((gfn, done),)
        self._frames += [(first, extents << order) for first, extents in named if extents]
        return done

    @property
    def frames(self) -> Runs:
        """The guest's frames so far as ascending runs of single pages: gfns (HVM) or mfns (PV)."""
        merged: list[Run] = []
        for first, pages in sorted(self._frames):
            if merged and sum(merged[-1]) == first:
                merged[-1] = (merged[-1][0], merged[-1][1] + pages)
            else:
                merged.append((first, pages))
        return tuple(merged)
