"""Looks now and then whether the books balance, and keeps what no rule of the release permits."""

from collections.abc import Callable, Iterable
from typing import Final

from hypervisor.core.host import Host
from hypervisor.core.invariants import Broken, check, check_counters, unpermitted
from hypervisor.core.steps import Step

CHECK_EVERY: Final = 2000
"""Atomic steps between two looks; a look costs O(domains)."""
VIOLATIONS_KEPT: Final = 20


class Watch:
    """Over one host. `pending` are the declared next steps of the requests under way."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._next_check = CHECK_EVERY
        self.violations: list[str] = []
        """Invariants that broke without a rule of the release to permit it; the first few."""

    def look_when_due(self, pending: Callable[[], Iterable[Step]]) -> list[str]:
        """At the counters, once in CHECK_EVERY steps; what is newly found."""
        if self._host.commit < self._next_check:
            return []
        self._next_check = self._host.commit + CHECK_EVERY
        return self._judge(check_counters(self._host, pending()))

    def look_at_everything(self, pending: Iterable[Step]) -> list[str]:
        """At counters and frames; what is found."""
        return self._judge(check(self._host, pending))

    def _judge(self, broken: Iterable[Broken]) -> list[str]:
        host = self._host
        found = [
            f"{one.invariant} at commit {host.commit}: {one.detail}"
            for one in unpermitted(broken, host.release)
        ]
        self.violations += found[: VIOLATIONS_KEPT - len(self.violations)]
        return found
