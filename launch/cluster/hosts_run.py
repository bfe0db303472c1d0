"""One scheme on several hosts, once, with real processes: every host its own hypervisor, crew and sockets."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hypervisor.edge import Clock
from launch.cluster.broker import Broker
from launch.cluster.cluster_plan import ClusterPlan, ClusterResult
from launch.cluster.crew import Crew
from launch.cluster.fates import fates_of
from launch.cluster.host_plan import HostPlan, HostResult, Others
from launch.cluster.host_run import HostRun, PartyLostError
from launch.cluster.policies import ASKING
from launch.cluster.toolstacks import LOOK_MS
from launch.errors import UsageError
from launch.live.access import remove_access
from launch.live.steering import UNATTENDED, Steering
from launch.results import SOCKETS_PREFIX, Results, remove_sockets


@dataclass(slots=True, eq=False)
class _Host:
    """One of them."""

    name: str
    run: HostRun
    stack: ExitStack
    """What there is of it: leaving it leaves nothing behind."""
    result: HostResult | None = None
    """Once it is over, for good or ill."""


class HostsRun:
    """One run on several hosts. Make it, call `run`, throw it away."""

    def __init__(
        self,
        plan: ClusterPlan,
        scheme: str,
        results: Results,
        say: Callable[[str], None],
        stack: ExitStack,
        steering: Steering = UNATTENDED,
    ) -> None:
        """Everything of it goes with `stack`."""
        self._plan = plan
        self._broker = Broker(plan)
        self._clock = Clock(plan.scenario.speed, 0)
        self._steering = steering
        self._hosts = [self._open(one, scheme, results, say, stack) for one in plan.hosts]

    def _open(
        self, plan: HostPlan, scheme: str, results: Results, say: Callable[[str], None], outer: ExitStack
    ) -> _Host:
        name = plan.scenario.host.name
        stack = outer.enter_context(ExitStack())
        folder = results.host_directory(scheme, plan.repeat, name)
        sockets = Path(tempfile.mkdtemp(prefix=SOCKETS_PREFIX))
        stack.callback(remove_sockets, sockets)
        stack.callback(remove_access, folder)
        results.record_sockets(sockets)
        crew = stack.enter_context(
            Crew(folder, lambda role, pid: results.record_process(f"{name}/{role}", pid))
        )
        table = self._plan.scenario.placement
        period = table.sample if table.policy in ASKING else None
        others = Others(self._failed, period)
        said = partial(_say_of, say, name)
        run = stack.enter_context(
            closing(HostRun(plan, scheme, folder, sockets, crew, said, others, self._steering))
        )
        return _Host(name, run, stack)

    def run(self) -> ClusterResult:
        """From nothing to nothing. A host that is lost ends by itself, and the others go on."""
        for host in self._hosts:
            self._step(host, host.run.come_up)
        left = self._left()
        # All are up: emulated time begins.
        epoch = time.monotonic_ns() + max((host.run.head_start_ns for host in left), default=0)
        for host in left:
            host.run.begin(epoch)
            self._clock = host.run.clock  # one as good as the other: they stand still together
        while self._left() and self._clock.now() < self._plan.scenario.duration:
            self._place()
            for host in self._left():
                self._step(host, partial(host.run.live, max(1, LOOK_MS // len(self._hosts))))
        for host in self._left():
            host.run.dismiss()
        for host in self._left():
            self._step(host, partial(self._finish, host))
        done = {host.name: host.result for host in self._hosts if host.result is not None}
        return ClusterResult(done, fates_of(self._broker, done, self._plan.scenario.duration))

    def _left(self) -> list[_Host]:
        return [host for host in self._hosts if host.result is None]

    def _finish(self, host: _Host) -> None:
        host.result = host.run.finish()
        host.stack.close()

    def _place(self) -> None:
        """Send out what is due, with what the hosts answered when they were last asked."""
        now = self._clock.now()
        for host in self._left():
            self._broker.answered(host.name, host.run.free_pages())
        by_name = {host.name: host for host in self._left()}
        for attempt in self._broker.due(now):
            by_name[attempt.host].run.place(attempt.order, now)

    def _failed(self, order: int) -> None:
        self._broker.failed(order, self._clock.now())

    def _step(self, host: _Host, body: Callable[[], None]) -> None:
        """Let one host do something; should it be lost, that is its end."""
        try:
            body()
        except PartyLostError as lost:
            host.result = host.run.cut_short(str(lost))
            self._broker.lost(host.name, host.run.underway(), self._clock.now())
            host.stack.close()
        except UsageError as error:
            raise UsageError(*(f"{host.name}: {line}" for line in error.lines)) from error


def _say_of(say: Callable[[str], None], name: str, line: str) -> None:
    say(f"{name}: {line.strip()}")
