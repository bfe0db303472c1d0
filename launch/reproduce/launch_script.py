"""A launch whose toolstack cannot be brought along: what it did, as long as it sees what it saw.

A foreign toolstack, or a scheme that remembers what lies before the stretch, decides as it was recorded to,
provided that every answer up to its decision is the recorded one, and builds on as it was recorded to,
provided that every request brings as much as it did. Otherwise nobody knows what it would have done, and its
part ends there: no schedule is called a violation that rests on a guess. A builder that gets one more
superpage (L5) asks for fewer single pages: those that it was recorded to ask for would be too many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from hypervisor.public.domctl import Created
from hypervisor.public.memory import PopulatePhysmap
from hypervisor.public.orders import LaunchOrder, Outcome, Stage
from hypervisor.public.requests import Reply, Request
from hypervisor.public.units import DomId
from launch.explore.launches import hear
from launch.explore.scene import Scene
from launch.judge.cases import Case
from launch.launches import Verdict
from launch.records import Ordered
from launch.reproduce.recording import Recorded
from launch.reproduce.script import Script


def launch_order(one: Ordered) -> LaunchOrder:
    """The order as it was given."""
    return LaunchOrder(one.order, one.pages, one.max_pages, one.builder, one.vcpus, one.lifetime)


class LaunchScript(Script):
    """One launch's operations."""

    def __init__(self, name: str, case: Case, operations: Sequence[Recorded], judged: bool) -> None:
        super().__init__(operations)
        self._name = name
        self._case = case
        self._order = launch_order(case.order)
        self._judged = judged
        self._to_decide = {one.number for one in operations if self._decides(one)}
        self._said = False
        self._admitted = False
        self._domid: DomId | None = None if case.domain is None else case.domain[0]

    def _decides(self, one: Recorded) -> bool:
        return one.last is not None and one.last <= self._case.decided

    def request(self, one: Recorded) -> Request:
        """With the domid that its domain has in this schedule."""
        request: Any = one.request
        if self._case.domain is None or getattr(request, "domid", None) != self._case.domain[0]:
            return one.request
        made: Request = replace(request, domid=self._domid)
        return made

    def replied(self, one: Recorded, reply: Reply, scene: Scene) -> None:
        """Compare; judge the build after the decision."""
        if isinstance(reply.value, Created):
            self._domid = reply.value.domid
        if one.number in self._to_decide:
            self._to_decide.discard(one.number)
            self.stopped = self.stopped or not _same(one, reply)
            if not self._to_decide and not self.stopped:
                self._decide(reply, scene)
        elif self._admitted and _fell_short(one.request, reply):
            self.stopped = True
            text = f"its populate got {reply.ret} extents of those it asked for"
            self._say(Stage.FAILED, reply, text, scene)
        elif one.reply is not None and one.reply.ret != reply.ret:
            self.stopped = True

    def _decide(self, reply: Reply, scene: Scene) -> None:
        self._admitted = self._case.verdict not in (Verdict.REFUSED, Verdict.UNANSWERED)
        if self._admitted:
            self._say(Stage.ADMITTED, reply, "", scene)
        elif self._case.verdict is Verdict.REFUSED:
            self._say(Stage.REFUSED, reply, self._case.reason, scene)

    def _say(self, stage: Stage, reply: Reply, reason: str, scene: Scene) -> None:
        domid = -1 if self._domid is None else self._domid
        outcome = Outcome(self._case.number, stage, reply.last, reason=reason, domid=domid)
        hear(scene, self._name, self._order, outcome, self._judged)


def _same(one: Recorded, reply: Reply) -> bool:
    """The answer is the recorded one; a new domain may have another number."""
    recorded = one.reply
    if recorded is None or recorded.ret != reply.ret:
        return False
    return isinstance(reply.value, Created) or recorded.value == reply.value


def _fell_short(request: Request, reply: Reply) -> bool:
    """Single pages that cannot be had end a build; larger extents are tried again as smaller ones (L5)."""
    return (
        isinstance(request, PopulatePhysmap)
        and request.extent_order == 0
        and not request.mem_flags
        and reply.ret < request.nr_extents
    )
