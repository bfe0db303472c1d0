"""One schedule's stage, as its world sees it: the host, what was noted, and what was violated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypervisor.core.host import Host
from hypervisor.public.domctl import DomainInfo, DomainInfoList
from hypervisor.public.orders import Outcome
from hypervisor.public.units import Commit, DomId, Pages
from toolstack.interface import Scheme


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that became untrue."""

    kind: str
    """What two schedules must have in common to show the same bug: "late failure", "I3 spent"."""
    detail: str
    commit: Commit
    """The step that made it so."""


class Scene:
    """Made anew for every schedule."""

    def __init__(
        self, host: Host, facts: Any, new_scheme: Callable[[], Scheme], unclaimed: Callable[[], int]
    ) -> None:
        self.host = host
        """The core's own state, to be read only."""
        self.facts = facts
        """What the world's `set_up` returned."""
        self.new_scheme = new_scheme
        self.unclaimed = unclaimed
        """Pages now free and promised to nobody: free - claims, as if every extent in flight had been
        assigned already, so that the window of C27 does not hide memory that is there."""
        self.unclaimed_at: dict[Commit, Pages] = {}
        """`unclaimed` at each reply that dom0 got."""
        self.notes: dict[str, Any] = {}
        self.outcomes: list[Outcome] = []
        """What the toolstacks reported."""
        self.violations: list[Violation] = []
        self.seen: dict[DomId, Pages] = {}
        """tot_pages of each domain, as dom0 was last told."""
        self.before = 0
        """Commit number at which the exploration began; what was set up lies before."""

    def note(self, key: str, value: Any) -> None:
        """Keep something for `outcome` and `at_end`; keys are the world's own."""
        self.notes[key] = value

    def saw(self, value: object) -> None:
        """dom0 was told this."""
        if isinstance(value, DomainInfoList):
            self.seen.update((one.domid, one.tot_pages) for one in value.domains)
        elif isinstance(value, DomainInfo):
            self.seen[value.domid] = value.tot_pages

    def violate(self, kind: str, detail: str) -> None:
        """Something has become untrue with the step just done."""
        self.violations.append(Violation(kind, detail, self.host.commit))
