"""Would the scheme that ran have made these hypercalls? It is run against the recorded answers.

If so, the launch can be played by the scheme itself, which then decides anew in every schedule by what it
sees there. Its hypercalls are also known by this: which of several launches under way asked for a listing
stands nowhere in a journal.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from hypervisor.public.orders import LaunchOrder, Outcome
from hypervisor.public.requests import Event, Reply, Request
from hypervisor.public.units import DOMID_DOM0, Commit, DomId, Seconds
from hypervisor.public.world import Task
from hypervisor.tasks import Future, Loop
from launch.judge.cases import Case
from launch.reproduce.recording import Recorded
from toolstack.interface import Scheme
from toolstack.service import Service

T = TypeVar("T")


def rehearse(
    scheme: Scheme, order: LaunchOrder, case: Case, operations: Sequence[Recorded], pages_per_second: float
) -> tuple[Recorded, ...] | None:
    """The operations of the launch, among one toolstack's; None when the scheme does not act as recorded."""
    world = _RecordedAnswers(operations, case.sampled)
    heard: list[Outcome] = []
    service = Service(world, scheme, heard.append, parallel=1, pages_per_second=pages_per_second)
    service.take(order)
    try:
        world.loop.run_ready(0.0)
    finally:
        world.loop.close()
    own = [one for one in operations if _names(one, case)]
    if not world.matched or any(one not in world.matched for one in own):
        return None
    return tuple(sorted(world.matched, key=lambda one: one.first))


def _names(one: Recorded, case: Case) -> bool:
    """It is about the launch's domain."""
    return case.domain is not None and getattr(one.request, "domid", None) == case.domain[0]


class _RecordedAnswers:
    """A `public.world.World` that answers as the recording does, and not at all beyond it."""

    def __init__(self, operations: Sequence[Recorded], sampled: Commit) -> None:
        self.loop = Loop()
        self.matched: list[Recorded] = []
        self._operations = operations
        self._sampled = sampled
        self._heard: Commit = 0
        self._rng = random.Random(0)
        self._clock: Seconds = 0.0

    @property
    def domid(self) -> DomId:
        """dom0."""
        return DOMID_DOM0

    @property
    def rng(self) -> random.Random:
        """See `World.rng`."""
        return self._rng

    def now(self) -> Seconds:
        """What was slept."""
        return self._clock

    def sleep(self, seconds: Seconds) -> Future[None]:
        """Over at once."""
        self._clock += seconds
        future: Future[None] = Future(self.loop)
        future.set_result(None)
        return future

    def hypercall(self, request: Request) -> Future[Reply]:
        """The recorded answer; none where there is none, and the caller waits for ever."""
        future: Future[Reply] = Future(self.loop)
        reply = self._answer(request)
        if reply is not None:
            future.set_result(reply)
        return future

    def multicall(self, requests: Sequence[Request]) -> Future[tuple[Reply, ...]]:
        """The same for several."""
        future: Future[tuple[Reply, ...]] = Future(self.loop)
        replies = [self._answer(request) for request in requests]
        known = tuple(reply for reply in replies if reply is not None)
        if len(known) == len(requests):
            future.set_result(known)
        return future

    def _answer(self, request: Request) -> Reply | None:
        later = [
            one
            for one in self._operations
            if one.first > self._heard and one.request == request and one not in self.matched
        ]
        if not later:
            return None
        # Several launches may read the same; the toolstack said which reading its decision began with.
        one = next((one for one in later if one.first == self._sampled), later[0])
        self.matched.append(one)
        if one.reply is not None:
            self._heard = one.reply.last
        return one.reply

    def next_event(self) -> Future[Event]:
        """Nothing ever happens."""
        return Future(self.loop)

    async def listen(self, virqs: Sequence[int]) -> None:
        """Nothing is heard."""

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """See `World.spawn`."""
        return self.loop.spawn(coroutine, name)
