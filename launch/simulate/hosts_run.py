"""One scheme on several hosts, once, in virtual time.

Every host has a simulator of its own, and they touch each other only through the broker: an order that failed
on one is tried on another. So the host where something happens next goes on alone, up to the moment at
which anything happens elsewhere, and stops when an order has failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypervisor.public.units import Seconds
from launch.cluster.broker import Broker
from launch.cluster.cluster_plan import ClusterPlan, ClusterResult
from launch.cluster.fates import fates_of
from launch.cluster.host_plan import Others
from launch.cluster.policies import ASKING
from launch.errors import UsageError
from launch.simulate.host_run import USUAL, VirtualResult, VirtualRun
from launch.simulate.links import Links


@dataclass(frozen=True, slots=True, eq=False)
class _Host:
    """One of them."""

    name: str
    run: VirtualRun


def run_virtual_hosts(
    plan: ClusterPlan,
    scheme: str,
    links: Links = USUAL,
    folder: Callable[[str], Path] | None = None,
    *,
    evidence: bool = True,
) -> ClusterResult:
    """Run one scheme on several hosts in virtual time, as `run_virtual` does on one.

    `folder(host)` gets the files that a real run leaves of a host.
    """
    done = VirtualHostsRun(plan, scheme, links, evidence or folder is not None).run()
    for name, result in done.hosts.items():
        if folder is not None and isinstance(result, VirtualResult) and result.evidence is not None:
            result.evidence.write(folder(name))
    return done


class VirtualHostsRun:
    """One run on several hosts. Make it, call `run`, throw it away."""

    def __init__(self, plan: ClusterPlan, scheme: str, links: Links, evidence: bool) -> None:
        self._plan = plan
        self._broker = Broker(plan)
        self._failures: list[int] = []
        table = plan.scenario.placement
        others = Others(self._failures.append, table.sample if table.policy in ASKING else None)
        self._hosts = [
            _Host(one.scenario.host.name, VirtualRun(one, scheme, links, evidence, others))
            for one in plan.hosts
        ]
        self._left = list(self._hosts)

    def run(self) -> ClusterResult:
        """From nothing to nothing. A host whose hypervisor is killed ends, and the others go on."""
        for host in self._hosts:
            self._come_up(host)
        for host in self._hosts:
            host.run.begin()
        duration = self._plan.scenario.duration
        while self._go_on(duration):
            pass
        for host in self._left:
            host.run.go_on(duration)
        results = {host.name: host.run.finish() for host in self._hosts}
        return ClusterResult(results, fates_of(self._broker, results, duration))

    def _come_up(self, host: _Host) -> None:
        try:
            host.run.come_up()
        except UsageError as error:
            raise UsageError(*(f"{host.name}: {line}" for line in error.lines)) from error

    def _go_on(self, duration: Seconds) -> bool:
        """What happens next, wherever; False when nothing does before the end."""
        moments = {host.name: host.run.next_moment() for host in self._left}
        pending = [(when, host.name) for host in self._left if (when := moments[host.name]) is not None]
        first = min((when for when, _ in pending), default=duration)
        due = self._broker.next_due()
        if due is not None and due <= first and due < duration:
            self._place(due)
            return True
        if first >= duration:
            return False
        host = next(host for host in self._left if moments[host.name] == first)
        elsewhere = [when for when, name in pending if name != host.name]
        host.run.go_on(min([*elsewhere, duration, *([] if due is None else [due])]), self._has_failed)
        self._settle(host)
        return True

    def _has_failed(self) -> bool:
        return bool(self._failures)

    def _settle(self, host: _Host) -> None:
        """Tell the broker what has failed, the host itself included."""
        for order in self._failures:
            self._broker.failed(order, host.run.now)
        self._failures.clear()
        if host.run.is_lost:
            self._left.remove(host)
            self._broker.lost(host.name, host.run.underway(), host.run.now)

    def _place(self, now: Seconds) -> None:
        """Send out what is due, with what the hosts answered when they were last asked."""
        by_name = {host.name: host for host in self._left}
        for host in self._left:
            self._broker.answered(host.name, host.run.free_pages)
        for attempt in self._broker.due(now):
            by_name[attempt.host].run.place(attempt.order, now)
