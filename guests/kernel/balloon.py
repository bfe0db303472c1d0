"""The balloon driver of Linux v3.2 to v5.2, drivers/xen/balloon.c (G1-G5, G8)."""

from collections.abc import Awaitable, Callable
from typing import Final

from guests.behaviours import Behaviour
from guests.kernel.errors import KernelBugError
from guests.kernel.frames import PageNames, split_runs
from guests.kernel.hypercalls import Hypercalls
from guests.kernel.memory import GuestMemory
from guests.kernel.schedule import BalloonState, RetrySchedule
from guests.kernel.work import DelayedWork, Guard
from guests.report import Counters
from hypervisor.public.domctl import Frames
from hypervisor.public.memory import CurrentReservation, DecreaseReservation, PopulatePhysmap
from hypervisor.public.points import point
from hypervisor.public.requests import Reply
from hypervisor.public.units import DOMID_SELF, Pages, Runs, runs_length
from hypervisor.public.world import World

FRAME_LIST: Final = 512
"""Frames one call can name: a page of 8-byte entries (G3)."""


class BalloonDriver:
    """balloon_stats and balloon_process(): moves current_pages to target_pages.

    Asks for credit = min(target, current + ballooned) - current pages (G2). `rounds` of up to
    in_flight x batch calls replace Linux's single call; with 1 x 1 they are the same. The driver never
    learns that max_pages fell: populate answers 0 and it backs off, also after the limit is restored (G8).
    """

    def __init__(
        self,
        world: World,
        calls: Hypercalls,
        names: PageNames,
        memory: GuestMemory,
        behaviour: Behaviour,
        counters: Counters,
        schedule: RetrySchedule,
        guard: Guard,
        *,
        inflate_to_available: bool = False,
        reclaimed: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`reclaimed` is awaited before pages go back: what stood in them must be elsewhere by then."""
        self._world = world
        self._calls = calls
        self._names = names
        self._memory = memory
        self._behaviour = behaviour
        self._counters = counters
        self._schedule = schedule
        self._inflate_to_available = inflate_to_available
        self._reclaimed = reclaimed
        self._work = DelayedWork(world, self._process, guard, "balloon")
        self._listeners: list[Callable[[], None]] = []
        self.current_pages: Pages = names.owned
        self.target_pages: Pages = names.owned
        self.lowest_pages: Pages = names.owned
        self.highest_pages: Pages = names.owned
        self.state = BalloonState.DONE

    @property
    def running(self) -> bool:
        """True while balloon_process() moves pages."""
        return self._work.running

    @property
    def at_rest(self) -> bool:
        """True when it neither moves pages nor is going to, and has reached its target."""
        return not (self._work.running or self._work.pending or self._credit(self.target_pages))

    def when_settled(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever an attempt has ended, by success or not."""
        self._listeners.append(listener)

    def set_new_target(self, pages: Pages) -> bool:
        """balloon_set_new_target(): True when an attempt follows at once.

        A driver that is backing off stays asleep: queueing a queued work changes nothing.
        """
        self.target_pages = pages
        return self._work.schedule(0) or self._work.imminent

    def look_again(self) -> bool:
        """Ask the behaviour again whether a target not yet reached may be sought; True as above.

        Only a behaviour that held the driver back leaves credit without a queued work, or v5.3's ECANCELED,
        which nothing but a new target ends.
        """
        idle = self.state is BalloonState.DONE and not self.running
        if idle and self._credit(self.target_pages):
            self._work.schedule(0)
        return self._work.imminent

    def stop(self) -> None:
        """Cancel what is queued or running. Not to be called by the driver itself."""
        self._work.cancel()

    def _credit(self, target: Pages) -> int:
        return min(target, self.current_pages + self._names.ballooned) - self.current_pages

    def _aimed_credit(self) -> int:
        return self._credit(self._behaviour.aim(self.target_pages, self.current_pages, self._world.now()))

    async def _process(self) -> None:
        """balloon_process(): calls until the credit is used up or an attempt fails."""
        while credit := self._aimed_credit():
            attempt = self._increase(credit) if credit > 0 else self._decrease(-credit)
            self.state = self._schedule.update(await attempt)
            if self.state is not BalloonState.DONE:
                break
        else:
            self.state = self._schedule.update(BalloonState.DONE)
        self._after_attempt()

    def _after_attempt(self) -> None:
        if self.state is BalloonState.EAGAIN:
            self._counters.retries += 1
            delay = self._schedule.schedule_delay
            self._counters.longest_wait_s = max(self._counters.longest_wait_s, float(delay))
            self._work.schedule(delay)
        elif self.state is BalloonState.ECANCELED:
            self._counters.cancellations += 1
        for listener in self._listeners:
            listener()

    def _round(self, pages: Pages) -> Pages:
        """The part of `pages` that one round of calls can name."""
        return min(pages, FRAME_LIST * self._calls.most)

    async def _increase(self, credit: Pages) -> BalloonState:
        """increase_reservation(): populate at order 0; rc <= 0 is EAGAIN, part of it is accepted (G3)."""
        lists = _frame_lists(self._names.take_ballooned(self._round(credit)))
        await point(self._world, "before-populate")
        replies = await self._calls.issue([PopulatePhysmap(DOMID_SELF, gfns) for gfns in lists])
        refused = [self._populated(gfns, reply) for gfns, reply in zip(lists, replies, strict=True)]
        for gfns in reversed(refused):
            self._names.put_refused(gfns)
        await point(self._world, "populated")
        return BalloonState.EAGAIN if any(reply.ret <= 0 for reply in replies) else BalloonState.DONE

    def _populated(self, gfns: Runs, reply: Reply) -> Runs:
        """Take over what one populate brought; answers the gfns it did not bring."""
        done = max(0, reply.ret)
        came, refused = split_runs(gfns, done)
        mfns = reply.value.extents if isinstance(reply.value, Frames) else ()
        self._names.put_populated(came, mfns)
        self._moved(done)
        self._memory.receive(done, self._world.now())
        self._counters.populate_calls += 1
        self._counters.populate_calls_refused += bool(refused)
        self._counters.pages_asked += done + runs_length(refused)
        self._counters.pages_refused += runs_length(refused)
        return refused

    async def _decrease(self, surplus: Pages) -> BalloonState:
        """decrease_reservation(): allocate pages and give them back; too few to allocate is EAGAIN (G4)."""
        wanted = self._round(surplus)
        # v5.3 never makes its own programs swap for the balloon: si_mem_available() bounds a round (G5).
        reach = min(wanted, self._memory.free) if self._inflate_to_available else wanted
        pages = self._memory.give(reach, self._world.now())
        if self._reclaimed is not None:
            await self._reclaimed()
        await self._give_back(pages)
        return BalloonState.DONE if pages == wanted else BalloonState.EAGAIN

    async def _give_back(self, pages: Pages) -> None:
        await point(self._world, "before-decrease")
        gfns, frames = self._names.take_owned(pages)
        lists = _frame_lists(frames)
        replies = await self._calls.issue([DecreaseReservation(DOMID_SELF, frame) for frame in lists])
        for frame, reply in zip(lists, replies, strict=True):
            await self._check_exact(runs_length(frame), reply.ret)
        self._names.put_ballooned(gfns)
        self._moved(-pages)
        self._counters.decrease_calls += len(lists)
        self._counters.pages_returned += pages

    async def _check_exact(self, pages: Pages, ret: int) -> None:
        """BUG_ON(ret != nr_pages), save that a domain under destruction runs no code that could BUG."""
        if ret != pages:
            await self._calls.issue([CurrentReservation(DOMID_SELF)])
            raise KernelBugError(f"kernel BUG: decrease_reservation answered {ret} for {pages} pages")

    def _moved(self, pages: int) -> None:
        self.current_pages += pages
        self.lowest_pages = min(self.lowest_pages, self.current_pages)
        self.highest_pages = max(self.highest_pages, self.current_pages)


def _frame_lists(frames: Runs) -> list[Runs]:
    """`frames` cut into lists that one call each can name."""
    lists: list[Runs] = []
    while frames:
        head, frames = split_runs(frames, FRAME_LIST)
        lists.append(head)
    return lists
