"""The toolstacks of a virtual run and whose turn it is: `launch.cluster.toolstacks` without processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from random import Random

from hypervisor.public.orders import DestroyOrder, LaunchOrder, Outcome, ToToolstack
from launch.cluster.host_plan import HostPlan
from launch.cluster.streams import toolstack_seed
from launch.scenario.at_once import scheme_of, schemes_at_once
from launch.simulate.parties import Parties, VirtualToolstack
from launch.simulate.sim_world import SimWorld
from launch.simulate.world import Simulator
from toolstack.interface import Scheme
from toolstack.registry import make_scheme
from toolstack.service import Service


class Staff:
    """Everyone who takes launch orders on one host."""

    def __init__(
        self,
        plan: HostPlan,
        scheme: str,
        simulator: Simulator,
        parties: Parties,
        join: Callable[[str, int, Random], SimWorld],
        report: Callable[[Outcome], None],
    ) -> None:
        """`join` makes the world of the party of that name, of which so many were there before."""
        self._plan = plan
        self._scenario = plan.scenario
        self._scheme = scheme
        self._simulator = simulator
        self._parties = parties
        self._join = join
        self._report = report
        self._in_charge: dict[int, VirtualToolstack] = {}
        self._turns: Iterator[VirtualToolstack] = iter(())

    def start(self) -> None:
        """All of them."""
        for number in range(self._scenario.toolstack.count * len(schemes_at_once(self._scheme))):
            self._start_one(number)

    def start_again(self, one: VirtualToolstack) -> None:
        """Another in the place of one that was killed."""
        self._start_one(int(one.party.removeprefix("toolstack-")))

    def _start_one(self, number: int) -> None:
        table, members = self._scenario.toolstack, self._parties.toolstacks
        name = f"toolstack-{number}"
        seed = toolstack_seed(self._scenario.seed, self._plan.repeat, number)
        world = self._join(name, len(members), Random(seed))
        service = Service(
            world,
            self._make_scheme(scheme_of(self._scheme, number)),
            self._report,
            parallel=table.parallel,
            pages_per_second=table.pages_per_second,
        )
        members.append(VirtualToolstack(name, world, service))
        self._turns = cycle(tuple(members))

    def _make_scheme(self, name: str) -> Scheme:
        parameters = self._scenario.scheme.get(name, {})
        plugin = self._plan.plugins.schemes.get(name)
        return make_scheme(name, parameters) if plugin is None else plugin(parameters)

    def launch(self, order: LaunchOrder) -> bool:
        """Give the order to the next in turn; False when none is left to take it."""
        turns = (next(self._turns) for _ in self._parties.toolstacks)
        one = next((one for one in turns if not one.lost), None)
        if one is None:
            return False
        self._in_charge[order.order] = one
        self._hand_over(one, order)
        return True

    def destroy(self, order: DestroyOrder) -> bool:
        """Have the toolstack that built it destroy it; False when that one is gone."""
        one = self._in_charge[order.order]
        if not one.lost:
            self._hand_over(one, order)
        return not one.lost

    def _hand_over(self, one: VirtualToolstack, order: ToToolstack) -> None:
        self._simulator.after_link(partial(one.world.arrive, partial(one.service.take, order)))
