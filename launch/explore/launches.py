"""Toolstacks in a small world: the real service, builder and scheme, and the judge of what came of a launch.

A launch that fails after its admission is a late failure. A refusal is false when, at the commit it rests on
(when it is said, if it rests on none), more memory than the launch needed was free and promised to nobody: to
no claim, and to no other launch that a toolstack of this world had admitted and not yet filled. A scheme that
raises has answered nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from hypervisor.public.orders import RAISED, LaunchOrder, Outcome, Stage
from hypervisor.public.units import Commit, Pages
from hypervisor.public.world import World
from hypervisor.tasks import Future
from launch.explore.party_world import PartyWorld
from launch.explore.scene import Scene
from launch.explore.small_world import Act, Party
from toolstack.interface import Scheme
from toolstack.need import need_memory
from toolstack.service import Service

AT_ONCE: Final = float(1 << 40)
"""Pages a second: a build takes no emulated time, however its moves are held up."""
ENDS: Final = (Stage.BUILT, Stage.FAILED, Stage.REFUSED)


@dataclass(frozen=True, slots=True)
class _Promise:
    """A launch that was admitted and has yet to take memory."""

    order: LaunchOrder
    domid: int


class Launches:
    """The launches of one toolstack process; `toolstack` makes them."""

    def __init__(
        self,
        scene: Scene,
        name: str,
        *,
        scheme: Scheme | None = None,
        pages_per_second: float = AT_ONCE,
        judged: bool = True,
    ) -> None:
        """`scheme` None: the scene's. `judged` False: what comes of them is noted and no violation."""
        self._scene = scene
        self._name = name
        self._scheme = scheme or scene.new_scheme()
        self._pages_per_second = pages_per_second
        self._judged = judged
        self._service: Service | None = None
        self._answers: dict[int, Callable[[Outcome], None]] = {}
        self._orders: dict[int, LaunchOrder] = {}

    def act(self, orders: Sequence[LaunchOrder]) -> Act:
        """Take these orders at once and wait until each has ended."""

        async def launch(world: World, _scene: Scene) -> None:
            own = cast(PartyWorld, world)
            service = self._serve(own)
            waiting: list[Future[Any]] = []
            for order in orders:
                future = own.future()
                self._orders[order.order] = order
                self._answers[order.order] = future.set_result
                service.take(order)
                waiting.append(future)
            for future in waiting:
                await future

        return launch

    def _serve(self, world: PartyWorld) -> Service:
        if self._service is None:
            self._service = Service(
                world, self._scheme, self._hear, parallel=1 << 10, pages_per_second=self._pages_per_second
            )
        return self._service

    def _hear(self, outcome: Outcome) -> None:
        hear(self._scene, self._name, self._orders.get(outcome.order), outcome, self._judged)
        if outcome.stage in ENDS and outcome.order in self._answers:
            self._answers.pop(outcome.order)(outcome)


def hear(scene: Scene, name: str, order: LaunchOrder | None, outcome: Outcome, judged: bool = True) -> None:
    """A toolstack has said what became of an order; None for one that nobody gave it."""
    scene.outcomes.append(outcome)
    if order is None:
        return
    if outcome.stage == Stage.ADMITTED:
        _promises(scene)[outcome.order] = _Promise(order, outcome.domid)
        return
    promise = _promises(scene).pop(outcome.order, None)
    if outcome.reason.startswith(RAISED):
        scene.violate("scheme raised", f"{name}: launch {order.order}: {outcome.reason}")
    elif judged:
        _judge(scene, name, order, outcome, promise is not None)
    if outcome.stage in ENDS:
        scene.note(f"launch {outcome.order}", str(outcome.stage))


def _judge(scene: Scene, name: str, order: LaunchOrder, outcome: Outcome, admitted: bool) -> None:
    if outcome.stage == Stage.FAILED and admitted:
        scene.violate("late failure", f"{name}: launch {order.order} was admitted, then: {outcome.reason}")
    if outcome.stage == Stage.REFUSED:
        there = _free_for(scene, outcome.commit)
        need = order.pages if outcome.domid >= 0 else need_memory(order.builder, order.pages, order.vcpus)
        if there >= need:
            scene.violate(
                "false refusal",
                f"{name}: launch {order.order} needed {need} pages, {there} were free and promised "
                f"to nobody; it was refused: {outcome.reason}",
            )


def _promises(scene: Scene) -> dict[int, _Promise]:
    found: dict[int, _Promise] = scene.notes.setdefault("promises", {})
    return found


def _free_for(scene: Scene, commit: Commit) -> Pages:
    """Unclaimed pages at that commit, less what admitted launches without a claim have yet to take."""
    there = scene.unclaimed_at.get(commit)
    if there is None:  # it rests on nothing that anybody looked at
        there = scene.unclaimed()
    for promise in _promises(scene).values():
        domain = scene.host.find(promise.domid)
        tot_pages = 0 if domain is None else domain.tot_pages
        claim = 0 if domain is None else domain.outstanding_pages
        there -= max(promise.order.pages - tot_pages - claim, 0)
    return there


def toolstack(
    scene: Scene, name: str, *orders: LaunchOrder | Sequence[LaunchOrder], before: Sequence[LaunchOrder] = ()
) -> Party:
    """A party that carries out the orders one after the other, a sequence of them at the same time.

    `before` are launched before the exploration begins, so that the scheme has met the host. Order numbers
    must be unique in the world.
    """
    launches = Launches(scene, name)
    acts = tuple(launches.act((one,) if isinstance(one, LaunchOrder) else tuple(one)) for one in orders)
    return Party(name, acts, tuple(launches.act((one,)) for one in before))


def endings(scene: Scene) -> str:
    """How each launch ended, for `SmallWorld.outcome`."""
    ends: dict[str, Any] = {key: value for key, value in scene.notes.items() if key.startswith("launch ")}
    return ", ".join(f"{key} {ends[key]}" for key in sorted(ends)) or "no launch ended"
